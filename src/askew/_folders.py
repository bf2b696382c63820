"""Folders that a run writes and reads: free to start or resume in, and with a whole model."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from askew._check import require
from askew._files import in_short, read_json


def check_writable(folder: Path) -> None:
    """Check that a folder, which may not exist yet, can be made and written; leave nothing in it.

    Raises:
        ValueError: If it cannot be written, or a file stands in its place.
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
    """Check that a run can start or resume in a folder; leave nothing in it.

    The folder must be new, empty, or of a run that stored the same identity in `marker`, a file
    of version 1.

    Raises:
        ValueError: If the folder cannot be written or holds something else, or its marker is of
            another version.
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
