"""Options of `askew compare` and `askew find` that are parsed."""

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from askew._budget import Choice, Range
from askew._check import require
from askew._config import errors_name_file, parse_setting, read_toml

if TYPE_CHECKING:
    from askew.tradeoffs import Experiment, Space

T = TypeVar("T")


def parse_numbers(caller: str, text: str, *, what: str = "--search") -> tuple[str, Range | Choice]:
    """Read KEY=LOW..HIGH, with :log, :int or :step=STEP after it, or KEY=a,b,c."""
    key, _, written = text.partition("=")
    try:
        if not key or not written:
            raise ValueError
        return key, _numbers(written)
    except ValueError as error:
        raise ValueError(
            f"{caller}: {what} must be KEY=LOW..HIGH, with :log, :int or :step=STEP after it, or "
            f"KEY=a,b,c; got {text!r} {error}"
        ) from None


def parse_searched(caller: str, texts: Iterable[str]) -> dict[str, Range | Choice]:
    """Read all numbers of --search."""
    return by_name(caller, "--search", (parse_numbers(caller, text) for text in texts))


def by_name(caller: str, option: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return what an option says of each name, which it must not name twice."""
    named: dict[str, T] = {}
    for name, value in pairs:
        require(name not in named, f"{caller}: {option} must name each once; got {name} twice")
        named[name] = value
    return named


def _numbers(written: str) -> Range | Choice:
    ends, *scales = written.split(":")
    low, dots, high = ends.partition("..")
    if not dots:
        if scales:
            raise ValueError
        return Choice(values=tuple(_value(word) for word in ends.split(",")))
    step = None
    for scale in scales:
        if scale == "int":
            step = 1
        elif scale.startswith("step="):
            step = _number(scale.removeprefix("step="))
        elif scale != "log":
            raise ValueError
    read = float if step is None else _number
    return Range(low=read(low), high=read(high), log="log" in scales, step=step)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _value(word: str) -> Any:
    (value,) = parse_setting(f"value={word}").values()
    return value


def parse_bound(text: str, caller: str = "find") -> tuple[str, float]:
    """Read NAME=NUMBER."""
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise ValueError(f"{caller}: --at-most must be NAME=NUMBER; got {text!r}") from None


def read_space(path: Path) -> "Space":
    """Read a space from a TOML file: tables numbers, ties, fixed and conditions, a list solved.

    A number is written as --search writes it, or as a list of values.
    """
    from askew.tradeoffs import Space

    tables: dict[str, Any] = read_toml(path)
    known = ("numbers", "ties", "fixed", "solved", "conditions")
    unknown = [name for name in tables if name not in known]
    with errors_name_file(path):
        require(not unknown, f"find: a space has {', '.join(known)}; got {unknown}")
        for name in ("numbers", "ties", "fixed", "conditions"):
            _require_kind(name, tables.setdefault(name, {}), dict)
        _require_kind("solved", tables.setdefault("solved", []), list)
        for value in tables["fixed"].values():
            Choice(values=(value,))  # refuses what is no plain value
        for name, other in (*tables["ties"].items(), *enumerate(tables["solved"])):
            _require_kind(f"the number of {name}", other, str)
        for name, conditions in tables["conditions"].items():
            _require_kind(f"conditions of {name}", conditions, dict)
            for other, allowed in conditions.items():
                _require_kind(f"values of {other} in conditions of {name}", allowed, list)
        return Space(
            numbers={name: _listed(name, value) for name, value in tables["numbers"].items()},
            ties=tables["ties"],
            fixed=tables["fixed"],
            solved=tuple(tables["solved"]),
            conditions=tables["conditions"],
        )


_KINDS = {dict: "a table", list: "a list", str: "the name of a number"}


def _require_kind(name: str, value: object, kind: type) -> None:
    """Refuse a value of a space that is of another kind."""
    dots = ". Quote a name with dots" if isinstance(value, dict) else ""
    require(
        isinstance(value, kind),
        f"find: {name} must be {_KINDS[kind]}; got {name} {value!r}{dots}",
    )


def _listed(name: str, value: object) -> Range | Choice:
    if isinstance(value, list):
        return Choice(values=tuple(value))
    if isinstance(value, dict):
        raise ValueError(
            f"find: a number must be a text or a list; got {name} {value!r}. Quote a name with dots"
        )
    return parse_numbers("find", f"{name}={value}", what="a number")[1]


def parse_metric(text: str) -> dict[str, Any]:
    """Parse NAME=WORDS into the settings of an `askew.tradeoffs.Metric`."""
    name, _, words = text.partition("=")
    settings: dict[str, Any] = {}
    for word in filter(None, words.split(",")):
        key, value = _word_of_metric(word, text)
        require(
            key not in settings,
            f"compare: --metric takes one of lower and higher, one of ratio and difference, and "
            f"one number; got {text!r}",
        )
        settings[key] = value
    return {"name": name, "label": name, "equivalence": 0.0, **settings}


def _word_of_metric(word: str, text: str) -> tuple[str, str | float]:
    """Return which setting a word is of, and its value."""
    if word in ("lower", "higher"):
        return "better", word
    if word in ("ratio", "difference"):
        return "scale", word
    try:
        return "equivalence", float(word)
    except ValueError:
        raise ValueError(
            "compare: --metric takes lower, higher, ratio, difference and a number; "
            f"got {word!r} in {text!r}"
        ) from None


def load_experiment(text: str, caller: str = "compare") -> "Experiment":
    """Import an experiment, or a function that returns one; both run the user's code.

    Modules in the current folder can be imported, too.
    """
    from askew.tradeoffs import Experiment

    where, _, name = text.rpartition(":")
    path = Path(where)
    folder, module = (path.parent, path.stem) if path.suffix == ".py" else (Path(), where)
    if path.suffix == ".py" and not path.is_file():
        raise ValueError(f"{caller}: the file must exist; got {path}")
    sys.path.insert(0, str(folder.resolve()))
    try:
        experiment = getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"{caller}: {text} must be there to import; got {error}") from None
    if callable(experiment) and not isinstance(experiment, Experiment):
        experiment = experiment()
    if not isinstance(experiment, Experiment):
        raise ValueError(
            f"{caller}: {text} must be an Experiment or return one; got {type(experiment).__name__}"
        )
    return experiment
