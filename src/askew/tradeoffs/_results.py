"""The results of a comparison, as results.json and trials.csv hold them."""

import csv
import io
import math
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec

from askew._config import to_dict
from askew._devices import device_name
from askew.tradeoffs._report.language import diverged_reason
from askew.tradeoffs._report.summary import headline
from askew.tradeoffs._running.plan import RunPlan
from askew.tradeoffs._running.task_costs import (
    is_judged,
    task_cost_means,
    task_cost_metrics,
    task_costs,
)
from askew.tradeoffs._running.trial import GAP, Trial
from askew.tradeoffs._running.tuning import Tuned
from askew.tradeoffs._statistics.verdicts import Metric, Row, Verdict, analyze
from askew.tradeoffs._task import Arm, Model, Task

SPEED_METRICS = (
    Metric(
        name="throughput",
        label="throughput",
        scale="ratio",
        equivalence=0.05,
        unit="items/s",
    ),
    Metric(
        name="latency_ms",
        label="latency, batch 1",
        better="lower",
        scale="ratio",
        equivalence=0.05,
        unit="ms",
    ),
    Metric(
        name="train_seconds",
        label="training time",
        better="lower",
        scale="ratio",
        equivalence=0.05,
        unit="CPU-s",
    ),
)
"""Costs that are measured for every arm and judged; a ratio within 5 % counts as none."""


def results_of(
    plan: RunPlan[Model], trials: Sequence[Trial], costs: dict, tuned: Sequence[Tuned]
) -> tuple[list[Verdict], dict]:
    """Judge finished trials and collect all that results.json holds.

    The arms of the plan are the tuned ones; `tuned` is empty if the arms were not tuned.
    """
    task, arms = plan.task, plan.arms
    if all(trial.diverged for trial in trials):
        raise FloatingPointError(f"compare: every training diverged, first {trials[0].diverged}")
    finite = [trial for trial in trials if not trial.diverged]
    metrics = (*task.metrics, *_gap_metrics(task, finite), *_speed_metrics(task))
    metrics = (*metrics, *task_cost_metrics(costs, finite, metrics))
    judged = [m for m in metrics if _is_judged(costs, m.name)]
    rows = [
        row for row in _rows(trials, lambda t: _figures(t, costs)) if _is_judged(costs, row.metric)
    ]
    verdicts = _judge(plan, trials, rows, judged)
    results = {
        "version": 1,
        "task": task.name,
        "summary": headline(verdicts, metrics),
        "settings": _settings_entry(plan, trials),
        "versions": versions() | {"device": device_name(str(task.device))},
        "metrics": [asdict(metric) for metric in metrics],
        "arms": [_arm_entry(task, arm, trials, costs) for arm in arms],
        "baselines": {name: dict(scores) for name, scores in task.baselines().items()},
        "trials": [_trial_entry(trial, costs) for trial in trials],
        "verdicts": [verdict._asdict() for verdict in verdicts],
        **({"tuning": {t.arm.name: _tuning_entry(t) for t in tuned}} if tuned else {}),
    }
    return verdicts, results


def pairs_so_far(plan: RunPlan[Model], trials: Sequence[Trial]) -> list[Verdict]:
    """Judge the arms on the metric that decides alone, before anything else is measured."""
    metric = plan.task.metrics[0]
    rows = [row for row in _rows(trials, lambda t: t.metrics) if row.metric == metric.name]
    return _judge(plan, trials, rows, [metric])


def _judge(
    plan: RunPlan[Model],
    trials: Sequence[Trial],
    rows: Sequence[Row],
    metrics: Sequence[Metric],
) -> list[Verdict]:
    """Judge the arms none of whose trainings diverged; the others get the reason why not."""
    arms, confidence = [arm.name for arm in plan.arms], plan.interval_confidence()
    *challengers, baseline = arms
    lost = {arm: [t.seed for t in trials if t.arm == arm and t.diverged] for arm in arms}
    whole = [arm for arm in arms if not lost[arm]]
    verdicts: list[Verdict] = []
    if baseline in whole and len(whole) > 1:
        verdicts = analyze(
            [row for row in rows if row.arm in whole],
            baseline=baseline,
            metrics=metrics,
            confidence=confidence,
            correction="none",
        )
    for challenger in challengers:
        if lost[challenger] or lost[baseline]:
            reason = "; ".join(
                diverged_reason(arm, lost[arm]) for arm in (challenger, baseline) if lost[arm]
            )
            seeds = {trial.seed for trial in trials} - {*lost[challenger], *lost[baseline]}
            verdicts += [
                _without_verdict(metric, challenger, baseline, len(seeds), confidence, reason)
                for metric in metrics
            ]
    order = [metric.name for metric in metrics]
    order += [verdict.metric for verdict in verdicts if verdict.metric not in order]
    return sorted(verdicts, key=lambda v: (order.index(v.metric), v.challenger))


def _without_verdict(
    metric: Metric, challenger: str, baseline: str, seeds: int, confidence: float, reason: str
) -> Verdict:
    return Verdict(
        metric=metric.name,
        challenger=challenger,
        baseline=baseline,
        verdict=None,
        difference=None,
        low=None,
        high=None,
        equivalence=float(metric.equivalence),
        equivalent=None,
        minimum_detectable=None,
        seeds=seeds,
        seed_differences=(),
        wins=None,
        confidence=confidence,
        reason=reason,
    )


