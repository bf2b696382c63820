"""The costs that a task adds to those of a comparison, from costs.json."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from askew._check import require
from askew.tradeoffs._running.trial import Trial
from askew.tradeoffs._statistics.verdicts import Metric

_EQUIVALENCE = 0.05  # as of the speeds
_RESERVED = ("parameters", "flops_per_step", "peak_memory_mb")


def task_costs(costs: Mapping, trial: Trial) -> dict[str, float]:
    """Return the task's costs of one trained model by name; empty if the task has none."""
    return {name: cost["value"] for name, cost in _costs_of(costs, trial).items()}


def task_cost_means(costs: Mapping, trials: Sequence[Trial]) -> dict[str, float]:
    """Average each cost over the trials of an arm; equal values stay exactly as they are."""
    values = [task_costs(costs, trial) for trial in trials]
    columns = {name: [row[name] for row in values] for name in (values[0] if values else ())}
    return {
        name: column[0] if len(set(column)) == 1 else fmean(column)
        for name, column in columns.items()
    }


def task_cost_metrics(
    costs: Mapping, trials: Sequence[Trial], others: Sequence[Metric]
) -> tuple[Metric, ...]:
    """Describe the costs as metrics compared by ratio, and check that every model has them.

    Raises:
        ValueError: If the models have different costs, or a name is taken by another metric.
    """
    first = _costs_of(costs, trials[0]) if trials else {}
    for trial in trials:
        of_trial = _costs_of(costs, trial)
        require(
            _without_values(of_trial) == _without_values(first),
            "compare: every trained model must have the same costs; "
            f"got {list(of_trial)} of {trial.arm}, seed {trial.seed}, and {list(first)} of "
            f"{trials[0].arm}, seed {trials[0].seed}",
        )
    taken = {metric.name for metric in others}.union(_RESERVED)
    for name in first:
        require(name not in taken, f"compare: a cost of the task must have a new name; got {name}")
    return tuple(
        Metric(
            name=name,
            label=cost["label"],
            better=cost["better"],
            scale="ratio",
            equivalence=_EQUIVALENCE,
            unit=cost["unit"],
        )
        for name, cost in first.items()
    )


def is_judged(costs: Mapping, name: str) -> bool:
    """Return whether a metric gets a verdict: all do but the costs of a task that say otherwise."""
    return all(
        of_model[name]["judged"]
        for arms in costs.get("own", {}).values()
        for of_model in arms.values()
        if name in of_model
    )


def _costs_of(costs: Mapping, trial: Trial) -> dict[str, dict]:
    return costs.get("own", {}).get(str(trial.seed), {}).get(trial.arm, {})


def _without_values(costs: Mapping[str, dict]) -> dict[str, dict]:
    return {
        name: {key: value for key, value in cost.items() if key != "value"}
        for name, cost in costs.items()
    }
