"""Parallel text as token numbers, and the batches a model is trained on."""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from askew._check import in_words, refuse_string, require
from askew.text import (
    END,
    START,
    BpeDropout,
    ParallelText,
    TokenBatches,
    Tokenizers,
    pad_batch,
    read_special_tokens_as_text,
)

IGNORED = -100


class TranslationExamples(Dataset):
    """Parallel text as token numbers, source and target.

    With n pairs, example i is row i mod n as tokenized in epoch i // n. Without BPE-dropout all
    epochs are alike.

    Args:
        pairs: The text.
        tokenizers: Of source and target; a single one serves both.
        max_tokens: Longest side that is kept.
        bpe_dropout: Share of merges left out on each side, in [0, 1].
        seed: Of BPE-dropout.

    Raises:
        ValueError: If a side is longer than `max_tokens`; the message names the pairs.

    Example:
        >>> from askew.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["one cat", "um gato"], vocab_size=280)
        >>> pairs = ParallelText(["one cat"], ["um gato"])
        >>> tokenizer.decode(TranslationExamples(pairs, tokenizer, max_tokens=9)[0][1])
        'um gato'
    """

    def __init__(
        self,
        pairs: ParallelText,
        tokenizers: Tokenizers | Tokenizer,
        *,
        max_tokens: int,
        bpe_dropout: tuple[float, float] = (0.0, 0.0),
        seed: int = 0,
    ) -> None:
        if isinstance(tokenizers, Tokenizer):
            tokenizers = Tokenizers(tokenizers, tokenizers)
        self.source, self.target = (
            _TokenizedTexts(texts, tokenizer, p, f"{seed}/{name}")
            for texts, tokenizer, p, name in zip(
                pairs, tokenizers, bpe_dropout, ("source", "target"), strict=True
            )
        )
        long = [
            f"pair {row + 1} with {max(lengths)} tokens: {pairs.sources[row][:40]!r}"
            for row, lengths in enumerate(self.lengths)
            if max(lengths) > max_tokens
        ]
        require(
            not long,
            lambda: (
                f"TranslationExamples: both sides must fit max_tokens {max_tokens}; "
                f"got {in_words(long)}. Remove it or raise training.batch_tokens"
            ),
        )

    def __len__(self) -> int:
        return len(self.source.tokens)

    def __getitem__(self, index: int) -> tuple[list[int], list[int]]:
        epoch, row = divmod(index, len(self))
        return self.source.row_in(row, epoch), self.target.row_in(row, epoch)

    def __iter__(self) -> Iterator[tuple[list[int], list[int]]]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> list[tuple[int, int]]:
        """Source and target length of every pair, with its end (or start) token.

        They are those without BPE-dropout, which makes an example longer.
        """
        sides = zip(self.source.tokens, self.target.tokens, strict=True)
        return [(len(source) + 1, len(target) + 1) for source, target in sides]

    def lengths_in(self, epoch: int) -> list[tuple[int, int]]:
        """Return the lengths in an epoch: with BPE-dropout each epoch has its own."""
        if self.source.dropout is None and self.target.dropout is None:
            return self.lengths
        first = epoch * len(self)
        examples = (self[first + row] for row in range(len(self)))
        return [(len(source) + 1, len(target) + 1) for source, target in examples]


class _TokenizedTexts:
    """The texts of one language as tokens, which BPE-dropout cuts anew in every epoch."""

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, p: float, key: str) -> None:
        self.texts = texts
        refuse_string("TranslationExamples", "each side of the pairs", texts)
        read_special_tokens_as_text(tokenizer)
        self.tokens = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        self.dropout = BpeDropout(tokenizer, p) if p > 0 else None
        self.key = key

    def row_in(self, row: int, epoch: int) -> list[int]:
        if self.dropout is None:
            return self.tokens[row]
        return self.dropout.encode(self.texts[row], key=f"{self.key}/{epoch}/{row}")


class EpochBatches:
    """Batches whose row numbers also contain the epoch, as `TranslationExamples` reads them.

    Args:
        batches: Whole passes over the examples, one after the other.
        num_examples: Length of a pass.

    Example:
        >>> batches = TokenBatches([(2, 2)], max_tokens=9, num_batches=3, seed=0)
        >>> list(EpochBatches(batches, 1))
        [[0], [1], [2]]
    """

    def __init__(self, batches: TokenBatches, num_examples: int) -> None:
        self.batches = batches
        self.num_examples = num_examples

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        seen = 0
        for batch in self.batches:
            first = seen - seen % self.num_examples
            seen += len(batch)
            yield [first + row for row in batch]


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
