"""Answers are scored as by the official programs, and intervals agree with exact resampling."""

import math
import re
import string
from collections import Counter
from statistics import NormalDist, mean

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from askew.metrics import (
    CorpusScore,
    Interval,
    answer_exact_match,
    answer_f1,
    bootstrap_interval,
    mean_reciprocal_rank,
    normalize_answer,
    recall_at,
)

PIECES = ["a", "the", "The", "an", "U.S.", "cat", "cats", "dog", "the-dog", "a.", "!", "–", "É", ""]
answers = st.lists(st.sampled_from([*PIECES, " ", "\t"]), max_size=5).map(" ".join)
rows = st.lists(st.tuples(answers, st.lists(answers, max_size=3)), min_size=1, max_size=6)


def official_normal(text: str) -> str:
    """The steps of evaluate-v1.1.py."""
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def official_f1(predicted: str, known: str) -> float:
    """The rule of evaluate-v2.0.py: precision and recall of the words in common."""
    one, two = official_normal(predicted).split(), official_normal(known).split()
    if len(one) == 0 or len(two) == 0:
        return float(one == two)
    left, same = list(two), 0
    for word in one:
        if word in left:
            left.remove(word)
            same += 1
    if same == 0:
        return 0.0
    precision, recall = same / len(one), same / len(two)
    return 2 * precision * recall / (precision + recall)


def official_exact(predicted: str, known: str) -> float:
    return float(official_normal(predicted) == official_normal(known))


def official_scores(score, predictions, references) -> list[float]:
    items = []
    for prediction, several in zip(predictions, references, strict=True):
        gold = [one for one in several if official_normal(one)] or [""]
        items.append(100 * max(score(prediction, one) for one in gold))
    return items


@given(rows)
def test_scores_are_those_of_the_official_program(pairs):
    predictions, references = [one for one, _ in pairs], [several for _, several in pairs]
    for score, official in ((answer_exact_match, official_exact), (answer_f1, official_f1)):
        result = score(predictions, references)
        assert isinstance(result, CorpusScore)
        assert result.items == pytest.approx(official_scores(official, predictions, references))
        assert result.value == pytest.approx(mean(result.items))


@given(answers | st.text())
def test_english_answers_are_normalised_as_officially(text):
    assert normalize_answer(text) == official_normal(text)
    assert normalize_answer(normalize_answer(text)) == normalize_answer(text)


@given(rows)
def test_an_exact_match_has_full_f1_and_more_references_never_hurt(pairs):
    predictions, references = [one for one, _ in pairs], [several for _, several in pairs]
    exact, f1 = (score(predictions, references) for score in (answer_exact_match, answer_f1))
    assert all(low <= high for low, high in zip(exact.items, f1.items, strict=True))
    more = answer_f1(predictions, [several and [*several, "cat"] for several in references])
    known = [any(official_normal(one) for one in several) for several in references]
    for before, after, has in zip(f1.items, more.items, known, strict=True):
        assert after >= before or not has


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The  U.S.\nSenate!", "en", "us senate"),
        ("An apple, a day", "EN-gb", "apple day"),
        ("“The” cat", "en", "“ ” cat"),
        ("o A os as Um uma UNS umas: ato", "pt", "ato"),
        ("A Lei nº 9.394", "pt_BR", "lei nº 9394"),
        ("the a", "pt", "the"),
        ("Die Stadt, der den dem des das ein eine einen einem einer eines", "de", "stadt"),
        ("¿El río? La los las un una unos unas", "es", "¿ río"),
        ("L'homme et l\u2019eau: le la les un une des", "fr", "homme et eau"),
        ("calme-l'eau avril'x", "fr", "calme eau avrilx"),
        ("L'uomo un'ora gl'altri il lo la i gli le un uno una", "it", "uomo ora altri"),
        ("The a der", "xx", "the a der"),
        ("the theatre ana", "en", "theatre ana"),
    ],
)
def test_articles_are_those_of_the_language(text, language, expected):
    assert normalize_answer(text, language) == expected


@pytest.mark.parametrize("text", [["the Seine"], None, 9.394])
def test_an_answer_is_one_string(text):
    with pytest.raises(TypeError, match=r"text must be a string; got text .* one answer"):
        normalize_answer(text)


def test_scores_by_hand():
    predictions = ["the river Seine", "", "x", "", "Rhône Rhône"]
    references = [["Seine", "a river in France"], [], [], ["y", "z"], ["Rhône"]]
    exact, f1 = (score(predictions, references) for score in (answer_exact_match, answer_f1))
    assert exact == CorpusScore(20.0, (0.0, 100.0, 0.0, 0.0, 0.0), "SQuAD exact match, articles en")
    two_thirds = 200 / 3
    assert f1.items == pytest.approx((two_thirds, 100, 0, 0, two_thirds))
    assert f1.value == pytest.approx((100 + 2 * two_thirds) / 5)
    assert f1.signature == "SQuAD F1, articles en"


def test_the_language_counts_and_the_signature_says_so():
    for score in (answer_exact_match, answer_f1):
        result = score(["a casa"], [["casa"]], language="pt-BR")
        assert result.value == 100
        assert result.signature.endswith(", articles pt")
        result = score(["a casa"], [["casa"]], language="xx")
        assert result.value < 100
        assert result.signature.endswith(", no articles")


