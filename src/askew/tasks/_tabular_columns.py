"""Columns of a table that are no features: indexes, constants, and copies of a label."""

import re
from collections.abc import Sequence

import numpy as np

from askew._check import require

FEWEST_ROWS = 10
"""Rows that a table must have; fewer say nothing about a column."""
_INDEX_NAME = re.compile(r"(Unnamed: \d+)?")


def features_of(
    header: Sequence[str], rows: np.ndarray, labels: Sequence[int], place: str
) -> tuple[list[int], list[str]]:
    """Choose the columns that a model may learn from.

    An index that pandas wrote (a column without a name), whole numbers that only rise or only
    fall, and a constant are left out.

    Args:
        header: Names of all columns.
        rows: Shape (rows, columns).
        labels: Places of the labels.
        place: The file, for messages.

    Returns:
        Places of the features, and what to tell the user: a sentence for each column that is left
        out, and for each that may be a row's identifier.

    Raises:
        ValueError: If a column tells a label in every row.
    """
    chosen, words = [], []
    for column, name in enumerate(header):
        if column in labels:
            continue
        values = rows[:, column]
        fault = _no_feature(name, values)
        if fault is not None:
            words.append(f"column {name!r} is left out: {fault}")
            continue
        chosen.append(column)
        if len(values) < FEWEST_ROWS:
            continue
        copied = [label for label in labels if _tells(values, rows[:, label])]
        require(
            not copied,
            f"read_table_file: a feature must not be a label again; got column {name!r}, which "
            f"tells {', '.join(header[label] for label in copied)} in every row of {place}. "
            "Remove it, or name it as a label",
        )
        if _are_whole(values) and len(np.unique(values)) == len(values):
            words.append(
                f"column {name!r} has another whole number in every row; if it only names the "
                "rows, remove it"
            )
    return chosen, words


def _no_feature(name: str, values: np.ndarray) -> str | None:
    """Say why a column is no feature; None if it may be one."""
    if _INDEX_NAME.fullmatch(name):
        return "it has no name, as an index that pandas wrote"
    if len(values) < FEWEST_ROWS:
        return None
    if (values == values[0]).all():
        return f"it is {values[0]:g} in every row"
    steps = np.diff(values)
    if _are_whole(values) and ((steps > 0).all() or (steps < 0).all()):
        return "its whole numbers only count the rows"
    return None


def _are_whole(values: np.ndarray) -> bool:
    return bool((values == np.round(values)).all())


def _tells(values: np.ndarray, label: np.ndarray) -> bool:
    """Whether a column has two values, one where a label holds and one where it does not."""
    least, most = values.min(), values.max()
    is_most = values == most
    if not (is_most | (values == least)).all():
        return False
    return bool((is_most == label).all() or (is_most != label).all())
