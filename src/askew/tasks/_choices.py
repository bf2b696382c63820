"""From what the user chose, by name, file or number, to a task and its arms."""

import hashlib
import json
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from askew._check import require
from askew._config import errors_name_file, load_config, parse_setting, read_toml, to_dict
from askew._files import read_json, write_json
from askew.tasks._data import Sources, load_text
from askew.tasks._presets import SHAPES, translation_preset
from askew.tasks._teacher import find_teacher
from askew.tasks._translation import TranslationTask, translation_task
from askew.tradeoffs import Arm, Budget, Task, Tuning, Twin, measured_twin, symmetric_twin
from askew.training import TrainingConfig
from askew.transformer import EncoderDecoderConfig, parameter_count

DEFAULT_STEPS = 1000
DEFAULT_MINUTES = 6.0
RUNS = Path("askew-runs")
_OTHER_WEIGHTS = 10_000

Config = TypeVar("Config")


def chosen_settings(config: Path | None, settings: Sequence[str] | None) -> dict[str, object]:
    """Join a TOML file and `key=value` settings; the latter win.

    Args:
        config: A TOML file.
        settings: Such as "encoder.num_layers=6" or "training.lr=0.001".

    Returns:
        Nested values.

    Raises:
        ValueError: If the file cannot be read or a setting is not understood.

    Example:
        >>> chosen_settings(None, ["encoder.num_layers=6", "training.lr=0.001"])
        {'encoder': {'num_layers': 6}, 'training': {'lr': 0.001}}
    """
    joined = {} if config is None else read_toml(config)
    for text in settings or ():
        merge(joined, parse_setting(text))
    return joined


def merge(into: dict, values: Mapping[str, object]) -> None:
    """Put nested values into others; the new ones win."""
    for key, value in values.items():
        inner = into.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            merge(inner, value)
        else:
            into[key] = value


def read_shape(
    shape: str, shapes: Container[str], *, usual: str
) -> tuple[str, str | None, dict[str, object]]:
    """Tell a named shape from a TOML file, whose values change the usual shape."""
    if shape in shapes or Path(shape).suffix != ".toml":
        return shape, None, {}
    return usual, shape, read_toml(shape)


def chosen_task(
    sources: Sources,
    vocab_size: int,
    chosen: Mapping[str, object],
    *,
    separate_vocabularies: bool = False,
    teacher: Path | None = None,
    protect: bool = False,
) -> TranslationTask:
    """Read the data and make the translation task.

    Args:
        sources: Where the text lies.
        vocab_size: Tokens of the joint vocabulary, or of each of two, at most.
        chosen: Its `training` changes the numbers of training.
        separate_vocabularies: Whether source and target have each their own.
        teacher: Folder of a model whose translations can be learnt from.
        protect: Whether placeholders and markup are kept out of the model's way.

    Returns:
        The task.

    Raises:
        ValueError: If data or numbers cannot be used.

    Example:
        >>> chosen_task(Sources(source=Path("a.en")), 400, {})
        Traceback (most recent call last):
        ValueError: load_text: source and target go together; got only one. Give both files
    """
    values = chosen.get("training", {})
    training = load_config(
        TrainingConfig,
        values if isinstance(values, Mapping) else {"training": values},
        base=TrainingConfig(steps=1),
        where="training",
    )
    found = None if teacher is None else find_teacher(teacher)
    require(
        training.target == "reference" or found is not None,
        f"chosen_task: the target {training.target!r} needs a teacher; got none. "
        "Give --teacher DIR",
    )
    name, text = load_text(sources)
    return translation_task(
        name,
        text,
        vocab_size=vocab_size,
        separate_vocabularies=separate_vocabularies,
        training=training,
        teacher=found,
        protect=protect,
    )


def from_teacher(chosen: Mapping[str, object]) -> dict[str, object]:
    """Choose the teacher's translations as what is learnt, where nothing else was chosen.

    Args:
        chosen: What `chosen_settings` gave.

    Returns:
        Numbers of training that say so; empty where `training.target` was chosen.

    Example:
        >>> from_teacher({}), from_teacher({"training": {"target": "both"}})
        ({'target': 'teacher'}, {})
    """
    values = chosen.get("training", {})
    return {} if isinstance(values, Mapping) and "target" in values else {"target": "teacher"}


def chosen_model(
    task: TranslationTask, shape: str, preset: str, chosen: Mapping[str, object]
) -> EncoderDecoderConfig:
    """Take a named shape or a TOML file, and change what was chosen otherwise.

    Args:
        task: Gives the vocabulary.
        shape: A name of `SHAPES`, or a file; what the file lacks is as in "deep-shallow".
        preset: A name of `SIZES`.
        chosen: Values of the model; `training` is passed over.

    Returns:
        The configuration.

    Raises:
        ValueError: If a name, a key or a value is unknown.

    Example:
        >>> from askew.tasks import translation_task
        >>> from askew.text import localisation_phrases
        >>> text = localisation_phrases(num_train=200, num_valid=20, num_test=20)
        >>> task = translation_task("phrases", text, vocab_size=400)
        >>> chosen = {"encoder": {"num_layers": 5}}
        >>> chosen_model(task, "deep-shallow", "tiny", chosen).encoder.num_layers
        5
    """
    shape, file, values = read_shape(shape, SHAPES, usual="deep-shallow")
    merge(values, {key: value for key, value in chosen.items() if key != "training"})
    base = translation_preset(shape, preset, vocab_size=task.vocabularies())
    with errors_name_file(file):
        return load_config(EncoderDecoderConfig, values, base=base)


