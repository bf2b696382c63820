"""A comparison that grows until it is decided errs no more often than one of a fixed size."""

import numpy as np
import pytest
from rules import first_every_day
from scipy import stats

from askew.tradeoffs import interim_schedule, sequential_confidence


def test_looks_end_at_all_seeds():
    assert interim_schedule(5) == (5,)
    assert interim_schedule(11) == (5, 8, 11)
    assert interim_schedule(20) == (5, 8, 11, 14, 17, 20)
    with pytest.raises(ValueError, match=r"max_seeds must be >= 5, .*; got max_seeds 4"):
        interim_schedule(4)


@pytest.mark.parametrize(("looks", "published"), [((2, 4), 0.0294), ((1, 2, 3, 4, 5), 0.0158)])
def test_with_many_seeds_it_is_pococks_bound(looks, published):
    """Pocock's nominal levels for two and five equal steps and 5 % in all, variances known."""
    many = [100 * look for look in looks]
    assert 1 - sequential_confidence(many) == pytest.approx(published, rel=0.04)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_all_looks_together_err_as_often_as_one(confidence):
    looks = interim_schedule(14)
    nominal = sequential_confidence(looks, confidence=confidence)
    drawn = np.random.default_rng(7).standard_normal((20_000, 14))
    false = np.zeros(20_000, dtype=bool)
    for look in looks:
        p = stats.ttest_1samp(drawn[:, :look], 0, axis=1).pvalue
        false |= p < 1 - nominal
    error = (confidence * (1 - confidence) / 20_000) ** 0.5
    assert false.mean() == pytest.approx(1 - confidence, abs=4 * error)
    naive = np.zeros(20_000, dtype=bool)
    for look in looks:
        naive |= stats.ttest_1samp(drawn[:, :look], 0, axis=1).pvalue < 1 - confidence
    assert naive.mean() > 1.5 * (1 - confidence), "why it is needed"


@pytest.mark.parametrize("confidence", first_every_day(0.99, 0.998))
def test_rare_errors_are_simulated_as_often_as_common_ones(confidence):
    """The bound is known as well as that of 95 %: from other comparisons it is about the same."""
    looks = (5, 8, 11)
    level = 1 - sequential_confidence(looks, confidence=confidence)
    rng, blocks = np.random.default_rng(3), 10
    false = 0
    for _ in range(blocks):
        drawn = rng.standard_normal((100_000, 11))
        smallest = np.ones(len(drawn))
        for look in looks:
            part = drawn[:, :look]
            t = part.mean(1) * look**0.5 / part.std(1, ddof=1)
            np.minimum(smallest, 2 * stats.t.sf(np.abs(t), look - 1), out=smallest)
        false += int((smallest < level).sum())
    assert false / (blocks * 100_000) == pytest.approx(1 - confidence, rel=0.05)


def test_one_look_needs_nothing():
    assert sequential_confidence([1]) == sequential_confidence([7]) == 0.95


@pytest.mark.parametrize("looks", [[], [1, 5], [5, 5], [8, 5]])
def test_looks_that_cannot_be_are_refused(looks):
    with pytest.raises(ValueError, match="looks must be >= 2 and increasing"):
        sequential_confidence(looks)


@pytest.mark.parametrize("confidence", [0.4, 1.0])
def test_confidence_out_of_reach_is_refused(confidence):
    with pytest.raises(ValueError, match=r"confidence must be in \[0.5, 0.999\]"):
        sequential_confidence([5, 8], confidence=confidence)


def test_one_look_has_any_confidence():
    assert sequential_confidence([5], confidence=0.9999) == 0.9999
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\); got confidence 1.0"):
        sequential_confidence([5], confidence=1.0)
