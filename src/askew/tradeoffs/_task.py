"""The base class of tasks, and the arms that a comparison trains on one."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from askew._budget import Range
from askew._check import require
from askew._files import check_name
from askew.tradeoffs._statistics.verdicts import Metric

if TYPE_CHECKING:
    from torch import nn

Model = TypeVar("Model", bound="nn.Module")
Progress = Callable[[int, int], None]
"""Called with the number of steps done and of all steps."""
Records = Sequence[Mapping[str, float]]
"""The records of a training: a mapping per logged step, as the Trainer of transformers writes."""
OnRecord = Callable[[Mapping[str, float]], None]
"""Called with each record of a training."""


class Evaluation(NamedTuple):
    """Scores of one model on the test set.

    `metrics` has one value per metric; `items` has one per metric and test item, whose mean is the
    value. For a corpus metric they are jackknife pseudo-values, whose mean is close to the value.

    Example:
        >>> Evaluation(metrics={}, items={"accuracy": [1.0, 0.0]}).items["accuracy"]
        [1.0, 0.0]
    """

    metrics: Mapping[str, float]
    items: Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A model of a comparison, with its training.

    Attributes:
        name: Its name in every table.
        config: The model, as a dataclass that the task can build.
        init_offset: Added to the seed of the initial weights; not 0 if a model is compared with
            itself.
        training: Changes of the task's numbers of training for this arm alone.

    Raises:
        ValueError: If no folder can have the name.

    Example:
        >>> Arm(name="one rate", config=None, training={"lr": 1e-3}).training["lr"]
        0.001
    """

    name: str
    config: Any
    init_offset: int = 0
    training: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("Arm", "name", self.name)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost of a trained model that its task adds to those of a comparison.

    Attributes:
        value: Finite and >= 0; > 0 if it is judged.
        label: As a reader should see it.
        unit: Of the value, "" for none.
        better: Whether "higher" or "lower" values are better.
        judged: Whether its ratio to the baseline gets a verdict. Costs that are counted but are no
            aim in themselves, such as parameters, are shown without one.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> Cost(value=49_152, label="index of a context", unit="bytes").judged
        False
    """

    value: float
    label: str
    unit: str = ""
    better: Literal["higher", "lower"] = "lower"
    judged: bool = False

    def __post_init__(self) -> None:
        require(
            0 <= self.value < math.inf,
            f"Cost: value must be finite and >= 0; got value {self.value}",
        )
        require(
            self.value > 0 or not self.judged,
            f"Cost: a judged value must be > 0; got value {self.value}",
        )
        require(
            self.better in ("higher", "lower"),
            f"Cost: better must be 'higher' or 'lower'; got better {self.better!r}",
        )


class Task(ABC, Generic[Model]):
    """Data, training and scoring, the same for every arm: all that a comparison asks of a task.

    Derive from it, often with a frozen dataclass, and write the abstract methods; each of the
    others has a default. A task is pickled once per process that runs trials.

    Attributes:
        name: How the task is called.
        metrics: The quality metrics, the most important first.
        speeds: Labels of `throughput` and `latency_ms` in every table.
        distributed: Whether `train` shares its batches out among the processes where torchrun
            started it.
        device: Where models are trained. "auto", the default, is where transformers trains: on the
            accelerator of the machine, if it has one. A frozen dataclass with a field of this name
            trains where `--device` says.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task = application.make_task(application.options())
        >>> [metric.name for metric in task.metrics]
        ['ap', 'f1', 'balanced_accuracy']
    """

    if TYPE_CHECKING:  # read-only, so that a field of a frozen dataclass or a property fits

        @property
        def name(self) -> str: ...
        @property
        def metrics(self) -> Sequence[Metric]: ...
        @property
        def speeds(self) -> Mapping[str, str]: ...
        @property
        def distributed(self) -> bool: ...
        @property
        def device(self) -> str: ...
    else:  # no property: a dataclass that inherits one takes it for the default of its field
        name: str
        metrics: Sequence[Metric]
        speeds: Mapping[str, str]
        distributed: bool = False
        device: str = "auto"

    @abstractmethod
    def describe(self) -> Mapping[str, object]:
        """Return everything that two runs must share to be one comparison, as plain values."""

    @abstractmethod
    def build(self, config: Any, seed: int) -> Model:
        """Make a model with its initial weights."""

    @abstractmethod
    def train(
        self,
        model: Model,
        *,
        training: Mapping[str, object],
        steps: int,
        seed: int,
        folder: Path,
        progress: Progress,
        on_record: OnRecord | None = None,
        tensorboard: Path | None = None,
    ) -> Records:
        """Train in place; called again after a crash, continue from what lies in `folder`.

        Args:
            model: As `build` made it.
            training: What the arm changes in the task's numbers of training.
            steps: Optimizer steps.
            seed: Of the data order, of dropout and of everything else that is random.
            folder: For checkpoints; it may not exist yet.
            progress: To be called after each step.
            on_record: To be called with each record; a comparison passes none.
            tensorboard: Folder for curves of TensorBoard; a comparison passes none.

        Returns:
            Records with `step`, `train_seconds` (CPU time) and `loss` or `eval_loss`.
        """

    def check_training(self, training: Mapping[str, object]) -> None:
        """Refuse what `train` cannot train with, before any training; nothing by default.

        Args:
            training: What an arm changes in the task's numbers of training.

        Raises:
            ValueError: If a number is unknown or out of its range.
        """

    @abstractmethod
    def evaluate(self, model: Model) -> Evaluation:
        """Score a trained model on the test set."""

    @abstractmethod
    def predict(self, model: Any, *, items: int, batch_size: int) -> None:
        """Answer the first test items; the time of this call is the measured speed."""

    @abstractmethod
    def parameters(self, config: Any) -> int:
        """Count the trainable numbers of a model."""

    def side_parameters(self, config: Any) -> Mapping[str, int]:
        """Count the trainable numbers of both sides by their names; nothing by default.

        A search shows its scores against their ratio.
        """
        return {}

    @abstractmethod
    def flops_per_step(self, config: Any) -> float:
        """Count the floating-point operations of one training step."""

    def complete(self, model: Model) -> None:
        """Complete a trained model that is to be used, which no comparison needs; nothing to do.

        `askew train` calls it before `save`.
        """

    @abstractmethod
    def save(self, model: Model, folder: Path) -> None:
        """Write a model into a new folder, for `load` and for the user's own tools."""

    @abstractmethod
    def load(self, folder: Path) -> Model:
        """Read a model that `save` wrote, ready to predict."""

    def deploy(self, model: Model) -> Any:
        """Return what answers where speed is measured: `predict` and `time_answers` get it.

        By default it is the model itself. A task may return the model in the engine that will serve
        it; trained and untrained models are deployed alike.

        Args:
            model: A trained model, or one with its initial weights.
        """
        return model

    def signatures(self) -> Mapping[str, str]:
        """Describe by metric how its score is computed; nothing by default."""
        return {}

    def search_space(self) -> Mapping[str, Range]:
        """Return what tuning draws, by the names that `with_values` reads; nothing by default."""
        return {}

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score methods that need no training, by their names; there are none by default."""
        return {}

    def costs(self, model: Model) -> Mapping[str, Cost]:
        """Measure further costs of a trained model; there are none by default.

        Every model must have the same ones. It is called once per trained model, alone, after all
        speeds were measured; what it times it must warm up itself.
        """
        return {}

    def untrained_costs(self) -> Sequence[str]:
        """Name those of `costs` that a model has before it is trained; none by default.

        A search can bound them.
        """
        return ()

    def validate(self, model: Model) -> float | None:
        """Score a tuned model on validation data, higher is better.

        None, the default, stands for the last validation loss with its sign turned.
        """
        return None

    def validation_quality(self, model: Model, *, items: int) -> float | None:
        """Compute the first metric on validation data, with its sign turned if lower is better.

        A search chooses by it among the candidates that were trained fully. None, the default,
        means that it chooses by `validate`.

        Args:
            model: A trained model.
            items: Validation items at most.
        """
        return None

    def rung_training(self, steps: int) -> Mapping[str, object]:
        """Return numbers of training with which a training is the beginning of a longer one.

        A search trains candidates for a few steps, and the better ones further. A learning rate
        that falls should fall as in a full training from the first step on. A search reads the last
        validation loss alone, so that one evaluation is enough. By default nothing is changed.

        Args:
            steps: Of a full training.
        """
        return {}

    def time_answers(self, model: Any, *, items: int) -> None:
        """Answer the first test items one by one, with as much work whatever the weights are.

        The time of this call is the latency of a model before it is trained. By default it calls
        `predict`.
        """
        self.predict(model, items=items, batch_size=1)

    def train_score(self, model: Model) -> float | None:
        """Compute the first metric on training data, on as many items as the test set has.

        None, the default, means that no generalisation gap is shown.
        """
        return None
