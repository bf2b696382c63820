"""What a command says of the data that it read."""

from collections.abc import Mapping
from typing import Any


def describe_read(
    unit: str, place: object, left_out: Mapping[str, int], sizes: Mapping[str, Any]
) -> str:
    """Describe what was read: what it is for, and what was left out.

    Args:
        unit: What was read, such as "pairs"; one of them is written without the "s".
        place: Where it was read.
        left_out: How many were left out, by reason.
        sizes: How many are used, by what they are for; one use alone is not named.

    Returns:
        One line.

    Example:
        >>> describe_read("pairs", "a.tsv", {"empty": 2, "too long": 1}, {"train": 7, "test": 1000})
        'read 1,007 pairs from a.tsv (3 left out: 2 empty, 1 too long): 7 to train, 1,000 to test'
    """
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
    out = f" ({sum(left_out.values()):,} left out: {reasons})" if reasons else ""
    uses = ", ".join(f"{size:,} to {use}" for use, size in sizes.items())
    total = sum(sizes.values())
    line = f"read {total:,} {unit.removesuffix('s') if total == 1 else unit} from {place}{out}"
    return f"{line}: {uses}" if len(sizes) > 1 else line
