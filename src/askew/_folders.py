"""Folders that a run writes and reads: free to start or resume in, and with a whole model."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from askew._check import require
from askew._files import in_short, is_open_pipe, is_partial, read_json

_LOCK = ".lock"
_TAKEN_OVER = b"taken over"
WORK = "work"
"""Sub-folder of what is unfinished; the run that holds the folder may clear it."""

_DIGESTS = {"name": "fingerprint", "pretrained": "pretrained_sha256"}
LATER = frozenset({"pretrained_sha256", "functions", "tensors"})
"""Keys of descriptions of data that an earlier release did not write."""


class FolderInUseError(RuntimeError):
    """Another process writes into the folder."""


@contextmanager
def one_writer(folder: Path, *, caller: str) -> Iterator[bool]:
    """Hold a folder, made if need be, so that no other process writes into it at the same time.

    The kernel frees a folder whose holder is killed. The files that such a run was about to
    replace are removed; within, the same folder may be held again.

    Args:
        folder: The folder.
        caller: What messages name.

    Yields:
        Whether the run that held it before was killed.

    Raises:
        FolderInUseError: If another process holds it.
    """
    import filelock  # a package of the applications

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK
    lock = filelock.FileLock(path, timeout=0, is_singleton=True)
    was_killed = lock.lock_counter == 0 and path.exists()
    try:
        lock.acquire()
    except filelock.Timeout:
        raise FolderInUseError(
            f"{caller}: another process is at work in {folder}. Wait until it ends"
        ) from None
    try:
        if lock.lock_counter == 1:
            for left in filter(_is_left, folder.iterdir()):
                left.unlink()
            if was_killed:
                path.write_bytes(_TAKEN_OVER)  # for whoever holds the folder again within
        yield path.read_bytes() == _TAKEN_OVER
    finally:
        if lock.lock_counter == 1:
            path.unlink(missing_ok=True)  # while it is held: a waiting process looks again
        lock.release()


def _is_left(path: Path) -> bool:
    """Return whether a file is what a killed run leaves, besides its lock."""
    return path.is_file() and is_partial(path)


def clear_work(folder: Path, *, keep: Iterable[str] = ()) -> None:
    """Remove the unfinished work of a killed run, except that of some names."""
    work, kept = folder / WORK, set(keep)
    for left in work.iterdir() if work.is_dir() else ():
        if left.name not in kept:
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def check_writable(folder: Path, *, option: str = "--out") -> None:
    """Check that a folder, which may not exist yet, can be made and written; leave nothing in it.

    Raises:
        ValueError: If it cannot be written, or a file stands in its place.
    """
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        _write_probe(nearest)
    except OSError as error:
        raise ValueError(
            f"check_writable: the output folder must be writable; got {folder}: {error.strerror}. "
            f"Choose another with {option}"
        ) from None


def content_of(data: Mapping[str, object]) -> dict[str, object]:
    """Leave out of a description of data what only names files whose content it identifies.

    The same bytes may lie elsewhere, or be named in another way, when a run is resumed.
    """

    def is_known(digest: object) -> bool:
        return all(digest) if isinstance(digest, list) else bool(digest)

    named = {name for name, digest in _DIGESTS.items() if is_known(data.get(digest))}
    return {key: value for key, value in data.items() if key not in named}


def _write_probe(folder: Path) -> None:
    tempfile.TemporaryFile(dir=folder).close()  # has no name, so that a kill leaves nothing


def check_output(
    path: Path, *, caller: str, reads: Iterable[Path] = (), option: str = "--out"
) -> None:
    """Check that a file can be written, and is none that the command reads; leave nothing.

    Args:
        path: The file, which may exist; a pipe or a device is not opened.
        caller: What messages name.
        reads: Files and folders that the command reads. Pages in a folder are results.
        option: What names the file.

    Raises:
        ValueError: If it is a folder or an input, or cannot be written.
    """
    again = f"Choose another with {option}"
    require(not path.is_dir(), f"{caller}: a file must be writable; got {path}, a folder. {again}")
    for read in reads:
        files = [read, *(file for file in read.rglob("*") if file.suffix != ".html")]
        require(
            not any(_is_same(path, file) for file in files),
            f"{caller}: the output must be another file than the input; got {path} for both",
        )
    require(
        not path.is_fifo() or is_open_pipe(path),
        f"{caller}: the output must be a file; got {path}, a pipe that may wait for ever. {again}",
    )
    if path.exists() and not path.is_file():
        return
    try:
        if path.exists():
            path.open("ab").close()
        _write_probe(path.resolve().parent)
    except OSError as error:
        raise ValueError(
            f"{caller}: a file must be writable; got {path}: {error.strerror}. {again}"
        ) from None


def _is_same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def check_resumable(
    folder: Path, marker: str, identity: Mapping[str, object], *, caller: str
) -> None:
    """Check that a run can start or resume in a folder; leave nothing in it.

    The folder must be new, empty but for what a killed run left, or of a run that stored the same
    identity in `marker`, a file of version 1. Under "data", content counts, not names of files.

    Raises:
        ValueError: If the folder cannot be written or holds something else, or its marker is of
            another version.
    """
    check_writable(folder)
    if (folder / marker).is_file():
        different = different_settings(read_json(folder / marker), identity)
        require(
            not different,
            f"{caller}: the folder must be of a run with the same settings; got out {folder} "
            f"with other {' and '.join(different)}. Choose another with --out",
        )
    elif folder.exists():
        require(
            folder.is_dir() and all(map(_is_of_killed_run, folder.iterdir())),
            f"{caller}: the folder must be new, empty or of an unfinished run; "
            f"got out {folder}. Choose another with --out",
        )


def different_settings(stored: Mapping[str, object], identity: Mapping[str, object]) -> list[str]:
    """Name the settings of an identity that are stored with another value; of data, what differs.

    Example:
        >>> different_settings({"data": {"rows": 9}, "steps": 5}, {"data": {"rows": 8}, "steps": 5})
        ['data (rows)']
    """
    names = []
    for key, given in identity.items():
        known = stored.get(key)
        keys = ""
        if key == "data" and isinstance(known, dict) and isinstance(given, dict):
            unknown = {*LATER, *_DIGESTS.values()} - known.keys()
            known = content_of(known)
            given = content_of({k: v for k, v in given.items() if k not in unknown})
            keys = ", ".join(k for k in {**given, **known} if known.get(k) != given.get(k))
        if known != given:
            names.append(f"data ({keys})" if keys else key)
    return names


def _is_of_killed_run(path: Path) -> bool:
    """Return whether a killed run left a file or folder before it stored its identity."""
    if path.name == WORK:
        return (path.parent / _LOCK).is_file()
    return path.name == _LOCK or _is_left(path)


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
