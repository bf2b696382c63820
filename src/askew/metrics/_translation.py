"""Scores of translations: of the whole test set and per sentence."""

import string
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from askew._check import refuse_string, require
from askew.metrics._bleu_tokenizers import bleu_tokenizer, check_tokenizer

_PUNCTUATION = string.punctuation + "“”«»…¿¡"


class CorpusScore(NamedTuple):
    """A score of a whole test set, one number per item, and how it was computed.

    `items` are the jackknife pseudo-values ``n * score - (n - 1) * score_without_item``. Their
    mean is about the score (exactly, if the score is a mean over items), and their spread
    measures its uncertainty.

    Args:
        value: Score of the whole set, 0 to 100, or 0 to 1 where a function says so.
        items: One number per sentence or question.
        signature: How it was computed, such as sacreBLEU's signature.

    Example:
        >>> score = bleu(["a b c d e"], ["a b c d e"])
        >>> isinstance(score, CorpusScore), score.value, len(score.items)
        (True, 100.00000000000004, 1)
    """

    value: float
    items: tuple[float, ...]
    signature: str


def bleu(
    hypotheses: Sequence[str], references: Sequence[str], *, tokenizer: str | None = None
) -> CorpusScore:
    """Compute corpus BLEU of detokenised text, 0 to 100, with sacreBLEU.

    Args:
        hypotheses: One translation per sentence.
        references: One reference per sentence.
        tokenizer: One of sacreBLEU's: 13a, intl, zh, ja-mecab, ko-mecab, char, none, flores101 or
            flores200 (spBLEU). None means the one for the script of the references
            (`bleu_tokenizer`).

    Returns:
        The score, its pseudo-values and sacreBLEU's signature, which names the tokenizer.

    Raises:
        ValueError: If there are no sentences, the counts differ, or there is no such tokenizer or
            its model is not on this machine; nothing is downloaded.
        ModuleNotFoundError: If the package of the tokenizer is not installed.
        TypeError: If one side is a string and not a list of them.

    Example:
        >>> round(bleu(["a b c d e"], ["a b c d e"]).value)
        100

    References:
        A Call for Clarity in Reporting BLEU Scores, 2018, arXiv:1804.08771.
    """
    tokenizer = bleu_tokenizer(references) if tokenizer is None else tokenizer
    check_tokenizer(tokenizer)
    return _corpus_score("bleu", BLEU(tokenize=tokenizer), hypotheses, references)


def chrf(
    hypotheses: Sequence[str], references: Sequence[str], *, word_order: int = 0
) -> CorpusScore:
    """Compute corpus chrF2, character 1- to 6-grams, 0 to 100, with sacreBLEU.

    Args:
        hypotheses: One translation per sentence.
        references: One reference per sentence.
        word_order: Longest n-grams of words that count too; 2 is chrF++.

    Returns:
        The score, its pseudo-values and sacreBLEU's signature.

    Raises:
        ValueError: If there are no sentences, the counts differ, or word_order is negative.
        TypeError: If one side is a string and not a list of them.

    Example:
        >>> round(chrf(["12 de maio"], ["12 de maio"]).value)
        100

    References:
        chrF: character n-gram F-score for automatic MT evaluation, 2015, WMT.
        chrF++: words helping character n-grams, 2017, WMT.
    """
    require(word_order >= 0, f"chrf: word_order must not be negative; got word_order {word_order}")
    return _corpus_score("chrf", CHRF(word_order=word_order), hypotheses, references)


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> CorpusScore:
    r"""Compute the share of translations that equal their reference once stripped, 0 to 1.

    .. math:: \frac{1}{N} \sum_{i=1}^{N} [h_i = r_i]

    Args:
        hypotheses: One translation per sentence.
        references: One reference per sentence.

    Returns:
        The share, and 0 or 1 per sentence.

    Raises:
        ValueError: If there are no sentences or the counts differ.
        TypeError: If one side is a string and not a list of them.

    Example:
        >>> exact_match(["a", "b"], ["a", "c"]).value
        0.5
    """
    _check_counts("exact_match", hypotheses, references)
    pairs = zip(hypotheses, references, strict=True)
    items = tuple(float(h.strip() == r.strip()) for h, r in pairs)
    return CorpusScore(sum(items) / len(items), items, "exact match, stripped")


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
    """Compute chrF2 of every sentence on its own, 0 to 100, with sacreBLEU.

    Args:
        hypotheses: One translation per sentence.
        references: One reference per sentence.

    Returns:
        One score per sentence; their mean is not the score of the corpus.

    Raises:
        ValueError: If there are no sentences or the counts differ.
        TypeError: If one side is a string and not a list of them.

    Example:
        >>> [round(score) for score in sentence_chrf(["um gato", "um"], ["um gato", "dois"])]
        [100, 0]
    """
    _check_counts("sentence_chrf", hypotheses, references)
    metric = CHRF()
    pairs = zip(hypotheses, references, strict=True)
    return [metric.sentence_score(h, [r]).score for h, r in pairs]


