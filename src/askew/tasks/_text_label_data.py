"""Texts with labels: phrases of an installed package, or the user's."""

import random
from collections.abc import Collection
from itertools import islice
from typing import NamedTuple
from urllib.parse import parse_qsl

from askew._check import in_words, require
from askew.tasks._application import Split
from askew.text import LabelledTexts, labelled_phrases, read_labelled, read_labelled_dataset

_SHARE = 0.1
"""Share of the texts that each of validation and test gets."""


class SplitLabelled(NamedTuple):
    """Texts with labels for training, validation and testing.

    Args:
        train: Training texts.
        valid: Validation texts.
        test: Test texts.

    Example:
        >>> one = LabelledTexts(["Cats sleep."], [("cats",)])
        >>> SplitLabelled(one, one, one).names
        ['cats']
    """

    train: LabelledTexts
    valid: LabelledTexts
    test: LabelledTexts

    @property
    def names(self) -> list[str]:
        """The labels of the training texts, sorted."""
        return self.train.names

    @property
    def is_exclusive(self) -> bool:
        """Whether every text of every split has exactly one label."""
        return all(split.is_exclusive for split in self)


class LabelSources(NamedTuple):
    """Where texts with labels are; missing validation and test texts are split off.

    Args:
        data: A `.tsv`, `.csv` or `.jsonl` file (`askew.text.read_labelled`), or
            "datasets:NAME#SPLIT?config=CONFIG"; None means phrases of an installed package.
        valid: Validation texts, in one of the same forms.
        test: Test texts.
        columns: Which columns hold text and labels, "NAME,NAME" or "1,2".

    Example:
        >>> LabelSources(data="rows.tsv").columns is None
        True
    """

    data: str | None = None
    valid: str | None = None
    test: str | None = None
    columns: str | None = None


def load_labelled(sources: LabelSources, *, seed: int = 0) -> tuple[str, SplitLabelled]:
    """Read training, validation and test texts; missing splits are split off.

    Equal texts are always in one split.

    Args:
        sources: Where the texts are.
        seed: Seed of the split.

    Returns:
        A name for the data, and the texts.

    Raises:
        ValueError: If a file cannot be read, there are fewer than 10 different texts to split, or
            a validation or test text has a label that no training text has.

    Example:
        >>> name, split = load_labelled(LabelSources())
        >>> name, [len(texts.texts) for texts in split], split.is_exclusive
        ('phrases of the CLDR', [2992, 374, 374], False)
    """
    if sources.data is None:
        require(
            sources == LabelSources(),
            "load_labelled: validation and test texts and columns go with training texts; got "
            "none. Give --data",
        )
        return "phrases of the CLDR", split_labelled(labelled_phrases(seed=seed), seed)
    train = _read(sources.data, sources.columns)
    known = set(train.names)
    valid, test = (
        None if data is None else _read(data, sources.columns, known)
        for data in (sources.valid, sources.test)
    )
    if valid is None or test is None:
        split = split_labelled(train, seed)
        # A split that the user's own file replaces goes back to the training texts.
        parts = [split.train]
        parts += [split.valid] if valid is not None else []
        parts += [split.test] if test is not None else []
        train = LabelledTexts(
            [text for part in parts for text in part.texts],
            [names for part in parts for names in part.labels],
        )
        valid, test = valid or split.valid, test or split.test
    split = SplitLabelled(train, valid, test)
    _check_labels(split, sources)
    return str(sources.data), split


def load_labelled_test(
    data: str | None,
    *,
    columns: str | None = None,
    part: Split = "all",
    known: Collection[str] | None = None,
) -> LabelledTexts:
    """Read the texts to score with.

    Args:
        data: As in `LabelSources`.
        columns: As there.
        part: "all" of them, or the "valid" or "test" texts that training splits off.
        known: The labels that all of them may have; by default any.

    Returns:
        The texts.

    Raises:
        ValueError: If the file cannot be read, has too few texts to split, or a label that is not
            known.

    Example:
        >>> len(load_labelled_test(None, part="test").texts)
        374
    """
    if part != "all":
        return getattr(load_labelled(LabelSources(data, columns=columns))[1], part)
    return labelled_phrases() if data is None else _read(data, columns, known)


def _read(data: str, columns: str | None, known: Collection[str] | None = None) -> LabelledTexts:
    names = _names(columns)
    kind, _, spec = data.partition(":")
    if kind != "datasets":
        return read_labelled(data, columns=names, known=known)
    whole, _, query = spec.partition("?")
    name, _, split = whole.partition("#")
    options = dict(parse_qsl(query, keep_blank_values=True))
    require(
        bool(name) and set(options) <= {"config"},
        f"load_labelled: a data set must be datasets:NAME#SPLIT?config=…; got {data}",
    )
    config = options.get("config")
    return read_labelled_dataset(
        name, split=split or "train", config=config, columns=names, known=known
    )


def _names(columns: str | None) -> tuple[str, str] | None:
    if columns is None:
        return None
    names = [name.strip() for name in columns.split(",")]
    require(
        len(names) == 2 and all(names) and names[0] != names[1],
        "load_labelled: columns must be two with a comma between them, text and labels; "
        f"got columns {columns!r}",
    )
    return names[0], names[1]


def split_labelled(rows: LabelledTexts, seed: int) -> SplitLabelled:
    """Shuffle the different texts, and take validation and test texts from the beginning."""
    by_text: dict[str, list[tuple[str, ...]]] = {}
    for text, names in zip(*rows, strict=True):
        by_text.setdefault(text, []).append(names)
    require(
        len(by_text) >= 10,
        "load_labelled: three splits need at least 10 different texts; "
        f"got {len(by_text)}. Give more, or --valid and --test",
    )
    order = list(by_text)
    random.Random(seed).shuffle(order)
    count = max(1, round(_SHARE * len(order)))
    drawn = iter(order)
    parts = []
    for size in (count, count, len(order)):
        pairs = [(text, names) for text in islice(drawn, size) for names in by_text[text]]
        parts.append(LabelledTexts([text for text, _ in pairs], [names for _, names in pairs]))
    test, valid, train = parts
    return SplitLabelled(train, valid, test)


def _check_labels(split: SplitLabelled, sources: LabelSources) -> None:
    known = set(split.names)
    require(
        len(known) > 1 or (bool(known) and not split.is_exclusive),
        "load_labelled: there must be labels that hold of some texts and not of others; "
        f"got {sorted(known)} in {sources.data}",
    )
    for name in ("valid", "test"):
        others = sorted(set(getattr(split, name).names) - known)
        require(
            not others,
            lambda name=name, others=others: (
                f"load_labelled: a label must be one of a training text; got {in_words(others)} of "
                f"{getattr(sources, name) or f'the {name} texts split off {sources.data}'}. "
                "Leave the label out, or give --valid and --test"
            ),
        )
