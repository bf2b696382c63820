"""From options to arms: shapes, files and settings become models, and each gets its twin."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from askew._config import errors_name_file, load_config, read_toml, to_dict
from askew._files import read_json, write_json
from askew.tasks._application import MatchedOptions, merge
from askew.tradeoffs import Arm, Budget, Task, Tuning, Twin, measured_twin, symmetric_twin

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
    values: Mapping[str, object] | None = None,
) -> Config:
    """Make the config of a named shape, or of a TOML file that changes the usual shape.

    `values` differ from the preset and yield to the file; the settings win over both.

    Raises:
        ValueError: If a name, a key or a value is unknown.
    """
    is_file = shape not in shapes and Path(shape).suffix == ".toml"
    joined = deepcopy(dict(values or {}))
    merge(joined, read_toml(shape) if is_file else {})
    merge(joined, settings)
    base: Any = preset(usual if is_file else shape)
    with errors_name_file(shape if is_file else None):
        return load_config(type(base), joined, base=base)


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
    training: Mapping[str, object] | None = None,
) -> tuple[list[Arm], dict[str, object]]:
    """Make the challenger and its baseline, and describe how they were matched.

    The settings change the challenger; a twin follows them, another baseline does not. The
    challenger "twin" is the baseline against itself, of the `usual` shape. Two arms with the same
    numbers start from different weights.

    Raises:
        ValueError: If a name, a key or a value is unknown, or no twin comes near enough.
    """
    itself = challenger == "twin"
    first = config_of(usual if itself else challenger, settings)
    twin = None
    if options.baseline == "twin":
        twin = find_twin(task, first, sides, options.match, parameters=parameters)
    other = config_of(options.baseline, {}) if twin is None else twin.config
    if itself:
        first, twin = other, None if twin is None else twin._replace(residual=0.0)
    names = [Path(name).stem for name in (challenger, options.baseline)]
    if names[0] == names[1]:
        names[0] += "-again"
    offset = OTHER_WEIGHTS if first == other else 0
    arms = [
        Arm(name=names[0], config=first, init_offset=offset, training=training or {}),
        Arm(name=names[1], config=other),
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

    A twin that was found by timing is kept in a file under askew-runs, so that the same command
    finds the same one again.

    Raises:
        ValueError: If `match` is unknown, or no twin comes near enough.
    """
    if match == "parameters":
        return symmetric_twin(config, sides=sides, count=parameters)
    if match == "flops":
        return symmetric_twin(config, sides=sides, count=task.flops_per_step, match="flops")
    if match not in ("latency", "time"):
        raise ValueError(
            f"find_twin: match must be parameters, flops, latency or time; got match {match!r}"
        )
    path = RUNS / f"twin-{_digest(task.describe(), to_dict(config), match)}.json"
    if path.is_file():
        stored = read_json(path)
        values = dict.fromkeys(sides, stored["stack"])
        return Twin(load_config(type(config), values, base=config), stored["residual"], match)
    twin = measured_twin(task, config, sides=sides, match=match)
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = to_dict(getattr(twin.config, sides[0]))
    write_json(path, {"version": 1, "stack": stack, "residual": twin.residual})
    return twin


def default_folder(
    task: Task[Any],
    arms: Sequence[Arm],
    budget: Budget,
    threads: int,
    tuning: Tuning | None = None,
    processes: int = 1,
) -> Path:
    """Name a folder for these settings, so that the same command goes on in the same place.

    Args:
        task: The task.
        arms: All arms.
        budget: Of every trial.
        threads: Of every trial.
        tuning: How arms are tuned before.
        processes: Of every trial.

    Returns:
        A folder under askew-runs.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> setup = application.setup(application.options())
        >>> default_folder(setup.task, setup.arms, setup.budget, threads=1).parent
        PosixPath('askew-runs')
    """
    tuned = [repr(more) for more in (tuning, processes) if more not in (None, 1)]
    digest = _digest(task.describe(), [repr(arm) for arm in arms], repr(budget), threads, *tuned)
    return RUNS / f"{task.name}-{arms[0].name}-{digest}"


def _digest(*identity: object) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
