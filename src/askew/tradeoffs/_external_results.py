"""Results measured elsewhere: judged, and in the form that the report shows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

from askew.tradeoffs._report.summary import summary_sentence
from askew.tradeoffs._results import versions
from askew.tradeoffs._statistics.table import ResultTable, Row, read_table
from askew.tradeoffs._statistics.verdicts import (
    Metric,
    Verdict,
    all_metrics,
    analyze_table,
    shared_confidence,
)


class Judged(NamedTuple):
    """Verdicts on results measured elsewhere, and the plain values that a report shows.

    Example:
        >>> rows = [Row(arm, s, "", "f1", s + len(arm)) for arm in ("a", "bb") for s in range(5)]
        >>> judged = judge_results(rows, baseline="a")
        >>> isinstance(judged, Judged), judged.verdicts[0].challenger
        (True, 'bb')
    """

    verdicts: list[Verdict]
    results: dict


def judge_results(
    results: str | Path | Iterable[Row],
    *,
    baseline: str,
    metrics: Sequence[Metric] = (),
    equivalence: Mapping[str, float] | None = None,
    confidence: float = 0.95,
    correction: Literal["bonferroni", "none"] = "bonferroni",
    name: str = "results",
    command: str = "",
) -> Judged:
    """Judge a table as `analyze` does, and return results that `write_report` accepts.

    Args:
        results: As of `analyze`.
        baseline: As of `analyze`.
        metrics: As of `analyze`; the most important first.
        equivalence: As of `analyze`.
        confidence: As of `analyze`.
        correction: As of `analyze`.
        name: What the report calls the results.
        command: What to type to get these results again.

    Returns:
        Verdicts, and results of version 1 without settings and costs of the arms.

    Raises:
        ValueError: If the results are malformed or not paired, or a setting does not fit.

    Example:
        >>> rows = [Row(arm, s, "", "f1", s + len(arm)) for arm in ("a", "bb") for s in (1, 2)]
        >>> judge_results(rows, baseline="a").results["trials"][0]["metrics"]
        {'f1': 3.0}
    """
    table = read_table(results)
    known = all_metrics(table.metrics, metrics, equivalence or {})
    verdicts = analyze_table(
        table, baseline=baseline, metrics=known, confidence=confidence, correction=correction
    )
    arms = [*(arm for arm in table.arms if arm != baseline), baseline]
    shared = correction == "bonferroni" and len(arms) > 2
    return Judged(
        verdicts,
        {
            "version": 1,
            "task": name,
            "summary": summary_sentence(verdicts, known),
            "settings": {
                "data": {"name": name},
                "seeds": _seeds(table),
                "confidence": shared_confidence(confidence, len(arms) - 1 if shared else 1),
                "correction": correction if shared else "none",
                "command": command,
            },
            "versions": versions(),
            "metrics": [asdict(metric) for metric in known],
            "arms": [{"name": arm, "config": {}, "training": {}, "costs": {}} for arm in arms],
            "baselines": {},
            "trials": [_trial(table, arm, seed) for arm in arms for seed in _seeds(table)],
            "verdicts": [verdict._asdict() for verdict in verdicts],
        },
    )


def _seeds(table: ResultTable) -> list[int]:
    return sorted({seed for sample in table.samples.values() for seed in sample.seeds})


def _trial(table: ResultTable, arm: str, seed: int) -> dict:
    samples = {metric: table.samples[metric, arm] for metric in table.metrics}
    values = {
        metric: float(sample.values[sample.seeds.index(seed)])
        for metric, sample in samples.items()
        if seed in sample.seeds
    }
    return {"arm": arm, "seed": seed, "metrics": values, "train_seconds": None, "curve": []}
