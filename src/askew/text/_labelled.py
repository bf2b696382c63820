"""Texts with their labels, from tables, JSON lines and the datasets library."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from askew._check import in_words, require
from askew.text._datasets import load_rows
from askew.text._pair_rows import check_commas, csv_rows, parsed_json
from askew.text._readers import numbered_lines

_CALLER = "read_labelled"
_LABELS = ("labels", "label")
_REPAIR = "Give --columns TEXT,LABELS, names in the first line or numbers from 1 on"
Row = tuple[str, object, str]
"""A text, its labels as the data have them, and its place for messages."""


class LabelledTexts(NamedTuple):
    """Texts, and the labels of each.

    Args:
        texts: The texts.
        labels: The labels of each text, sorted; none if no label holds.

    Example:
        >>> LabelledTexts(texts=["Cats sleep."], labels=[("cats", "sleep")]).is_exclusive
        False
    """

    texts: list[str]
    labels: list[tuple[str, ...]]

    @property
    def is_exclusive(self) -> bool:
        """Whether every text has exactly one label."""
        return all(len(names) == 1 for names in self.labels)

    @property
    def names(self) -> list[str]:
        """The labels that occur, sorted."""
        return sorted({name for names in self.labels for name in names})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of texts and labels, 64 hexadecimal digits."""
        rows = json.dumps([self.texts, self.labels]).encode()
        return hashlib.sha256(rows).hexdigest()


def read_labelled(
    path: str | Path,
    *,
    columns: tuple[str, str] | None = None,
    known: Collection[str] | None = None,
) -> LabelledTexts:
    r"""Read texts with labels from a `.tsv`, `.csv` or `.jsonl`, also with a `.gz`.

    A line of a `.tsv` is text, tab, labels with commas between them. If its first line has the
    names text and labels, or text and label, the columns with these names are read; a `.csv`, with
    commas and double quotes, needs this line. A line of a `.jsonl` is an object with the string
    "text" and "labels", a list or a string, or "label". Spaces around a label do not count, and no
    label at all is allowed.

    Args:
        path: The file, whose name decides the format.
        columns: Names of the columns of text and labels in the first line, or their numbers, from
            1 on, if no line names them; in JSON the keys of an object.
        known: The labels that there may be; by default any.

    Returns:
        The texts in the order of the file.

    Raises:
        ValueError: If the file is missing, damaged, empty or not of this form, a text is empty, or
            a label is not known. The message names the file and the line, counted from 1.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.tsv"
        ...     _ = path.write_text("Cats sleep.\tcats,sleep\nDogs run.\tdogs\n")
        ...     read_labelled(path).labels
        [('cats', 'sleep'), ('dogs',)]
    """
    path = Path(path)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix == ".jsonl":
        return _collect(_json_rows(path, columns), path, known)
    require(
        suffix in (".tsv", ".csv"),
        f"{_CALLER}: the name must end with .tsv, .csv or .jsonl, also with .gz; got {path}"
        + ("" if path.exists() else ", which does not exist"),
    )
    lines = numbered_lines(path, _CALLER)
    if suffix == ".csv":
        rows = csv_rows(lines, path, caller=_CALLER)
    else:
        rows = ((number, line.split("\t")) for number, line in lines)
    return _collect(_table_rows(rows, columns, path, needs_header=suffix == ".csv"), path, known)


def read_labelled_dataset(
    name: str,
    *,
    config: str | None = None,
    split: str = "train",
    columns: tuple[str, str] | None = None,
    known: Collection[str] | None = None,
) -> LabelledTexts:
    """Read texts with labels through the datasets library.

    Args:
        name: A folder that `save_to_disk` wrote, or an argument of `load_dataset`.
        config: Name of the configuration, if the data set has several.
        split: Name of the split, if there are several.
        columns: The columns of text and labels; by default text, and labels or label.
        known: The labels that there may be; by default any.

    Returns:
        The texts. Labels that the data set numbers have their names.

    Raises:
        ValueError: If there is no such split or column, a text is empty, or a label is not known.
        ModuleNotFoundError: If datasets is not installed.

    Example:
        >>> read_labelled_dataset("/nowhere", columns=("text", "text"))
        Traceback (most recent call last):
        ValueError: read_labelled: columns must be two, text and labels; got columns text,text
    """
    _check_columns(columns)
    rows = load_rows(name, config, split, caller=_CALLER)
    return _collect(_dataset_rows(rows, columns, name), name, known)


def _dataset_rows(rows: Any, columns: tuple[str, str] | None, name: str) -> Iterator[Row]:
    usual = "labels" if "labels" in rows.column_names else "label"
    text, labels = columns or ("text", usual)
    absent = {text, labels} - set(rows.column_names)
    require(
        not absent,
        f"{_CALLER}: rows must have the columns {text} and {labels}; got {rows.column_names} of "
        f"{name}. Give --columns TEXT,LABELS",
    )
    kind = rows.features[labels]
    kind = getattr(kind, "feature", kind)  # that of the labels in a list
    named = getattr(kind, "int2str", str)
    for number, row in enumerate(rows):
        value = row[labels]
        values = value if isinstance(value, list) else [value]
        found = [named(one) if isinstance(one, int) else one for one in values]
        yield row[text], found, f"row {number} of {name}"


