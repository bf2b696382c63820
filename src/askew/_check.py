"""How bad input is refused, and how a missing package is named."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args


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


def did_you_mean(
    name: str, known: Iterable[str], *, where: str = "", elsewhere: Iterable[str] = ()
) -> str:
    """Suggest the nearest of the known names, as "did you mean 'x'?"; an empty text if none is.

    Args:
        name: What was given.
        known: Names that could stand in its place.
        where: Dotted path of that place, put before the names.
        elsewhere: Dotted names of other places. Where none of `known` is near, those count whose
            last part is that of `name`, or near it.
    """
    near = get_close_matches(name, list(known), n=1)
    close = [f"{where}.{one}" if where else one for one in near]
    if not close:
        last = name.rpartition(".")[2]
        ends: dict[str, list[str]] = {}
        for other in elsewhere:
            ends.setdefault(other.rpartition(".")[2], []).append(other)
        near = [last] if last in ends else get_close_matches(last, ends, n=1, cutoff=0.75)
        close = [other for end in near for other in ends[end]][:3]
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def hint(name: object, known: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """Return what `did_you_mean` says in brackets, to stand behind the name."""
    near = did_you_mean(str(name), known, elsewhere=elsewhere)
    return f" ({near})" if near else ""


def refuse_string(caller: str, name: str, texts: object) -> None:
    """Raise a TypeError for one string where several are due, and for numbers among texts.

    The letters of a string would count as texts. None and NaN are what tables hold for no text.
    """
    if isinstance(texts, str | bytes):
        raise TypeError(
            f"{caller}: {name} must be a list of texts; got the string {texts[:40]!r}. "
            "Put it into a list"
        )
    for place, text in enumerate(texts if isinstance(texts, list | tuple) else ()):
        if text is None or isinstance(text, int | float | bytes):
            raise TypeError(
                f"{caller}: {name} must be texts; got {text!r} at place {place}, counted from 0. "
                "Leave it out, or write it as a string"
            )


def refuse_quoted(config: Any) -> None:
    """Raise a TypeError for a string in a field of a dataclass that takes numbers alone."""
    for one in fields(config):
        value = getattr(config, one.name)
        kinds = get_args(one.type) or (one.type,)
        if isinstance(value, str) and set(kinds) <= {int, float, NoneType}:
            raise TypeError(
                f"{type(config).__name__}: {one.name} must be a number; got {one.name} {value!r}. "
                "Leave out the quotes"
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
