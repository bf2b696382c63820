"""Values of single test items: the mean over seeds of each arm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from askew._check import require
from askew.tradeoffs._running.trial import is_finished, load_trial


class ItemDifferences(NamedTuple):
    """How two arms differ, item by item.

    Attributes:
        challenger: Mean over seeds of each item.
        baseline: Mean over seeds of each item.
        differences: Challenger minus baseline, with the sign turned if lower is better.
        best: Numbers of the items with a positive difference, the largest first.
        worst: Numbers of the items with a negative difference, the smallest first.
    """

    challenger: np.ndarray
    baseline: np.ndarray
    differences: np.ndarray
    best: np.ndarray
    worst: np.ndarray


def items_of(folder: str | Path, results: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """Read the values of single test items from the trials of a comparison.

    Args:
        folder: Of the comparison.
        results: What its results.json holds.

    Returns:
        By metric and arm, the mean over seeds of each item, in the order of the test set;
        empty if no trial is kept in the folder. An arm with a training that diverged is left out.

    Raises:
        ValueError: If some trials are there and others not, or their items differ in number.

    Example:
        >>> items_of("nowhere", {"trials": [{"arm": "twin", "seed": 0}]})
        {}
    """
    path = Path(folder)
    names = [(trial["arm"], trial["seed"]) for trial in results["trials"]]
    missing = [name for name in names if not is_finished(path, *name)]
    if len(missing) == len(names):
        return {}
    require(
        not missing,
        f"items_of: the folder must hold all trials of its results, or none; got {folder} without "
        f"{len(missing)} of {len(names)}, first {missing[:1]}",
    )
    values: dict[str, dict[str, list[np.ndarray]]] = {}
    diverged = {trial["arm"] for trial in results["trials"] if "diverged" in trial}
    for arm, seed in names:
        if arm in diverged:  # a mean over fewer seeds could not be compared
            continue
        for metric, items in load_trial(path, arm, seed).items.items():
            values.setdefault(metric, {}).setdefault(arm, []).append(items)
    for metric, arms in values.items():
        sizes = {len(items) for trials in arms.values() for items in trials}
        require(
            len(sizes) == 1,
            f"items_of: every trial must have as many items; got {sorted(sizes)} of {metric}",
        )
    return {
        metric: {arm: np.mean(trials, axis=0) for arm, trials in arms.items()}
        for metric, arms in values.items()
    }


def item_differences(
    challenger: np.ndarray, baseline: np.ndarray, *, better: str
) -> ItemDifferences:
    """Compare two arms item by item."""
    differences = (challenger - baseline) * (1.0 if better == "higher" else -1.0)
    order = np.argsort(-differences, kind="stable")
    best = order[differences[order] > 0]
    order = np.argsort(differences, kind="stable")
    worst = order[differences[order] < 0]
    return ItemDifferences(challenger, baseline, differences, best, worst)


def histogram(differences: np.ndarray, *, bins: int = 41) -> tuple[np.ndarray, np.ndarray]:
    """Count the differences other than zero in bins that lie symmetrically around zero.

    Returns the centres of an odd number of bins, and how many differences lie in each.
    """
    different = differences[differences != 0]
    reach = float(np.abs(different).max()) * bins / (bins - 1)
    counts, edges = np.histogram(different, bins=bins, range=(-reach, reach))
    return (edges[:-1] + edges[1:]) / 2, counts
