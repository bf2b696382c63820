"""What `askew compare` reads from words: ranges, metrics, experiments."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from askew.tradeoffs import Experiment


class NumberRange(NamedTuple):
    """Where tuning draws a number from, as `askew.tradeoffs.Range` has it."""

    low: float
    high: float
    log: bool


def parse_range(text: str) -> tuple[str, NumberRange]:
    """Read KEY=LOW..HIGH or KEY=LOW..HIGH:log."""
    key, _, ends = text.partition("=")
    ends, _, scale = ends.partition(":")
    low, _, high = ends.partition("..")
    wanted = f"compare: --search must be KEY=LOW..HIGH or KEY=LOW..HIGH:log; got {text!r}"
    try:
        drawn = NumberRange(float(low), float(high), scale == "log")
    except ValueError as error:
        raise ValueError(f"{wanted} {error}") from None
    if not key or scale not in ("", "log") or not drawn.low < drawn.high:
        raise ValueError(f"{wanted}. LOW must be below HIGH")
    if drawn.log and drawn.low <= 0:
        raise ValueError(f"{wanted}. low must be positive where logarithms are drawn")
    return key, drawn


def parse_metric(text: str) -> dict[str, Any]:
    """Read NAME=WORDS as the settings of an `askew.tradeoffs.Metric`."""
    name, _, words = text.partition("=")
    settings: dict[str, Any] = {"name": name, "label": name, "equivalence": 0.0}
    for word in filter(None, words.split(",")):
        if word in ("lower", "higher"):
            settings["better"] = word
        elif word in ("ratio", "difference"):
            settings["scale"] = word
        else:
            try:
                settings["equivalence"] = float(word)
            except ValueError:
                raise ValueError(
                    "compare: --metric takes lower, higher, ratio, difference and a number; "
                    f"got {word!r} in {text!r}"
                ) from None
    return settings


def load_experiment(text: str) -> "Experiment":
    """Import the experiment, or call the function that returns one, and so run its code.

    Modules are also looked for in the current folder.

    Raises:
        ValueError: If there is no such module, name or experiment.
    """
    from askew.tradeoffs import Experiment

    where, _, name = text.rpartition(":")
    path = Path(where)
    folder, module = (path.parent, path.stem) if path.suffix == ".py" else (Path(), where)
    sys.path.insert(0, str(folder.resolve()))
    try:
        experiment = getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"compare: {text} must be there to import; got {error}") from None
    if callable(experiment) and not isinstance(experiment, Experiment):
        experiment = experiment()
    if not isinstance(experiment, Experiment):
        raise ValueError(
            f"compare: {text} must be an Experiment or return one; got {type(experiment).__name__}"
        )
    return experiment
