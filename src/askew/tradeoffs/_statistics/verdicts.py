"""Verdicts on an asymmetry from paired seeds and test items, with their uncertainty."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from askew._check import refuse_quoted, require
from askew.tradeoffs._statistics.intervals import (
    HIGHEST_CONFIDENCE,
    estimate_spread,
    margin_of,
    minimum_detectable,
    scale_of,
)
from askew.tradeoffs._statistics.table import ResultTable, Row, Sample, read_table

__all__ = ["Metric", "Row", "Verdict", "analyze", "shared_confidence"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is measured, which direction is better, and which differences do not matter.

    Attributes:
        name: Its name in the results.
        label: Its name for readers.
        better: Whether "higher" or "lower" values are better.
        scale: "difference" compares by subtraction, "ratio" by the natural logarithm of the
            ratio; the latter needs values > 0.
        equivalence: Differences inside ±equivalence count as none, >= 0, on the scale above
            (0.05 is about 5 % of a ratio); 0 claims no equivalence.
        unit: Of the values, "" for none.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> time = Metric(name="ms", label="time", better="lower", scale="ratio", equivalence=0.05)
        >>> time.better
        'lower'
    """

    name: str
    label: str
    better: Literal["higher", "lower"] = "higher"
    scale: Literal["difference", "ratio"] = "difference"
    equivalence: float
    unit: str = ""

    def __post_init__(self) -> None:
        refuse_quoted(self)
        require(
            self.better in ("higher", "lower"),
            f"Metric: better must be 'higher' or 'lower'; got better {self.better!r}",
        )
        require(
            self.scale in ("difference", "ratio"),
            f"Metric: scale must be 'difference' or 'ratio'; got scale {self.scale!r}",
        )
        require(
            0 <= self.equivalence < math.inf,
            f"Metric: equivalence must be finite and >= 0; got equivalence {self.equivalence}",
        )
        object.__setattr__(self, "equivalence", float(self.equivalence))  # JSON has none of numpy's


class Verdict(NamedTuple):
    """The verdict on a challenger on one metric.

    Attributes:
        metric: Name of the metric.
        challenger: The arm judged.
        baseline: The arm it is judged against.
        verdict: "pays" if the whole interval is above zero, "does not pay" if it is below,
            else "cannot tell"; None with too few seeds.
        difference: Positive if the challenger is better; a log ratio for scale "ratio".
        low: Lower end of the interval, on the scale of `difference`; None with one seed.
        high: Its upper end.
        equivalence: Half width of the region that counts as no difference.
        equivalent: Whether the interval lies inside that region; None if the region is empty
            or the seeds are too few.
        minimum_detectable: The true difference that this design detects with a power of 80 %.
        seeds: Number of paired seeds.
        seed_differences: The difference of each seed, in the order of the seeds.
        wins: Seeds whose difference is above zero.
        confidence: Of the interval; above the chosen one if several challengers share the error.
        reason: Why there is no verdict, else "".

    Example:
        >>> from askew.tradeoffs import Row, judge_results
        >>> rows = [Row(arm, s, "", "f1", s + len(arm)) for arm in ("a", "bb") for s in range(5)]
        >>> verdict = judge_results(rows, baseline="a").verdicts[0]
        >>> isinstance(verdict, Verdict), verdict.verdict, verdict.difference
        (True, 'pays', 1.0)
    """

    metric: str
    challenger: str
    baseline: str
    verdict: Literal["pays", "does not pay", "cannot tell"] | None
    difference: float | None
    low: float | None
    high: float | None
    equivalence: float
    equivalent: bool | None
    minimum_detectable: float | None
    seeds: int
    seed_differences: tuple[float, ...]
    wins: int | None
    confidence: float
    reason: str


