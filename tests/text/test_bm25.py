"""BM25 equals the formula written out, and the library that others use."""

import math
from collections import Counter

import bm25s
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from askew.text import BM25

TEXTS = [
    "Lima is the capital of Peru, and Lima is large.",
    "Santiago is the capital of Chile",
    "the the the of",
    "A bird of Peru: the ñandú",
    "",
]
QUESTION = "What is the capital of Peru?"
WORD = st.sampled_from(["a", "b", "c", "d", "rare"])
TEXT = st.lists(WORD, max_size=9).map(" ".join)


def by_hand(question, texts, k1=1.5, b=0.75):
    """A double loop over texts and words; the words are those between spaces."""
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split) or 1
    scores = []
    for words in split:
        score = 0.0
        for word in set(question.split()):
            having = sum(word in other for other in split)
            idf = math.log(1 + (len(split) - having + 0.5) / (having + 0.5))
            count = Counter(words)[word]
            score += idf * count / (count + k1 * (1 - b + b * len(words) / mean))
        scores.append(score)
    return scores


@given(TEXT, st.lists(TEXT, min_size=1, max_size=5), st.floats(0.1, 3), st.floats(0, 1))
def test_scores_are_those_of_the_formula(question, texts, k1, b):
    expected = by_hand(question, texts, k1, b)
    assert BM25(texts, k1=k1, b=b).scores(question) == pytest.approx(expected)


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (2.0, 1.0)])
def test_scores_are_those_of_bm25s(k1, b):
    texts = [*TEXTS[:4], "ferry to Chile"] * 3
    theirs = bm25s.BM25(k1=k1, b=b, method="lucene")
    cut = {"stopwords": None, "show_progress": False, "token_pattern": r"\w+"}
    theirs.index(bm25s.tokenize(texts, **cut), show_progress=False)
    words = ["what", "is", "the", "capital", "of", "peru"]
    assert BM25(texts, k1=k1, b=b).scores(QUESTION) == pytest.approx(
        theirs.get_scores(words), rel=1e-5
    )


@given(TEXT, st.permutations(["a b", "b b c", "c rare", "a a a a d", ""]))
def test_the_order_of_the_texts_changes_no_score(question, texts):
    ordered = sorted(texts)
    scores = dict(zip(ordered, BM25(ordered).scores(question), strict=True))
    assert BM25(texts).scores(question) == pytest.approx([scores[text] for text in texts])


def test_the_best_come_first_and_equal_ones_by_row():
    bm25 = BM25([*TEXTS, TEXTS[0]])
    ranked = bm25.search(QUESTION, 99)
    assert [row for row, _ in ranked][:2] == [0, 5]
    assert 4 not in [row for row, _ in ranked]
    scores = [score for _, score in ranked]
    assert scores == sorted(scores, reverse=True)
    assert bm25.search(QUESTION, 1) == ranked[:1]


@pytest.mark.parametrize("question", ["", " ?! ", "unknown words"])
def test_a_question_without_known_words_finds_nothing(question):
    assert not BM25(TEXTS).scores(question).any()
    assert BM25(TEXTS).search(question, 3) == []


def test_one_text_and_none():
    assert BM25(["Lima is large"]).search("Lima", 3)[0][0] == 0
    assert BM25([]).search("Lima", 3) == []
    assert BM25(["", ""]).scores("Lima").tolist() == [0, 0]


def test_a_word_that_is_repeated_in_the_question_counts_once():
    assert BM25(TEXTS).scores("peru peru").tolist() == BM25(TEXTS).scores("peru").tolist()


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("STRASSE", "Straße"),
        ("cafe\u0301", "CAFÉ"),
        ("五時間後に", "時間"),
        ("(well-known)", "known"),
        ("\uff21\uff22", "ab"),
    ],
)
def test_what_words_are(text, question):
    assert BM25([text, "other"]).search(question, 2)[0][0] == 0


def test_chinese_is_compared_by_pairs_of_characters():
    bm25 = BM25(["時間", "時刻", "水"])
    assert [row for row, _ in bm25.search("時間後", 3)] == [0]
    assert [row for row, _ in bm25.search("水", 3)] == [2]


def test_other_texts_are_scored_with_the_weights_of_the_searched_ones():
    others = ["peru the", "of the bird", "zebra"]
    scores = BM25(TEXTS).score_others("the peru zebra", others)
    mean, n = 6 / 3, len(TEXTS)
    expected = []
    for words in map(str.split, others):
        norm = 1.5 * (0.25 + 0.75 * len(words) / mean)
        having = {"the": 4, "peru": 2, "zebra": 0}
        weights = [
            math.log(1 + (n - having[word] + 0.5) / (having[word] + 0.5)) / (1 + norm)
            for word in words
            if word in having
        ]
        expected.append(sum(weights))
    assert scores == pytest.approx(expected)
    assert np.array_equal(BM25(TEXTS).score_others("the", TEXTS), BM25(TEXTS).scores("the"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k1": -1}, r"k1 must be >= 0 and finite, and b 0 to 1; got k1 -1, b 0.75"),
        ({"k1": math.inf}, "got k1 inf"),
        ({"b": 1.5}, r"got k1 1.5, b 1.5"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BM25(TEXTS, **settings)


def test_fewer_than_one_text_cannot_be_asked_for():
    with pytest.raises(ValueError, match=r"BM25\.search: k must be at least 1; got k 0"):
        BM25(TEXTS).search("Lima", 0)
