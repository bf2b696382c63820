"""Placeholders are counted one by one, as often as they occur."""

import random

import pytest

from askew.metrics import Survival, placeholder_survival
from askew.text import find_placeholders, placeholder_kind


def test_counts_each_occurrence_and_no_more_than_the_source_has():
    sources = ["%s and %s", "plain", "``x``", "{0}"]
    hypotheses = ["%s", "%d", "``x`` ``x``", "``x``"]
    survival = placeholder_survival(sources, hypotheses, find_placeholders, kind=placeholder_kind)
    kinds = {"printf": (1, 2), "literal": (1, 1), "field": (0, 1)}
    assert survival == Survival(kept=2, total=4, left_out=1, kinds=kinds)
    assert next(iter(survival.kinds)) == "printf"
    assert survival.share == pytest.approx(2 / 4)


def test_a_translation_that_keeps_all_keeps_each_kind():
    sources = ["%s of {n} in ``x``, :ref:`here <a>` and `b`_", "<b>*now*</b>"]
    others = ["``x``: {n}, %s; :ref:`aqui <a>`, `c`_", "*agora* <b></b>"]
    for hypotheses in (sources, others):
        survival = placeholder_survival(
            sources, hypotheses, find_placeholders, kind=placeholder_kind
        )
        assert survival.kept == survival.total == 8
        assert survival.left_out == 0
        assert all(kept == total for kept, total in survival.kinds.values())


def test_equals_a_plain_loop_over_sentences_and_adds_up_over_them():
    drawn = random.Random(0)
    words = ["%s", "%d", "{0}", "``x``", "plain"]
    texts = [" ".join(drawn.choices(words, k=drawn.randint(1, 6))) for _ in range(80)]
    sources, hypotheses = texts[:40], texts[40:]
    kept = total = 0
    for source, hypothesis in zip(sources, hypotheses, strict=True):
        left = hypothesis.split()
        for word in source.split():
            if word != "plain":
                total += 1
                if word in left:
                    left.remove(word)
                    kept += 1
    survival = placeholder_survival(sources, hypotheses, find_placeholders)
    assert (survival.kept, survival.total, survival.kinds) == (kept, total, {})
    single = [
        placeholder_survival([s], [h], find_placeholders)
        for s, h in zip(sources, hypotheses, strict=True)
    ]
    assert sum(one.kept for one in single) == kept
    assert sum(one.left_out for one in single) == survival.left_out


def test_nothing_to_keep_has_no_share():
    survival = placeholder_survival(["a"], ["%s"], find_placeholders)
    assert survival == Survival(0, 0, 1, {})
    assert survival.share is None


def test_refuses_sides_of_different_length():
    with pytest.raises(ValueError, match="got 2 hypotheses, 1 sources"):
        placeholder_survival(["a"], ["b", "c"], find_placeholders)
