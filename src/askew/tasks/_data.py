"""Text for translation: phrases of an installed package, or the user's pairs."""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

from askew._check import require
from askew.tasks._sources import XML, Sources, check_columns, check_sources, is_catalogue
from askew.text import (
    ParallelText,
    SplitText,
    localisation_phrases,
    numbered_aligned,
    numbered_pairs,
    read_aligned,
    read_dataset,
    read_pairs,
    read_po,
    split_pairs,
)


def load_text(
    sources: Sources, *, seed: int = 0, left_out: Counter[str] | None = None
) -> tuple[str, SplitText]:
    """Read, or make, training, validation and test pairs.

    Args:
        sources: Where the text is.
        seed: Seed of the split and of the phrases.
        left_out: Is told how many pairs are left out, by reason.

    Returns:
        A name for the data, and the text.

    Raises:
        ValueError: If files do not belong together or cannot be read.

    Example:
        >>> load_text(Sources(source=Path("a.en")))
        Traceback (most recent call last):
        ValueError: load_text: source and target go together; got only one. Give both files
    """
    check_sources(sources)
    if sources.data is not None:
        read = read_any(
            sources.data,
            columns=sources.columns,
            drop_empty=sources.drop_empty,
            language=sources.language,
            left_out=left_out,
        )
        return str(sources.data), _split(read, sources, seed, left_out)
    if sources.source is not None and sources.target is not None:
        name = f"{sources.source} → {sources.target}"
        read = read_aligned(
            sources.source, sources.target, drop_empty=sources.drop_empty, left_out=left_out
        )
        return name, _split(read, sources, seed, left_out)
    return f"localisation phrases {sources.pair}", localisation_phrases(sources.pair, seed=seed)


def read_any(
    data: str | Path,
    *,
    columns: str | None = None,
    drop_empty: bool = False,
    language: str | None = None,
    left_out: Counter[str] | None = None,
) -> ParallelText:
    r"""Read pairs in any of the supported formats.

    Args:
        data: A `.tsv`, `.csv`, `.jsonl`, `.json`, `.tmx` or `.xlf` file
            (`askew.text.read_pairs`), a `.po` file, a folder of `.po` files, or
            "datasets:NAME#SPLIT?config=CONFIG&source=en&target=de", where only the name is
            required (`askew.text.read_dataset`).
        columns: Which columns hold source and target: "en,de" by name, or "2,4" by number.
        drop_empty: Whether pairs with an empty side are left out; otherwise they are refused.
        language: The one to read of a folder of `.po` files in several languages.
        left_out: Is told how many pairs are left out, by reason.

    Returns:
        The pairs.

    Raises:
        ValueError: If they cannot be read; the message names file and line.
        ModuleNotFoundError: If the data set needs the datasets library, which is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "pairs.tsv"
        ...     _ = path.write_text("tree\tBaum\n")
        ...     read_any(path)
        ParallelText(sources=['tree'], targets=['Baum'])
    """
    check_columns(columns, data)
    kind, _, spec = str(data).partition(":")
    if kind == "datasets":
        return _read_dataset(spec, columns, drop_empty, left_out)
    if is_catalogue(data):
        return read_po(data, language=language, left_out=left_out)
    return read_pairs(data, columns=_names(columns), drop_empty=drop_empty, left_out=left_out)


def places_of(sources: Sources, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Find file and line of pairs in the files that have lines."""
    found: dict[tuple[str, str], str] = {}
    for path, rows in _numbered(sources):
        has_entries = path.name.lower().removesuffix(".gz").endswith((".json", *XML))
        unit = "entry" if has_entries else "line"
        for number, source, target in rows:
            if (source, target) in wanted:
                found.setdefault((source, target), f"{path}, {unit} {number}")
    return found


def _numbered(sources: Sources) -> Iterator[tuple[Path, Iterator[tuple[int, str, str]]]]:
    data = sources.data
    if (
        data is not None
        and Path(data).is_file()
        and not (is_catalogue(data) or str(data).startswith("datasets:"))
    ):
        yield Path(data), numbered_pairs(data, columns=_names(sources.columns))
    for source, target in (
        (sources.source, sources.target),
        (sources.valid_source, sources.valid_target),
        (sources.test_source, sources.test_target),
    ):
        # A pipe has been read, and is empty now.
        if source is not None and target is not None and source.is_file() and target.is_file():
            yield source, numbered_aligned(source, target)


def _names(columns: str | None) -> tuple[str, str] | None:
    if columns is None:
        return None
    source, target = columns.split(",")
    return source.strip(), target.strip()


def _read_dataset(
    spec: str, columns: str | None, drop_empty: bool, left_out: Counter[str] | None
) -> ParallelText:
    whole, _, query = spec.partition("?")
    name, _, split = whole.partition("#")
    options = dict(parse_qsl(query, keep_blank_values=True))
    require(
        bool(name) and set(options) <= {"config", "source", "target"},
        "read_any: a data set must be datasets:NAME#SPLIT?config=…&source=…&target=…; "
        f"got datasets:{spec}",
    )
    named = _names(columns) or (None, None)
    require(
        columns is None or not {"source", "target"} & set(options),
        f"read_any: columns must be named once; got columns {columns} and datasets:{spec}",
    )
    return read_dataset(
        name,
        split=split or "train",
        config=options.get("config"),
        source=options.get("source", named[0]),
        target=options.get("target", named[1]),
        drop_empty=drop_empty,
        left_out=left_out,
    )


def _split(
    pairs: ParallelText, sources: Sources, seed: int, left_out: Counter[str] | None
) -> SplitText:
    """Read validation and test pairs from their files; split off those that have no file."""
    valid, test = (
        None
        if source is None or target is None
        else read_aligned(source, target, drop_empty=sources.drop_empty, left_out=left_out)
        for source, target in (
            (sources.valid_source, sources.valid_target),
            (sources.test_source, sources.test_target),
        )
    )
    if valid is not None and test is not None:
        return SplitText(pairs, valid, test)
    split = split_pairs(pairs, seed=seed)
    if valid is None and test is None:
        return split
    if valid is None:
        return SplitText(_joined(split.train, split.test), split.valid, test or split.test)
    return SplitText(_joined(split.train, split.valid), valid, split.test)


def _joined(one: ParallelText, other: ParallelText) -> ParallelText:
    return ParallelText(one.sources + other.sources, one.targets + other.targets)
