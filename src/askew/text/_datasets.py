"""Parallel text from the datasets library."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from askew._check import require
from askew.text._pairs import ParallelText


def read_dataset(name: str, *, split: str = "train") -> ParallelText:
    """Read pairs through the datasets library.

    Rows have the texts "source" and "target", or "translation" with one text in each of two
    languages, of which the first is the source.

    Args:
        name: A folder that `save_to_disk` wrote, or a name of the hub; "NAME/CONFIG" is not
            taken apart.
        split: Which part, where there are several.

    Returns:
        The pairs.

    Raises:
        ValueError: If rows have neither form, or are empty.
        ModuleNotFoundError: If datasets is not installed.
    """
    import datasets

    loaded = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name)
    if isinstance(loaded, Mapping):
        require(
            split in loaded,
            f"read_dataset: the split must be one of {sorted(loaded)}; got split {split!r}",
        )
        loaded = loaded[split]
    pairs = list(_rows(loaded, name))
    require(bool(pairs), f"read_dataset: there must be rows; got none in {name}")
    return ParallelText([source for source, _ in pairs], [target for _, target in pairs])


def _rows(rows, name: str) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(rows):
        texts = row.get("translation") or {k: row[k] for k in ("source", "target") if k in row}
        pair = list(texts.values())
        require(
            len(pair) == 2 and all(isinstance(t, str) and t.strip() for t in pair),
            'read_dataset: a row must have "source" and "target", or "translation" in two '
            f"languages; got row {number} of {name} with {sorted(row)}",
        )
        yield pair[0], pair[1]