def analyze(
    results: str | Path | Iterable[Row],
    *,
    baseline: str,
    metrics: Sequence[Metric] = (),
    equivalence: Mapping[str, float] | None = None,
    min_seeds: int = 5,
    confidence: float = 0.95,
    correction: Literal["bonferroni", "none"] = "bonferroni",
) -> list[Verdict]:
    """Judge every challenger against the baseline, metric by metric, seed by seed.

    Seeds are paired. With one value per seed the interval is Student's t of the paired
    differences. With values per item, seeds and items both count as drawn at random, so the
    interval holds for new seeds and new items (`estimate_spread`). If a metric has both kinds of
    rows, as a corpus score with jackknife pseudo-values has, the value of the whole is the
    estimate. Two equal arms differ by zero.

    With :math:`k` challengers each interval has the confidence :math:`1 - (1 - c)/k`
    (`shared_confidence`), so that on every metric all :math:`k` verdicts together are wrong no more
    often than a single one. There is no correction for several metrics: decide beforehand which
    one counts.

    Args:
        results: A CSV file with the header `arm,seed,item,metric,value`, or such rows, in any
            order. An empty item marks a value of the whole (arm, seed).
        baseline: The arm that all others are judged against.
        metrics: Direction, scale and equivalence of metrics; the verdicts come in this order.
            Other metrics of the results follow by name: higher is better, compared by difference.
        equivalence: Half width of the region that counts as no difference, by metric name,
            >= 0; it overrides that of `metrics`.
        min_seeds: Fewer paired seeds get no verdict, >= 2.
        confidence: Of all challengers' intervals on a metric together, in (0, 0.999999999].
        correction: "none" gives every interval this confidence, however many challengers there are.

    Returns:
        One verdict per metric and challenger.

    Raises:
        ValueError: If the results are malformed or not paired, or a setting does not fit
            them.

    Numerics:
        Rows are sorted before they are summed: their order changes no bit.

    Example:
        >>> rows = [
        ...     Row(arm, seed, "", "accuracy", value + seed / 100)
        ...     for arm, values in {"thin": [7, 8, 9, 8, 8], "twin": [5, 5, 7, 6, 7]}.items()
        ...     for seed, value in enumerate(values)
        ... ]
        >>> verdict = analyze(rows, baseline="twin")[0]
        >>> verdict.verdict, round(verdict.difference, 3)
        ('pays', 2.0)
        >>> round(verdict.low, 3), round(verdict.high, 3)
        (1.122, 2.878)
    """
    table = read_table(results)
    return analyze_table(
        table,
        baseline=baseline,
        metrics=all_metrics(table.metrics, metrics, equivalence or {}),
        min_seeds=min_seeds,
        confidence=confidence,
        correction=correction,
    )


def analyze_table(
    table: ResultTable,
    *,
    baseline: str,
    metrics: Sequence[Metric],
    min_seeds: int = 5,
    confidence: float = 0.95,
    correction: Literal["bonferroni", "none"] = "bonferroni",
) -> list[Verdict]:
    """Judge a table that was read, as `analyze` does."""
    require(min_seeds >= 2, f"analyze: min_seeds must be >= 2; got min_seeds {min_seeds}")
    require(
        0 < confidence <= HIGHEST_CONFIDENCE,
        f"analyze: confidence must be in (0, {HIGHEST_CONFIDENCE}]; got confidence {confidence}",
    )
    require(
        correction in ("bonferroni", "none"),
        f"analyze: correction must be 'bonferroni' or 'none'; got correction {correction!r}",
    )
    require(
        baseline in table.arms,
        f"analyze: baseline must be an arm of the results; got baseline {baseline!r}, "
        f"arms {table.arms}. Give one of these as baseline",
    )
    challengers = [arm for arm in table.arms if arm != baseline]
    require(
        bool(challengers),
        f"analyze: results must have an arm besides the baseline; got arms {table.arms}",
    )
    if correction == "bonferroni":
        confidence = shared_confidence(confidence, len(challengers))
    return [
        _judge(table, metric, challenger, baseline, min_seeds, confidence)
        for metric in metrics
        for challenger in challengers
    ]


def shared_confidence(confidence: float, challengers: int) -> float:
    """Return the confidence per interval for which all together have the error of a single one.

    Args:
        confidence: Of all together, in (0, 1).
        challengers: Their number, >= 1.

    Returns:
        One minus an equal share of the error.

    Example:
        >>> round(shared_confidence(0.95, 5), 6)
        0.99

    References:
        Multiple Comparisons among Means, 1961, Dunn (Bonferroni's inequality).
    """
    return 1 - (1 - confidence) / challengers if challengers > 1 else confidence


