"""Pairs in the rows of a table or in JSON objects, and the columns that hold them."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from askew._check import require, requires_extra

NAMES = (("source", "target"), ("src", "tgt"), ("src", "trg"))
_REPAIR = "Give --columns SOURCE,TARGET, names in the first line or numbers from 1 on"


def is_header(source: str, target: str) -> bool:
    """Whether two texts are the usual names of columns."""
    return (source.strip().lower(), target.strip().lower()) in NAMES


def table_pairs(
    rows: Iterator[tuple[int, list[str]]], columns: tuple[str, str] | None, path: object
) -> Iterator[tuple[int, str, str]]:
    """Yield number, source and target of each row of a table.

    A first row with the given or the usual names is a header. Without one a row is source and
    target, or has them in the columns whose numbers are given.
    """
    start = next(rows, None)
    if start is None:
        return
    first = start[1]
    places, has_header = _places(first, columns, path)
    plain = columns is None and not has_header
    require(
        not plain or not _are_languages(first),
        "read_pairs: a first line without the names source and target must be a pair; "
        f"got names of languages, {first}, in {path}. "
        f"Give --columns {','.join(first)} if they name columns, --columns 1,2 if they are a pair",
    )
    for number, row in rows if has_header else chain([start], rows):
        require(
            not plain or len(row) == 2,
            lambda number=number, row=row: (
                "read_pairs: a line must hold exactly one tab, source TAB target; "
                f"got {len(row) - 1} at {path}, line {number}. {_REPAIR}"
            ),
        )
        require(
            len(row) == len(first) or plain,
            lambda number=number, row=row: (
                f"read_pairs: every line must have the {len(first)} fields of the first; "
                f"got {len(row)} at {path}, line {number}"
            ),
        )
        yield number, row[places[0]], row[places[1]]


def json_pair(record: object, columns: tuple[str, str] | None, place: str) -> tuple[str, str]:
    """Return the texts of an object: by the given names, or by source and target, src and tgt.

    They may be in an object "translation", as rows of the datasets library have them by language.
    """
    if not isinstance(record, dict):
        raise ValueError(
            f"read_pairs: a line must be a JSON object; got {type(record).__name__} at {place}"
        )
    inner = record.get("translation")
    texts: Mapping[str, object] = inner if isinstance(inner, dict) else record
    usual = next((names for names in NAMES if all(name in texts for name in names)), NAMES[0])
    require(
        columns is not None or texts is record or usual[0] in texts,
        f"read_pairs: languages of a translation must be named; got {sorted(texts)} at {place}. "
        "Give --columns SOURCE,TARGET",
    )
    source, target = (_string(texts, name, place) for name in columns or usual)
    return source, target


def csv_rows(
    lines: Iterable[tuple[int, str]], path: object, *, caller: str = "read_pairs"
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows of CSV with the numbers of their last lines; empty lines are left out."""
    reader = csv.reader((f"{line}\n" for _, line in lines), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(
            f"{caller}: the file must be CSV with commas and double quotes; "
            f"got {error} at {path}, line {reader.line_num}"
        ) from None


def check_commas(caller: str, row: list[str], place: str) -> None:
    """Refuse the first line of a CSV with semicolons or tabs, such as a spreadsheet writes."""
    require(
        len(row) > 1 or not any(mark in row[0] for mark in ";\t"),
        f"{caller}: a .csv must have commas between its fields; got {row[0][:40]!r} at {place}. "
        "Write it with commas, or as a .tsv with tabs",
    )


def check_csv_header(
    rows: Iterator[tuple[int, list[str]]], columns: tuple[str, str] | None, path: object
) -> Iterator[tuple[int, list[str]]]:
    """Pass rows on if the first one names the columns, or the columns are given."""
    for number, row in rows:
        check_commas("read_pairs", row, f"{path}, line {number}")
        require(
            columns is not None or any(set(names) <= _lowered(row) for names in NAMES),
            "read_pairs: a .csv must name the columns source and target in its first line; "
            f"got {row[:5]} at {path}, line {number}. {_REPAIR}",
        )
        yield number, row
        break
    yield from rows


def parsed_json(text: str, rule: str, place: str, *, caller: str = "read_pairs") -> object:
    """Parse JSON; what is none breaks the rule."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        bad_json = isinstance(error, json.JSONDecodeError)
        fault = f"{error.msg} in column {error.colno}" if bad_json else str(error)
        raise ValueError(f"{caller}: {rule}; got {fault} at {place}") from None


def _places(
    first: list[str], columns: tuple[str, str] | None, path: object
) -> tuple[tuple[int, int], bool]:
    """Return the places of source and target, and whether the first row is a header."""
    header = [name.strip().lower() for name in first]
    if columns is None:
        usual = next((names for names in NAMES if set(names) <= set(header)), None)
        return ((0, 1), False) if usual is None else (_indices(header, usual), True)
    if all(name in first for name in columns):
        return _indices(first, columns), True
    require(
        all(name.isdecimal() and 1 <= int(name) <= len(first) for name in columns),
        f"read_pairs: columns must be names in the first line or numbers from 1 to {len(first)}; "
        f"got columns {','.join(columns)}, {path} begins with {first[:9]}",
    )
    places = int(columns[0]) - 1, int(columns[1]) - 1
    return places, is_header(first[places[0]], first[places[1]])


def _are_languages(row: list[str]) -> bool:
    """Whether all cells are different codes or English names of languages, such as en or German."""
    if len(set(row)) < len(row):
        return False
    with requires_extra("read_pairs", "apps"):
        from babel import Locale
    languages = Locale("en").languages
    known = {name.lower() for names in languages.items() for name in names}
    return all(re.split("[-_]", cell.strip().lower())[0] in known for cell in row)


def _lowered(row: list[str]) -> set[str]:
    return {name.strip().lower() for name in row}


def _indices(header: list[str], names: tuple[str, str]) -> tuple[int, int]:
    return header.index(names[0]), header.index(names[1])


def _string(texts: Mapping[str, object], key: str, place: str) -> str:
    require(key in texts, f'read_pairs: every object needs "{key}"; got {sorted(texts)} at {place}')
    text = texts[key]
    if not isinstance(text, str):
        raise ValueError(
            f'read_pairs: "{key}" must be a string; got {type(text).__name__} at {place}'
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            f'read_pairs: "{key}" must be whole Unicode; got half a surrogate pair at {place}'
        ) from None
    return text