def chosen_arms(
    task: TranslationTask,
    challenger: str,
    baseline: str,
    preset: str,
    match: str,
    chosen: Mapping[str, object],
) -> tuple[list[Arm], dict[str, object]]:
    """Make the challenger and what it is compared with.

    Two arms with the same numbers start from different weights.

    Args:
        task: Gives the vocabulary.
        challenger: A shape, a file, or "twin": the baseline against itself.
        baseline: "twin", a shape or a file.
        preset: A name of `SIZES`.
        match: What a twin has in common.
        chosen: Values of the challenger's model.

    Returns:
        Challenger and baseline, and how they were matched. The challenger alone learns from
        the task's teacher, unless the settings say what is learnt.

    Raises:
        ValueError: If a name, a key or a value is unknown, or no twin comes near enough.

    Example:
        >>> from askew.tasks import translation_task
        >>> from askew.text import localisation_phrases
        >>> text = localisation_phrases(num_train=200, num_valid=20, num_test=20)
        >>> task = translation_task("phrases", text, vocab_size=400)
        >>> arms, matched = chosen_arms(task, "deep-shallow", "twin", "tiny", "parameters", {})
        >>> [arm.name for arm in arms]
        ['deep-shallow', 'twin']
    """
    itself = challenger == "twin"
    first = chosen_model(task, "deep-shallow" if itself else challenger, preset, chosen)
    twin = None
    if baseline == "twin":
        sides = ("encoder", "decoder")
        twin = find_twin(task, first, sides, match, parameters=parameter_count)
    other = chosen_model(task, baseline, preset, {}) if twin is None else twin.config
    if itself:
        first, twin = other, None if twin is None else twin._replace(residual=0.0)
    names = [Path(name).stem for name in (challenger, baseline)]
    if names[0] == names[1]:
        names[0] += "-again"
    arms = [
        Arm(
            name=names[0],
            config=first,
            init_offset=_OTHER_WEIGHTS if first == other else 0,
            training={} if task.teacher is None else from_teacher(chosen),
        ),
        Arm(name=names[1], config=other),
    ]
    return arms, match_settings(task, arms, twin) | {"preset": preset}


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

    Args:
        task: Knows what a model costs.
        config: The asymmetric model.
        sides: Names of the two stacks that are to be equal.
        match: "parameters", "flops" (of a training step), "latency" (of one answer) or "time" (of a
            training step).
        parameters: Counts parameters in closed form, as `symmetric_twin` takes it.

    Returns:
        The twin.

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


def match_settings(
    task: Task[Any], arms: Sequence[Arm], twin: Twin[Any] | None
) -> dict[str, object]:
    """Tell how two arms were matched, and the mismatch left.

    Args:
        task: Counts parameters.
        arms: Challenger and baseline.
        twin: The baseline, if it was made for the challenger.

    Returns:
        `match` and `match_residual`: baseline over challenger, minus 1.
    """
    if twin is None:
        counts = [task.parameters(arm.config) for arm in arms]
        return {"match": "nothing", "match_residual": counts[1] / counts[0] - 1}
    return {"match": twin.match, "match_residual": twin.residual}


def chosen_budget(sources: Sources, steps: int | None, minutes: float | None) -> Budget:
    """Take the chosen budget, or the default of the data.

    Args:
        sources: Where the text lies; the user's own data gets CPU-minutes, phrases get steps.
        steps: Training steps of a trial.
        minutes: CPU-minutes of training of a trial.

    Returns:
        The budget.

    Raises:
        ValueError: If both are given, or one is not positive.

    Example:
        >>> chosen_budget(Sources(), steps=100, minutes=None).steps
        100
    """
    if steps is None and minutes is None:
        own = sources.data is not None or sources.source is not None
        return Budget(minutes=DEFAULT_MINUTES) if own else Budget(steps=DEFAULT_STEPS)
    return Budget(steps=steps, minutes=minutes)


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
        >>> from askew.tasks import table_arms, table_task
        >>> task = table_task("imbalanced", None, None, {})
        >>> arms, _ = table_arms(task, "asl", "bce", {})
        >>> default_folder(task, arms, Budget(steps=9), threads=1).parent
        PosixPath('askew-runs')
    """
    tuned = [repr(more) for more in (tuning, processes) if more not in (None, 1)]
    digest = _digest(task.describe(), [repr(arm) for arm in arms], repr(budget), threads, *tuned)
    return RUNS / f"{task.name}-{arms[0].name}-{digest}"


def _digest(*identity: object) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
