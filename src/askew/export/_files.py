"""An export is on disk whole or not at all, and says what it was made from."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from askew._check import require

MARK = "askew.json"


@contextmanager
def replacing(out: Path, *, caller: str) -> Iterator[Path]:
    """Give a folder to write into; it takes the place of `out` when all went well."""
    require(
        not out.exists() or (out / MARK).is_file() or (out.is_dir() and not any(out.iterdir())),
        f"{caller}: out must be new, empty or an earlier export; got out {out}. Choose another",
    )
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
