"""Scores of answers as SQuAD defines them, scores of retrieval, and a bootstrap interval."""

import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from askew._check import refuse_string, require
from askew.metrics._translation import CorpusScore

_ARTICLES = {
    "de": "der die das den dem des ein eine einen einem einer eines",
    "en": "a an the",
    "es": "el la los las un una unos unas",
    "fr": "le la les un une des",
    "it": "il lo la i gli le un uno una",
    "pt": "o a os as um uma uns umas",
}
_ELIDED = {"fr": "l", "it": "l|un|gl"}
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_BLOCK = 1_000_000


class Interval(NamedTuple):
    """Lower and upper end of an interval, in the unit of the items.

    Args:
        low: Lower end.
        high: Upper end.

    Example:
        >>> Interval(low=-1.0, high=2.5).high
        2.5
    """

    low: float
    high: float


def normalize_answer(text: str, language: str = "en") -> str:
    """Reduce an answer to the words that count, as SQuAD's evaluation does.

    In this order: the text is lower-cased, ASCII punctuation is dropped (`string.punctuation`, as
    in the official program: "«", "“" and "¿" stay), articles are dropped, white space becomes
    single spaces. For "en" the result is the official one. French and Italian articles with an
    apostrophe ("l'", "un'") are dropped before the punctuation.

    Args:
        text: An answer.
        language: Whose articles to drop: de, en, es, fr, it or pt, also with a region such as
            "pt-BR"; any other code drops none.

    Returns:
        The words with single spaces between them, "" if nothing is left.

    Raises:
        TypeError: If the text is no string, as a list of answers.

    Example:
        >>> normalize_answer("The  U.S. Senate!"), normalize_answer("A Lei nº 9.394", "pt")
        ('us senate', 'lei nº 9394')

    References:
        SQuAD: 100,000+ Questions for Machine Comprehension of Text, 2016, arXiv:1606.05250,
        evaluate-v1.1.py.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"normalize_answer: text must be a string; got text {text!r}. Pass one answer at a time"
        )
    code = _primary(language)
    text = text.lower()
    if code in _ELIDED:
        text = re.sub(rf"\b(?:{_ELIDED[code]})['\u2019]", " ", text)
    text = text.translate(_NO_PUNCTUATION)
    if code in _ARTICLES:
        text = re.sub(rf"\b(?:{_ARTICLES[code].replace(' ', '|')})\b", " ", text)
    return " ".join(text.split())


def answer_exact_match(
    predictions: Sequence[str], references: Sequence[Sequence[str]], *, language: str = "en"
) -> CorpusScore:
    """Compute the share of answers that equal a reference after normalisation, 0 to 100.

    If a question has no answer, or none that is non-empty after normalisation, only a prediction
    that is empty after normalisation is right. This is the rule of SQuAD 2; that of SQuAD 1 gives
    the same result if every reference is non-empty after normalisation.

    Args:
        predictions: One answer per question, "" for no answer.
        references: For each question the answers of all annotators; an empty list for no answer.
        language: Language whose articles are dropped, see `normalize_answer`.

    Returns:
        The mean, and 0 or 100 per question.

    Raises:
        ValueError: If there are no questions or the counts differ.
        TypeError: If the predictions or the references, also of a question, are a string and not
            a list.

    Example:
        >>> answer_exact_match(["The Seine", ""], [["Seine", "the river Seine"], []]).value
        100.0

    References:
        SQuAD: 100,000+ Questions for Machine Comprehension of Text, 2016, arXiv:1606.05250.
        Know What You Don't Know: Unanswerable Questions for SQuAD, 2018, arXiv:1806.03822.
    """
    name = "answer_exact_match"
    return _score(name, "exact match", _exact, predictions, references, language)


def answer_f1(
    predictions: Sequence[str], references: Sequence[Sequence[str]], *, language: str = "en"
) -> CorpusScore:
    r"""Compute the mean overlap in words of answers with their best reference, 0 to 100.

    Let the answer have :math:`p` words and the reference :math:`r` after normalisation, and let
    :math:`n` be the number of words in common, repeated words counted as often as both have
    them. Then

    .. math:: F_1 = \frac{2\,n}{p + r} .

    Each question scores the maximum over its references. If a question has no answer, or none
    that is non-empty after normalisation, only a prediction that is empty after normalisation is
    right, which is the rule of SQuAD 2.

    Args:
        predictions: One answer per question, "" for no answer.
        references: For each question the answers of all annotators; an empty list for no answer.
        language: Language whose articles are dropped, see `normalize_answer`.

    Returns:
        The mean, and 0 to 100 per question.

    Raises:
        ValueError: If there are no questions or the counts differ.
        TypeError: If the predictions or the references, also of a question, are a string and not
            a list.

    Example:
        >>> round(answer_f1(["river Seine"], [["the Seine", "Rhône"]]).value, 1)
        66.7

    References:
        SQuAD: 100,000+ Questions for Machine Comprehension of Text, 2016, arXiv:1606.05250.
        Know What You Don't Know: Unanswerable Questions for SQuAD, 2018, arXiv:1806.03822.
    """
    return _score("answer_f1", "F1", _overlap, predictions, references, language)


def recall_at(ranks: Sequence[int | None], k: int) -> CorpusScore:
    r"""Compute the share of questions whose context is among the first `k` retrieved, 0 to 1.

    .. math:: \frac{1}{N} \sum_{i=1}^{N} [r_i \le k]

    Args:
        ranks: For each question the rank of the right context, from 1 on; None if not found.
        k: Number of retrieved contexts that count, at least 1.

    Returns:
        The share, and 0 or 1 per question.

    Raises:
        ValueError: If there are no ranks, or a rank or k is below 1.

    Example:
        >>> recall_at([1, 7, None, 2], 5).value
        0.5
    """
    require(k >= 1, f"recall_at: k must be at least 1; got k {k}")
    _check_ranks("recall_at", ranks)
    return _mean([float(rank is not None and rank <= k) for rank in ranks], f"recall at {k}")


def mean_reciprocal_rank(ranks: Sequence[int | None]) -> CorpusScore:
    r"""Compute the mean of 1 / rank of the right context, 0 to 1; not found counts 0.

    .. math:: \frac{1}{N} \sum_{i=1}^{N} \frac{1}{r_i}

    Args:
        ranks: For each question the rank of the right context, from 1 on; None if not found.

    Returns:
        The mean, and 1 / rank per question.

    Raises:
        ValueError: If there are no ranks, or one is below 1.

    Example:
        >>> mean_reciprocal_rank([1, 4, None, 2]).value
        0.4375

    References:
        The TREC-8 Question Answering Track Report, 1999, Voorhees.
    """
    _check_ranks("mean_reciprocal_rank", ranks)
    return _mean([0.0 if rank is None else 1 / rank for rank in ranks], "mean reciprocal rank")


def bootstrap_interval(
    items: Sequence[float],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Compute the percentile bootstrap interval of the mean of items.

    It draws as many items as there are, with replacement, many times, and returns the middle
    `level` of the means. With groups, it draws whole groups and averages all their items: the
    questions of one article are not independent, and the interval then holds for new articles.
    If every item is a group by itself, both are the same.

    Args:
        items: One number per item, such as `items` of a score.
        level: Share of the means inside, in (0, 1).
        resamples: Number of means, at least 1.
        seed: Seed of the draws. The same seed gives the same interval.
        groups: The group of each item, such as the title of its article.

    Returns:
        The interval, in the unit of the items. It is too narrow for a handful of groups.

    Raises:
        ValueError: If there are fewer than 2 items or groups, an item is not finite, the
            counts differ, or a setting is out of range.

    Example:
        >>> low, high = bootstrap_interval([0.0, 100.0] * 50)
        >>> 39 < low < 42 and 58 < high < 61
        True

    References:
        An Introduction to the Bootstrap, 1993, chapter 13.
    """
    require(
        0 < level < 1 and resamples >= 1,
        "bootstrap_interval: level must be in (0, 1) and resamples at least 1; "
        f"got level {level}, resamples {resamples}",
    )
    values = np.asarray(items, dtype=float)
    not_finite = np.flatnonzero(~np.isfinite(values))
    require(
        not len(not_finite),
        "bootstrap_interval: items must be finite; "
        + "".join(f"got {values[row]} in row {row}" for row in not_finite[:1]),
    )
    sums, counts = _totals(values, groups)
    require(
        len(sums) > 1,
        "bootstrap_interval: there must be at least 2 items or groups to draw from; "
        f"got {len(sums)}",
    )
    generator = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    block = max(1, _BLOCK // len(sums))  # bounds the memory
    for start in range(0, resamples, block):
        shape = (min(block, resamples - start), len(sums))
        drawn = generator.integers(len(sums), size=shape)
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    ends = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(ends[0]), float(ends[1]))


