"""What single test items say: the mean over seeds of each arm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from askew._check import require
from askew.tradeoffs._running.trial import is_finished, load_trial


class ItemDifferences(NamedTuple):
    """Where two arms differ, item by item, better for the challenger above zero.

    Attributes:
        challenger: Mean over seeds of each item.
        baseline: Likewise.
        differences: Of the two, with its sign turned where lower is better.
        best: Items that are better for the challenger, the most different first.
        worst: Items that are worse, the most different first.
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
        nothing where no trial is kept in the folder.

    Raises:
        ValueError: If some trials are there and others not, or their items differ in number.

    Example:
        >>> items_of("nowhere", {"trials": [{"arm": "twin", "seed": 0}]})
        {}
    """
    place = Path(folder)
    names = [(trial["arm"], trial["seed"]) for trial in results["trials"]]
    missing = [name for name in names if not is_finished(place, *name)]
    if len(missing) == len(names):
        return {}
    require(
        not missing,
        f"items_of: the folder must hold all trials of its results, or none; got {folder} without "
        f"{len(missing)} of {len(names)}, first {missing[:1]}",
    )
    values: dict[str, dict[str, list[np.ndarray]]] = {}
    for arm, seed in names:
        for metric, items in load_trial(place, arm, seed).items.items():
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
    """Count the differences that are not zero in bins around zero, the middle one on it.

    Args:
        differences: Not all zero.
        bins: An odd number.

    Returns:
        Middles of the bins, and how many differences lie in each.
    """
    different = differences[differences != 0]
    reach = float(np.abs(different).max()) * bins / (bins - 1)
    counts, edges = np.histogram(different, bins=bins, range=(-reach, reach))
    return (edges[:-1] + edges[1:]) / 2, counts
