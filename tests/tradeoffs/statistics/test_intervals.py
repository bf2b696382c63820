import math

import numpy as np
import pytest
from scipy import stats

from askew.tradeoffs._statistics.intervals import (
    Spread,
    estimate_spread,
    margin_of,
    minimum_detectable,
)

SEEDS, ITEMS = 5, 200


def _naive_variance(grid: list[list[float]]) -> float:
    seeds, items = len(grid), len(grid[0])
    mean = sum(map(sum, grid)) / (seeds * items)
    rows = [sum(row) / items for row in grid]
    columns = [sum(row[i] for row in grid) / seeds for i in range(items)]
    seed_square = sum((row - mean) ** 2 for row in rows) * items / (seeds - 1)
    item_square = sum((column - mean) ** 2 for column in columns) * seeds / (items - 1)
    rest = 0.0
    for s in range(seeds):
        for i in range(items):
            rest += (grid[s][i] - rows[s] - columns[i] + mean) ** 2
    rest /= (seeds - 1) * (items - 1)
    total = max(seed_square, item_square, rest, seed_square + item_square - rest)
    return total / (seeds * items)


def _grids(seed_sd: float, item_sd: float, rest_sd: float, tables: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    return (
        rng.normal(0, seed_sd, (tables, SEEDS, 1))
        + rng.normal(0, item_sd, (tables, 1, ITEMS))
        + rng.normal(0, rest_sd, (tables, SEEDS, ITEMS))
    )


def _covered(grids: np.ndarray) -> float:
    spreads = [estimate_spread(grid.mean(axis=1), grid) for grid in grids]
    variances, dfs = np.array(spreads).T
    margins = stats.t.ppf(0.975, dfs) * np.sqrt(variances)
    return float((np.abs(grids.mean(axis=(1, 2))) <= margins).mean())


def test_seeds_alone_give_students_interval():
    values = np.array([0.3, 1.1, -0.4, 0.9, 0.7])
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    margin = margin_of(estimate_spread(values, None), 0.9)
    assert (values.mean() - margin, values.mean() + margin) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(("seed_sd", "item_sd"), [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_crossed_variance_equals_naive_loop(seed_sd: float, item_sd: float):
    for grid in _grids(seed_sd, item_sd, 1.0, 5)[:, :, :7]:
        spread = estimate_spread(grid.mean(axis=1), grid)
        assert spread.variance == pytest.approx(_naive_variance(grid.tolist()), rel=1e-12)


def test_crossed_variance_by_hand():
    # mean 3; rows 2, 4; columns 1, 3, 5; residuals ±(1, 0, -1) over 2 df: squares 6, 8, 2
    grid = np.array([[1.0, 2.0, 3.0], [1.0, 4.0, 7.0]])
    spread = estimate_spread(np.array([2.0, 4.0]), grid)
    assert spread.variance == pytest.approx((6 + 8 - 2) / 6)
    assert spread.df == pytest.approx(12**2 / (6**2 / 1 + 8**2 / 2 + 2**2 / 2))


def test_component_below_zero_does_not_shrink_the_variance():
    # residuals ±1 over 1 df: square 4; rows 1, 1 or 1, 7: squares 0 or 36; columns: square 0
    flat = np.array([[0.0, 2.0], [2.0, 0.0]])
    tilted = flat + np.array([[0.0], [6.0]])
    assert estimate_spread(np.array([1.0, 1.0]), flat).variance == pytest.approx(4 / 4)
    assert estimate_spread(np.array([1.0, 7.0]), tilted) == (pytest.approx(36 / 4), 1)
    assert estimate_spread(np.array([4.0, 4.0]), tilted.T).variance == pytest.approx(36 / 4)


def test_degrees_of_freedom_lie_between_those_of_seeds_and_items():
    by_seed, by_item = (_grids(s, i, 0.01, 1)[0] for s, i in ((1.0, 0.0), (0.0, 1.0)))
    assert estimate_spread(by_seed.mean(axis=1), by_seed).df == pytest.approx(SEEDS - 1, rel=0.01)
    assert estimate_spread(by_item.mean(axis=1), by_item).df == pytest.approx(ITEMS - 1, rel=0.01)


def test_nothing_varies():
    assert estimate_spread(np.full(3, 0.5), np.full((3, 4), 0.5)) == Spread(0.0, 2)
    assert margin_of(Spread(0.0, 2), 0.95) == minimum_detectable(Spread(0.0, 2), 0.95) == 0.0


@pytest.mark.parametrize(("seed_sd", "item_sd"), [(1.0, 3.0), (0.1, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_interval_holds_its_coverage(seed_sd: float, item_sd: float):
    # 2000 tables: a true coverage of 95 % shows as 95 % ± 1.5 % (three standard errors)
    assert 0.93 <= _covered(_grids(seed_sd, item_sd, 1.0, 2000)) <= 0.975


@pytest.mark.parametrize("seeds", [2, 5, 12])
def test_minimum_detectable_has_its_power(seeds: int):
    rng = np.random.default_rng(5)
    median = stats.chi2.median(seeds - 1) / (seeds - 1)  # of the estimates of a variance of 1
    middling = minimum_detectable(Spread(float(median) / seeds, seeds - 1), 0.95)
    draws = rng.normal(middling, 1.0, (20_000, seeds))
    # as often too large as too small; each draw then judges by the spread it sees
    margins = stats.t.ppf(0.975, seeds - 1) * draws.std(axis=1, ddof=1) / math.sqrt(seeds)
    detected = np.abs(draws.mean(axis=1)) > margins
    assert detected.mean() == pytest.approx(0.8, abs=0.012)


def test_minimum_detectable_for_any_degrees_of_freedom():
    sizes = [minimum_detectable(Spread(1.0, df), 0.95) for df in (1, 1.3, 2, 4, 16, 199, 1e5)]
    assert sizes == sorted(sizes, reverse=True)
    # many degrees of freedom: the two normal quantiles
    assert sizes[-1] == pytest.approx(stats.norm.ppf(0.975) + stats.norm.ppf(0.8), abs=1e-3)


def test_two_seeds_and_many_challengers_have_a_minimum():
    """Far critical values: P(|T| > c) is that of chi over c, which noncentral t tables miss."""
    for confidence in (0.99999, 1 - 1e-7, 1 - 1e-9):
        smallest = minimum_detectable(Spread(1.0, 1), confidence)
        critical = stats.t.ppf((1 + confidence) / 2, 1)
        expected = critical * math.sqrt(stats.chi2.ppf(0.8, 1) / stats.chi2.median(1))
        assert smallest == pytest.approx(expected, rel=1e-3)
    near, far = (minimum_detectable(Spread(1.0, 1), c) for c in (0.9993, 0.9994))
    assert near < far == pytest.approx(near * 7 / 6, rel=1e-3)