def _settings_entry(plan: RunPlan[Model], trials: Sequence[Trial]) -> dict:
    return {
        "data": dict(plan.task.describe()),
        **plan.whole_settings,
        "seeds": list(dict.fromkeys(trial.seed for trial in trials)),
        "looks": list(plan.looks),
        "confidence": plan.interval_confidence(),
        "correction": "bonferroni" if len(plan.arms) > 2 else "none",
        "budget": asdict(plan.budget),
        "steps": dict(plan.steps),
        "jobs": plan.jobs,
        "command": plan.command,
        "threads": plan.threads,
    }


def _rows(trials: Sequence[Trial], figures: Callable[[Trial], Mapping[str, float]]) -> list[Row]:
    rows = []
    for trial in trials:
        rows += [
            Row(trial.arm, trial.seed, "", name, value) for name, value in figures(trial).items()
        ]
        rows += [
            Row(trial.arm, trial.seed, str(item), name, float(value))
            for name, values in trial.items.items()
            for item, value in enumerate(values)
        ]
    return rows


def _is_judged(costs: dict, name: str) -> bool:
    return name != GAP and is_judged(costs, name)


def _gap_metrics(task: Task[Model], trials: Sequence[Trial]) -> tuple[Metric, ...]:
    """Describe the generalisation gap of the first metric, which is shown and not judged."""
    if not trials or not all(GAP in trial.metrics for trial in trials):
        return ()
    first = task.metrics[0]
    label = f"generalisation gap of {first.label}"
    return (Metric(name=GAP, label=label, better="lower", equivalence=0, unit=first.unit),)


def _figures(trial: Trial, costs: dict) -> dict[str, float]:
    speed = {} if trial.diverged else costs["speed"][str(trial.seed)][trial.arm]
    seconds = {"train_seconds": trial.train_seconds}
    return {**trial.metrics, **speed, **seconds, **task_costs(costs, trial)}


def _arm_entry(task: Task[Model], arm: Arm, trials: Sequence[Trial], costs: dict) -> dict:
    of_arm = [trial for trial in trials if trial.arm == arm.name and not trial.diverged]
    speeds = [costs["speed"][str(trial.seed)][arm.name] for trial in of_arm]
    return {
        "name": arm.name,
        "config": to_dict(arm.config),
        "training": dict(arm.training),
        "costs": {
            "parameters": task.parameters(arm.config),
            "flops_per_step": task.flops_per_step(arm.config),
            "train_seconds": _mean([trial.train_seconds for trial in of_arm]),
            "latency_ms": _mean([speed["latency_ms"] for speed in speeds]),
            "throughput": _mean([speed["throughput"] for speed in speeds]),
            "peak_memory_mb": costs["peak_memory_mb"][arm.name],
            **task_cost_means(costs, of_arm),
        },
    }


def _tuning_entry(tuned: Tuned) -> dict:
    """List what was tried; the score of a training that diverged is null."""
    draws = [draw for draw in tuned.draws if math.isfinite(draw.score)]
    best = max(draws, key=lambda draw: draw.score, default=None)
    return {
        "given": _finite(tuned.given),
        "best": None if best is None or best.score <= tuned.given else dict(best.values),
        "draws": [
            {"values": dict(draw.values), "score": _finite(draw.score)} for draw in tuned.draws
        ],
        "expected_best": [_finite(value) for value in tuned.curve],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _trial_entry(trial: Trial, costs: dict) -> dict:
    return {
        "arm": trial.arm,
        "seed": trial.seed,
        "metrics": {name: _finite(value) for name, value in _figures(trial, costs).items()},
        **({"diverged": trial.diverged} if trial.diverged else {}),
        "train_seconds": trial.train_seconds,
        "curve": [{name: _finite(value) for name, value in p.items()} for p in trial.curve],
    }


def trials_csv(trials: Sequence[dict]) -> str:
    """Write a line for each trial of results.json."""
    text = io.StringIO()
    writer = csv.writer(text)
    names = list(dict.fromkeys(name for trial in trials for name in trial["metrics"]))
    writer.writerow(["arm", "seed", *names])
    for trial in trials:
        writer.writerow([trial["arm"], trial["seed"], *(trial["metrics"].get(n) for n in names)])
    return text.getvalue()


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _speed_metrics(task: Task[Model]) -> tuple[Metric, ...]:
    """Return the judged costs, with the labels that the task gives to speeds."""
    return tuple(replace(m, label=task.speeds.get(m.name, m.label)) for m in SPEED_METRICS)


def versions() -> dict[str, str]:
    """Return the versions of the packages that made the results, of those installed."""
    models = ("askew", "torch", "transformers", "tokenizers")
    data_and_scores = ("babel", "sacrebleu", "numpy", "scipy")
    packages = (*models, *data_and_scores)
    return {
        "python": sys.version.split()[0],
        **{name: version(name) for name in packages if find_spec(name) is not None},
        "platform": platform.platform(),
    }
