"""Scores are sacreBLEU's own, and their shares are the leave-one-out definition."""

import random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from askew.metrics import CorpusScore, bleu, chrf, exact_match, sentence_chrf, word_error_rate

REFERENCES = [
    "the cat sat on the mat near the door",
    "12 de maio de 2021",
    "there is no place like home , they said",
    "one two three four five",
    "a short one",
    "it costs $ 1,250.00 today",
    "x",
    "he reads the same book again and again",
]
HYPOTHESES = [
    "the cat sat on a mat near the door",
    "13 de maio de 2021",
    "there is no place like a home they said",
    "one two three four five",
    "an utterly different sentence",
    "it costs $ 1,205.00 today",
    "",
    "he reads the same book again",
]
SCORES = [(bleu, BLEU), (chrf, CHRF)]


def public_score(foreign, hypotheses, references):
    return foreign().corpus_score(hypotheses, [references]).score


@pytest.mark.parametrize(("score", "foreign"), SCORES)
def test_value_is_the_score_of_sacrebleu(score, foreign):
    result = score(HYPOTHESES, REFERENCES)
    assert isinstance(result, CorpusScore)
    assert 20 < result.value < 90
    assert result.value == pytest.approx(public_score(foreign, HYPOTHESES, REFERENCES), abs=1e-10)
    metric = foreign()
    metric.corpus_score(HYPOTHESES, [REFERENCES])
    assert result.signature == str(metric.get_signature())
    assert "nrefs:1" in result.signature
    assert "version:" in result.signature


@given(
    st.lists(
        st.tuples(*[st.lists(st.sampled_from("abcd"), max_size=7)] * 2), min_size=1, max_size=5
    )
)
def test_value_is_the_score_of_sacrebleu_for_any_text(pairs):
    hypotheses = [" ".join(hypothesis) for hypothesis, _ in pairs]
    references = [" ".join(reference) for _, reference in pairs]
    for score, foreign in SCORES:
        expected = public_score(foreign, hypotheses, references)
        assert score(hypotheses, references).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("score", "foreign"), SCORES)
def test_items_are_jackknife_pseudo_values(score, foreign):
    result, n = score(HYPOTHESES, REFERENCES), len(REFERENCES)
    whole = public_score(foreign, HYPOTHESES, REFERENCES)
    expected = []
    for i in range(n):
        hypotheses, references = (rows[:i] + rows[i + 1 :] for rows in (HYPOTHESES, REFERENCES))
        expected.append(n * whole - (n - 1) * public_score(foreign, hypotheses, references))
    assert result.items == pytest.approx(expected, abs=1e-9)
    assert mean(result.items) == pytest.approx(result.value, abs=5)


@pytest.mark.parametrize("score", [bleu, chrf, exact_match])
def test_a_single_item_has_the_whole_score(score):
    result = score(["one two three four five"], ["one two three four six"])
    assert result.items == (result.value,)


@pytest.mark.parametrize(("score", "best"), [(bleu, 100), (chrf, 100), (exact_match, 1)])
def test_copies_score_best_and_strangers_score_nothing(score, best):
    copied = score(REFERENCES, REFERENCES)
    assert copied.value == pytest.approx(best)
    assert copied.items == pytest.approx([best] * len(REFERENCES))
    assert score(["qqqq qqqq"] * 8, REFERENCES).value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("score", [bleu, chrf, exact_match])
def test_order_of_the_sentences_changes_only_the_order_of_the_items(score):
    result, turned = score(HYPOTHESES, REFERENCES), score(HYPOTHESES[::-1], REFERENCES[::-1])
    assert turned.value == pytest.approx(result.value)
    assert turned.items[::-1] == pytest.approx(result.items)


def test_exact_match_by_hand():
    hypotheses = ["a", " b\n", "c c", "", "E"]
    references = ["a", "b", "c  c", " ", "e"]
    result = exact_match(hypotheses, references)
    assert result == CorpusScore(0.6, (1.0, 1.0, 0.0, 1.0, 0.0), "exact match, stripped")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), min_size=1))
