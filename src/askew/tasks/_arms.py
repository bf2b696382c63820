"""Arms from options: configs of named shapes and files with settings, and their twins."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from askew._check import require
from askew._config import errors_name_file, load_config, to_dict
from askew._files import read_json, write_json
from askew._folders import LATER, content_of
from askew.tasks._application import MatchedOptions, merge
from askew.tasks._arm_names import read_arm
from askew.tradeoffs import (
    Arm,
    Budget,
    Choice,
    Range,
    SearchBudget,
    Space,
    Task,
    Tuning,
    Twin,
    measured_twin,
    symmetric_twin,
)

RUNS = Path("askew-runs")
OTHER_WEIGHTS = 10_000
"""Added to the seed of the initial weights of an arm that equals its baseline."""

Config = TypeVar("Config")


def shaped_config(
    preset: Callable[[str], Config],
    shape: str,
    settings: Mapping[str, object],
    *,
    shapes: Collection[str],
    usual: str,
    training: object = None,
    values: Mapping[str, object] | None = None,
) -> Config:
    """Make the config of a named shape, or of a TOML file that changes the usual shape.

    `values` override the preset, the file overrides `values`, and `settings` override all. A
    message about an unknown key may suggest one of `training`.
    """
    is_file = shape not in shapes and Path(shape).suffix == ".toml"
    joined = deepcopy(dict(values or {}))
    merge(joined, _without_training(read_arm(shape)) if is_file else {})
    merge(joined, settings)
    base: Any = preset(usual if is_file else shape)
    with errors_name_file(shape if is_file else None):
        return load_config(type(base), joined, base=base, beside={"training": training})


def refuse_sizes(
    name: str, side: str, values: Mapping[str, object], folder: Path | None, option: str
) -> None:
    """Refuse settings of an encoder that is pretrained; of those only the dropout can be set.

    A file of a search has the sizes of the stand-in that was searched; they are left alone.
    """
    given: Any = values.get(side)
    others = [key for key in given if key != "dropout"] if isinstance(given, Mapping) else []
    require(
        folder is None or not others,
        f"{name}: a pretrained encoder has its own sizes and can only get a dropout; got "
        f"{', '.join(f'{side}.{key}' for key in others)} beside {option} {folder}. Leave one of "
        "both out",
    )


def _without_training(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if key != "training"}


def shape_training(task: Any, shape: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Return the numbers of training of a shape: those of its file, none of a named shape.

    `settings` override the file.

    Raises:
        ValueError: If the task has no such numbers.
    """
    if Path(shape).suffix != ".toml":
        return {}
    training = read_arm(shape).get("training", {})
    if training:
        merge(training, settings)
    base: Any = task.training
    with errors_name_file(shape):
        load_config(type(base), training, base=base, where="training")
    return training


def matched_arms(
    task: Task[Any],
    options: MatchedOptions,
    challenger: str,
    config_of: Callable[[str, Mapping[str, object]], Any],
    *,
    usual: str,
    settings: Mapping[str, object],
    sides: tuple[str, str],
    parameters: Callable[[Any], Any],
    training_of: Callable[[str], Mapping[str, object]],
    taught: Mapping[str, object] | None = None,
    teaches_both: bool = False,
) -> tuple[list[Arm], dict[str, object]]:
    """Make the challenger and its baseline, and describe how they were matched.

    The settings change the challenger and its twin, but no other baseline. The challenger "twin"
    is the twin of the `usual` shape, compared with itself. Equal arms start from different weights.
    The challenger, or both arms, have the numbers of training in `taught`.
    """
    require(
        options.baseline == "twin" or options.match == "parameters",
        f"compare: match goes with the baseline twin; got match {options.match}, baseline "
        f"{options.baseline}. Leave it out",
    )
    is_itself = challenger == "twin"
    first = config_of(usual if is_itself else challenger, settings)
    twin = None
    if options.baseline == "twin":
        twin = find_twin(task, first, sides, options.match, parameters=parameters)
    other = config_of(options.baseline, {}) if twin is None else twin.config
    if is_itself:
        first, twin = other, None if twin is None else twin._replace(residual=0.0)
    names = [Path(name).stem for name in (challenger, options.baseline)]
    if names[0] == names[1]:
        names[0] += "-again"
    offset = OTHER_WEIGHTS if first == other else 0
    arms = [
        Arm(
            name=names[0],
            config=first,
            init_offset=offset,
            training={**training_of(challenger), **(taught or {})},
        ),
        Arm(
            name=names[1],
            config=other,
            training={
                **training_of(options.baseline),
                **((taught or {}) if teaches_both else {}),
            },
        ),
    ]
    if twin is not None:
        return arms, {"match": twin.match, "match_residual": twin.residual}
    counts = [task.parameters(arm.config) for arm in arms]
    return arms, {"match": "nothing", "match_residual": counts[1] / counts[0] - 1}


