"""How bad input is refused, and how a missing package is named."""

from collections.abc import Iterator
from contextlib import contextmanager


def require(condition: bool, message: str) -> None:
    """Raise a ValueError with `message` unless `condition` holds.

    The message reads `<callable>: <what must hold>; got <name> <value>. <repair>`. Where it holds
    a number that may be symbolic in a compiled graph, raise the error instead: there a text of
    such a number breaks the graph or fixes the number, even if the text is not used.
    """
    if not condition:
        raise ValueError(message)


@contextmanager
def requires_extra(caller: str, extra: str) -> Iterator[None]:
    """Name the extra to install if a package is missing inside the block."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{caller}: {error.name} must be installed; got none. Run pip install 'askew[{extra}]'",
            name=error.name,
        ) from None