def _json_rows(path: Path, columns: tuple[str, str] | None) -> Iterator[Row]:
    _check_columns(columns)
    for number, line in numbered_lines(path, _CALLER):
        place = f"{path}, line {number}"
        record = parsed_json(line, "a line must be a JSON object", place, caller=_CALLER)
        if not isinstance(record, dict):
            raise ValueError(
                f"{_CALLER}: a line must be a JSON object; got {type(record).__name__} at {place}"
            )
        usual = next((name for name in _LABELS if name in record), _LABELS[0])
        text, labels = columns or ("text", usual)
        for key in (text, labels):
            require(
                key in record,
                f'{_CALLER}: every object needs "{key}"; got {sorted(record)} at {place}',
            )
        yield record[text], record[labels], place


def _table_rows(
    rows: Iterator[tuple[int, list[str]]],
    columns: tuple[str, str] | None,
    path: Path,
    *,
    needs_header: bool,
) -> Iterator[Row]:
    _check_columns(columns)
    start = next(rows, None)
    if start is None:
        return
    first = start[1]
    if needs_header:
        check_commas(_CALLER, first, f"{path}, line {start[0]}")
    (text, labels), has_header = _places(first, columns, path)
    require(
        has_header or columns is not None or not needs_header,
        f"{_CALLER}: a .csv must name the columns text and labels in its first line; "
        f"got {first[:5]} at {path}, line {start[0]}. {_REPAIR}",
    )
    width = len(first) if has_header or columns is not None else 2
    for number, row in rows if has_header else chain([start], rows):
        require(
            len(row) == width,
            lambda number=number, row=row: (
                f"{_CALLER}: every line must have {width} fields; "
                f"got {len(row)} at {path}, line {number}. {_REPAIR}"
            ),
        )
        yield row[text], row[labels], f"{path}, line {number}"


def _places(
    first: list[str], columns: tuple[str, str] | None, path: Path
) -> tuple[tuple[int, int], bool]:
    """Return the places of text and labels, and whether the first row is a header."""
    header = [name.strip().lower() for name in first]
    if columns is None:
        usual = next((name for name in _LABELS if name in header), None)
        if usual is None or "text" not in header:
            return (0, 1), False
        return (header.index("text"), header.index(usual)), True
    if all(name in first for name in columns):
        return (first.index(columns[0]), first.index(columns[1])), True
    require(
        all(name.isdecimal() and 1 <= int(name) <= len(first) for name in columns),
        f"{_CALLER}: columns must be names in the first line or numbers from 1 to {len(first)}; "
        f"got columns {','.join(columns)}, {path} begins with {first[:9]}",
    )
    places = int(columns[0]) - 1, int(columns[1]) - 1
    return places, header[places[0]] == "text" and header[places[1]] in _LABELS


def _check_columns(columns: tuple[str, str] | None) -> None:
    require(
        columns is None or columns[0] != columns[1],
        lambda: (
            f"{_CALLER}: columns must be two, text and labels; "
            f"got columns {','.join(columns or ())}"
        ),
    )


def _collect(
    rows: Iterable[Row], path: object, known: Collection[str] | None = None
) -> LabelledTexts:
    found = LabelledTexts([], [])
    for text, labels, place in rows:
        if not isinstance(text, str):
            raise ValueError(
                f"{_CALLER}: a text must be a string; got {type(text).__name__} at {place}"
            )
        require(
            bool(text.strip()),
            lambda place=place: f"{_CALLER}: a text must not be empty; got an empty one at {place}",
        )
        found.texts.append(_whole(text, place))
        names = _label_names(labels, place)
        for name in names if known is not None else ():
            require(
                name in (known or ()),
                lambda name=name, place=place: (
                    f"{_CALLER}: a label must be one that training knows, "
                    f"{in_words(sorted(known or ()))}; got {name} at {place}. "
                    "Leave it out, or train with a text that has it"
                ),
            )
        found.labels.append(names)
    require(bool(found.texts), f"{_CALLER}: there must be texts; got none in {path}")
    return found


def _label_names(labels: object, place: str) -> tuple[str, ...]:
    values = labels.split(",") if isinstance(labels, str) else labels
    if isinstance(values, int) and not isinstance(values, bool):
        values = [values]
    if not isinstance(values, list) or not all(
        isinstance(one, str | int) and not isinstance(one, bool) for one in values
    ):
        raise ValueError(
            f"{_CALLER}: labels must be a string, a number or a list of them; "
            f"got {str(labels)[:40]} at {place}"
        )
    names = [str(one).strip() for one in values]
    if names == [""]:
        return ()
    require(
        all(names) and len(set(names)) == len(names),
        f"{_CALLER}: labels must be different names; got {labels!r} at {place}",
    )
    require(
        all(len(name.splitlines()) == 1 for name in names),
        f"{_CALLER}: a label must be one line; got {labels!r} at {place}",
    )
    return tuple(sorted(_whole(name, place) for name in names))


def _whole(text: str, place: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            f"{_CALLER}: text must be whole Unicode; got half a surrogate pair at {place}"
        ) from None
    return text
