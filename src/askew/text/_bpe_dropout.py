"""Byte-pair encoding that leaves out merges at random, and can be repeated."""

import json
import random
from collections.abc import Callable
from itertools import pairwise

from tokenizers import Tokenizer

from askew._check import require


class BpeDropout:
    """Cuts text into tokens as the tokenizer does, but leaves out each merge with probability p.

    At every step each pair of neighbours that could be merged is passed over with
    probability p; of those left the one learnt first is merged, until none is left. p = 0 is
    the tokenizer itself, p = 1 gives single bytes. The tokens depend on the text and a key
    alone, so that a training which is resumed sees the same ones; the tokenizers library has
    the same dropout without a seed.

    Args:
        tokenizer: A byte-level tokenizer of this package.
        p: Share of merges left out, in [0, 1].

    Raises:
        ValueError: If p is out of range.

    Example:
        >>> from askew.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["low lower lowest"] * 3, vocab_size=270)
        >>> cut = BpeDropout(tokenizer, 0.5).encode("lowest", key="epoch 1")
        >>> tokenizer.decode(cut)
        'lowest'

    References:
        BPE-Dropout: Simple and Effective Subword Regularization, 2020, arXiv:1910.13267.
    """

    def __init__(self, tokenizer: Tokenizer, p: float) -> None:
        require(0.0 <= p <= 1.0, f"BpeDropout: p must be in [0, 1]; got p {p}")
        model = json.loads(tokenizer.to_str())["model"]
        self.p = p
        self._split = tokenizer.pre_tokenizer.pre_tokenize_str
        self._words: dict[str, tuple[str, ...]] = {}  # of every text seen: it is seen each epoch
        self._tokens: dict[str, int] = model["vocab"]
        self._ranks = {(left, right): rank for rank, (left, right) in enumerate(model["merges"])}

    def encode(self, text: str, *, key: str) -> list[int]:
        """Cut a text.

        Args:
            text: Any text.
            key: Of what is left out: the same text and key give the same tokens.

        Returns:
            Token numbers, without start and end.
        """
        words = self._words.get(text)
        if words is None:
            words = self._words[text] = tuple(word for word, _ in self._split(text))
        draw = random.Random(key).random
        return [token for word in words for token in self._cut(word, draw)]

    def _cut(self, word: str, draw: Callable[[], float]) -> list[int]:
        pieces, ranks, p = list(word), self._ranks, self.p
        known = [ranks.get(pair) for pair in pairwise(pieces)]
        while True:
            best, at = None, -1
            for i, rank in enumerate(known):
                if rank is not None and (best is None or rank < best) and draw() >= p:
                    best, at = rank, i
            if best is None:
                return [self._tokens[piece] for piece in pieces]
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            del known[at]
            if at > 0:
                known[at - 1] = ranks.get((pieces[at - 1], pieces[at]))
            if at < len(known):
                known[at] = ranks.get((pieces[at], pieces[at + 1]))