def all_metrics(
    measured: Sequence[str], metrics: Sequence[Metric], equivalence: Mapping[str, float]
) -> list[Metric]:
    """Check the given metrics, and add the other ones that were measured."""
    given = [metric.name for metric in metrics]
    require(
        len(set(given)) == len(given),
        f"analyze: metrics must have different names; got metrics {given}",
    )
    unknown = [name for name in (*given, *equivalence) if name not in measured]
    require(
        not unknown,
        f"analyze: metrics must be in the results; got {unknown}, the results have {measured}",
    )
    rest = [name for name in measured if name not in given]
    every = [*metrics, *(Metric(name=name, label=name, equivalence=0.0) for name in rest)]
    return [replace(m, equivalence=equivalence.get(m.name, m.equivalence)) for m in every]


def _judge(
    table: ResultTable,
    metric: Metric,
    challenger: str,
    baseline: str,
    min_seeds: int,
    confidence: float,
) -> Verdict:
    ours, theirs = table.samples[metric.name, challenger], table.samples[metric.name, baseline]
    arms = f"arms {challenger!r} and {baseline!r}, metric {metric.name!r}"
    _check_paired(ours, theirs, arms)
    differences, grid = _differences(metric, ours, theirs, arms)
    difference, count = float(differences.mean()), len(differences)
    low = high = detectable = None
    if count >= 2:
        scale = scale_of(differences if grid is None else grid)
        spread = estimate_spread(differences / scale, None if grid is None else grid / scale)
        margin = scale * margin_of(spread, confidence)
        low, high = difference - margin, difference + margin
        detectable = scale * minimum_detectable(spread, confidence)
    enough = count >= min_seeds
    return Verdict(
        metric=metric.name,
        challenger=challenger,
        baseline=baseline,
        verdict=_verdict(low, high) if enough else None,
        difference=difference,
        low=low,
        high=high,
        equivalence=metric.equivalence,
        equivalent=_equivalent(low, high, metric.equivalence) if enough else None,
        minimum_detectable=detectable,
        seeds=count,
        seed_differences=tuple(differences.tolist()),
        wins=int((differences > 0).sum()),
        confidence=confidence,
        reason="" if enough else _refusal(count, min_seeds),
    )


def _check_paired(ours: Sample, theirs: Sample, arms: str) -> None:
    unpaired = sorted(set(ours.seeds) ^ set(theirs.seeds))
    require(
        not unpaired,
        f"analyze: every seed must be in both arms; got seeds {unpaired} in one of {arms}",
    )
    unshared = sorted(set(ours.items) ^ set(theirs.items))
    require(
        not unshared,
        f"analyze: both arms must have the same items; got {len(unshared)} in one of {arms}, "
        f"first {unshared[:1]}",
    )
    require(
        ours.averaged == theirs.averaged,
        f"analyze: a value of the whole must be in both arms; got it in one of {arms}",
    )
    require(
        len(ours.items) != 1,
        f"analyze: item rows need two items or more; got items {ours.items}, {arms}",
    )


def _differences(
    metric: Metric, ours: Sample, theirs: Sample, arms: str
) -> tuple[np.ndarray, np.ndarray | None]:
    sign = 1.0 if metric.better == "higher" else -1.0
    if metric.scale == "ratio":
        return sign * (_log(ours, arms) - _log(theirs, arms)), None
    differences = sign * (ours.values - theirs.values)
    if ours.grid is None or theirs.grid is None:
        return differences, None
    return differences, sign * (ours.grid - theirs.grid)


def _log(sample: Sample, arms: str) -> np.ndarray:
    require(
        sample.grid is None,
        f"analyze: scale 'ratio' takes one value per seed; got {len(sample.items)} items, {arms}",
    )
    require(
        bool((sample.values > 0).all()),
        f"analyze: scale 'ratio' needs values > 0; got value {sample.values.min()}, {arms}",
    )
    return np.log(sample.values)


def _verdict(
    low: float | None, high: float | None
) -> Literal["pays", "does not pay", "cannot tell"]:
    if low is not None and low > 0:
        return "pays"
    if high is not None and high < 0:
        return "does not pay"
    return "cannot tell"


def _equivalent(low: float | None, high: float | None, equivalence: float) -> bool | None:
    if low is None or high is None or equivalence == 0:
        return None
    return -equivalence < low and high < equivalence


def _refusal(count: int, min_seeds: int) -> str:
    interval = ", 2 for an interval" if count < 2 else ""
    return f"{min_seeds} seeds are needed for a verdict{interval}; got {count}"
