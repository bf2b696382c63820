"""Contexts cut into windows and encoded, as shards of an index."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from tokenizers import Tokenizer

from askew._check import require
from askew.models._context_shards import Shard
from askew.models._devices import input_device
from askew.models._qa import AsymmetricQAModel
from askew.text import Context, SpanTokenizer, TextTokens, cut_windows, pad_batch

_SHARD_BYTES = 2**28
_GROUP_CHARACTERS = 2**20

Progress = Callable[[int, int], None]
"""Called with characters of contexts done and in all."""


class ContextEncoder:
    """Cuts contexts into overlapping windows and encodes them.

    Args:
        model: In evaluation mode.
        tokenizer: Of contexts.
        batch_windows: Windows that are encoded together.

    Raises:
        ValueError: If a window has no room for more than the overlap.
    """

    def __init__(
        self, model: AsymmetricQAModel, tokenizer: Tokenizer, *, batch_windows: int
    ) -> None:
        self.model, self.tokenizer = model, SpanTokenizer(tokenizer)
        self.batch_windows = batch_windows
        config = model.config.to_plain()
        self.d_pool, self.overlap = config.d_pool, config.overlap
        self.window_tokens = config.max_context_tokens - self.tokenizer.num_special
        require(
            self.window_tokens > self.overlap,
            "QuestionAnswerer: max_context_tokens must leave more than overlap to the text; got "
            f"max_context_tokens {config.max_context_tokens}, overlap {self.overlap}, "
            f"{self.tokenizer.num_special} tokens around the text",
        )

    def shards(
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
        for group in _groups(contexts):
            windows = self._cut([c.text for c in group], first_row)
            first_row += len(group)
            characters = sum(len(context.text) for context in group)
            texts += group
            for start in range(0, len(windows), self.batch_windows):
                batch = windows[start : start + self.batch_windows]
                encoded.append(self._encode_batch(batch, dtype))
                if progress is not None:
                    progress(done + characters * (start + len(batch)) // len(windows), total)
                if sum(shard.states.nbytes for shard in encoded) >= _SHARD_BYTES:
                    yield texts, _joined(encoded)
                    texts, encoded = [], []
            done += characters
        if encoded or texts:
            encoded = encoded or [self._encode_batch([], dtype)]  # texts without a single token
            yield texts, _joined(encoded)

    def _cut(self, texts: list[str], first_row: int) -> list[tuple[int, TextTokens]]:
        """Cut texts into windows, each with the row of its context, the shortest first."""
        windows = []
        for row, tokens in enumerate(self.tokenizer.encode_all(texts), first_row):
            cuts = cut_windows(len(tokens.ids), size=self.window_tokens, overlap=self.overlap)
            windows += [(row, TextTokens(*(a[start:end] for a in tokens))) for start, end in cuts]
        return sorted(windows, key=lambda window: len(window[1].ids))

    @torch.inference_mode()
    def _encode_batch(self, windows: list[tuple[int, TextTokens]], dtype: torch.dtype) -> Shard:
        rows = [self.tokenizer.wrap(tokens.ids) for _, tokens in windows]
        around = (len(self.tokenizer.before), len(self.tokenizer.after))
        places = [np.stack([t.starts, t.ends], 1) for _, t in windows]
        places = [np.pad(p, (around, (0, 0)), constant_values=-1) for p in places]
        states = torch.zeros(0, self.model.reader.config.d_model)
        vectors = torch.zeros(0, self.d_pool)
        if windows:
            device = input_device(self.model)
            tokens, mask = (tensor.to(device) for tensor in pad_batch(rows))
            encoded = self.model.encode_contexts(tokens, mask.bool())
            states, vectors = encoded.states[encoded.mask], encoded.vectors
        return Shard(
            states.to("cpu", dtype),
            torch.from_numpy(np.concatenate([np.zeros((0, 2)), *places]).astype(np.int32)),
            torch.tensor([len(row) for row in rows], dtype=torch.long),
            torch.tensor([row for row, _ in windows], dtype=torch.long),
            vectors.to("cpu", torch.float32),
        )


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
