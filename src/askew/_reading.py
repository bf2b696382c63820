"""What every reader of a file needs."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
