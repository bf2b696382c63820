"""Parallel text from the datasets library."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from askew._check import in_words, require
from askew.text._pair_rows import NAMES
from askew.text._pairs import ParallelText, leave_out

_REPAIR = "Say which columns or languages are source and target"


def read_dataset(
    name: str,
    *,
    config: str | None = None,
    split: str = "train",
    source: str | None = None,
    target: str | None = None,
    drop_empty: bool = False,
    left_out: Counter[str] | None = None,
) -> ParallelText:
    """Read pairs through the datasets library.

    A row has its texts in two columns, or in one column "translation" by language. Languages
    must be named, because the library sorts them and their order has no meaning.

    Args:
        name: A folder that `save_to_disk` wrote, or an argument of `load_dataset`: a name of the
            hub, or a folder of files.
        config: Name of the configuration, if the data set has several.
        split: Name of the split, if there are several.
        source: Column or language of the sources; by default the column "source" or "src".
        target: Column or language of the targets; by default the column "target", or "tgt".
        drop_empty: Whether rows with an empty or missing text are left out.
        left_out: Is told how many pairs are left out, by reason.

    Returns:
        The pairs.

    Raises:
        ValueError: If there is no such split, column or language, only one of source and
            target is given, or a text is missing or empty.
        ModuleNotFoundError: If datasets is not installed.

    Example:
        >>> read_dataset("org/books", config="de-en", source="en")
        Traceback (most recent call last):
        ValueError: read_dataset: source and target go together; got source en, target None
    """
    require(
        (source is None) == (target is None),
        f"read_dataset: source and target go together; got source {source}, target {target}",
    )
    loaded = load_rows(name, config, split, caller="read_dataset")
    names = None if source is None or target is None else (source, target)
    pairs = list(_pairs(loaded, names, name, drop_empty, left_out))
    require(bool(pairs), f"read_dataset: there must be rows; got none in {name}")
    return ParallelText([source for source, _ in pairs], [target for _, target in pairs])


def load_rows(name: str, config: str | None, split: str, *, caller: str) -> Any:
    """Load a split of a data set, as the datasets library holds it."""
    loaded = _load(name, config, caller)
    if not isinstance(loaded, Mapping):
        return loaded
    require(
        split in loaded,
        f"{caller}: the split must be one of {sorted(loaded)}; got split {split!r}",
    )
    return loaded[split]


def _load(name: str, config: str | None, caller: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{caller}: the datasets library must be installed; got none. pip install datasets",
            name=error.name,
        ) from None
    version = datasets.__version__
    require(
        int(version.partition(".")[0]) >= 4,
        f"{caller}: datasets must be of version 4 or later, which runs no code of a data set; "
        f"got version {version}. pip install 'datasets>=4'",
    )
    saved = ("dataset_info.json", "dataset_dict.json")  # one of them marks save_to_disk
    if any((Path(name) / file).is_file() for file in saved):
        return datasets.load_from_disk(name)
    return datasets.load_dataset(name, config)


def _pairs(
    rows: Iterable[Mapping[str, Any]],
    names: tuple[str, str] | None,
    place: str,
    drop_empty: bool,
    left_out: Counter[str] | None,
) -> Iterator[tuple[str, str]]:
    faults = []
    for number, row in enumerate(rows):
        texts: Mapping[str, Any] = row.get("translation") or row
        wanted = names or next((both for both in NAMES if set(both) <= set(texts)), NAMES[0])
        require(
            not drop_empty or set(wanted) <= set(texts),
            f"read_dataset: a row must have {' and '.join(wanted)}; "
            f"got row {number} of {place} with {sorted(texts)}. {_REPAIR}",
        )
        pair = [text for text in map(texts.get, wanted) if isinstance(text, str) and text.strip()]
        if len(pair) == 2:
            yield pair[0], pair[1]
        else:
            leave_out(left_out, "empty")
            there = sorted(key for key in texts if texts[key])
            faults.append(f"row {number} of {place} with {there}")
    wanted = names or NAMES[0]
    require(
        drop_empty or not faults,
        lambda: (
            f"read_dataset: a row must have a text for {' and '.join(wanted)}; "
            f"got {in_words(faults)}. {_REPAIR}, or give --drop-empty"
        ),
    )
