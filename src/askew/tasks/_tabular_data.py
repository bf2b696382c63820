"""Tables of features and labels: from installed packages, or from the user's CSV or ARFF files."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from askew._check import require, requires_extra
from askew.tasks._tabular_columns import FEWEST_ROWS

_SPLIT_SEED = 20_261_123
_LARGEST = 1e100
"""Of a feature: the square of more could overflow."""


class TableRows(NamedTuple):
    """Features [rows, width] and labels: 0 or 1 [rows, labels], or classes [rows].

    Args:
        x: Features, float32.
        y: Labels or classes.

    Example:
        >>> rows = load_eights().test
        >>> isinstance(rows, TableRows), rows.x.shape[1], rows.y.shape[1]
        (True, 64, 1)
    """

    x: Tensor
    y: Tensor


class SplitTable(NamedTuple):
    """Training, validation and test rows, standardised by the training rows.

    Args:
        train: Training rows.
        valid: Validation rows.
        test: Test rows.

    Example:
        >>> table = load_eights()
        >>> isinstance(table, SplitTable), [len(rows.x) for rows in table]
        (True, [1078, 360, 359])
    """

    train: TableRows
    valid: TableRows
    test: TableRows

    @property
    def fingerprint(self) -> str:
        """A digest of all rows."""
        tensors = (tensor.numpy().tobytes() for rows in self for tensor in rows)
        return hashlib.sha256(b"".join(tensors)).hexdigest()[:16]


def split_table(x: np.ndarray, y: np.ndarray) -> SplitTable:
    """Split rows 60 / 20 / 20, always in the same way, and standardise the features.

    Args:
        x: Features, shape (rows, width).
        y: Labels, one row each.

    Returns:
        The split table.

    Raises:
        ValueError: If there are fewer than 10 rows, or a feature is not finite or too large.

    Example:
        >>> table = split_table(np.arange(40.0).reshape(20, 2), np.zeros((20, 1)))
        >>> [len(rows.x) for rows in table]
        [12, 4, 4]
    """
    rows = len(x)
    require(
        rows >= FEWEST_ROWS,
        f"split_table: x must have {FEWEST_ROWS} rows or more; got {rows} rows",
    )
    for row, column in np.argwhere(~(np.abs(x) <= _LARGEST))[:1]:
        raise ValueError(
            f"split_table: features must be finite and at most {_LARGEST:g}; "
            f"got {x[row, column]} in row {row + 1}, column {column + 1}"
        )
    order = np.random.default_rng(_SPLIT_SEED).permutation(rows)
    places = np.split(order, [round(0.6 * rows), round(0.8 * rows)])
    return _standardise([(x[place], y[place]) for place in places])


def _standardise(splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> SplitTable:
    """Scale features to mean 0 and variance 1 over the training rows; constant ones become 0.

    Constant is what differs by rounding alone, by the rule of scikit-learn's StandardScaler.
    """
    train = splits[0][0]
    mean, std = train.mean(0), train.std(0)
    epsilon = np.finfo(np.float64).eps
    is_constant = std**2 <= len(train) * epsilon * std**2 + (len(train) * mean * epsilon) ** 2
    std = np.where(is_constant, np.inf, std)
    return SplitTable(
        *(
            TableRows(torch.tensor((x - mean) / std, dtype=torch.float32), torch.tensor(y))
            for x, y in splits
        )
    )


def load_yeast() -> SplitTable:
    """Load river's Yeast: 2,417 genes, 103 features, 14 functional classes.

    Returns:
        The rows, split 60 / 20 / 20, with 14 labels.

    Raises:
        ModuleNotFoundError: If river is not installed.

    Example:
        >>> [tuple(rows.y.shape) for rows in load_yeast()]
        [(1450, 14), (484, 14), (483, 14)]
    """
    with requires_extra("load_yeast", "data"):
        from river.datasets import Yeast
    rows = list(Yeast())
    labels = [f"Class{number}" for number in range(1, 15)]
    x = np.array([list(features.values()) for features, _ in rows], dtype=np.float64)
    y = np.array([[given[label] for label in labels] for _, given in rows], dtype=np.float32)
    return split_table(x, y)


def load_eights() -> SplitTable:
    """Load the digits of scikit-learn, eight against the rest.

    Returns:
        The rows, split 60 / 20 / 20; one label, 1 for an eight.

    Example:
        >>> [round(float(rows.y.mean()), 2) for rows in load_eights()]
        [0.1, 0.08, 0.09]
    """
    x, y = _digits()
    return split_table(x, (y == 8)[:, None].astype(np.float32))


def load_unseen_digits() -> SplitTable:
    """Load the digits of scikit-learn: 0 to 4 for training and validation, 5 to 9 for the test.

    Returns:
        The rows, with classes instead of labels.

    Example:
        >>> table = load_unseen_digits()
        >>> sorted(set(table.train.y.tolist())), sorted(set(table.test.y.tolist()))
        ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    """
    x, y = _digits()
    known = np.flatnonzero(y < 5)
    known = np.random.default_rng(_SPLIT_SEED).permutation(known)
    cut = round(0.8 * len(known))
    places = known[:cut], known[cut:], np.flatnonzero(y >= 5)
    return _standardise([(x[place], y[place]) for place in places])


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = map(np.asarray, load_digits(return_X_y=True))
    return x, y
