"""Byte-pair encoding that leaves out merges at random, and can be repeated."""

import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import log, log1p
from typing import NamedTuple

from tokenizers import Tokenizer

from askew._check import require
from askew.text._protect import MARKS
from askew.text._tokenizer import is_protecting

_NEVER = 1 << 60  # a rank that no merge has, and a run that no text ends
_MOST_TEXTS = 1 << 18  # kept apart into words; a text seen once an epoch is worth it


class BpeDropout:
    """Cuts text into tokens as the tokenizer does, but leaves out each merge with probability p.

    At every step each pair of neighbours that could be merged is passed over with
    probability p; of those left the one learnt first is merged, until none is left. p = 0 is
    the tokenizer itself, p = 1 gives single bytes. The tokens depend on the text and a key
    alone, so that a training which is resumed sees the same ones; the tokenizers library has
    the same dropout without a seed. Marks of `askew.text.protect` stay whole.

    Args:
        tokenizer: A byte-level tokenizer of this package.
        p: Share of merges left out, in [0, 1].

    Raises:
        ValueError: If p is out of range.

    Numerics:
        How many merges are taken before one is left out is drawn at once, from the geometric
        distribution. A word that ends within such a run is cut as always and looked up.

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
        self._pretokenize = tokenizer.pre_tokenizer.pre_tokenize_str
        self._texts: dict[str, tuple[_Word, ...]] = {}
        marks = MARKS if is_protecting(tokenizer) else ()
        self._whole = re.compile("([" + "".join(marks) + "])" if marks else "(?!)")
        numbers = tokenizer.get_vocab()
        self._words = {mark: _Word(mark, [numbers[mark]], 0) for mark in marks}
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
        draw = _runs(self.p, random.Random(key).random)
        left, tokens = draw(), []
        for word, usual, steps in self._texts.get(text) or self._apart(text):
            if left >= steps:
                left -= steps
                tokens += usual
            else:
                cut, left = self._cut(word, left, draw)
                tokens += cut
        return tokens

    def _apart(self, text: str) -> "tuple[_Word, ...]":
        found = tuple(
            self._words.get(word) or self._words.setdefault(word, self._usual(word))
            for word in self._split(text)
        )
        if len(self._texts) < _MOST_TEXTS:
            self._texts[text] = found
        return found

    def _split(self, text: str) -> Iterator[str]:
        for piece in self._whole.split(text):
            if self._whole.fullmatch(piece):
                yield piece
            else:
                yield from (word for word, _ in self._pretokenize(piece))

    def _usual(self, word: str) -> "_Word":
        tokens, left = self._cut(word, _NEVER, lambda: _NEVER)
        return _Word(word, tokens, _NEVER - left)

    def _cut(self, word: str, left: int, draw: Callable[[], int]) -> tuple[list[int], int]:
        """Take `left` candidates, leave the next one out, and so on; give what is left then."""
        pieces, rank_of = list(word), self._ranks.get
        ranks = [rank_of(pair, _NEVER) for pair in pairwise(pieces)]
        while True:
            best, at = _NEVER, -1
            for i, rank in enumerate(ranks):
                if rank < best:
                    if left:
                        best, at, left = rank, i, left - 1
                    else:
                        left = draw()
            if at < 0:
                return [self._tokens[piece] for piece in pieces], left
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            del ranks[at]
            if at > 0:
                ranks[at - 1] = rank_of((pieces[at - 1], pieces[at]), _NEVER)
            if at < len(ranks):
                ranks[at] = rank_of((pieces[at], pieces[at + 1]), _NEVER)


class _Word(NamedTuple):
    """A word, its tokens with nothing left out, and how many candidates that takes."""

    word: str
    tokens: list[int]
    steps: int


def _runs(p: float, draw: Callable[[], float]) -> Callable[[], int]:
    """Give how many candidates are taken before the next one is left out."""
    if p in (0.0, 1.0):
        run = 0 if p else _NEVER
        return lambda: run
    scale = 1 / log1p(-p)
    return lambda: int(log(1.0 - draw()) * scale)
