"""Folders that a run writes and reads: free to start or resume in, and with a whole model."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from askew._check import require
from askew._files import in_short, read_json

_DIGESTS = {"name": "fingerprint", "pretrained": "pretrained_sha256"}


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


def content_of(data: Mapping[str, object]) -> dict[str, object]:
    """Leave out of a description of data what only names files whose content it identifies.

    The same bytes may lie elsewhere, or be named in another way, when a run is resumed.
    """

    def is_known(digest: object) -> bool:
        return all(digest) if isinstance(digest, list) else bool(digest)

    named = {name for name, digest in _DIGESTS.items() if is_known(data.get(digest))}
    return {key: value for key, value in data.items() if key not in named}


def check_resumable(
    folder: Path, marker: str, identity: Mapping[str, object], *, caller: str
) -> None:
    """Check that a run can start or resume in a folder; leave nothing in it.

    The folder must be new, empty, or of a run that stored the same identity in `marker`, a file
    of version 1. Under "data", content counts and not the names of files.

    Raises:
        ValueError: If the folder cannot be written or holds something else, or its marker is of
            another version.
    """
    check_writable(folder)
    if (folder / marker).is_file():
        stored = read_json(folder / marker)
        different = [key for key in identity if not _is_same(stored.get(key), identity[key])]
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


def _is_same(stored: object, given: object) -> bool:
    if not (isinstance(stored, dict) and isinstance(given, dict)):
        return stored == given
    unknown = _DIGESTS.values() - stored.keys()  # an earlier release did not write them
    given = {key: value for key, value in given.items() if key not in unknown}
    return content_of(stored) == content_of(given)


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
