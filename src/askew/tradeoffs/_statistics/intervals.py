"""The uncertainty of a mean paired difference, over seeds and over test items."""

import math
from typing import NamedTuple

import numpy as np

_POWER = 0.8
_FAR = 1000.0  # above it scipy's noncentral t is slow or wrong, and Z is small against the shift
HIGHEST_CONFIDENCE = 0.999999999
"""Of an interval; nearer to 1, its error is lost in rounding."""


class Spread(NamedTuple):
    """The estimated variance of the mean difference, and its degrees of freedom."""

    variance: float
    df: float


def scale_of(values: np.ndarray) -> float:
    """Return the power of two below the largest size of values, 1 if all are zero.

    Values are divided by it before they are squared, so that no square leaves the range of
    floats; no other bit changes.

    Example:
        >>> scale_of(np.array([3.0, -5.0]))
        4.0
    """
    largest = float(np.abs(values).max())
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 1.0


def estimate_spread(differences: np.ndarray, grid: np.ndarray | None) -> Spread:
    r"""Estimate the variance of the mean difference over other seeds and other items.

    Without items it is the variance of a mean of :math:`S` values. With items, the
    :math:`d_{si}` are a fully crossed design of random seeds and random items, whose mean has
    the variance

    .. math::
        V = \max(M_s,\; M_i,\; M_r,\; M_s + M_i - M_r) \,/\, (SI)

    in terms of the mean squares of seeds, items and residual. The maximum treats a variance
    component that was estimated below zero as zero. The degrees of freedom are Satterthwaite's,
    :math:`(SI\,V)^2 / \sum_k M_k^2/\nu_k`, and at least :math:`\min(S, I) - 1`.

    Args:
        differences: One per seed, shape (S,), S >= 2; they give :math:`M_s`.
        grid: One per seed and item, shape (S, I), I >= 2, or None.

    Returns:
        Variance and degrees of freedom; variance 0 if nothing varies.

    Example:
        >>> estimate_spread(np.array([1.0, 4.0]), np.array([[0.0, 2.0], [3.0, 5.0]]))
        Spread(variance=3.25, df=1.74...)

    References:
        An Approximate Distribution of Estimates of Variance Components, 1946, Satterthwaite.
        The Pigeonhole Bootstrap, 2007, Owen, on crossed random effects.
    """
    seed_variance = float(differences.var(ddof=1))
    if grid is None:
        return Spread(seed_variance / differences.size, differences.size - 1)
    seeds, items = grid.shape
    by_seed, by_item = grid.mean(axis=1, keepdims=True), grid.mean(axis=0, keepdims=True)
    residuals = grid - by_seed - by_item + grid.mean()
    df_seed, df_item, df_rest = seeds - 1, items - 1, (seeds - 1) * (items - 1)
    ms_seed = items * seed_variance
    ms_item = seeds * float(by_item.var(ddof=1))
    ms_rest = float((residuals**2).sum()) / df_rest
    total = max(ms_seed, ms_item, ms_rest, ms_seed + ms_item - ms_rest)
    noise = ms_seed**2 / df_seed + ms_item**2 / df_item + ms_rest**2 / df_rest
    lowest = min(df_seed, df_item)
    df = max(lowest, total**2 / noise) if noise > 0 else lowest
    return Spread(total / (seeds * items), df)


def margin_of(spread: Spread, confidence: float) -> float:
    """Return the half width of an interval: Student's quantile times the standard error."""
    return _critical(spread, confidence) * math.sqrt(spread.variance)


def minimum_detectable(spread: Spread, confidence: float) -> float:
    r"""Find the true difference whose interval excludes zero with a probability of 80 %.

    Args:
        spread: Of the mean difference.
        confidence: Of the interval, in (0, 1).

    Returns:
        The difference, >= 0, from the power of the t test (noncentral t distribution). The standard
        deviation of few values is too small more often than too large; it is scaled by
        :math:`\sqrt{\nu / m}`, m the median of :math:`\chi^2_\nu`, to be both equally often.
        It is 0 for a confidence of 20 % or less, whose interval excludes zero as often without a
        difference.
    """
    from scipy import stats

    correction = spread.df / float(stats.chi2.median(spread.df))
    shift = _detected_shift(_critical(spread, confidence), spread.df)
    return shift * math.sqrt(spread.variance * correction)


def _detected_shift(critical: float, df: float) -> float:
    """Find the shift at which a noncentral t exceeds the critical value with a power of 80 %."""
    from scipy import optimize, stats

    if critical > _FAR:  # T = (Z + shift) / sqrt(chi2 / df), without Z
        return critical * math.sqrt(float(stats.chi2.ppf(_POWER, df)) / df)

    def surplus_power(shift: float) -> float:
        above = stats.nct.sf(critical, df, shift)
        below = stats.nct.sf(critical, df, -shift)  # its cdf is NaN at some points
        return float(above + below) - _POWER

    if surplus_power(0.0) >= 0:
        return 0.0
    high = 1.0
    while surplus_power(high) < 0:
        high *= 2
    return float(optimize.root_scalar(surplus_power, bracket=(0.0, high)).root)


def _critical(spread: Spread, confidence: float) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, spread.df))
