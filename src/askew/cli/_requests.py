"""Options of `askew compare` that are parsed: ranges, metrics and experiments."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askew._budget import Range

if TYPE_CHECKING:
    from askew.tradeoffs import Experiment


def parse_range(text: str) -> tuple[str, Range]:
    """Read KEY=LOW..HIGH or KEY=LOW..HIGH:log."""
    key, _, ends = text.partition("=")
    ends, _, scale = ends.partition(":")
    low, _, high = ends.partition("..")
    try:
        if not key or scale not in ("", "log"):
            raise ValueError
        return key, Range(low=float(low), high=float(high), log=scale == "log")
    except ValueError as error:
        raise ValueError(
            f"compare: --search must be KEY=LOW..HIGH or KEY=LOW..HIGH:log; got {text!r} {error}"
        ) from None


def parse_metric(text: str) -> dict[str, Any]:
    """Parse NAME=WORDS into the settings of an `askew.tradeoffs.Metric`."""
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
    """Import an experiment, or a function that returns one; both run the user's code.

    Modules in the current folder can be imported, too.
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
