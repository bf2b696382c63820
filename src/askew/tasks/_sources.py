"""Where the user's data are."""

from pathlib import Path
from typing import NamedTuple

from askew._check import require

XLIFF = (".xlf", ".xliff")
XML = (*XLIFF, ".tmx")


class Sources(NamedTuple):
    """Where parallel text is.

    Without data, phrases of an installed package are used. Missing validation and test files are
    replaced by splits of the training pairs.

    Args:
        pair: Two locales of the phrases.
        data: A file, folder or data set of pairs, as `read_any` reads it.
        source: Instead of `data`: a file of training lines.
        target: Their translations, in the same order.
        valid_source: Validation lines.
        valid_target: Their translations.
        test_source: Test lines.
        test_target: Their translations.
        columns: Which columns of `data` hold source and target, "NAME,NAME" or "1,2".
        drop_empty: Whether pairs with an empty side are left out; otherwise they are refused.
        language: The one to take of a folder of catalogues in several languages.

    Example:
        >>> Sources(pair="en-de").data is None
        True
    """

    pair: str = "en-pt"
    data: str | Path | None = None
    source: Path | None = None
    target: Path | None = None
    valid_source: Path | None = None
    valid_target: Path | None = None
    test_source: Path | None = None
    test_target: Path | None = None
    columns: str | None = None
    drop_empty: bool = False
    language: str | None = None


class QuestionSources(NamedTuple):
    """Where questions are; missing validation and test questions are split off.

    Args:
        data: SQuAD JSON (version 1 or 2) or JSON lines; None means the shipped questions, about
            this library's documentation.
        valid: Validation questions.
        test: Test questions.

    Example:
        >>> QuestionSources(data=Path("squad.json")).test is None
        True
    """

    data: Path | None = None
    valid: Path | None = None
    test: Path | None = None


def check_sources(sources: Sources) -> None:
    """Refuse sources without targets, and data in two ways, without reading a file."""
    for prefix in ("", "valid_", "test_"):
        source, target = f"{prefix}source", f"{prefix}target"
        require(
            (getattr(sources, source) is None) == (getattr(sources, target) is None),
            f"load_text: {source} and {target} go together; got only one. Give both files",
        )
    require(
        sources.data is None or sources.source is None,
        "load_text: data and source/target exclude each other; got both. Give one of them",
    )
    check_columns(sources.columns, sources.data)
    require(
        sources.language is None
        or (is_catalogue(sources.data) and Path(sources.data or "").is_dir()),
        "load_text: language goes with a folder of .po files as data; "
        f"got language {sources.language}, data {sources.data}",
    )
    own = sources.data is not None or sources.source is not None
    require(
        not own or sources.pair == Sources().pair,
        f"load_text: pair goes without data of your own; got pair {sources.pair}. Leave it out",
    )
    extra = sources.valid_source is not None or sources.test_source is not None
    require(
        sources.data is not None or sources.source is not None or not extra,
        "load_text: validation and test files need training files; got none. "
        "Give --data, or --source and --target",
    )


def is_xliff(data: str | Path | None) -> bool:
    """Return whether pairs come from XLIFF.

    Args:
        data: As `read_any` takes it, or None.

    Returns:
        True for a `.xlf` or `.xliff` file.

    Example:
        >>> is_xliff("pt.xlf"), is_xliff("pt.po")
        (True, False)
    """
    return data is not None and Path(data).suffix.lower() in XLIFF


def check_columns(columns: str | None, data: str | Path | None) -> None:
    """Refuse columns that are not two, or of data that have none."""
    if columns is None:
        return
    names = [name.strip() for name in columns.split(",")]
    require(
        len(names) == 2 and all(names) and names[0] != names[1],
        "load_text: columns must be two with a comma between them, source and target; "
        f"got columns {columns!r}",
    )
    require(
        data is not None and not is_catalogue(data),
        "load_text: columns belong to data with columns; "
        f"got columns {columns!r}, data {data}. Leave --columns out",
    )


def is_catalogue(data: str | Path | None) -> bool:
    """Return whether pairs come from gettext catalogues.

    Args:
        data: As `read_any` takes it, or None.

    Returns:
        True for a `.po` or `.pot` file or a folder.

    Example:
        >>> is_catalogue("pt.po"), is_catalogue("pairs.tsv")
        (True, False)
    """
    if data is None or str(data).startswith("datasets:"):
        return False
    return Path(data).is_dir() or Path(data).suffix.lower() in (".po", ".pot")