def _totals(values: np.ndarray, groups: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """Compute the sum and the number of items of each group."""
    if groups is None:
        return values, np.ones(len(values))
    require(
        len(groups) == len(values),
        "bootstrap_interval: there must be one group per item; "
        f"got {len(groups)} groups, {len(values)} items",
    )
    numbers: dict[Hashable, int] = {}
    rows = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=int)
    return np.bincount(rows, values), np.bincount(rows).astype(float)


def _score(
    name: str,
    what: str,
    score: Callable[[list[str], list[str]], float],
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    language: str,
) -> CorpusScore:
    refuse_string(name, "predictions", predictions)
    refuse_string(name, "references", references)
    require(
        len(predictions) == len(references) > 0,
        f"{name}: there must be a list of references per prediction and at least one; "
        f"got {len(predictions)} predictions, {len(references)} lists of references",
    )
    items: list[float] = []
    for row, (prediction, answers) in enumerate(zip(predictions, references, strict=True)):
        if isinstance(answers, str):
            raise TypeError(
                f"{name}: the references of a question must be a list of strings; "
                f"got the string {answers!r} in row {row}"
            )
        known = [normalize_answer(answer, language).split() for answer in answers]
        known = [words for words in known if words] or [[]]  # [] stands for "no answer"
        predicted = normalize_answer(prediction, language).split()
        items.append(max(100 * score(predicted, words) for words in known))
    code = _primary(language)
    articles = f"articles {code}" if code in _ARTICLES else "no articles"
    return _mean(items, f"SQuAD {what}, {articles}")


def _exact(predicted: list[str], known: list[str]) -> float:
    return float(predicted == known)


def _overlap(predicted: list[str], known: list[str]) -> float:
    if not predicted or not known:
        return float(predicted == known)
    shared = (Counter(predicted) & Counter(known)).total()
    return 2 * shared / (len(predicted) + len(known))


def _primary(language: str) -> str:
    """Return the language of a code that may have a region."""
    return re.split("[-_]", language.lower(), maxsplit=1)[0]


def _check_ranks(name: str, ranks: Sequence[int | None]) -> None:
    require(len(ranks) > 0, f"{name}: there must be a rank; got none")
    wrong = [rank for rank in ranks if rank is not None and not (rank >= 1 and rank % 1 == 0)]
    require(not wrong, f"{name}: ranks must count from 1; got rank {wrong[:1]}")


def _mean(items: list[float], signature: str) -> CorpusScore:
    return CorpusScore(sum(items) / len(items), tuple(items), signature)
