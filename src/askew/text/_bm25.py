"""BM25: texts ranked by the words that they share with a question."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from askew._check import refuse_string, require
from askew.text._words import split_words


class WordCounts(NamedTuple):
    """How often the words of texts occur in each, word after word.

    Args:
        words: The number of each word.
        first: [words + 1], where the entries of each word begin, and where the last end.
        rows: [entries], the texts that contain a word, in ascending order.
        counts: [entries], how often they do.
        lengths: [texts], words of each.
    """

    words: dict[str, int]
    first: np.ndarray
    rows: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray


def count_words(texts: Sequence[str]) -> WordCounts:
    """Count the words of texts."""
    known: dict[str, int] = {}
    numbers, lengths = array("q"), array("q")
    for text in texts:
        words = split_words(text)
        lengths.append(len(words))
        numbers.extend([known.setdefault(word, len(known)) for word in words])
    rows = np.repeat(np.arange(len(lengths)), np.array(lengths, dtype=np.int64))
    # One sort brings the entries of a word together, and the texts among them into order.
    keys, counts = np.unique(np.array(numbers) * max(1, len(lengths)) + rows, return_counts=True)
    owners, rows = np.divmod(keys.astype(np.int64), max(1, len(lengths)))
    first = np.searchsorted(owners, np.arange(len(known) + 1))
    return WordCounts(
        known, first, rows.astype(np.int32), counts.astype(np.int32), np.array(lengths, np.int64)
    )


class BM25:
    r"""Scores of texts by the words that they share with a question.

    Of N texts of :math:`\bar\ell` words on average, :math:`n_w` contain the word w. A text of
    :math:`\ell` words in which w occurs :math:`f_w` times has the score

    .. math::
        \sum_{w} \log\Bigl(1 + \frac{N - n_w + \frac12}{n_w + \frac12}\Bigr)
        \frac{f_w}{f_w + k_1\,(1 - b + b\,\ell / \bar\ell)}

    over the different words w of the question. The logarithm is that of Lucene, whose 1 keeps the
    weight of a word positive that most texts contain; some publish the score times
    :math:`k_1 + 1`, which changes no rank. Case, punctuation and compatible forms of characters do
    not count; Chinese, Japanese, Thai, Lao, Khmer and Burmese, which put no space between words,
    are compared by pairs of characters.

    Args:
        texts: The texts to search.
        k1: How much a word counts that occurs again, >= 0; 0 counts it once.
        b: How much long texts are marked down, 0 (not at all) to 1.

    Raises:
        ValueError: If a number is out of range.
        TypeError: If `texts` is a string and not a list of them.

    Example:
        >>> bm25 = BM25(["Lima is in Peru.", "Santiago is in Chile.", "Peru and Chile"])
        >>> [(row, round(score, 2)) for row, score in bm25.search("Where is Lima?", 2)]
        [(0, 0.56), (1, 0.18)]

    References:
        The Probabilistic Relevance Framework: BM25 and Beyond, Robertson and Zaragoza, 2009,
        doi:10.1561/1500000019.
    """

    def __init__(self, texts: Sequence[str], *, k1: float = 1.5, b: float = 0.75) -> None:
        refuse_string("BM25", "texts", texts)
        require(
            0 <= k1 < float("inf") and 0 <= b <= 1,
            f"BM25: k1 must be >= 0 and finite, and b 0 to 1; got k1 {k1}, b {b}",
        )
        self.k1, self.b = k1, b
        self._counts = count_words(texts)
        self._norms = self._length_norms(self._counts.lengths)

    def __len__(self) -> int:
        return len(self._counts.lengths)

    def scores(self, question: str) -> np.ndarray:
        """Score every text.

        Args:
            question: Any text.

        Returns:
            A score >= 0 for each text, float64; 0 if it shares no word with the question.
        """
        scores = np.zeros(len(self))
        for word in dict.fromkeys(split_words(question)):
            rows, counts = self._entries(word)
            scores[rows] += self._weight(len(rows)) * counts / (counts + self._norms[rows])
        return scores

    def search(self, question: str, k: int) -> list[tuple[int, float]]:
        """Find the texts with the highest scores.

        Args:
            question: Any text.
            k: Maximal number of texts, at least 1.

        Returns:
            Row and score of each text, the best first; equal ones by row. Texts that share no
            word with the question are left out.

        Raises:
            ValueError: If k is below 1.
        """
        require(k >= 1, f"BM25.search: k must be at least 1; got k {k}")
        scores = self.scores(question)
        return [(row, float(scores[row])) for row in best_rows(scores, k) if scores[row] > 0]

    def score_others(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """Score texts that are not searched, such as the sentences of one that is.

        Args:
            question: Any text.
            texts: The texts, whose mean length is that of the formula.

        Returns:
            A score >= 0 for each, float64, with words weighed as in the searched texts. A word
            that none of those contains weighs the most.
        """
        counted = count_words(texts)
        norms = self._length_norms(counted.lengths)
        scores = np.zeros(len(texts))
        for word in dict.fromkeys(split_words(question)):
            rows, counts = _entries(counted, word)
            weight = self._weight(len(self._entries(word)[0]))
            scores[rows] += weight * counts / (counts + norms[rows])
        return scores

    def _weight(self, texts: int) -> float:
        """Weigh a word that this many of the texts contain."""
        return float(np.log1p((len(self) - texts + 0.5) / (texts + 0.5)))

    def _entries(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        return _entries(self._counts, word)

    def _length_norms(self, lengths: np.ndarray) -> np.ndarray:
        mean = lengths.mean() if lengths.any() else 1.0
        return self.k1 * (1 - self.b + self.b * lengths / mean)


def best_rows(scores: np.ndarray, k: int) -> list[int]:
    """Return the rows of the k highest scores, the highest first; equal ones by row."""
    rows = np.arange(len(scores))
    if k < len(scores):
        rows = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return rows[np.lexsort((rows, -scores[rows]))][:k].tolist()


def _entries(counts: WordCounts, word: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts that contain a word, and how often they do."""
    number = counts.words.get(word)
    if number is None:
        return counts.rows[:0], counts.counts[:0]
    entries = slice(counts.first[number], counts.first[number + 1])
    return counts.rows[entries], counts.counts[entries]
