"""Which windows of an index are read for a question, and how well each was found."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from askew._check import require
from askew.models._context_index import ContextIndex
from askew.models._qa import Encoded
from askew.text import fuse_ranks, fuse_scores


class ChosenWindows(NamedTuple):
    """Windows to read, those of similar length together, and how well each window was found.

    Attributes:
        windows: Rows of windows.
        found: For each window of the index its standardised score, if it was asked for.
    """

    windows: Tensor
    found: Tensor | None

    def batches(self, size: int) -> Sequence[Tensor]:
        """Divide the windows into batches; none if there are no windows."""
        return self.windows.split(size) if len(self.windows) else ()


def windows_of(index: ContextIndex, contexts: Collection[int] | None) -> Tensor:
    """Return the rows of the windows of some contexts, or of all.

    Raises:
        ValueError: If a context does not exist.
    """
    if contexts is None:
        return torch.arange(index.num_windows)
    chosen = torch.zeros(len(index.contexts), dtype=torch.bool)
    for row in contexts:
        require(
            0 <= row < len(index.contexts),
            "QuestionAnswerer.answer: contexts must be rows of the index; "
            f"got context {row} of {len(index.contexts)}",
        )
        chosen[row] = True
    return chosen[index.window_contexts].nonzero().flatten()


def choose_windows(
    question: str,
    encoded: Encoded,
    index: ContextIndex,
    windows: Tensor,
    shortlist: int | None,
    *,
    finds: bool,
) -> ChosenWindows:
    """Choose the windows to read by the product of vectors and by BM25.

    Args:
        question: The question.
        encoded: The same, encoded.
        index: The contexts.
        windows: Rows of the windows to search.
        shortlist: How many are read at most; None reads all.
        finds: Whether the scores of the windows that are searched are asked for.

    Returns:
        The windows.
    """
    found = torch.zeros(index.num_windows, dtype=torch.float64) if finds else None
    is_cut = shortlist is not None and shortlist < len(windows)
    if len(windows) > 0 and (is_cut or finds):
        by_vectors = (index.vectors[windows] @ encoded.vectors[0].float().cpu()).double()
        by_words = index.words.scores(question)[windows.numpy()]
        both = [by_vectors.numpy(), by_words]
        if found is not None:
            standardised = fuse_scores([fuse_scores(both, [1.0, 1.0])], [1.0])
            found[windows] = torch.from_numpy(standardised)
        if is_cut:
            fused = fuse_ranks(both)
            best = np.sort(np.argsort(-fused, kind="stable")[:shortlist])
            windows = windows[torch.from_numpy(best)]
    return ChosenWindows(windows[index.window_lengths[windows].argsort(stable=True)], found)
