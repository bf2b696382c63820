"""Fused scores and ranks equal the formulas written out, and keep the order of equal sides."""

import math
import statistics

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from askew.text import fuse_ranks, fuse_scores

SCORES = st.lists(st.integers(-9, 9), min_size=1, max_size=7)
PAIRS = st.integers(1, 7).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-9, 9), min_size=n, max_size=n)] * 2)
)


@given(PAIRS, st.floats(0, 1))
def test_scores_are_standardised_and_weighted(pair, weight):
    expected = [0.0] * len(pair[0])
    for scores, part in zip(pair, (weight, 1 - weight), strict=True):
        mean, spread = statistics.mean(scores), statistics.pstdev(scores)
        for i, score in enumerate(scores):
            expected[i] += part * (score - mean) / spread if spread else 0
    fused = fuse_scores([np.array(scores) for scores in pair], [weight, 1 - weight])
    assert fused == pytest.approx(expected, abs=1e-9)


@given(PAIRS, st.floats(0, 99))
def test_ranks_are_those_of_cormack(pair, k):
    expected = [
        sum(1 / (k + 1 + sum(other > one[i] for other in one)) for one in pair)
        for i in range(len(pair[0]))
    ]
    assert fuse_ranks([np.array(scores) for scores in pair], k=k) == pytest.approx(expected)


@given(SCORES)
def test_two_equal_sides_keep_their_order(scores):
    array = np.array(scores, dtype=float)
    order = np.argsort(-array, kind="stable").tolist()
    for fused in (fuse_scores([array] * 2, [0.3, 0.7]), fuse_ranks([array] * 2)):
        assert np.argsort(-np.round(fused, 9), kind="stable").tolist() == order


@given(PAIRS)
def test_scale_and_place_of_a_score_do_not_count(pair):
    one, other = (np.array(scores, dtype=float) for scores in pair)
    fused = fuse_scores([one, other], [1, 2])
    assert fuse_scores([5 * one - 3, other], [1, 2]) == pytest.approx(fused, abs=1e-9)
    assert fuse_ranks([5 * one - 3, other]).tolist() == fuse_ranks([one, other]).tolist()


def test_no_text_gives_no_score():
    assert fuse_scores([np.zeros(0)], [1]).shape == fuse_ranks([np.zeros(0)]).shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fuse_scores([], []),
            r"fuse_scores: scores must be arrays of one length; got \[\]",
        ),
        (lambda: fuse_ranks([np.zeros(2), np.zeros(3)]), r"fuse_ranks: .* got \[\(2,\), \(3,\)\]"),
        (lambda: fuse_scores([np.zeros(2)], [1, 2]), r"got \[1, 2\] for 1 scores"),
        (lambda: fuse_scores([np.zeros(2)], [-1]), r"a finite weight >= 0 .* got \[-1\]"),
        (lambda: fuse_scores([np.zeros(2)], [math.nan]), r"got \[nan\]"),
        (lambda: fuse_ranks([np.zeros(2)], k=-1), r"k must be finite and >= 0; got k -1"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