def word_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> CorpusScore:
    r"""Compute the words that are wrong, missing or too many, over the words of the references.

    .. math:: \frac{\sum_i d(h_i, r_i)}{\sum_i |r_i|}

    d is the smallest number of words to replace, leave out or add. Words are what white space
    separates, in lower case and without punctuation at their ends.

    Args:
        hypotheses: One transcript per recording.
        references: One reference per recording.

    Returns:
        The rate, at least 0, and its pseudo-values; lower is better.

    Raises:
        ValueError: If there are no references, none has a word, or the counts differ.
        TypeError: If one side is a string and not a list of them.

    Example:
        >>> word_error_rate(["Two cats."], ["two black cats"]).value
        0.3333333333333333
    """
    _check_counts("word_error_rate", hypotheses, references)
    pairs = [(_words(h), _words(r)) for h, r in zip(hypotheses, references, strict=True)]
    counts = np.array([(_edits(h, r), len(r)) for h, r in pairs])
    total = counts.sum(0)
    require(total[1] > 0, "word_error_rate: the references must have words; got none")
    value = float(total[0] / total[1])
    items = _jackknife(value, counts, lambda left: float(left[0] / max(left[1], 1)))
    return CorpusScore(value, items, "word error rate, lower case, without punctuation")


def _words(text: str) -> list[str]:
    stripped = (word.strip(_PUNCTUATION) for word in text.lower().split())
    return [word for word in stripped if word]


def _edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(other) + 1))
    for place, word in enumerate(one, 1):
        diagonal, row[0] = row[0], place
        for column, rival in enumerate(other, 1):
            changed = diagonal + (word != rival)
            diagonal = row[column]
            row[column] = min(changed, diagonal + 1, row[column - 1] + 1)
    return row[-1]


def _check_counts(name: str, hypotheses: Sequence[str], references: Sequence[str]) -> None:
    refuse_string(name, "hypotheses", hypotheses)
    refuse_string(name, "references", references)
    require(
        len(hypotheses) == len(references) > 0,
        f"{name}: there must be one hypothesis per reference and at least one; "
        f"got {len(hypotheses)} hypotheses, {len(references)} references",
    )


def _corpus_score(
    name: str, metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]
) -> CorpusScore:
    _check_counts(name, hypotheses, references)
    # sacreBLEU keeps additive counts per sentence, so leaving one out is a subtraction.
    counts = np.array(metric._extract_corpus_statistics(list(hypotheses), [list(references)]))
    total = counts.sum(axis=0)
    value = _score(metric, total)
    items = _jackknife(value, counts, lambda left: _score(metric, left))
    return CorpusScore(value, items, str(metric.get_signature()))


def _score(metric: BLEU | CHRF, counts: np.ndarray) -> float:
    return float(metric._compute_score_from_stats(counts.tolist()).score)


def _jackknife(
    value: float, counts: np.ndarray, score: Callable[[np.ndarray], float]
) -> tuple[float, ...]:
    if len(counts) == 1:
        return (value,)
    total, n = counts.sum(axis=0), len(counts)
    return tuple(n * value - (n - 1) * score(total - row) for row in counts)
