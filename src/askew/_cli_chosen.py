"""What `askew compare` makes of its options: seeds, tuning, metrics, a user's experiment."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from askew.tradeoffs import Experiment, Metric, Range, Tuning


def refuse(given: object, option: str, why: str) -> None:
    if given:
        raise ValueError(f"compare: {option} {why}; got {option} {given}")


def chosen_seeds(seeds: int | None, max_seeds: int | None, *, until_decided: bool) -> list[int]:
    if until_decided:
        refuse(seeds, "--seeds", "has no meaning with --until-decided, which has --max-seeds")
        return list(range(max_seeds or 20))
    refuse(max_seeds, "--max-seeds", "goes with --until-decided")
    return list(range(seeds or 5))


def chosen_tuning(task: Any, draws: int, search: Sequence[str] | None) -> "Tuning | None":
    """Take the space that was chosen, or that of the task."""
    from askew.tradeoffs import Experiment, Tuning

    if draws == 0:
        refuse(search, "--search", "goes with --tune")
        return None
    if isinstance(task, Experiment):
        refuse(search, "--search", "is the experiment's own `search`")
        return task.tuning(draws)
    space = dict(map(_range, search)) if search else task.search_space()
    return Tuning(draws=draws, space=space)


def _range(text: str) -> "tuple[str, Range]":
    from askew.tradeoffs import Range

    name, _, ends = text.partition("=")
    ends, _, scale = ends.partition(":")
    low, _, high = ends.partition("..")
    try:
        if not name or scale not in ("", "log"):
            raise ValueError
        return name, Range(low=float(low), high=float(high), log=scale == "log")
    except ValueError as error:
        raise ValueError(
            f"compare: --search must be KEY=LOW..HIGH or KEY=LOW..HIGH:log; got {text!r} {error}"
        ) from None


def parsed_metric(text: str) -> "Metric":
    from askew.tradeoffs import Metric

    name, _, words = text.partition("=")
    settings: dict[str, Any] = {"equivalence": 0.0}
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
    return Metric(name=name, label=name, **settings)


def load_experiment(text: str) -> "Experiment":
    """Import the experiment that MODULE:NAME or FILE.py:NAME names; its code is run.

    Args:
        text: The name; modules are also looked for in the current folder.

    Returns:
        The experiment, or what a function of this name gave.

    Raises:
        ValueError: If there is no such module, name or experiment.
    """
    from askew.tradeoffs import Experiment

    where, _, name = text.rpartition(":")
    path = Path(where)
    folder, module = (path.parent, path.stem) if path.suffix == ".py" else (Path(), where)
    sys.path.insert(0, str(folder.resolve()))
    try:
        found = getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"compare: {text} must be there to import; got {error}") from None
    if callable(found) and not isinstance(found, Experiment):
        found = found()
    if not isinstance(found, Experiment):
        raise ValueError(
            f"compare: {text} must be an Experiment or give one; got {type(found).__name__}"
        )
    return found
