"""The one way this library refuses bad input, and names a package that it lacks."""

from collections.abc import Iterator
from contextlib import contextmanager


def require(condition: bool, message: str) -> None:
    """Raise a ValueError with `message` unless `condition` holds.

    The message reads `<callable>: <what must hold>; got <name> <value>. <repair>`.
    """
    if not condition:
        raise ValueError(message)


@contextmanager
def requires_extra(caller: str, extra: str) -> Iterator[None]:
    """Say which extra brings a package that is missing inside the block."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{caller}: {error.name} must be installed; got none. Run pip install 'askew[{extra}]'",
            name=error.name,
        ) from None
