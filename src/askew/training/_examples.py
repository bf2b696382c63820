"""Token numbers of parallel text, and the batches a model is trained on."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from askew._check import require
from askew.text import END, START, ParallelText, pad_batch

IGNORED = -100


class TranslationExamples(Dataset):
    """Parallel text as token numbers, source and target.

    Args:
        pairs: The text.
        tokenizer: Of both sides.
        max_tokens: Longest side that is kept.

    Raises:
        ValueError: If a side is longer than `max_tokens`; the message names the pair.
    """

    def __init__(self, pairs: ParallelText, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        self.sources = [e.ids for e in tokenizer.encode_batch_fast(pairs.sources)]
        self.targets = [e.ids for e in tokenizer.encode_batch_fast(pairs.targets)]
        for row, (source, target) in enumerate(zip(self.sources, self.targets, strict=True)):
            longest = max(len(source), len(target)) + 1
            require(
                longest <= max_tokens,
                f"TranslationExamples: both sides must fit max_tokens {max_tokens}; "
                f"got pair {row + 1} with {longest} tokens: {pairs.sources[row][:40]!r}. "
                "Remove it or raise training.batch_tokens",
            )

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, row: int) -> tuple[list[int], list[int]]:
        return self.sources[row], self.targets[row]

    @property
    def lengths(self) -> list[tuple[int, int]]:
        """Source and target length of every pair, with its end (or start) token."""
        return [(len(s) + 1, len(t) + 1) for s, t in zip(self.sources, self.targets, strict=True)]


def collate_translation(rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Tensor]:
    """Make a padded batch; the decoder reads the target shifted by a start token.

    Args:
        rows: Source and target tokens, without start and end.

    Returns:
        `input_ids`, `attention_mask`, `decoder_input_ids`, and `labels` with -100 where
        nothing is to be predicted.

    Example:
        >>> collate_translation([([5], [6, 7]), ([8, 9], [4])])["labels"].tolist()
        [[6, 7, 2], [4, 2, -100]]
    """
    source, mask = pad_batch([[*source, END] for source, _ in rows])
    target, _ = pad_batch([[START, *target] for _, target in rows])
    labels, _ = pad_batch([[*target, END] for _, target in rows], value=IGNORED)
    return {
        "input_ids": source,
        "attention_mask": mask,
        "decoder_input_ids": target,
        "labels": labels,
    }