@pytest.mark.parametrize("score", [answer_exact_match, answer_f1])
def test_answers_refuse_unequal_counts_and_bare_strings(score):
    name = score.__name__
    with pytest.raises(ValueError, match=f"^{name}: .*got 0 predictions, 0 lists of references$"):
        score([], [])
    with pytest.raises(ValueError, match=f"^{name}: .*got 2 predictions, 1 lists of references$"):
        score(["a", "b"], [["a"]])
    with pytest.raises(TypeError, match=f"^{name}: .*got the string 'ab' in row 1$"):
        score(["a", "b"], [["a"], "ab"])


rank_lists = st.lists(st.none() | st.integers(1, 12), min_size=1)


@given(rank_lists, st.integers(1, 12))
def test_recall_counts_and_reciprocal_ranks_average(ranks, k):
    recall, reciprocal = recall_at(ranks, k), mean_reciprocal_rank(ranks)
    assert recall.value == pytest.approx(len([r for r in ranks if r and r <= k]) / len(ranks))
    assert reciprocal.value == pytest.approx(sum(1 / r for r in ranks if r) / len(ranks))
    assert recall.items == tuple(float(bool(r) and r <= k) for r in ranks)
    assert recall.signature == f"recall at {k}"
    assert reciprocal.items == pytest.approx([1 / r if r else 0 for r in ranks])
    assert recall_at(ranks, 1).value <= reciprocal.value <= recall_at(ranks, 12).value


def test_ranks_count_from_one():
    with pytest.raises(ValueError, match=r"^recall_at: k must be at least 1; got k 0$"):
        recall_at([1], 0)
    for call, name in ((lambda r: recall_at(r, 1), "recall_at"), (mean_reciprocal_rank, "mean_")):
        with pytest.raises(ValueError, match=rf"^{name}.*must be a rank; got none$"):
            call([])
        for wrong in (0, 1.5, math.nan, math.inf):
            with pytest.raises(ValueError, match=rf"^{name}.*count from 1; got rank \[{wrong}\]$"):
                call([None, 1, wrong])


def test_every_item_its_own_group_is_the_plain_bootstrap():
    items = np.random.default_rng(0).normal(size=50).tolist()
    plain = bootstrap_interval(items)
    assert isinstance(plain, Interval)
    assert bootstrap_interval(items, groups=range(50)) == plain
    assert bootstrap_interval(items, groups=[f"title {i}" for i in range(50)]) == plain


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_is_that_of_the_normal_limit(level):
    items = np.random.default_rng(1).uniform(size=400)
    reach = NormalDist().inv_cdf((1 + level) / 2) * items.std() / 20
    low, high = bootstrap_interval(items.tolist(), level=level)
    assert (low, high) == pytest.approx((items.mean() - reach, items.mean() + reach), abs=0.003)


def test_groups_are_drawn_whole():
    """All means that two unequal groups can give, each as often as the draws say."""
    items, groups = [0.0, 6.0, 0.0, 0.0], ["a", "b", "a", "a"]
    assert bootstrap_interval(items, groups=groups, level=0.6) == Interval(0.0, 6.0)
    assert bootstrap_interval(items, groups=groups, level=0.4) == Interval(1.5, 1.5)


def test_items_alike_within_groups_widen_the_interval():
    titles = [i // 20 for i in range(400)]
    level = np.random.default_rng(2).normal(size=20)
    items = [float(level[title]) for title in titles]
    low, high = bootstrap_interval(items, groups=titles)
    narrow = bootstrap_interval(items)
    assert (high - low) / (narrow.high - narrow.low) == pytest.approx(20**0.5, rel=0.1)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.integers(0, 3))
def test_the_interval_lies_among_the_items_and_follows_seed_shift_and_scale(items, seed):
    low, high = bootstrap_interval(items, resamples=50, seed=seed)
    assert min(items) - 1e-9 <= low <= high <= max(items) + 1e-9
    assert (low, high) == bootstrap_interval(items, resamples=50, seed=seed)
    moved = bootstrap_interval([3 * item + 1 for item in items], resamples=50, seed=seed)
    assert moved == pytest.approx((3 * low + 1, 3 * high + 1), abs=1e-8)


def test_blocks_bound_the_memory_and_all_resamples_count():
    items = [float(i % 2) for i in range(30_000)]
    low, high = bootstrap_interval(items, resamples=100)
    assert 0.49 < low < 0.5 < high < 0.51
    assert bootstrap_interval([0.0, 1.0], resamples=1).low in (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("items", "settings", "message"),
    [
        ([1, 2], {"level": 1}, r"got level 1, resamples 10000$"),
        ([1, 2], {"level": 0.0}, r"got level 0\.0, resamples 10000$"),
        ([1, 2], {"resamples": 0}, r"got level 0\.95, resamples 0$"),
        ([1, float("nan")], {}, r"items must be finite; got nan in row 1$"),
        ([float("inf"), 2], {}, r"items must be finite; got inf in row 0$"),
        ([1, 2], {"groups": ["a"]}, r"one group per item; got 1 groups, 2 items$"),
        ([1, 2], {"groups": ["a", "a"]}, r"at least 2 items or groups to draw from; got 1$"),
        ([1], {}, r"to draw from; got 1$"),
        ([], {}, r"to draw from; got 0$"),
    ],
)
def test_the_bootstrap_refuses_what_says_nothing(items, settings, message):
    with pytest.raises(ValueError, match=rf"^bootstrap_interval: .*{message}"):
        bootstrap_interval(items, **settings)


def test_the_naive_count_of_shared_words_is_the_one_of_counters():
    predicted, known = ["b", "b", "a", "c"], ["b", "c", "c", "b", "b"]
    shared = sum(min(Counter(predicted)[word], Counter(known)[word]) for word in set(predicted))
    assert answer_f1(["b b x c"], [["b c c b b"]]).value == pytest.approx(200 * shared / 9)
