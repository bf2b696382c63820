"""Nested numbers as the settings that a user types."""

from collections.abc import Iterator, Mapping


def typed(numbers: Mapping[str, object], path: str = "") -> list[str]:
    """Write {"training": {"lr": 0.1}} as ["training.lr=0.1"]."""
    return list(_typed(numbers, path))


def _typed(numbers: Mapping[str, object], path: str) -> Iterator[str]:
    for key, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _typed(value, f"{path}{key}.")
        else:
            yield f"{path}{key}={value}"
