"""Readers of parallel text: tables, JSON, or two aligned files."""

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from askew._check import in_words, require
from askew._encoding import BOM, decode_line, refuse_utf16
from askew._files import existing_file
from askew.text._bitext import bitext_pairs
from askew.text._pair_rows import (
    check_csv_header,
    csv_rows,
    is_header,
    json_pair,
    parsed_json,
    table_pairs,
)
from askew.text._pairs import ParallelText, leave_out

_SIDES = ("source", "target")
_BITEXTS = (".tmx", ".xlf", ".xliff")


def read_pairs(
    path: str | Path,
    *,
    columns: tuple[str, str] | None = None,
    drop_empty: bool = False,
    left_out: Counter[str] | None = None,
) -> ParallelText:
    r"""Read pairs from a `.tsv`, `.csv`, `.jsonl`, `.json`, `.tmx` or `.xlf`, also with a `.gz`.

    A line of a `.tsv` is source, tab, target. If its first line has the names source and target,
    or src and tgt, the columns with these names are read; a `.csv`, with commas and double
    quotes, needs this line. A line of a `.jsonl` is an object with the strings "source" and
    "target", or "src" and "tgt"; other keys are ignored. A `.json` is a list of such objects. Of
    XLIFF (`.xlf`, `.xliff`) the finished units are read, of a TMX those with both languages.
    Text is UTF-8, a byte order mark at the beginning is dropped, and only "\n" or "\r\n" ends a
    line.

    Args:
        path: The file, whose name decides the format.
        columns: Names of the source and the target column in the first line, or their numbers,
            from 1 on, if no line names them; in JSON the keys of an object, or of the object
            "translation" in it; in a TMX the languages.
        drop_empty: Whether pairs with an empty side are left out; otherwise they are refused.
        left_out: Is told how many pairs are left out, by reason.

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
    rows = numbered_pairs(path, columns=columns, left_out=left_out)
    pairs = _with_text(
        rows, "read_pairs", lambda number, _: place_of(path, number), drop_empty, left_out
    )
    require(bool(pairs.sources), f"read_pairs: the file must hold a pair; got none in {path}")
    return pairs


def numbered_pairs(
    path: str | Path,
    *,
    columns: tuple[str, str] | None = None,
    left_out: Counter[str] | None = None,
) -> Iterator[tuple[int, str, str]]:
    r"""Yield the number of its line, source and target of each pair, empty sides included.

    Args:
        path: A file as `read_pairs` reads it.
        columns: As there.
        left_out: As there.

    Yields:
        Number of the line, from 1 on (in a `.json` of the object, in XML of the unit), source and
        target.

    Raises:
        ValueError: If the file is missing, damaged or not of this form.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "pairs.tsv"
        ...     _ = path.write_text("source\ttarget\none cat\tum gato\n")
        ...     list(numbered_pairs(path))
        [(2, 'one cat', 'um gato')]
    """
    path = Path(path)
    suffix = _suffix(path)
    if suffix == ".tsv":
        rows = ((number, line.split("\t")) for number, line in numbered_lines(path, "read_pairs"))
        yield from table_pairs(rows, columns, path)
    elif suffix == ".csv":
        rows = csv_rows(numbered_lines(path, "read_pairs"), path)
        yield from table_pairs(check_csv_header(rows, columns, path), columns, path)
    elif suffix in _BITEXTS:
        yield from bitext_pairs(path, columns, left_out)
    elif suffix in (".jsonl", ".json"):
        for number, record in _records(path):
            yield number, *json_pair(record, columns, place_of(path, number))
    else:
        raise ValueError(
            "read_pairs: the name must end with .tsv, .csv, .jsonl, .json, .tmx, .xlf or .xliff, "
            f"also with .gz; got {path}{'' if path.exists() else ', which does not exist'}. Two "
            "aligned files are for read_aligned, and for --source and --target"
        )


def place_of(path: str | Path, number: int) -> str:
    """Name a pair that `numbered_pairs` numbers."""
    has_lines = _suffix(Path(path)) not in (".json", *_BITEXTS)
    return f"{path}, {'line' if has_lines else 'entry'} {number}"


def read_aligned(
    source_path: str | Path,
    target_path: str | Path,
    *,
    drop_empty: bool = False,
    left_out: Counter[str] | None = None,
) -> ParallelText:
    r"""Read two files in which line i of one translates line i of the other.

    A file whose name ends with `.gz` is unpacked. Text is UTF-8, a byte order mark at the
    beginning is dropped, and only "\n" or "\r\n" ends a line.

    Args:
        source_path: The sources, one per line.
        target_path: Their translations, one per line.
        drop_empty: Whether pairs with an empty side are left out; otherwise they are refused.
        left_out: Is told how many pairs are left out, by reason.

    Returns:
        The pairs in the order of the files, with unchanged texts.

    Raises:
        ValueError: If a file is missing, damaged, or has an empty line, if both are empty,
            if the numbers of lines differ, or if the first lines are names of columns. The
            message names the file and the line, counted from 1.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source, target = Path(folder) / "a.en", Path(folder) / "a.pt"
        ...     _ = source.write_text("one cat"), target.write_text("um gato")
        ...     read_aligned(source, target)
        ParallelText(sources=['one cat'], targets=['um gato'])
    """
    paths = source_path, target_path
    pairs = _with_text(
        numbered_aligned(source_path, target_path),
        "read_aligned",
        lambda number, side: f"{paths[side]}, line {number}",
        drop_empty,
        left_out,
    )
    require(
        bool(pairs.sources),
        f"read_aligned: the files must hold a pair; got none in {source_path}, {target_path}",
    )
    return pairs


def numbered_aligned(
    source_path: str | Path, target_path: str | Path
) -> Iterator[tuple[int, str, str]]:
    """Yield the number of its line, source and target of each pair, empty sides included.

    Args:
        source_path: The sources, one per line, as `read_aligned` reads them.
        target_path: Their translations, one per line.

    Yields:
        Number of the line, from 1 on, source and target.

    Raises:
        ValueError: If a file is missing or damaged, the numbers of lines differ, or the first
            lines are names of columns.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source, target = Path(folder) / "a.en", Path(folder) / "a.pt"
        ...     _ = source.write_text("one cat"), target.write_text("um gato")
        ...     list(numbered_aligned(source, target))
        [(1, 'one cat', 'um gato')]
    """
    paths = source_path, target_path
    sources, targets = (
        [line for _, line in numbered_lines(Path(p), "read_aligned")] for p in paths
    )
    require(
        len(sources) == len(targets),
        "read_aligned: both files must have the same number of lines; "
        f"got {source_path} with {len(sources)}, {target_path} with {len(targets)}",
    )
    require(
        not sources or not is_header(sources[0], targets[0]),
        "read_aligned: every line must be text; got names of columns, "
        f"{sources[:1]} and {targets[:1]}, in line 1 of both files. Remove these lines",
    )
    yield from zip(range(1, len(sources) + 1), sources, targets, strict=True)


def _with_text(
    rows: Iterable[tuple[int, str, str]],
    caller: str,
    place: Callable[[int, int], str],
    drop_empty: bool,
    left_out: Counter[str] | None,
) -> ParallelText:
    """Collect pairs; refuse all that have an empty side, or leave them out."""
    pairs = ParallelText([], [])
    empty: list[str] = []
    for number, *texts in rows:
        sides = [side for side, text in enumerate(texts) if not text.strip()]
        empty += [
            f"an empty {('source', 'target')[side]} at {place(number, side)}" for side in sides
        ]
        if sides:
            leave_out(left_out, "empty")
        else:
            pairs.sources.append(texts[0])
            pairs.targets.append(texts[1])
    require(
        drop_empty or not empty,
        lambda: (
            f"{caller}: both sides must have text; got {in_words(empty)}. "
            "Mend the data, or leave such pairs out with --drop-empty (drop_empty)"
        ),
    )
    return pairs


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _records(path: Path) -> Iterator[tuple[int, object]]:
    """Yield the objects of a `.jsonl`, one a line, or of a `.json`, a list of them."""
    lines = numbered_lines(path, "read_pairs")
    if _suffix(path) == ".jsonl":
        for number, line in lines:
            yield number, parsed_json(line, "a line must be a JSON object", place_of(path, number))
        return
    text = "\n".join(line for _, line in lines)
    listed = parsed_json(text, "a .json must be a list of objects, unlike a .jsonl", str(path))
    if not isinstance(listed, list):
        raise ValueError(
            "read_pairs: a .json must be a list of objects, unlike a .jsonl; "
            f"got {type(listed).__name__} at {path}"
        )
    yield from enumerate(listed, 1)


def numbered_lines(path: Path, caller: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line; a damaged file is a ValueError that names the line."""
    existing_file(caller, path, pipe=True)
    number = 0
    packed = path.name.lower().endswith(".gz")
    with cast(BinaryIO, gzip.open(path)) if packed else path.open("rb") as file:
        try:
            for number, raw in enumerate(file, 1):
                if number == 1:
                    refuse_utf16(raw, caller, path)
                line = _decode(raw, f"{path}, line {number}", caller)
                yield number, line.removeprefix(BOM) if number == 1 else line
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(
                f"{caller}: a .gz file must be whole gzip; "
                f"got {path} damaged after line {number}: {error}"
            ) from None


def _decode(raw: bytes, place: str, caller: str) -> str:
    require(b"\0" not in raw, f"{caller}: the file must be text; got a NUL byte at {place}")
    return decode_line(raw, caller, place)
