"""What a comparison needs to know of a task, and of the models that compete on it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from torch import nn

from askew._check import require
from askew.tradeoffs._statistics.verdicts import Metric

Model = TypeVar("Model", bound=nn.Module)
Progress = Callable[[int, int], None]
"""Called with steps done and steps in all."""
Records = Sequence[Mapping[str, float]]
"""What training notes: a mapping per logged step, as the Trainer of transformers writes it."""


class Evaluation(NamedTuple):
    """Scores of one model on the test set.

    `metrics` has one value per metric; `items` one per metric and test item, whose mean is the
    value (or, for a corpus metric, jackknife pseudo-values whose mean is about the value).

    Example:
        >>> Evaluation(metrics={}, items={"accuracy": [1.0, 0.0]}).items["accuracy"]
        [1.0, 0.0]
    """

    metrics: Mapping[str, float]
    items: Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a comparison.

    Attributes:
        name: How it is called in every table.
        config: The model, as a dataclass that the task knows how to build.
        init_offset: Added to the seed of the initial weights; 0 except where a model is
            compared with itself.
        training: Numbers of training that this arm alone has, as the task reads them.

    Example:
        >>> Arm(name="one rate", config=None, training={"lr": 1e-3}).training["lr"]
        0.001
    """

    name: str
    config: Any
    init_offset: int = 0
    training: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A figure of a trained model that its task adds to the costs of a comparison.

    Attributes:
        value: Finite and >= 0; > 0 if it is judged.
        label: As a reader should see it.
        unit: Of the value, "" for none.
        better: Whether "higher" or "lower" values are better.
        judged: Whether its ratio gets a verdict. What is counted and no aim of its own, such as
            parameters, is shown without one.

    Raises:
        ValueError: If a setting is none of the above.

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


class Task(Protocol[Model]):
    """Data, training and scoring, the same for every arm. Pickled once per process.

    A task may also have `costs(model) -> Mapping[str, Cost]`, figures of its own under names
    of its own: the same names for every model. It is called once per trained model, alone, after
    all speeds were measured; what it times it warms up itself.

    Its `distributed` may be True: `train` then shares its batches out where torchrun started it.

    It may have `train_score(model) -> float`, the first metric on training data, as many items as
    the test set has; the generalisation gap is then shown.

    Example:
        >>> from askew.tasks import table_task
        >>> task = table_task("imbalanced", None, None, {})
        >>> [metric.name for metric in task.metrics]
        ['ap', 'f1', 'balanced_accuracy']
    """

    @property
    def name(self) -> str:
        """How the task is called."""
        ...

    @property
    def metrics(self) -> Sequence[Metric]:
        """The quality metrics, the most important first."""
        ...

    @property
    def speeds(self) -> Mapping[str, str]:
        """What is said of `throughput` and of `latency_ms` in every table."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Everything that two runs must share to be one comparison, as plain values."""
        ...

    def build(self, config: Any, seed: int) -> Model:
        """Make a model with its initial weights."""
        ...

    def train(
        self,
        model: Model,
        *,
        training: Mapping[str, object],
        steps: int,
        seed: int,
        folder: Path,
        progress: Progress,
    ) -> Records:
        """Train in place, going on from `folder` after a crash.

        `training` is what the arm changes in the task's numbers. The records carry `step`,
        `train_seconds` (CPU) and `loss` or `eval_loss`.
        """
        ...

    def evaluate(self, model: Model) -> Evaluation:
        """Score on the test set."""
        ...

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Scores of what needs no training, by name."""
        ...

    def predict(self, model: Model, *, items: int, batch_size: int) -> None:
        """Answer the first test items; this is what is timed."""
        ...

    def parameters(self, config: Any) -> int:
        """Trainable numbers of a model."""
        ...

    def flops_per_step(self, config: Any) -> float:
        """Floating-point operations of one training step, from a closed form."""
        ...

    def save(self, model: Model, folder: Path) -> None:
        """Write a model that `load` and the user's own tools can read."""
        ...

    def load(self, folder: Path) -> Model:
        """Read a model that `save` wrote."""
        ...
