"""Tables of features and labels: from installed packages, or from the user's CSV or ARFF files."""

import csv
import hashlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from askew._check import require, requires_extra
from askew._encoding import decode_file
from askew.tasks._tabular_columns import FEWEST_ROWS, features_of

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


class NamedTable(NamedTuple):
    """What a file holds, and what to tell the user about its columns.

    Args:
        x: Features, shape (rows, width).
        y: Labels 0 or 1, shape (rows, labels).
        names: Of the features.
        notes: Sentences about columns that are left out or should be.

    Example:
        >>> NamedTable(np.zeros((1, 1)), np.zeros((1, 1)), ["age"], []).names
        ['age']
    """

    x: np.ndarray
    y: np.ndarray
    names: list[str]
    notes: list[str]


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


def read_table_file(path: Path, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Read features and labels of a CSV file with a header, or of an ARFF file.

    Columns that are no features are left out with a warning: the index that pandas writes (a column
    without a name), whole numbers that only rise or only fall, and constants.

    Args:
        path: FILE.csv or FILE.arff.
        labels: Names of the label columns with commas between them, or how many of the last
            columns are labels.

    Returns:
        Features, shape (rows, width), and labels 0 or 1, shape (rows, labels).

    Raises:
        ValueError: If the file cannot be read, a column is missing, a value is not a number (the
            message has the line), or a feature tells a label in every row.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.csv"
        ...     _ = path.write_text("age,weight,sick;30,70,0;60,80,1".replace(";", chr(10)))
        ...     read_table_file(path, "sick")[1].tolist()
        [[0.0], [1.0]]
    """
    table = read_named_table(path, labels)
    for note in table.notes:
        warnings.warn(f"read_table_file: {note}", stacklevel=2)
    return table.x, table.y


def read_named_table(path: Path, labels: str) -> NamedTable:
    """Read a table as `read_table_file` does, with names and notes."""
    require(path.is_file(), f"read_table_file: there must be such a file; got {path}")
    header, rows = _read_arff(path) if path.suffix.lower() == ".arff" else _read_csv(path)
    repeated = sorted({name for name in header if header.count(name) > 1})
    require(
        not repeated,
        f"read_table_file: columns must have different names; got {repeated} twice in {path}",
    )
    columns = _label_columns(labels, header, path)
    y = rows[:, columns]
    for row, column in np.argwhere((y != 0) & (y != 1))[:1]:
        raise ValueError(
            f"read_table_file: labels must be 0 or 1; got {y[row, column]} in {path}, "
            f"row {row + 1}, {header[columns[column]]}"
        )
    features, notes = features_of(header, rows, columns, f"{path}")
    require(
        bool(features),
        "read_table_file: a column must be no label; "
        f"got labels {[header[column] for column in columns]}{''.join(f'; {n}' for n in notes)}",
    )
    names = [header[column] for column in features]
    return NamedTable(rows[:, features], y.astype(np.float32), names, notes)


def _label_columns(labels: str, header: list[str], path: Path) -> list[int]:
    """Return the places of the label columns, named or counted from the end."""
    names = [name.strip() for name in labels.split(",")]
    if labels.isdecimal():
        count = int(labels)
        require(
            0 < count < len(header),
            f"read_table_file: labels must be fewer than the {len(header)} columns, at least 1; "
            f"got labels {count}",
        )
        names = header[-count:]
    missing = [name for name in names if name not in header]
    require(
        not missing,
        f"read_table_file: labels must be columns; got {missing}, {path} has {header[:20]}",
    )
    return [header.index(name) for name in names]


def _read_csv(path: Path) -> tuple[list[str], np.ndarray]:
    text = decode_file(path.read_bytes(), "read_table_file", path)
    try:
        return _csv_numbers(text, path)
    except csv.Error as error:
        raise ValueError(f"read_table_file: the file must be CSV; got {path}: {error}") from None


def _csv_numbers(text: str, path: Path) -> tuple[list[str], np.ndarray]:
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(reader, [])]
    rows = []
    for row in filter(None, reader):
        try:
            rows.append([float(value) for value in row])
        except ValueError as error:
            raise ValueError(
                f"read_table_file: values must be numbers; got {error} in {path}, line "
                f"{reader.line_num}"
            ) from None
        if len(row) != len(header) or not np.isfinite(rows[-1]).all():
            raise ValueError(
                f"read_table_file: a line must have {len(header)} finite numbers; got "
                f"{len(row)} fields, {row[:5]}, in {path}, line {reader.line_num}"
            )
    require(bool(rows), f"read_table_file: the file must have a header and lines; got {path}")
    return header, np.array(rows)


def _read_arff(path: Path) -> tuple[list[str], np.ndarray]:
    from scipy.io import arff

    text = decode_file(path.read_bytes(), "read_table_file", path)
    try:
        table, meta = arff.loadarff(io.StringIO(text, newline=None))
        columns = [np.asarray(table[name]).astype(np.float64) for name in meta.names()]
    except Exception as error:  # scipy raises many kinds of exceptions
        raise ValueError(
            f"read_table_file: the file must be dense ARFF; got {path}: {error}"
        ) from None
    rows = np.stack(columns, axis=1) if columns else np.empty((0, 0))
    require(
        rows.size > 0 and bool(np.isfinite(rows).all()),
        f"read_table_file: values must be there and finite; got {rows.shape[0]} rows in {path}",
    )
    return list(meta.names()), rows
