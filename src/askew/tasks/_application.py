"""What an application is. Importing this module is cheap: it needs neither torch nor data."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import MISSING, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from askew._budget import SearchBudget
from askew._config import parse_setting, read_toml
from askew.tasks._arm_names import refuse_steps
from askew.tasks._read_data import describe_read

if TYPE_CHECKING:
    from askew.tradeoffs import Arm, Budget, Progress, Space, Task

Match = Literal["parameters", "flops", "latency", "time"]
"""The cost that a model and its symmetric twin have in common."""
Size = Literal["tiny", "small", "base"]
"""Size of the models of an application."""
Started = tuple["Task[Any]", "list[Arm]", dict[str, object]]
"""A task, the first arms of a search, and what its results record about them."""
Split = Literal["all", "valid", "test"]
"""All of a file, or the split of it that training sets aside."""


def option(
    default: Any,
    help: str,
    *,
    name: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    show_default: bool = True,
    positional: bool = False,
) -> Any:
    """Describe one option of a command as a field of a dataclass.

    Args:
        default: Its default; `...` if the option is required.
        help: Its text in `--help`.
        name: Its spelling, if that is not the name of the field with dashes.
        minimum: The lowest valid value.
        maximum: The highest valid value.
        show_default: Whether the help shows the default.
        positional: Whether it is a positional argument.

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
        "max": maximum,
        "show_default": show_default,
        "positional": positional,
    }
    return field(default=MISSING if default is ... else default, metadata=described)


@dataclass(frozen=True, kw_only=True)
class SettingOptions:
    """Options that change the settings of the model and of its training.

    Attributes:
        set_: Settings such as "encoder.num_layers=6" or "training.lr=0.001".
        config: A TOML file of settings; those of `set_` override it.

    Raises:
        ValueError: If a setting cannot be parsed or the file cannot be read.

    Example:
        >>> SettingOptions(set_=["encoder.num_layers=6"]).settings()
        {'encoder': {'num_layers': 6}}
    """

    set_: list[str] | None = option(
        None,
        "A number of the model or the training, e.g. encoder.num_layers=6 or training.lr=0.001. "
        "May be repeated.",
        name="--set",
    )
    config: Path | None = option(None, "A TOML file of what --set takes.")

    def __post_init__(self) -> None:
        refuse_steps(self.training_settings())  # read once: the file may change meanwhile

    @cached_property
    def _settings(self) -> dict[str, Any]:
        joined = {} if self.config is None else read_toml(self.config)
        for text in self.set_ or ():
            merge(joined, parse_setting(text))
        return joined

    def settings(self) -> dict[str, Any]:
        """Return the settings of the file and of `set_` as nested values."""
        return deepcopy(self._settings)

    def model_settings(self) -> dict[str, Any]:
        """Return the settings of the model alone."""
        return {key: value for key, value in self.settings().items() if key != "training"}

    def training_settings(self) -> dict[str, Any]:
        """Return the settings of the training alone."""
        values = self.settings().get("training", {})
        if not isinstance(values, dict):
            raise ValueError(f"settings: training must be a table; got training {values!r}")
        return values


@dataclass(frozen=True, kw_only=True)
class MatchedOptions:
    """Options for the baseline of a comparison.

    Attributes:
        baseline: "twin", a shape or a TOML file.
        match: The cost that the twin has in common with the challenger.

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
    """Options that every application has for scoring a model.

    Attributes:
        data: Test data.
        part: The split of `data`.
        threads: Threads of PyTorch.

    Example:
        >>> ScoringOptions(part="test").threads
        1
    """

    data: Path | None = option(None, "Your pairs or questions, in any form that training reads.")
    part: Split = option("all", "Split of --data: all, or what training sets aside.")
    threads: int = option(1, "Threads.", minimum=1)


class Setup(NamedTuple):
    """The input of `askew.tradeoffs.compare`, made from options.

    Attributes:
        task: The task.
        arms: The challengers, then the baseline.
        budget: Budget of every trial.
        settings: What else the results record, such as how the arms were matched.

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
    """The results of scoring a model.

    Attributes:
        outputs: The output of the model, one text per test item.
        results: Scores and further results, as plain values.
        lines: The results as text, to be printed.

    Example:
        >>> Scored(outputs=["um gato"], results={"chrf": 81.2}, lines=["chrf 81.2"]).lines
        ['chrf 81.2']
    """

    outputs: list[str]
    results: Mapping[str, object]
    lines: list[str]


class Scorer(NamedTuple):
    """What scores a model on data that are read.

    Attributes:
        read: What was read and left out, in one line.
        notes: What else the user should know.
        score: Takes a progress callback, and scores.

    Example:
        >>> line = describe_read("pairs", "test.tsv", {}, {"score": 3})
        >>> Scorer(line, [], lambda progress: Scored([], {}, [])).read
        'read 3 pairs from test.tsv'
    """

    read: str
    notes: list[str]
    score: "Callable[[Progress], Scored]"


