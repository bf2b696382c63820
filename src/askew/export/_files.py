"""Folders of exports, which are written whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from askew._check import require

MARK = "askew.json"  # says of which weights the export was made


@contextmanager
def replacing_folder(out: Path, *, caller: str) -> Iterator[Path]:
    """Yield a temporary folder to write; without an error it then replaces `out`."""
    require(
        not out.exists() or (out / MARK).is_file() or (out.is_dir() and not any(out.iterdir())),
        f"{caller}: out must be new, empty or an earlier export; got out {out}. Choose another",
    )
    partial = out.with_name(f"{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
