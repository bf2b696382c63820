"""Tables of the user's own, from CSV and ARFF files."""

import csv
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from askew._check import require
from askew._encoding import decode_file
from askew.tasks._tabular_columns import features_of

_WORDS = {"no": 0.0, "yes": 1.0, "false": 0.0, "true": 1.0}


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


def read_table_file(path: str | Path, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Read features and labels of a CSV file with a header, or of a dense ARFF file.

    Values are numbers, with a point, or the words no and yes or false and true, which are 0 and 1.

    Columns that are no features are left out with a warning: the index that pandas writes (a column
    without a name), whole numbers that only rise or only fall, and constants.

    Args:
        path: FILE.csv or FILE.arff.
        labels: Names of the label columns with commas between them, or how many of the last
            columns are labels.

    Returns:
        Features, shape (rows, width), and labels 0 or 1, shape (rows, labels).

    Raises:
        ValueError: If the file cannot be read, the first line of a CSV names no columns, a column
            is missing, a value is missing or not a number (the message has the line), or a feature
            tells a label in every row.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.csv"
        ...     _ = path.write_text("age,weight,sick;30,70,0;60,80,1".replace(";", chr(10)))
        ...     read_table_file(path, "sick")[1].tolist()
        [[0.0], [1.0]]
    """
    path = Path(path)
    table = read_named_table(path, labels)
    for note in table.notes:
        warnings.warn(f"read_table_file: {note}", stacklevel=2)
    return table.x, table.y


def read_named_table(path: Path, labels: str) -> NamedTable:
    """Read a table as `read_table_file` does, with names and notes."""
    require(path.is_file(), f"read_table_file: there must be such a file; got {path}")
    require(
        path.suffix.lower() in (".csv", ".arff"),
        f"read_table_file: the name must end with .csv or .arff; got {path}",
    )
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
    require(
        len(set(names)) == len(names),
        f"read_table_file: labels must be different columns; got labels {labels}",
    )
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

    text = decode_file(path.read_bytes(), "read_table_file", path)
    try:
        table, meta = arff.loadarff(io.StringIO(text, newline=None))
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
