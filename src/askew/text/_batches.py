"""Batches of sentences of similar length, each within a budget of tokens."""

import random
from collections.abc import Callable, Iterator, Sequence

from askew._check import require


class TokenBatches:
    """Endless shuffled passes over a data set, cut into a fixed number of batches.

    Each pass shuffles, sorts by length (equal lengths stay shuffled), starts a new batch when the
    padded size of either side would exceed `max_tokens`, and shuffles the batches. The same seed
    gives the same batches. It is a batch sampler for `torch.utils.data.DataLoader`.

    Args:
        lengths: Source and target length of every example, in tokens. If they change from pass to
            pass (BPE-dropout), a function from the number of the pass, from 0 on, to the lengths.
        max_tokens: Budget of a batch: number of rows times the longest side.
        num_batches: Number of batches; None stops after one pass.
        seed: Seed of the shuffling.

    Raises:
        ValueError: If there are no examples, or one is longer than `max_tokens`. Lengths from a
            function are not checked: there, an example that is too long is a batch by itself.

    Example:
        >>> batches = TokenBatches([(2, 3), (3, 3), (9, 9)], max_tokens=9, num_batches=None, seed=0)
        >>> sorted(sorted(batch) for batch in batches)
        [[0, 1], [2]]
    """

    def __init__(
        self,
        lengths: Sequence[tuple[int, int]] | Callable[[int], Sequence[tuple[int, int]]],
        *,
        max_tokens: int,
        num_batches: int | None,
        seed: int,
    ) -> None:
        first = lengths(0) if callable(lengths) else lengths
        require(len(first) > 0, "TokenBatches: there must be examples; got none")
        require(
            num_batches is None or num_batches >= 0,
            f"TokenBatches: num_batches must be >= 0 or None; got num_batches {num_batches}",
        )
        longest = max(range(len(first)), key=lambda i: max(first[i]))
        require(
            callable(lengths) or max(first[longest]) <= max_tokens,
            "TokenBatches: max_tokens must hold the longest example; "
            f"got max_tokens {max_tokens}, example {longest} with {max(first[longest])} tokens",
        )
        self.lengths = lengths if callable(lengths) else [tuple(pair) for pair in lengths]
        self.max_tokens = max_tokens
        self.num_batches = num_batches
        self.seed = seed
        self._one_pass = len(self._pass(first, 0))

    def __len__(self) -> int:
        """Return the number of batches."""
        return self._one_pass if self.num_batches is None else self.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the row numbers of each batch."""
        count, epoch = 0, 0
        while True:
            lengths = self.lengths(epoch) if callable(self.lengths) else self.lengths
            for batch in self._pass(lengths, epoch):
                if self.num_batches is not None and count == self.num_batches:
                    return
                count += 1
                yield batch
            if self.num_batches is None:
                return
            epoch += 1

    def _pass(self, lengths: Sequence[tuple[int, ...]], epoch: int) -> list[list[int]]:
        generator = random.Random(f"{self.seed}/{epoch}")
        rows = list(range(len(lengths)))
        generator.shuffle(rows)
        rows.sort(key=lambda row: (lengths[row][1], lengths[row][0]))
        batches: list[list[int]] = [[]]
        longest = 0
        for row in rows:
            longest_with = max(longest, *lengths[row])
            if batches[-1] and longest_with * (len(batches[-1]) + 1) > self.max_tokens:
                batches.append([])
                longest_with = max(lengths[row])
            batches[-1].append(row)
            longest = longest_with
        generator.shuffle(batches)
        return batches
