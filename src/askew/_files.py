"""Files that are written whole or not at all, read with their version, and hashed."""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from askew._check import require

_LONGEST_NAME = 100
"""Bytes; a name of a file has at most 255, and ours are put together of two and a number."""
_STEERING = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_PARTIAL = ".partial"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write; without an error it then replaces `path` in one step.

    A reader, also after a crash, finds the old file or the new one and never half of it. A pipe or
    a device is yielded itself, and a symbolic link keeps pointing to the file.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path = path.resolve()
    partial = partial_of(path)
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())  # else a crash could leave the new name without its bytes
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """Name the temporary file or folder that is to replace a path."""
    return path.with_name(f".{path.name}{_PARTIAL}")


def is_partial(path: Path) -> bool:
    """Return whether a file is what `replacing` leaves if the process is killed."""
    return path.name.startswith(".") and path.name.endswith(_PARTIAL)


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
    existing_file("read_json", path)
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


def existing_file(caller: str, path: Path, *, pipe: bool = False) -> Path:
    """Return the path of an ordinary file: reading a pipe or a device could go on for ever.

    With `pipe`, one that is open already also counts, as `<(command)` of a shell gives it.

    Raises:
        ValueError: If there is no such file.
    """
    require(path.exists(), f"{caller}: the file must exist; got {path}")
    require(not path.is_dir(), f"{caller}: a file is needed; got the directory {path}")
    require(
        path.is_file() or (pipe and is_open_pipe(path)),
        f"{caller}: an ordinary file is needed; got {path}, a pipe or a device. Write its content "
        "to a file",
    )
    return path


def is_open_pipe(path: Path) -> bool:
    """Return whether a path is a pipe that this process has open: opening it waits for nobody."""
    return path.is_fifo() and str(path.absolute()).startswith(("/dev/fd/", "/dev/stdin", "/proc/"))


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


def check_name(caller: str, kind: str, name: object) -> None:
    """Check a name that becomes a part of the name of a file or folder, on any system.

    Raises:
        ValueError: If it is empty, too long, reserved, or has characters that lead out of a folder
            or that nobody sees.
    """
    require(
        is_name(name),
        f"{caller}: {kind} must be a name that a folder can have: 1 to {_LONGEST_NAME} bytes, all "
        "visible, without / and \\, no space or dot at an end, and no device of Windows; got "
        f"{kind} {str(name)[:60]!a}",
    )


def is_name(name: object) -> bool:
    """Return whether `check_name` takes a name."""
    return (
        isinstance(name, str)
        and name == name.strip().rstrip(".")
        and name.isprintable()
        and not {"/", "\\"} & set(name)
        and 0 < len(name.encode()) <= _LONGEST_NAME
        and not _RESERVED.fullmatch(name)
    )


def in_short(error: Exception, length: int = 200) -> str:
    """Return the message of an error in one line that any terminal can print."""
    return visible(" ".join(str(error).split())[:length] or type(error).__name__)


def visible(text: str) -> str:
    r"""Write what would steer a terminal, or turn the order of a line around, as `\u001b`.

    Tabs and ends of lines stay.
    """
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def folder_sha256(folder: Path | None) -> str:
    """Hash names and bytes of the files in a folder."""
    if folder is None:
        return "none"
    files = sorted(file for file in folder.iterdir() if file.is_file())
    sums = "".join(f"{file_sha256(file)} {file.name}\n" for file in files)
    return hashlib.sha256(sums.encode()).hexdigest()
