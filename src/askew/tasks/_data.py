"""Text for translation: phrases of an installed package, or the user's pairs."""

from pathlib import Path
from urllib.parse import parse_qsl

from askew._check import require
from askew.tasks._sources import Sources, check_sources, is_catalogue
from askew.text import (
    ParallelText,
    SplitText,
    localisation_phrases,
    read_aligned,
    read_dataset,
    read_pairs,
    read_po,
    split_pairs,
)


def load_text(sources: Sources, *, seed: int = 0) -> tuple[str, SplitText]:
    """Read, or make, training, validation and test pairs.

    Args:
        sources: Where the text is.
        seed: Seed of the split and of the phrases.

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
        return str(sources.data), _split(
            read_any(sources.data, language=sources.language), sources, seed
        )
    if sources.source is not None and sources.target is not None:
        name = f"{sources.source} → {sources.target}"
        return name, _split(read_aligned(sources.source, sources.target), sources, seed)
    return f"localisation phrases {sources.pair}", localisation_phrases(sources.pair, seed=seed)


def read_any(data: str | Path, *, language: str | None = None) -> ParallelText:
    r"""Read pairs in any of the supported formats.

    Args:
        data: A `.tsv` or `.jsonl` file, a `.po` file, a folder of `.po` files, or
            "datasets:NAME#SPLIT?config=CONFIG&source=en&target=de", where only the name is
            required (`askew.text.read_dataset`).
        language: The one to read of a folder of `.po` files in several languages.

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
    kind, _, spec = str(data).partition(":")
    if kind == "datasets":
        return _read_dataset(spec)
    return read_po(data, language=language) if is_catalogue(data) else read_pairs(data)


def _read_dataset(spec: str) -> ParallelText:
    whole, _, query = spec.partition("?")
    name, _, split = whole.partition("#")
    options = dict(parse_qsl(query, keep_blank_values=True))
    require(
        bool(name) and set(options) <= {"config", "source", "target"},
        "read_any: a data set must be datasets:NAME#SPLIT?config=…&source=…&target=…; "
        f"got datasets:{spec}",
    )
    return read_dataset(
        name,
        split=split or "train",
        config=options.get("config"),
        source=options.get("source"),
        target=options.get("target"),
    )


def _split(pairs: ParallelText, sources: Sources, seed: int) -> SplitText:
    """Read validation and test pairs from their files; split off those that have no file."""
    valid = _read_split(sources.valid_source, sources.valid_target)
    test = _read_split(sources.test_source, sources.test_target)
    if valid is not None and test is not None:
        return SplitText(pairs, valid, test)
    split = split_pairs(pairs, seed=seed)
    if valid is None and test is None:
        return split
    if valid is None:
        return SplitText(_joined(split.train, split.test), split.valid, test or split.test)
    return SplitText(_joined(split.train, split.valid), valid, split.test)


def _read_split(source: Path | None, target: Path | None) -> ParallelText | None:
    return None if source is None or target is None else read_aligned(source, target)


def _joined(one: ParallelText, other: ParallelText) -> ParallelText:
    return ParallelText(one.sources + other.sources, one.targets + other.targets)