@dataclass(frozen=True, kw_only=True)
class Training:
    """How `askew train` trains one model of an application.

    Attributes:
        options: A dataclass of `option` fields; the application's `make_task` takes it, too.
        make_model: Takes the task and the options; returns the model's config, and changes of the
            task's numbers of training.
        help: The text of `askew train NAME --help`.
        use: The command that uses a trained model, with `{folder}` for its folder.
        pipeline: The Hub's name of what such a model does, such as "translation".

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> APPLICATIONS["qa"].train.options().shape
        'asymmetric'
    """

    options: type
    make_model: Callable[[Any, Any], tuple[Any, Mapping[str, object]]]
    help: str
    use: str = ""
    pipeline: str = ""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How `askew evaluate` scores a trained model of an application.

    Attributes:
        options: A dataclass of `option` fields that inherits `ScoringOptions`.
        score: Takes the model's folder and the options, and reads the data.
        help: What `askew evaluate --help` says of the metrics.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> APPLICATIONS["translation"].evaluate.options().beams
        1
    """

    options: type
    score: Callable[[Path, Any], Scorer]
    help: str


@dataclass(frozen=True, kw_only=True)
class Application:
    """An application: one row of `APPLICATIONS`.

    Its functions import what they need when they are called, since every `--help` reads the table.

    Attributes:
        name: Its name on the command line.
        help: The text of `askew compare NAME --help`; lists show the first line.
        options: A dataclass of `option` fields: the options of `askew compare NAME`.
        make_task: Takes the options, reads the data and returns the task.
        make_arms: Takes the task and the options; returns the arms, the baseline last, and what
            the results record about their matching.
        budget: Takes the options; returns the usual budget of a trial.
        unit: What its data are, such as "pairs".
        left_out: Takes the task; returns how many of them were left out, by reason.
        notes: Takes the task and the options; returns what the user should know before training.
        teach: Takes the task and the options; returns None, or a function that does work before
            the first trial. It takes a file for its results and a progress callback, and returns
            the task.
        space: Takes the task and the options; returns what `askew find` searches.
        make_starts: Takes the task, the options and the upper bounds of costs; returns the task,
            the arms with which `askew find` begins, and what the results record about them:
            "match", and "at_most" if they bring bounds of their own. By default it makes the arms
            of a comparison.
        search_budget: Takes the options; returns the usual budget of a search.
        search_training: Numbers of training of a search, unless the options set them.
        train: How `askew train` trains one model; None if it does not.
        evaluate: How `askew evaluate` scores a trained model; None if it does not.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> list(APPLICATIONS)
        ['translation', 'qa', 'labels', 'multilabel', 'imbalanced', 'retrieval']
    """

    name: str
    help: str
    options: type
    make_task: "Callable[[Any], Any]"
    make_arms: "Callable[[Any, Any], tuple[list[Arm], dict[str, object]]]"
    budget: "Callable[[Any], Budget]"
    unit: str = "items"
    left_out: Callable[[Any], Mapping[str, int]] = lambda task: {}
    notes: Callable[[Any, Any], Iterator[str]] = lambda task, options: iter(())
    teach: "Callable[[Any, Any], Callable[[Path, Progress], Task] | None]" = lambda task, options: (
        None
    )
    space: "Callable[[Any, Any], Space] | None" = None
    make_starts: "Callable[[Any, Any, Mapping[str, float]], Started] | None" = None
    search_budget: Callable[[Any], SearchBudget] = lambda options: SearchBudget()
    search_training: Mapping[str, str] = field(default_factory=dict)
    train: Training | None = None
    evaluate: Scoring | None = None

    def read(self, task: "Task[Any]", options: Any) -> str:
        """Return what was read and what was left out, in one line; "" if the task counts nothing.

        Args:
            task: What `make_task` returned; what it describes has the name and the sizes.
            options: Whose files are named.
        """
        described = task.describe()
        uses = {"train": "train", "valid": "validate", "test": "test"}
        sizes = {use: described[split] for split, use in uses.items() if split in described}
        if not all(isinstance(size, int) for size in sizes.values()) or not sizes:
            return ""
        own = ("valid", "test", "valid_source", "test_source")
        others = [getattr(options, name) for name in own if getattr(options, name, None)]
        is_own = any(getattr(options, name, None) for name in ("data", "source"))
        name = described["name"] if is_own else "the default data"
        place = ", ".join(map(str, [name, *others]))
        return describe_read(self.unit, place, self.left_out(task), sizes)

    def search_options(self, options: Any) -> Any:
        """Return the options of a search.

        Args:
            options: An instance of `self.options`.
        """
        if not self.search_training:
            return options
        given = options.training_settings()
        new = [f"training.{k}={v}" for k, v in self.search_training.items() if k not in given]
        return replace(options, set_=[*(options.set_ or ()), *new])

    def search_setup(self, options: Any, at_most: Mapping[str, float]) -> Setup:
        """Make task and first arms of a search, which solves the widths of a named baseline too.

        Args:
            options: An instance of `self.options`.
            at_most: Upper bounds of costs.

        Raises:
            ValueError: If data, models or numbers cannot be used.
        """
        if self.make_starts is None:
            task = self.make_task(options)
            arms, settings = self.make_arms(task, options)
        else:
            task, arms, settings = self.make_starts(self.make_task(options), options, at_most)
        is_free = settings["match"] == "nothing" and not (at_most or settings.get("at_most"))
        if is_free and isinstance(options, MatchedOptions):
            settings = settings | {"match": options.match, "match_residual": 0.0}
        settings = settings | {"signatures": task.signatures()}
        return Setup(task, arms, self.budget(options), settings)

    def setup(self, options: Any, budget: "Budget | None" = None) -> Setup:
        """Make the input of `compare` from options.

        Args:
            options: An instance of `self.options`.
            budget: Budget of every trial; the usual one by default.

        Raises:
            ValueError: If data, models or numbers cannot be used.
        """
        task = self.make_task(options)
        arms, settings = self.make_arms(task, options)
        settings = settings | {"signatures": task.signatures()}
        return Setup(task, arms, budget or self.budget(options), settings)


def merge(into: dict, values: Mapping[str, object]) -> None:
    """Update nested values in place."""
    for key, value in values.items():
        inner = into.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            merge(inner, value)
        else:
            into[key] = value
