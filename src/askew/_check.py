"""The one way this library refuses bad input, and names a package that it lacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def require(condition: bool, message: str) -> None:
    """Raise a ValueError with `message` unless `condition` holds.

    The message reads `<callable>: <what must hold>; got <name> <value>. <repair>`.
    """
    if not condition:
        raise ValueError(message)


def is_version(found: object, wanted: int) -> bool:
    """Tell whether a file says that it is of a version; True is no number."""
    return type(found) is int and found == wanted


def in_short(error: Exception, length: int = 200) -> str:
    """Write what another library says about a file in one line that any terminal takes."""
    said = " ".join(str(error).split())[:length] or type(error).__name__
    return said.encode("utf-8", "backslashreplace").decode()


@contextmanager
def needing(caller: str, extra: str) -> Iterator[None]:
    """Say which extra brings a package that is missing inside the block."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{caller}: {error.name} must be installed; got none. Run pip install 'askew[{extra}]'",
            name=error.name,
        ) from None


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
