"""Byte-pair encoding that leaves out merges at random, reproducibly."""

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

_NEVER = 1 << 60  # a rank that no merge has, and a number of merges that no text needs
_MOST_TEXTS = 1 << 18  # whose words are cached, since training reads every text once per epoch


class BpeDropout:
    """Cuts text into tokens as the tokenizer does, but leaves out each merge with probability p.

    At every step each possible merge of two neighbours is dropped with probability p. Of the
    others the one learnt first is done, until none is left. p = 0 is the tokenizer itself, p = 1
    gives single bytes. The tokens depend only on the text and a key, so a resumed training sees
    the same ones; the dropout of the tokenizers library has no seed. Marks of
    `askew.text.protect` stay whole.

    Args:
        tokenizer: A byte-level tokenizer of this package.
        p: Probability of leaving out a merge, in [0, 1].

    Raises:
        ValueError: If p is out of range.

    Numerics:
        The number of candidate merges kept before the next one is dropped is drawn at once, from
        the geometric distribution. A word that needs no more than that is cut as without dropout,
        by looking it up.

    Example:
        >>> from askew.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["low lower lowest"] * 3, vocab_size=270)
        >>> cut = BpeDropout(tokenizer, 0.5).encode("lowest", key="epoch 1")
        >>> tokenizer.decode(cut)
        'lowest'

    References:
        BPE-Dropout: Simple and Effective Subword Regularization, 2020, arXiv:1910.13267,
        algorithm 1.
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
            key: Seed of the dropout: the same text and key give the same tokens.

        Returns:
            Token numbers, without those of start and end.
        """
        draw_run = _runs(self.p, random.Random(key).random)
        run, tokens = draw_run(), []  # candidates kept before the next one is dropped
        for word, usual_tokens, candidates in self._texts.get(text) or self._words_of(text):
            if run >= candidates:
                run -= candidates
                tokens += usual_tokens
            else:
                cut, run = self._cut(word, run, draw_run)
                tokens += cut
        return tokens

    def _words_of(self, text: str) -> "tuple[_Word, ...]":
        words = tuple(
            self._words.get(word) or self._words.setdefault(word, self._without_dropout(word))
            for word in self._split(text)
        )
        if len(self._texts) < _MOST_TEXTS:
            self._texts[text] = words
        return words

    def _split(self, text: str) -> Iterator[str]:
        for piece in self._whole.split(text):
            if self._whole.fullmatch(piece):
                yield piece
            else:
                yield from (word for word, _ in self._pretokenize(piece))

    def _without_dropout(self, word: str) -> "_Word":
        tokens, run = self._cut(word, _NEVER, lambda: _NEVER)
        return _Word(word, tokens, _NEVER - run)

    def _cut(self, word: str, run: int, draw_run: Callable[[], int]) -> tuple[list[int], int]:
        """Cut a word, keeping `run` candidates before one is dropped, then as many as drawn.

        A candidate is a pair of neighbours of lower rank than the best kept so far in its step.
        The others could not win, so that dropping them or not makes no difference.

        Returns:
            The tokens, and how many candidates of the last run are left for the next word.
        """
        pieces, rank_of = list(word), self._ranks.get
        ranks = [rank_of(pair, _NEVER) for pair in pairwise(pieces)]
        while True:
            best, at = _NEVER, -1
            for i, rank in enumerate(ranks):
                if rank < best:
                    if run:
                        best, at, run = rank, i, run - 1
                    else:
                        run = draw_run()
            if at < 0:
                return [self._tokens[piece] for piece in pieces], run
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            del ranks[at]
            if at > 0:
                ranks[at - 1] = rank_of((pieces[at - 1], pieces[at]), _NEVER)
            if at < len(ranks):
                ranks[at] = rank_of((pieces[at], pieces[at + 1]), _NEVER)


class _Word(NamedTuple):
    """A word, its tokens without dropout, and the number of candidates met on the way."""

    word: str
    tokens: list[int]
    candidates: int


def _runs(p: float, draw: Callable[[], float]) -> Callable[[], int]:
    """Make a function that draws how many candidates are kept before the next one is dropped."""
    if p in (0.0, 1.0):
        run = 0 if p else _NEVER
        return lambda: run
    scale = 1 / log1p(-p)  # inverse transform: P(run >= n) = (1 - p)^n
    return lambda: int(log(1.0 - draw()) * scale)
