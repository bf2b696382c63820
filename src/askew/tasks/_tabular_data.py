"""Tables of features and labels: from installed packages, or from the user's CSV or ARFF files."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from askew._check import require, requires_extra

_SPLIT_SEED = 20_261_123
_WORDS = {"no": 0.0, "yes": 1.0, "false": 0.0, "true": 1.0}


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
        ValueError: If there are fewer than 10 rows.

    Example:
        >>> table = split_table(np.arange(40.0).reshape(20, 2), np.zeros((20, 1)))
        >>> [len(rows.x) for rows in table]
        [12, 4, 4]
    """
    rows = len(x)
    require(rows >= 10, f"split_table: x must have 10 rows or more; got {rows} rows")
    order = np.random.default_rng(_SPLIT_SEED).permutation(rows)
    places = np.split(order, [round(0.6 * rows), round(0.8 * rows)])
    return _standardise([(x[place], y[place]) for place in places])


def _standardise(splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> SplitTable:
    """Scale features to mean 0 and variance 1 over the training rows; constant ones become 0."""
    mean, std = splits[0][0].mean(0), splits[0][0].std(0)
    std = np.where(std > 0, std, np.inf)
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
    """Read features and labels of a CSV file with a header, or of a dense ARFF file.

    Values are numbers, with a point, or the words no and yes or false and true, which are 0 and 1.

    Args:
        path: FILE.csv or FILE.arff.
        labels: Names of the label columns with commas between them, or how many of the last
            columns are labels.

    Returns:
        Features, shape (rows, width), and labels 0 or 1, shape (rows, labels).

    Raises:
        ValueError: If the file cannot be read, the first line of a CSV names no columns, a column
            is missing, or a value is missing or not a number; the message has the line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.csv"
        ...     _ = path.write_text("age,weight,sick;30,70,0;60,80,1".replace(";", chr(10)))
        ...     read_table_file(path, "sick")[1].tolist()
        [[0.0], [1.0]]
    """
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
    features = [column for column in range(len(header)) if column not in columns]
    require(
        bool(features),
        "read_table_file: a column must be no label; "
        f"got labels {[header[column] for column in columns]}",
    )
    return rows[:, features], y.astype(np.float32)


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
    try:
        return _csv_numbers(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"read_table_file: the file must be CSV in UTF-8; got {path}: {error}"
        ) from None


def _csv_numbers(path: Path) -> tuple[list[str], np.ndarray]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, path)
        rows = []
        for row in filter(None, reader):
            place = f"{path}, line {reader.line_num}"
            require(
                len(row) == len(header),
                lambda row=row, place=place: (
                    f"read_table_file: a line must have {len(header)} finite numbers; got "
                    f"{len(row)} fields, {row[:5]}, in {place}"
                ),
            )
            cells = zip(row, header, strict=True)
            rows.append([_number(value, f"{place}, {name}") for value, name in cells])
    require(bool(rows), f"read_table_file: the file must have a header and lines; got {path}")
    return header, np.array(rows)


def _check_header(header: list[str], path: Path) -> None:
    """Refuse a first line that is a row, or has other separators than commas."""
    require(
        len(header) != 1 or not any(mark in header[0] for mark in ";\t"),
        "read_table_file: a CSV must have commas between its fields and points in its numbers; "
        f"got {header[:1]} in {path}, line 1. Write it anew with commas",
    )
    require(
        not header or not all(map(_is_number, header)),
        "read_table_file: the first line of a CSV must name the columns; "
        f"got numbers, {header[:5]}, in {path}. Write a line of names above them",
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, place: str) -> float:
    """Read a number, or one of the words for 0 and 1."""
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    require(
        word not in ("", "?", "na", "n/a", "nan", "null", "none"),
        lambda: (
            f"read_table_file: values must be there and finite; got {text!r} in {place}. "
            "Fill in missing values, or leave the row or the column out"
        ),
    )
    if not _is_number(word):
        comma = _is_number(word.replace(",", "."))
        repair = "Write a decimal point" if comma else "Write a column of 0 and 1 for each word"
        raise ValueError(
            "read_table_file: values must be numbers, no or yes, or false or true; "
            f"got {text!r} in {place}. {repair}"
        )
    number = float(word)
    require(
        bool(np.isfinite(number)),
        lambda: f"read_table_file: values must be there and finite numbers; got {text} in {place}",
    )
    return number


def _read_arff(path: Path) -> tuple[list[str], np.ndarray]:
    from scipy.io import arff

    try:
        text = path.read_text(encoding="utf-8")
        table, meta = arff.loadarff(path)
    except Exception as error:  # scipy raises many kinds of exceptions
        raise ValueError(
            f"read_table_file: the file must be dense ARFF; got {path}: {error}. Sparse rows "
            "and columns of text have to be written as numbers"
        ) from None
    names = list(meta.names())
    _check_arff_rows(text, len(names), path)
    columns = [_arff_column(table[name], f"{path}, {name}") for name in names]
    rows = np.stack(columns, axis=1) if columns else np.empty((0, 0))
    require(
        rows.size > 0 and bool(np.isfinite(rows).all()),
        "read_table_file: values must be there and finite; "
        f"got {'a missing value' if rows.size else 'no rows'} in {path}. "
        "Fill in missing values, or leave the row or the column out",
    )
    return names, rows


def _arff_column(values: np.ndarray, place: str) -> np.ndarray:
    if values.dtype.kind != "S":  # a nominal column has bytes
        return np.asarray(values).astype(np.float64)
    return np.array([_number(value.decode(), place) for value in values])


def _check_arff_rows(text: str, width: int, path: Path) -> None:
    """Refuse rows with more values than columns, which scipy would cut off."""
    for number, line in _arff_rows(text):
        fields = next(csv.reader([line], quotechar="'", escapechar="\\", skipinitialspace=True))
        require(
            len(fields) <= width,
            lambda number=number, fields=fields: (
                f"read_table_file: a row must have {width} values; "
                f"got {len(fields)} in {path}, line {number}"
            ),
        )


def _arff_rows(text: str) -> Iterator[tuple[int, str]]:
    lines = iter(enumerate(text.splitlines(), 1))
    for _, line in lines:
        if line.strip().lower() == "@data":
            break
    for number, line in lines:
        if line.strip() and not line.startswith("%"):
            yield number, line
