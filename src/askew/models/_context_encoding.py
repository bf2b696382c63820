"""Contexts cut into windows and encoded, as shards of an index."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import require
from askew.models._answers import check_unicode
from askew.models._context_index import ContextIndex
from askew.models._context_shards import SHARD_BYTES, Shard, store_states
from askew.models._encoding_processes import (
    EncodeAll,
    Load,
    Step,
    Steps,
    Windows,
    encoding_processes,
)
from askew.models._qa import Encoded
from askew.text import Context, SpanTokenizer, TextTokens, cut_windows, pad_batch

_GROUP_CHARACTERS = 2**20
_JOB_CHARACTERS = 2**17  # fewer are encoded sooner than a process has started

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

    Attributes:
        load: Loads the same encoder in another process, where there is a folder to load it from.

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
        self.load: Load | None = None
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
        jobs: int,
    ) -> ContextIndex:
        """Encode contexts into a new index, in memory or in a folder without one."""
        self._check_jobs(jobs)
        index = ContextIndex(fingerprint, dtype=dtype)
        if folder is not None:
            index.open_new(folder)
        self.append(index, contexts, progress, jobs)
        if folder is not None and not index.contexts:
            index.append(())  # the manifest of an empty index
        return index

    def append(
        self, index: ContextIndex, contexts: Sequence[Context], progress: Progress | None, jobs: int
    ) -> int:
        """Encode what an index does not hold yet, and return how many were left out.

        In a folder every group of contexts is kept as soon as it is encoded.

        Raises:
            ValueError: If a text has lone surrogates, or jobs does not fit.
            TypeError: If `contexts` is a string or a single context.
        """
        if isinstance(contexts, str | Context):  # both could be gone through one by one
            raise TypeError(
                f"{self.caller}: contexts must be a list of Context; "
                f"got {type(contexts).__name__} {str(contexts)[:40]!r}. Put it into a list"
            )
        self._check_jobs(jobs)
        new = [c for c in dict.fromkeys(contexts) if index.row(c) is None]
        for context in new:
            check_unicode(f"{self.caller}.append", "context", context.text)
        total = sum(len(context.text) for context in new)
        with self._encoding(min(jobs, total // _JOB_CHARACTERS)) as encode_all:
            encoded = encode_all(self._steps(new, len(index.contexts)), index.dtype)
            report = _reporter(progress, total)
            groups = (_parts(chain([first], encoded), report) for first in encoded)
            if index.folder is None:
                index.append(part for parts in groups for part in parts)  # all or none
            else:
                for parts in groups:
                    index.append(parts)
        return len(contexts) - len(new)

    def _check_jobs(self, jobs: int) -> None:
        require(jobs >= 1, f"{self.caller}: jobs must be at least 1; got jobs {jobs}")
        require(
            jobs == 1 or self.load is not None,
            f"{self.caller}: several processes must load the encoder from its folder; got jobs "
            f"{jobs} and no folder. Use from_pretrained",
        )

    def _encoding(self, jobs: int) -> AbstractContextManager[EncodeAll]:
        if jobs > 1 and self.load is not None:
            return encoding_processes(self.caller, self.load, jobs)

        def encode_all(steps: Steps, dtype: str) -> Iterator[tuple[Step, Shard]]:
            for step, windows in steps:
                yield step, self.encode_batch(windows, dtype)

        return nullcontext(encode_all)

    def _steps(self, contexts: list[Context], first_row: int) -> Iterator[tuple[Step, Windows]]:
        """Cut group by group, and yield batches of windows; at least one of each group."""
        done, size = 0, self.windowing.batch_windows
        for group in _groups(contexts):
            windows = self._cut([context.text for context in group], first_row)
            first_row += len(group)
            characters = sum(len(context.text) for context in group)
            for start in range(0, max(1, len(windows)), size):
                batch = windows[start : start + size]
                share = characters * (start + len(batch)) // max(1, len(windows))
                is_last = start + size >= len(windows)
                yield Step(group, done + share, is_last), batch
            done += characters

    def _cut(self, texts: list[str], first_row: int) -> Windows:
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
    def encode_batch(self, windows: Windows, dtype: str) -> Shard:
        """Encode some windows, also none."""
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
            store_states(states.cpu(), dtype),
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


def _reporter(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(done, total)


def _parts(
    steps: Iterable[tuple[Step, Shard]], report: Callable[[int], None] | None
) -> Iterator[tuple[list[Context], Shard]]:
    """Join the batches of one group, and yield a shard whenever a file is full."""
    texts: list[Context] | None = None
    held: list[Shard] = []
    for step, shard in steps:
        texts = step.contexts if texts is None else texts
        held.append(shard)
        if report is not None:
            report(step.done)
        if sum(shard.states.nbytes for shard in held) >= SHARD_BYTES:
            yield texts, _joined(held)
            texts, held = [], []
        if step.is_last:
            break
    if held:
        yield texts or [], _joined(held)


def _joined(shards: list[Shard]) -> Shard:
    return Shard(*(torch.cat(tensors) for tensors in zip(*shards, strict=True)))
