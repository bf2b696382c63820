"""Readers of parallel text: tab-separated, JSON lines, or two aligned files."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from askew._check import require
from askew._files import existing_file
from askew.text._pairs import ParallelText

_BOM = "\ufeff"


def read_pairs(path: str | Path) -> ParallelText:
    r"""Read pairs from a `.tsv` or `.jsonl` file, plain or with a further `.gz`.

    A line of a `.tsv` is source, tab, target. A line of a `.jsonl` is an object with the
    strings "source" and "target"; other keys are ignored. Text is UTF-8, a byte order mark at
    the beginning is dropped, and only "\n" or "\r\n" ends a line.

    Args:
        path: The file, whose name decides the format.

    Returns:
        The pairs in the order of the file, with unchanged texts.

    Raises:
        ValueError: If the file is missing, damaged, empty or not of this form. The message
            names the file and the line, counted from 1.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "pairs.jsonl"
        ...     _ = path.write_text('{"source": "one cat", "target": "um gato"}')
        ...     read_pairs(path)
        ParallelText(sources=['one cat'], targets=['um gato'])
    """
    path = Path(path)
    suffixes = path.name.lower().removesuffix(".gz")
    if suffixes.endswith(".tsv"):
        split = _split_tab
    elif suffixes.endswith(".jsonl"):
        split = _split_json
    else:
        raise ValueError(
            "read_pairs: the name must end with .tsv, .jsonl, .tsv.gz or .jsonl.gz; "
            f"got {path}. Two aligned files are for read_aligned"
        )
    sources: list[str] = []
    targets: list[str] = []
    for number, line in _lines(path, "read_pairs"):
        place = f"{path}, line {number}"
        source, target = split(line, place)
        for name, text in (("source", source), ("target", target)):
            require(
                bool(text.strip()),
                f"read_pairs: both sides must have text; got an empty {name} at {place}",
            )
        sources.append(source)
        targets.append(target)
    require(bool(sources), f"read_pairs: the file must hold a pair; got none in {path}")
    return ParallelText(sources, targets)


def read_aligned(source_path: str | Path, target_path: str | Path) -> ParallelText:
    r"""Read two files in which line i of one translates line i of the other.

    A file whose name ends with `.gz` is unpacked. Text is UTF-8, a byte order mark at the
    beginning is dropped, and only "\n" or "\r\n" ends a line.

    Args:
        source_path: The sources, one per line.
        target_path: Their translations, one per line.

    Returns:
        The pairs in the order of the files, with unchanged texts.

    Raises:
        ValueError: If a file is missing, damaged, or has an empty line, if both are empty,
            or if the numbers of lines differ. The message names the file and the line,
            counted from 1.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source, target = Path(folder) / "a.en", Path(folder) / "a.pt"
        ...     _ = source.write_text("one cat"), target.write_text("um gato")
        ...     read_aligned(source, target)
        ParallelText(sources=['one cat'], targets=['um gato'])
    """
    sources, targets = (
        [_with_text(line, path, number) for number, line in _lines(Path(path), "read_aligned")]
        for path in (source_path, target_path)
    )
    require(
        len(sources) == len(targets),
        "read_aligned: both files must have the same number of lines; "
        f"got {source_path} with {len(sources)}, {target_path} with {len(targets)}",
    )
    require(
        bool(sources),
        f"read_aligned: the files must hold a pair; got none in {source_path}, {target_path}",
    )
    return ParallelText(sources, targets)


def _with_text(line: str, path: str | Path, number: int) -> str:
    require(
        bool(line.strip()),
        f"read_aligned: every line must have text; got an empty one at {path}, line {number}",
    )
    return line


def _lines(path: Path, caller: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line; a damaged file is a ValueError that names the line."""
    existing_file(caller, path, pipe=True)
    number = 0
    packed = path.name.lower().endswith(".gz")
    with cast(BinaryIO, gzip.open(path)) if packed else path.open("rb") as file:
        try:
            for number, raw in enumerate(file, 1):
                line = _decode(raw, f"{path}, line {number}", caller)
                yield number, line.removeprefix(_BOM) if number == 1 else line
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(
                f"{caller}: a .gz file must be whole gzip; "
                f"got {path} damaged after line {number}: {error}"
            ) from None


def _decode(raw: bytes, place: str, caller: str) -> str:
    raw = raw.removesuffix(b"\r\n").removesuffix(b"\n")
    require(b"\0" not in raw, f"{caller}: the file must be text; got a NUL byte at {place}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{caller}: text must be UTF-8; got byte 0x{raw[error.start]:02x} at {place}, "
            f"byte {error.start + 1}. Convert the file, for example with iconv"
        ) from None


def _split_tab(line: str, place: str) -> tuple[str, str]:
    fields = line.split("\t")
    require(
        len(fields) == 2,
        "read_pairs: a line must hold exactly one tab, source TAB target; "
        f"got {len(fields) - 1} at {place}",
    )
    return fields[0], fields[1]


def _split_json(line: str, place: str) -> tuple[str, str]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        bad_json = isinstance(error, json.JSONDecodeError)
        fault = f"{error.msg} in column {error.colno}" if bad_json else str(error)
        raise ValueError(
            f"read_pairs: a line must be a JSON object; got {fault} at {place}"
        ) from None
    require(
        isinstance(record, dict),
        f"read_pairs: a line must be a JSON object; got {type(record).__name__} at {place}",
    )
    return _string(record, "source", place), _string(record, "target", place)


def _string(record: dict[str, object], key: str, place: str) -> str:
    require(
        key in record, f'read_pairs: every object needs "{key}"; got {sorted(record)} at {place}'
    )
    text = record[key]
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
