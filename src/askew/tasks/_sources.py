"""Where the user says that the data lie."""

from pathlib import Path
from typing import NamedTuple

from askew._check import require


class Sources(NamedTuple):
    """Where parallel text lies; what is None is made or split off.

    `pair` names two locales; `data` is one file of pairs, a `.po` file, a folder of such, or
    "datasets:NAME" as `read_any` reads it; the others are files of aligned lines, of which
    validation and test may be missing.

    Args:
        pair: Two locales of the phrases that are made without data.
        data: One file, folder or data set of pairs.
        source: Lines to learn from.
        target: Their translations.
        valid_source: Lines to choose with.
        valid_target: Their translations.
        test_source: Lines to test with.
        test_target: Their translations.

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


class QuestionSources(NamedTuple):
    """Where questions lie; without validation or test they are split off.

    Args:
        data: SQuAD JSON (version 1 or 2) or JSON lines; None takes the questions about this
            library's documentation, which are few.
        valid: Questions to watch the training with.
        test: Questions to score with.

    Example:
        >>> QuestionSources(data=Path("squad.json")).test is None
        True
    """

    data: Path | None = None
    valid: Path | None = None
    test: Path | None = None


def check_sources(sources: Sources) -> None:
    """Refuse files that contradict each other or lack their other half, without reading any.

    Raises:
        ValueError: If they do.
    """
    for one, other in (
        ("source", "target"),
        ("valid_source", "valid_target"),
        ("test_source", "test_target"),
    ):
        require(
            (getattr(sources, one) is None) == (getattr(sources, other) is None),
            f"load_text: {one} and {other} go together; got only one. Give both files",
        )
    require(
        sources.data is None or sources.source is None,
        "load_text: data and source/target exclude each other; got both. Give one of them",
    )
    extra = sources.valid_source is not None or sources.test_source is not None
    require(
        sources.data is not None or sources.source is not None or not extra,
        "load_text: validation and test files need training files; got none. "
        "Give --data, or --source and --target",
    )


def is_catalogue(data: str | Path | None) -> bool:
    """Check whether pairs come from gettext catalogues.

    Args:
        data: As `read_any` takes it, or None.

    Returns:
        True for a `.po` file or a folder.

    Example:
        >>> is_catalogue("pt.po"), is_catalogue("pairs.tsv")
        (True, False)
    """
    if data is None or str(data).startswith("datasets:"):
        return False
    return Path(data).is_dir() or Path(data).suffix == ".po"