def find_twin(
    task: Task[Any],
    config: Config,
    sides: tuple[str, str],
    match: str,
    *,
    parameters: Callable[[Any], Any],
) -> Twin[Config]:
    """Find the symmetric model that costs as much as an asymmetric one.

    The twin of a timed match is kept in a file under askew-runs: timing again could give another.
    """
    if match == "parameters":
        return symmetric_twin(config, sides=sides, count=parameters)
    if match == "flops":
        return symmetric_twin(config, sides=sides, count=task.flops_per_step, match="flops")
    if match not in ("latency", "time"):
        raise ValueError(
            f"find_twin: match must be parameters, flops, latency or time; got match {match!r}"
        )
    path = _path_of(task, lambda data: RUNS / f"twin-{_digest(data, to_dict(config), match)}.json")
    if path.is_file():
        stored = read_json(path)
        values = dict.fromkeys(sides, stored["stack"])
        return Twin(load_config(type(config), values, base=config), stored["residual"], match)
    twin = measured_twin(task, config, sides=sides, match=match)
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = to_dict(getattr(twin.config, sides[0]))
    write_json(path, {"version": 1, "stack": stack, "residual": twin.residual})
    return twin


def sides_space(
    sides: tuple[str, str],
    width: int,
    rates: Mapping[str, Range],
) -> Space:
    """Return the space of two stacks: depth, width, heads and rate of each, the rest solved.

    Args:
        sides: Names of the stacks in the config.
        width: Width of the usual model; the widest is twice as wide.
        rates: Range of the learning rate of each side.
    """
    stack = {
        "num_layers": Range(low=1, high=6, step=1),
        "d_model": Range(low=32, high=2 * width, step=32),
        "num_heads": Choice(values=(2, 4, 8)),
        "d_ff": Range(low=16, high=16 * width, step=8),
    }
    numbers = {f"{side}.{name}": kind for side in sides for name, kind in stack.items()}
    numbers |= {f"training.{side}.lr": rates[side] for side in sides}
    one, other = sides
    ties = {f"{other}.{name}": f"{one}.{name}" for name in stack}
    return Space(
        numbers=numbers,
        ties=ties | {f"training.{other}.lr": f"training.{one}.lr"},
        solved=tuple(f"{side}.d_ff" for side in sides),
    )


def usual_budget(*, is_user_data: bool) -> Budget:
    """Return CPU-minutes for the user's data, whose size is unknown, and steps for our own."""
    return Budget(minutes=6.0) if is_user_data else Budget(steps=1000)


def default_folder(
    task: Task[Any],
    arms: Sequence[Arm],
    budget: Budget,
    threads: int,
    tuning: Tuning | None = None,
    processes: int = 1,
) -> Path:
    """Return the folder of a comparison: the same settings and data always have the same folder.

    Args:
        task: The task.
        arms: All arms.
        budget: Budget of every trial.
        threads: Threads of every trial.
        tuning: How the arms are tuned before.
        processes: Processes of every trial.

    Returns:
        A folder under askew-runs.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> setup = application.setup(application.options())
        >>> default_folder(setup.task, setup.arms, setup.budget, threads=1).parent
        PosixPath('askew-runs')
    """
    others = [repr(setting) for setting in (tuning, processes) if setting not in (None, 1)]

    def folder(data: Mapping[str, object]) -> Path:
        digest = _digest(data, [repr(arm) for arm in arms], repr(budget), threads, *others)
        return RUNS / f"{task.name}-{arms[0].name}-{digest}"

    return _path_of(task, folder)


def _path_of(task: Task[Any], named: Callable[[Mapping[str, object]], Path]) -> Path:
    """Name a path by the content of the data, or as earlier releases did if that one exists."""
    data = task.describe()
    earlier = named({key: value for key, value in data.items() if key not in LATER})
    return earlier if earlier.exists() else named(content_of(data))


def search_folder(
    task: Task[Any],
    space: Space,
    start: Sequence[Arm],
    budget: SearchBudget,
    match: str,
    at_most: Mapping[str, float],
    threads: int,
) -> Path:
    """Return the folder of a search: the same settings and data always have the same folder.

    Args:
        task: As for `find`, and so are all others.
        space: What candidates differ in.
        start: Arms that are among the candidates.
        budget: What it may spend.
        match: The cost that candidates have in common.
        at_most: Upper bounds of costs.
        threads: Threads of every training.

    Returns:
        A folder under askew-runs.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, _, _ = application.setup(application.options())
        >>> space = application.space(task, application.options())
        >>> search_folder(task, space, arms, SearchBudget(), "nothing", {}, 1).parent
        PosixPath('askew-runs')
    """
    arms = [repr(arm) for arm in start]
    settings = (to_dict(space), arms, repr(budget), match, dict(at_most), threads)
    return RUNS / f"find-{task.name}-{_digest(content_of(task.describe()), *settings)}"


def _digest(*identity: object) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