def test_items_of_exact_match_average_to_the_value(pairs):
    result = exact_match([one for one, _ in pairs], [two for _, two in pairs])
    assert mean(result.items) == pytest.approx(result.value)
    assert result.value == pytest.approx(sum(one == two for one, two in pairs) / len(pairs))


@pytest.mark.parametrize("score", [bleu, chrf, exact_match])
def test_refuses_nothing_and_unequal_counts(score):
    name = score.__name__
    with pytest.raises(ValueError, match=f"^{name}: .*got 0 hypotheses, 0 references$"):
        score([], [])
    with pytest.raises(ValueError, match=f"^{name}: .*got 2 hypotheses, 1 references$"):
        score(["a", "b"], ["a"])
    with pytest.raises(ValueError, match=f"^{name}: .*got 0 hypotheses, 3 references$"):
        score([], ["a", "b", "c"])


CHINESE = (["那只猫坐在门边的垫子上"], ["那只猫坐在门旁的垫子上"])


def test_bleu_cuts_texts_as_their_language_is_written():
    score = bleu(*CHINESE)
    assert score.value == pytest.approx(
        BLEU(tokenize="zh").corpus_score(CHINESE[0], [CHINESE[1]]).score
    )
    assert score.value > 50 > bleu(*CHINESE, tokenizer="13a").value
    assert "tok:zh" in score.signature
    assert "tok:13a" in bleu(HYPOTHESES, REFERENCES).signature
    assert "tok:char" in bleu(*CHINESE, tokenizer="char").signature


def test_chrf_counts_words_by_choice():
    score = chrf(HYPOTHESES, REFERENCES, word_order=2)
    foreign = CHRF(word_order=2)
    assert score.value == pytest.approx(foreign.corpus_score(HYPOTHESES, [REFERENCES]).score)
    assert score.signature == str(foreign.get_signature())
    with pytest.raises(ValueError, match="word_order must not be negative; got word_order -1"):
        chrf(["a"], ["a"], word_order=-1)


def test_chrf_of_a_sentence_is_that_of_a_corpus_of_one():
    hypotheses = ["the cat sat", "", "a dog"]
    references = ["the cat sits", "one", "a dog"]
    expected = [chrf([h], [r]).value for h, r in zip(hypotheses, references, strict=True)]
    assert sentence_chrf(hypotheses, references) == pytest.approx(expected)
    with pytest.raises(ValueError, match="sentence_chrf: there must be one hypothesis per"):
        sentence_chrf(["a"], [])


def slow_distance(one, other):
    """Levenshtein's distance by its definition."""
    if not one or not other:
        return len(one) + len(other)
    changed = slow_distance(one[1:], other[1:]) + (one[0] != other[0])
    return min(changed, slow_distance(one[1:], other) + 1, slow_distance(one, other[1:]) + 1)


def test_word_errors_are_the_distance_over_the_words_of_the_references():
    rng = random.Random(0)
    draw = lambda: [rng.choice("abc") for _ in range(rng.randrange(6))]  # noqa: E731
    pairs = [(draw(), [*draw(), "a"]) for _ in range(40)]
    sides = ([" ".join(side) for side in column] for column in zip(*pairs, strict=True))
    score = word_error_rate(*sides)
    edits = sum(slow_distance(one, other) for one, other in pairs)
    assert score.value == pytest.approx(edits / sum(len(other) for _, other in pairs))
    assert len(score.items) == 40


def test_case_and_punctuation_are_no_errors():
    assert word_error_rate(["Two cats, (there)!"], ["two cats there"]).value == 0
    assert word_error_rate([""], ["two cats"]).value == 1
    assert word_error_rate(["one two three four"], ["one"]).value == 3
    with pytest.raises(ValueError, match="word_error_rate: the references must have words"):
        word_error_rate(["a"], ["…"])
