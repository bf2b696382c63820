"""Files that are either whole or not there."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from askew._check import require


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it.

    Args:
        path: The file.
        text: Its content.
    """
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write values as indented JSON, whole or not at all.

    Args:
        path: The file.
        values: What it holds.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "a.json", {"version": 1})
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['a.json']
    """
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, *, version: int | None = 1) -> dict:
    """Read a JSON object that this package wrote.

    Args:
        path: The file.
        version: That it must be of; None leaves that to the caller.

    Returns:
        Its values.

    Raises:
        ValueError: If there is no such file, it is no JSON object, or of another version.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "a.json", {"version": 1})
        ...     read_json(Path(folder) / "a.json")
        {'version': 1}
    """
    require(path.is_file(), f"read_json: the file must exist; got {path}")
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"read_json: the file must be JSON; got {path}: {error}") from None
    require(isinstance(values, dict), f"read_json: the file must hold an object; got {path}")
    require(
        version is None or is_version(values.get("version"), version),
        f"read_json: the file must be of version {version}; got version "
        f"{values.get('version')!r} in {path}. Read it with the release that wrote it",
    )
    return values


def check_writable(folder: Path) -> None:
    """Make sure that a folder can be made and written, leaving nothing behind.

    Args:
        folder: A folder that may not exist yet.

    Raises:
        ValueError: If it cannot be written, or a file stands in its place.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_writable(Path(folder) / "new")
        ...     list(Path(folder).iterdir())
        []
    """
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    probe = nearest / f".askew-probe-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"check_writable: the output folder must be writable; got {folder}: {error.strerror}. "
            "Choose another with --out"
        ) from None


def check_resumable(
    folder: Path, marker: str, identity: Mapping[str, object], *, caller: str
) -> None:
    """Make sure that a run can start or go on in a folder, leaving nothing behind.

    Args:
        folder: New, empty, or of a run with the same identity.
        marker: Name of the file, of version 1, in which a run stores its identity.
        identity: Plain values that tell one run from another.
        caller: Who asks, for the message.

    Raises:
        ValueError: If the folder cannot be written or holds something else, or its marker is of
            another version.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "run.json", {"version": 1, "seed": 1})
        ...     check_resumable(Path(folder), "run.json", {"seed": 1}, caller="train")
        ...     list(path.name for path in Path(folder).iterdir())
        ['run.json']
    """
    check_writable(folder)
    if (folder / marker).is_file():
        other = read_json(folder / marker)
        different = [key for key in identity if other.get(key) != identity[key]]
        require(
            not different,
            f"{caller}: the folder must be of a run with the same settings; got out {folder} "
            f"with other {' and '.join(different)}. Choose another with --out",
        )
    elif folder.exists():
        require(
            folder.is_dir() and not any(folder.iterdir()),
            f"{caller}: the folder must be new, empty or of an unfinished run; "
            f"got out {folder}. Choose another with --out",
        )


def file_sha256(path: Path) -> str:
    """Hash a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str) -> Any:
    """Read JSON whose every string can be written again.

    Raises:
        ValueError: If it is no JSON, or a string holds half a surrogate pair.
        RecursionError: If it is nested too deeply.
    """
    values = json.loads(text)
    json.dumps(values, ensure_ascii=False).encode("utf-8")
    return values


def is_version(found: object, wanted: int) -> bool:
    """Tell whether a file says that it is of a version; True is no number."""
    return type(found) is int and found == wanted


def in_short(error: Exception, length: int = 200) -> str:
    """Write what another library says about a file in one line that any terminal takes."""
    said = " ".join(str(error).split())[:length] or type(error).__name__
    return said.encode("utf-8", "backslashreplace").decode()


@contextmanager
def whole_model(caller: str, folder: Path) -> Iterator[None]:
    """Say of which folder it is that the weights or the numbers of a model cannot be read."""
    from safetensors import SafetensorError

    try:
        yield
    except (
        *(LookupError, StopIteration, ValueError, TypeError, ArithmeticError),
        *(RuntimeError, OSError, SafetensorError),
    ) as error:
        raise ValueError(
            f"{caller}: the folder must hold a whole model; got {folder}: {in_short(error)}. "
            "Remove it and train again"
        ) from None
