"""What an application is: its options, and what is made of them. Nothing heavy is imported here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from askew._config import parse_setting, read_toml

if TYPE_CHECKING:
    from askew.tradeoffs import Arm, Budget, Progress, Task

Match = Literal["parameters", "flops", "latency", "time"]
"""What a model and its symmetric twin have in common."""
Split = Literal["all", "valid", "test"]
"""Everything in a file, or what training splits off from it."""


def option(
    default: Any,
    help: str,
    *,
    name: str = "",
    minimum: float | None = None,
    show_default: bool = True,
    positional: bool = False,
) -> Any:
    """Describe one option of a command as a field of a dataclass.

    Args:
        default: Its value where it is not given; `...` where it must be given.
        help: What the command line says of it.
        name: How it is spelt, where that is not the field's name with dashes.
        minimum: The lowest value that is taken.
        show_default: Whether the help says the default.
        positional: Whether it is an argument without a name.

    Returns:
        The field.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Options:
        ...     size: int = option(9, "How large.", minimum=1)
        >>> Options().size
        9
    """
    described = {
        "help": help,
        "name": name,
        "min": minimum,
        "show_default": show_default,
        "positional": positional,
    }
    return field(default=MISSING if default is ... else default, metadata=described)


@dataclass(frozen=True, kw_only=True)
class SettingOptions:
    """Numbers of the model and of the training by name.

    Attributes:
        set_: Such as "encoder.num_layers=6" or "training.lr=0.001".
        config: A TOML file of such numbers; those of `set_` win.

    Raises:
        ValueError: If a setting is not understood or the file cannot be read.

    Example:
        >>> SettingOptions(set_=["encoder.num_layers=6", "training.lr=0.001"]).settings()
        {'encoder': {'num_layers': 6}, 'training': {'lr': 0.001}}
    """

    set_: list[str] | None = option(
        None,
        "A number of the model or the training, e.g. encoder.num_layers=6 or training.lr=0.001. "
        "May be repeated.",
        name="--set",
    )
    config: Path | None = option(None, "A TOML file of what --set takes.")

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> dict[str, Any]:
        """Join the file and the settings into nested values."""
        joined = {} if self.config is None else read_toml(self.config)
        for text in self.set_ or ():
            merge(joined, parse_setting(text))
        return joined

    def model_settings(self) -> dict[str, Any]:
        """Return the settings of the model alone."""
        return {key: value for key, value in self.settings().items() if key != "training"}

    def training_settings(self) -> dict[str, Any]:
        """Return the settings of the training alone."""
        values = self.settings().get("training", {})
        return values if isinstance(values, dict) else {"training": values}


@dataclass(frozen=True, kw_only=True)
class MatchedOptions:
    """What a challenger is compared with, and what both have in common.

    Attributes:
        baseline: "twin", a shape or a TOML file.
        match: What the twin has in common with the challenger.

    Example:
        >>> MatchedOptions(match="flops").baseline
        'twin'
    """

    baseline: str = option(
        "twin",
        "What the challenger is compared with: twin (symmetric, as many parameters), symmetric, "
        "another shape, or FILE.toml.",
    )
    match: Match = option(
        "parameters",
        "What the twin has in common: parameters, flops (of a training step), latency (of one "
        "answer) or time (of a training step); the last two are measured first.",
    )


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """What every application scores a model with.

    Attributes:
        data: Test data.
        part: Which split of `data`.
        threads: Threads of PyTorch.

    Example:
        >>> ScoringOptions(part="test").threads
        1
    """

    data: Path | None = option(None, "Your pairs or questions, in any form that training reads.")
    part: Split = option("all", "Of --data: all, or the split that training on it makes.")
    threads: int = option(1, "Threads.", minimum=1)


class Setup(NamedTuple):
    """What is compared, as the options say: the input of `askew.tradeoffs.compare`.

    Attributes:
        task: The task.
        arms: Challengers, and the baseline last.
        budget: Of every trial.
        settings: What the results say besides, such as how the arms were matched.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> setup = application.setup(application.options(challenger="focal"))
        >>> [arm.name for arm in setup.arms], setup.budget.steps
        (['focal', 'bce'], 600)
    """

    task: "Task"
    arms: "list[Arm]"
    budget: "Budget"
    settings: Mapping[str, object]


class Scored(NamedTuple):
    """What scoring a model found.

    Attributes:
        outputs: What the model answered, one text per test item.
        results: Scores and more, as plain values.
        lines: The results for a reader.

    Example:
        >>> Scored(outputs=["um gato"], results={"chrf": 81.2}, lines=["chrf 81.2"]).lines
        ['chrf 81.2']
    """

    outputs: list[str]
    results: Mapping[str, object]
    lines: list[str]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How `askew train` trains one model of an application.

    Attributes:
        options: A dataclass of `option` fields, which the application's `make_task` takes too.
        make_model: From the task and the options to the model's config and numbers of training.
        help: What `askew train NAME --help` says.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> APPLICATIONS["qa"].train.options().shape
        'asymmetric'
    """

    options: type
    make_model: Callable[[Any, Any], tuple[Any, Mapping[str, object]]]
    help: str


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How `askew evaluate` scores a trained model of an application.

    Attributes:
        options: A dataclass of `option` fields that inherits `ScoringOptions`.
        score: From the model's folder and the options to notes for the user, and a function
            that scores, which is called with a progress.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> APPLICATIONS["translation"].evaluate.options().beams
        1
    """

    options: type
    score: "Callable[[Path, Any], tuple[list[str], Callable[[Progress], Scored]]]"


@dataclass(frozen=True, kw_only=True)
class Application:
    """One row of `APPLICATIONS`: the command line, the guide and the tests read it.

    The callables import what they need when they are called: the table is read for every help.

    Attributes:
        name: How the command line calls it.
        help: What `askew compare NAME --help` says; the first line stands in lists.
        options: A dataclass of `option` fields: what `askew compare NAME` can be told.
        make_task: From the options to the task; it reads the data.
        make_arms: From the task and the options to the arms, the baseline last, and what the
            results say of how they were matched.
        budget: From the options to the usual budget of a trial.
        notes: From the task and the options to what the user should know before the first trial.
        teach: From the task and the options to work that comes before the first trial, or None:
            a function of a file to keep results in and a progress, which returns the task.
        train: How one model is trained; None where the command line does not.
        evaluate: How a trained model is scored; None where the command line does not.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> list(APPLICATIONS)
        ['translation', 'qa', 'multilabel', 'imbalanced', 'retrieval']
    """

    name: str
    help: str
    options: type
    make_task: "Callable[[Any], Any]"
    make_arms: "Callable[[Any, Any], tuple[list[Arm], dict[str, object]]]"
    budget: "Callable[[Any], Budget]"
    notes: Callable[[Any, Any], Iterator[str]] = lambda task, options: iter(())
    teach: "Callable[[Any, Any], Callable[[Path, Progress], Task] | None]" = lambda task, options: (
        None
    )
    train: Training | None = None
    evaluate: Scoring | None = None

    def setup(self, options: Any, budget: "Budget | None" = None) -> Setup:
        """Go the one way from options to what `compare` takes.

        Args:
            options: An instance of `self.options`.
            budget: Of every trial; by default the usual one.

        Returns:
            Task, arms, budget, and settings for the results.

        Raises:
            ValueError: If data, models or numbers cannot be used.
        """
        task = self.make_task(options)
        arms, settings = self.make_arms(task, options)
        settings = settings | {"signatures": task.signatures()}
        return Setup(task, arms, budget or self.budget(options), settings)


def merge(into: dict, values: Mapping[str, object]) -> None:
    """Put nested values into others; the new ones win."""
    for key, value in values.items():
        inner = into.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            merge(inner, value)
        else:
            into[key] = value
