"""Folders that a run writes and reads: free to start or resume in, and with a whole model."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from askew._check import require
from askew._files import in_short, read_json


def check_writable(folder: Path) -> None:
    """Check that a folder can be made and written, without leaving a file in it.

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
    """Check that a run can start or resume in a folder, without leaving a file in it.

    Args:
        folder: New, empty, or of a run with the same identity.
        marker: Name of the file, of version 1, in which a run stores its identity.
        identity: Plain values that distinguish one run from another.
        caller: The function that messages name.

    Raises:
        ValueError: If the folder cannot be written or holds something else, or its marker is of
            another version.

    Example:
        >>> import tempfile
        >>> from askew._files import write_json
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "run.json", {"version": 1, "seed": 1})
        ...     check_resumable(Path(folder), "run.json", {"seed": 1}, caller="train")
        ...     list(path.name for path in Path(folder).iterdir())
        ['run.json']
    """
    check_writable(folder)
    if (folder / marker).is_file():
        stored = read_json(folder / marker)
        different = [key for key in identity if stored.get(key) != identity[key]]
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


@contextmanager
def whole_model(caller: str, folder: Path) -> Iterator[None]:
    """Name the folder in any error that damaged weights or settings of a model lead to."""
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
