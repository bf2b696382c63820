"""Parallel text, its split into training, validation and test pairs, and their fingerprint."""

import hashlib
import random
from collections import Counter
from typing import NamedTuple

from askew._check import refuse_string, require

_SHARE, _MOST = 0.05, 2000


class ParallelText(NamedTuple):
    """Sentences and their translations: row i of one side belongs to row i of the other.

    Args:
        sources: Sentences.
        targets: As many translations.

    Example:
        >>> pairs = ParallelText(["one", "two"], ["um", "dois"])
        >>> list(zip(*pairs, strict=True))
        [('one', 'um'), ('two', 'dois')]
    """

    sources: list[str]
    targets: list[str]


class SplitText(NamedTuple):
    """Pairs for training, validation and testing.

    Args:
        train: Training pairs.
        valid: Validation pairs.
        test: Test pairs.

    Example:
        >>> splits = split_pairs(ParallelText([str(i) for i in range(20)], ["x"] * 20))
        >>> isinstance(splits, SplitText), sum(len(split.sources) for split in splits)
        (True, 20)
    """

    train: ParallelText
    valid: ParallelText
    test: ParallelText


def leave_out(left_out: Counter[str] | None, reason: str, count: int = 1) -> None:
    """Count pairs that are left out, if anyone asks."""
    if left_out is not None and count:
        left_out[reason] += count


def split_pairs(
    pairs: ParallelText,
    *,
    num_valid: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
) -> SplitText:
    """Shuffle pairs and split them so that no source is in two splits.

    All pairs of one source stay together, repeated pairs included. A split may therefore have a
    few pairs fewer than requested. It has more only if even the source with the fewest pairs
    has more.

    Args:
        pairs: The pairs, with at least 3 different sources.
        num_valid: Number of validation pairs, at least 1; None means 5 %, at most 2000.
        num_test: Number of test pairs, at least 1; None means 5 %, at most 2000.
        seed: Seed of the shuffling. The same seed gives the same splits.

    Returns:
        The three splits, none of them empty.

    Raises:
        ValueError: If the sides differ in length, there are fewer than 3 different sources,
            or the numbers are below 1 or leave nothing to train on.
        TypeError: If a side is a string and not a list of them.

    Example:
        >>> splits = split_pairs(ParallelText(list("abcd"), list("wxyz")), num_test=2)
        >>> [len(split.sources) for split in splits]
        [1, 1, 2]
    """
    refuse_strings("split_pairs", pairs)
    total = len(pairs.sources)
    require(
        total == len(pairs.targets),
        "split_pairs: both sides must have the same number of rows; "
        f"got {total} sources, {len(pairs.targets)} targets",
    )
    groups = _rows_by_source(pairs.sources)
    require(
        len(groups) >= 3,
        "split_pairs: three splits need at least 3 different sources; "
        f"got {len(groups)} in {total} pairs",
    )
    default = min(_MOST, max(1, round(_SHARE * total)))
    num_valid = default if num_valid is None else num_valid
    num_test = default if num_test is None else num_test
    require(
        min(num_valid, num_test) >= 1 and num_valid + num_test < total,
        "split_pairs: num_valid and num_test must be at least 1 and leave a pair to train on; "
        f"got num_valid {num_valid}, num_test {num_test}, {total} pairs",
    )
    random.Random(seed).shuffle(groups)
    test, groups = _take(groups, num_test, leave=2)
    valid, groups = _take(groups, num_valid, leave=1)
    train = [row for group in groups for row in group]
    return SplitText(_select(pairs, train), _select(pairs, valid), _select(pairs, test))


def count_overlap(train: ParallelText, test: ParallelText) -> int:
    """Count the test pairs that are also training pairs, with the same source and target.

    Args:
        train: Training pairs.
        test: Test pairs; a repeated one counts each time.

    Returns:
        A number between 0 and the number of test pairs.

    Raises:
        TypeError: If a side is a string and not a list of them.

    Example:
        >>> count_overlap(ParallelText(["a", "b"], ["x", "y"]), ParallelText(["a"], ["z"]))
        0
    """
    refuse_strings("count_overlap", train)
    refuse_strings("count_overlap", test)
    known = set(zip(train.sources, train.targets, strict=True))
    return sum(pair in known for pair in zip(test.sources, test.targets, strict=True))


def fingerprint(split: SplitText) -> str:
    """Hash all three splits, so that two runs can prove that they used the same data.

    The count of every list and the length of every text in bytes are hashed too, so that
    different contents never become the same bytes.

    Args:
        split: The pairs.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Example:
        >>> one = SplitText(*(ParallelText([name], [name]) for name in ("train", "valid", "test")))
        >>> other = one._replace(test=ParallelText(["test"], ["tests"]))
        >>> fingerprint(one) == fingerprint(one), fingerprint(one) == fingerprint(other)
        (True, False)
    """
    digest = hashlib.sha256()
    for pairs in split:
        for side in pairs:
            digest.update(f"{len(side)}\n".encode())
            for text in side:
                raw = text.encode("utf-8", "surrogatepass")
                digest.update(f"{len(raw)}:".encode() + raw)
    return digest.hexdigest()


def refuse_strings(caller: str, pairs: ParallelText) -> None:
    """Refuse pairs with a string where a list of them is due."""
    refuse_string(caller, "sources", pairs.sources)
    refuse_string(caller, "targets", pairs.targets)


def _rows_by_source(sources: list[str]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for row, source in enumerate(sources):
        groups.setdefault(source, []).append(row)
    return list(groups.values())


def _take(groups: list[list[int]], size: int, *, leave: int) -> tuple[list[int], list[list[int]]]:
    """Move whole groups out while they fit into `size` rows and `leave` groups remain."""
    smallest = min(groups, key=len)
    if len(smallest) > size:
        return smallest, [group for group in groups if group is not smallest]
    taken: list[int] = []
    rest: list[list[int]] = []
    spare = len(groups) - leave
    for group in groups:
        if spare > 0 and len(taken) + len(group) <= size:
            taken += group
            spare -= 1
        else:
            rest.append(group)
    return taken, rest


def _select(pairs: ParallelText, rows: list[int]) -> ParallelText:
    return ParallelText([pairs.sources[i] for i in rows], [pairs.targets[i] for i in rows])
