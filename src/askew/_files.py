"""Files that are written whole or not at all, read with their version, and hashed."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from askew._check import require


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write; without an error it then replaces `path` in one step.

    A reader, also after a crash, finds the old file or the new one and never half of it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())  # else a crash could leave the new name without its bytes
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write values as indented JSON, whole or not at all."""
    write_text(path, to_json(values) + "\n")


def to_json(values: object, *, indent: int | None = 2, ascii_only: bool = False) -> str:
    """Return JSON in which a number that is not finite is null, since JSON has no name for it."""
    plain = _finite(values)
    return json.dumps(plain, indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _finite(values: object) -> object:
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    if isinstance(values, Mapping):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return values


def read_json(path: Path, *, version: int | None = 1) -> dict:
    """Read a JSON object that this package wrote.

    A `version` of None leaves it to the caller to check that of the file.

    Raises:
        ValueError: If there is no such file, it is no JSON object, or of another version.
    """
    require(path.is_file(), f"read_json: the file must exist; got {path}")
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"read_json: the file must be JSON; got {path}: {error}") from None
    require(isinstance(values, dict), f"read_json: the file must hold an object; got {path}")
    require(
        version is None or is_version(values.get("version"), version),
        f"read_json: the file must be of version {version}; got version "
        f"{values.get('version')!r} in {path}. Read it with the release that wrote it",
    )
    return values


def file_sha256(path: Path) -> str:
    """Hash a file of any size; 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str) -> Any:
    """Parse JSON whose every string can be written again.

    Raises:
        ValueError: If it is no JSON, is nested too deeply, or a string holds half a surrogate pair.
    """
    try:
        values = json.loads(text)
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError(str(error)) from None
    return values


def is_version(value: object, version: int) -> bool:
    """Check the version that a file states; True does not count as 1."""
    return type(value) is int and value == version


def in_short(error: Exception, length: int = 200) -> str:
    """Return the message of an error in one line that any terminal can print."""
    message = " ".join(str(error).split())[:length] or type(error).__name__
    return message.encode("utf-8", "backslashreplace").decode()
