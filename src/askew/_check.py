"""How bad input is refused, and how a missing package is named."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


def require(condition: bool, message: str | Callable[[], str]) -> None:
    """Raise a ValueError with `message` unless `condition` holds.

    The message reads `<callable>: <what must hold>; got <name> <value>. <repair>`. A function
    writes it only when it is needed: a compiler cannot write out a symbolic length.
    """
    if not condition:
        raise ValueError(message if isinstance(message, str) else message())


def in_words(faults: Sequence[str], *, most: int = 10) -> str:
    """Join faults to one text; of many, their number and the first ones."""
    if len(faults) <= most:
        return "; ".join(faults)
    return f"{len(faults)} of these: {'; '.join(faults[:most])}; …"


def refuse_string(caller: str, name: str, texts: object) -> None:
    """Raise a TypeError for one string where several are due: its letters would count as texts."""
    if isinstance(texts, str | bytes):
        raise TypeError(
            f"{caller}: {name} must be a list of texts; got the string {texts[:40]!r}. "
            "Put it into a list"
        )


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
