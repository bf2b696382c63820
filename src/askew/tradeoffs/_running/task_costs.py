"""The figures that a task adds to the costs of a comparison, as costs.json keeps them."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from askew._check import require
from askew.tradeoffs._running.trial import Trial
from askew.tradeoffs._statistics.verdicts import Metric

_EQUIVALENCE = 0.05  # as of the speeds
_TAKEN = ("parameters", "flops_per_step", "peak_memory_mb")


def own_values(costs: Mapping, trial: Trial) -> dict[str, float]:
    """Give the figures of one trained model by name; none where the task has none."""
    return {name: found["value"] for name, found in _of(costs, trial).items()}


def own_means(costs: Mapping, trials: Sequence[Trial]) -> dict[str, float]:
    """Give the mean of each figure over the trials of an arm; equal figures stay as they are."""
    values = [own_values(costs, trial) for trial in trials]
    columns = {name: [row[name] for row in values] for name in values[0]}
    return {
        name: column[0] if len(set(column)) == 1 else fmean(column)
        for name, column in columns.items()
    }


def own_metrics(
    costs: Mapping, trials: Sequence[Trial], others: Sequence[Metric]
) -> tuple[Metric, ...]:
    """Describe the figures as metrics compared by ratio, and check that every model has them.

    Raises:
        ValueError: If the models have different figures, or a name is taken by another metric.
    """
    first = _of(costs, trials[0])
    for trial in trials:
        found = _of(costs, trial)
        require(
            _kinds(found) == _kinds(first),
            "compare: every trained model must have the same costs; "
            f"got {list(found)} of {trial.arm}, seed {trial.seed}, and {list(first)} of "
            f"{trials[0].arm}, seed {trials[0].seed}",
        )
    taken = {metric.name for metric in others}.union(_TAKEN)
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
    """Tell whether a figure gets a verdict: all do but those of a task that are only shown."""
    seeds = costs.get("own", {}).values()
    kinds = [cost for arms in seeds for own in arms.values() for cost in own.items()]
    return all(cost["judged"] for own, cost in kinds if own == name)


def _of(costs: Mapping, trial: Trial) -> dict[str, dict]:
    return costs.get("own", {}).get(str(trial.seed), {}).get(trial.arm, {})


def _kinds(found: Mapping[str, dict]) -> dict[str, dict]:
    return {
        name: {key: value for key, value in cost.items() if key != "value"}
        for name, cost in found.items()
    }
