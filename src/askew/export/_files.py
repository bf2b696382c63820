"""Folders of exports, which are written whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from askew._check import require
from askew._files import partial_of
from askew._folders import check_writable

MARK = "askew.json"  # says of which weights the export was made


def check_replaceable(out: Path, *, caller: str) -> None:
    """Check before any work that a folder can be written and holds nothing but an export.

    Raises:
        ValueError: If it cannot be written or holds something else.
    """
    require(
        not out.exists() or (out / MARK).is_file() or (out.is_dir() and not any(out.iterdir())),
        f"{caller}: out must be new, empty or an earlier export; got out {out}. Choose another",
    )
    check_writable(out.absolute().parent)


@contextmanager
def replacing_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder to write; without an error it then replaces `out`."""
    out = out.resolve()
    partial = partial_of(out)
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    (partial / "new").mkdir(parents=True)
    try:
        yield partial / "new"
        if out.exists():
            out.rename(partial / "old")
        (partial / "new").rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
