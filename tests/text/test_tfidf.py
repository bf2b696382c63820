"""The index finds contexts that share rare words, and sentences by their place in a context."""

import math
import re
import sys
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from askew.text import TfidfIndex

CONTEXTS = [
    "Lima is the capital of Peru. It lies on the coast!\nIt is large, is it?  It is old.",
    "Santiago is the capital of Chile. It lies inland.",
    "  The ñandú is a bird...\r\n\r\nIt can't fly 3.5 m (or more.) Not at all",
    "五時間後。明日\uff01 b",
]
SENTENCES = [
    ["Lima is the capital of Peru.", "It lies on the coast!", "It is large, is it?", "It is old."],
    ["Santiago is the capital of Chile.", "It lies inland."],
    ["The ñandú is a bird...", "It can't fly 3.5 m (or more.)", "Not at all"],
    ["五時間後。", "明日\uff01", "b"],
]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def cosine(one: str, two: str, sentences: list[str]) -> float:
    """Both texts weighed by hand: (1 + log count) times smoothed idf over sentences."""
    n = len(sentences)
    seen = Counter(word for sentence in sentences for word in set(words(sentence)))
    sides = [
        {
            word: (1 + math.log(count)) * (1 + math.log((1 + n) / (1 + seen[word])))
            for word, count in Counter(words(text)).items()
            if seen[word]
        }
        for text in (one, two)
    ]
    norms = [math.hypot(*side.values()) for side in sides]
    shared = sum(weight * sides[1].get(word, 0.0) for word, weight in sides[0].items())
    return shared / (norms[0] * norms[1]) if shared else 0.0


def all_sentences() -> list[str]:
    return [sentence for several in SENTENCES for sentence in several]


@pytest.mark.parametrize(
    "question",
    ["What is the capital of Chile?", "is it it IT large", "fly 5 M", "明日", "the ñandú, please"],
)
def test_search_gives_the_cosine_of_weights_by_hand(question):
    expected = {i: cosine(question, text, all_sentences()) for i, text in enumerate(CONTEXTS)}
    order = sorted((i for i in expected if expected[i]), key=lambda i: -expected[i])
    ranked = TfidfIndex(CONTEXTS).search(question, 9)
    assert [row for row, _ in ranked] == order
    assert [score for _, score in ranked] == pytest.approx([expected[i] for i in order])


@pytest.mark.parametrize(
    ("question", "row"),
    [("Is the capital of Peru old?", 0), ("where does it lie", 1), ("fly", 2), ("at 3 all", 2)],
)
def test_the_best_sentence_has_the_highest_cosine_by_hand(question, row):
    expected = max(SENTENCES[row], key=lambda one: cosine(question, one, all_sentences()))
    start, end = TfidfIndex(CONTEXTS).best_sentence(question, row)
    assert CONTEXTS[row][start:end] == expected


def test_every_sentence_finds_itself_and_every_context_too():
    index = TfidfIndex(CONTEXTS)
    for row, several in enumerate(SENTENCES):
        assert index.search(CONTEXTS[row], 1) == [(row, pytest.approx(1))]
        for sentence in several:
            start, end = index.best_sentence(sentence, row)
            assert CONTEXTS[row][start:end] == sentence


def test_at_most_k_are_found_the_lower_row_first_of_equals():
    index = TfidfIndex(["a b", "c", "b a", "a", "b. a."])
    assert [row for row, _ in index.search("a b", 2)] == [0, 2]
    assert [row for row, _ in index.search("a b", 9)] == [0, 2, 4, 3]
    assert index.search("nothing of it", 3) == [] == index.search("", 3)
    assert index.best_sentence("nothing", 4) == (0, 2)


def test_blank_contexts_are_never_found():
    index = TfidfIndex(["", "word", " \n "])
    assert [row for row, _ in index.search("word", 3)] == [1]
    assert index.best_sentence("word", 0) == (0, 0)
    assert index.best_sentence("word", 2) == (0, 3)


@given(st.lists(st.text("ab .!?\n\r二。)", max_size=20), min_size=1, max_size=4), st.text("ab二"))
def test_spans_lie_within_and_begin_and_end_with_text(contexts, question):
    index = TfidfIndex([*contexts, "a"])
    for row, text in enumerate(contexts):
        start, end = index.best_sentence(question, row)
        assert 0 <= start <= end <= len(text)
        assert text[start:end] == text[start:end].strip() or not text.strip()
        assert "\n" not in text[start:end] or not text.strip()
    assert all(0 < score < 1 + 1e-9 for _, score in index.search(question, 9))


def test_a_long_text_of_marks_costs_linear_time():
    index = TfidfIndex(["a" + '.")' * 100_000, "." * 300_000 + "b", "a " * 300_000])
    assert index.best_sentence("a", 2) == (0, 599_999)


def test_errors_name_the_values(monkeypatch):
    for contexts, count in (([], 0), (["", " ?!"], 2)):
        with pytest.raises(ValueError, match=rf"^TfidfIndex: .*hold a word; got {count} without"):
            TfidfIndex(contexts)
    index = TfidfIndex(CONTEXTS)
    with pytest.raises(ValueError, match=r"^TfidfIndex\.search: k .*; got k 0$"):
        index.search("a", 0)
    for row in (-1, 4):
        with pytest.raises(ValueError, match=rf"must be a row of contexts; got context {row} of 4"):
            index.best_sentence("a", row)
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(ImportError, match=r"sklearn.* must be .*pip install 'askew\[apps\]'$"):
        TfidfIndex(CONTEXTS)
