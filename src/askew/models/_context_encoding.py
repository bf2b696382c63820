"""Contexts cut into windows and encoded, as shards of an index."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import require
from askew.models._answers import check_unicode
from askew.models._context_index import ContextIndex
from askew.models._context_shards import DTYPES, SHARD_BYTES, Shard
from askew.models._qa import Encoded
from askew.text import Context, SpanTokenizer, TextTokens, cut_windows, pad_batch

_GROUP_CHARACTERS = 2**20

Progress = Callable[[int, int], None]
"""Called with characters of contexts done and in all."""


class Windowing(NamedTuple):
    """How contexts are cut and encoded.

    Args:
        max_tokens: Of a window, with the special tokens around it.
        overlap: Tokens that two windows of a part share.
        batch_windows: Windows that are encoded together.
        widths: Of states, and of vectors.
        parts: Cuts a text into parts, which no window goes beyond; by default it is one.
    """

    max_tokens: int
    overlap: int
    batch_windows: int
    widths: tuple[int, int]
    parts: Callable[[str], list[tuple[int, int]]] | None = None


class ContextEncoder:
    """Cuts contexts into overlapping windows and encodes them.

    Args:
        caller: What messages name.
        encode: Makes states and vectors of token numbers and their mask.
        tokenizer: Of contexts.
        windowing: How they are cut.

    Raises:
        ValueError: If a window has no room for more than the overlap.
    """

    def __init__(
        self,
        caller: str,
        encode: Callable[[Tensor, Tensor], Encoded],
        tokenizer: Tokenizer,
        windowing: Windowing,
    ) -> None:
        self.caller, self.encode, self.tokenizer = caller, encode, SpanTokenizer(tokenizer)
        self.windowing = windowing
        self.window_tokens = windowing.max_tokens - self.tokenizer.num_special
        require(
            self.window_tokens > windowing.overlap,
            f"{caller}: max_context_tokens must leave more than overlap to the text; got "
            f"max_context_tokens {windowing.max_tokens}, overlap {windowing.overlap}, "
            f"{self.tokenizer.num_special} tokens around the text",
        )

    def index(
        self,
        fingerprint: str,
        contexts: Sequence[Context],
        *,
        dtype: str,
        folder: str | Path | None,
        progress: Progress | None,
    ) -> ContextIndex:
        """Encode contexts into a new index, in memory or in a folder without one."""
        index = ContextIndex(fingerprint, dtype=dtype)
        if folder is not None:
            index.open_new(folder)
        self.append(index, contexts, progress)
        if folder is not None and not index.contexts:
            index.append(())  # the manifest of an empty index
        return index

    def append(
        self, index: ContextIndex, contexts: Sequence[Context], progress: Progress | None
    ) -> int:
        """Encode what an index does not hold yet, and return how many were left out.

        Raises:
            ValueError: If a text has lone surrogates.
            TypeError: If `contexts` is a string or a single context.
        """
        if isinstance(contexts, str | Context):  # both could be gone through one by one
            raise TypeError(
                f"{self.caller}: contexts must be a list of Context; "
                f"got {type(contexts).__name__} {str(contexts)[:40]!r}. Put it into a list"
            )
        new = [c for c in dict.fromkeys(contexts) if index.row(c) is None]
        for context in new:
            check_unicode(f"{self.caller}.append", "context", context.text)
        if new:
            dtype = DTYPES[index.dtype]
            index.append(self._shards(new, len(index.contexts), dtype, progress))
        return len(contexts) - len(new)

    def _shards(
        self,
        contexts: list[Context],
        first_row: int,
        dtype: torch.dtype,
        progress: Progress | None,
    ) -> Iterator[tuple[list[Context], Shard]]:
        """Encode group by group, and yield a shard whenever a file is full."""
        total, done = sum(len(context.text) for context in contexts), 0
        texts: list[Context] = []
        encoded: list[Shard] = []
        size = self.windowing.batch_windows
        for group in _groups(contexts):
            windows = self._cut([c.text for c in group], first_row)
            first_row += len(group)
            characters = sum(len(context.text) for context in group)
            texts += group
            for start in range(0, len(windows), size):
                batch = windows[start : start + size]
                encoded.append(self._encode_batch(batch, dtype))
                if progress is not None:
                    progress(done + characters * (start + len(batch)) // len(windows), total)
                if sum(shard.states.nbytes for shard in encoded) >= SHARD_BYTES:
                    yield texts, _joined(encoded)
                    texts, encoded = [], []
            done += characters
        if encoded or texts:
            encoded = encoded or [self._encode_batch([], dtype)]  # texts without a single token
            yield texts, _joined(encoded)

    def _cut(self, texts: list[str], first_row: int) -> list[tuple[int, TextTokens]]:
        """Cut texts into windows, each with the row of its context, the shortest first."""
        cut = self.windowing.parts or _whole
        parts = [
            (row, start, text[start:end])
            for row, text in enumerate(texts, first_row)
            for start, end in cut(text)
        ]
        windows = []
        encoded = self.tokenizer.encode_all([text for _, _, text in parts])
        for (row, first, _), tokens in zip(parts, encoded, strict=True):
            moved = TextTokens(tokens.ids, tokens.starts + first, tokens.ends + first)
            size, overlap = self.window_tokens, self.windowing.overlap
            for start, end in cut_windows(len(moved.ids), size=size, overlap=overlap):
                windows.append((row, TextTokens(*(a[start:end] for a in moved))))
        return sorted(windows, key=lambda window: len(window[1].ids))

    @torch.inference_mode()
    def _encode_batch(self, windows: list[tuple[int, TextTokens]], dtype: torch.dtype) -> Shard:
        rows = [self.tokenizer.wrap(tokens.ids) for _, tokens in windows]
        around = (len(self.tokenizer.before), len(self.tokenizer.after))
        places = [np.stack([t.starts, t.ends], 1) for _, t in windows]
        places = [np.pad(p, (around, (0, 0)), constant_values=-1) for p in places]
        states, vectors = (torch.zeros(0, width) for width in self.windowing.widths)
        if windows:
            tokens, mask = pad_batch(rows)
            encoded = self.encode(tokens, mask.bool())
            states, vectors = encoded.states[encoded.mask], encoded.vectors
        return Shard(
            states.to("cpu", dtype),
            torch.from_numpy(np.concatenate([np.zeros((0, 2)), *places]).astype(np.int32)),
            torch.tensor([len(row) for row in rows], dtype=torch.long),
            torch.tensor([row for row, _ in windows], dtype=torch.long),
            vectors.to("cpu", torch.float32),
        )


def _whole(text: str) -> list[tuple[int, int]]:
    return [(0, len(text))]


def _groups(contexts: list[Context]) -> Iterator[list[Context]]:
    """Group contexts that are cut together, so that not all tokens are in memory at once."""
    group: list[Context] = []
    size = 0
    for context in contexts:
        group.append(context)
        size += len(context.text)
        if size >= _GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _joined(shards: list[Shard]) -> Shard:
    return Shard(*(torch.cat(tensors) for tensors in zip(*shards, strict=True)))
