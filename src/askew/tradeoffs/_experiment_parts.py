"""The pieces of an experiment: scores, optimizers, and models told apart in words."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from askew._check import require
from askew.tradeoffs._running.batches import dataset_of
from askew.tradeoffs._statistics.verdicts import Metric

Build = Callable[[], nn.Module]
Loss = Callable[[Any, Any], Tensor]
MakeOptimizer = Callable[..., torch.optim.Optimizer]
Fit = Callable[..., Iterable[Mapping[str, float]] | None]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good outputs are.

    Attributes:
        metric: Name, direction and equivalence of the figure.
        function: Of all outputs and all targets of a set; gives one value per item, shape
            (items,), whose mean is the figure, or a single number for a figure of the whole.

    Example:
        >>> score = Score(
        ...     metric=Metric(name="error", label="error", better="lower", equivalence=0.1),
        ...     function=lambda outputs, targets: (outputs - targets).abs(),
        ... )
        >>> score.function(torch.tensor([1.0]), torch.tensor([3.0]))
        tensor([2.])
    """

    metric: Metric
    function: Callable[[Tensor, Tensor], Tensor]


def _is_right(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(-1) == targets).double()


ACCURACY = Score(
    metric=Metric(name="accuracy", label="accuracy", equivalence=0.005), function=_is_right
)
"""The share of right classes; half a point counts as none."""


def adamw(model: nn.Module, lr: float = 1e-3) -> torch.optim.Optimizer:
    """Make AdamW with one rate for all parameters.

    Args:
        model: What is trained.
        lr: The rate.

    Returns:
        The optimizer.

    Example:
        >>> adamw(nn.Linear(2, 1)).param_groups[0]["lr"]
        0.001
    """
    return torch.optim.AdamW(model.parameters(), lr=lr)


@dataclass(frozen=True)
class ModelConfig:
    """What tells one model of an experiment from another, in words.

    Attributes:
        arm: Name of its arm; models that differ in nothing else are equal.
        build: Name of what builds it.
        modules: Digest of its modules as PyTorch prints them, and of their shapes.
        loss: Name of its loss.
        optimizer: Name of what makes its optimizer.
        fit: Name of its own training, "" for the usual one.

    Example:
        >>> from askew.tradeoffs import Experiment
        >>> data = (torch.randn(8, 4), torch.zeros(8, dtype=torch.long))
        >>> models = {"wide": lambda: nn.Linear(4, 9), "plain": lambda: nn.Linear(4, 2)}
        >>> task = Experiment(name="signs", models=models, train_data=data, test_data=data)
        >>> isinstance(task.arms[0].config, ModelConfig), task.arms[0].config.arm
        (True, 'wide')
    """

    arm: str = field(compare=False)
    build: str
    modules: str
    loss: str
    optimizer: str
    fit: str


def of_arm(given: T | Mapping[str, T], arm: str) -> T:
    """Take what an arm has of a setting that may be given by arm."""
    return given[arm] if isinstance(given, Mapping) else given


def name_of(call: object) -> str:
    """Name a function, a partial one with what it was given, or an object."""
    if call is None:
        return ""
    if isinstance(call, partial):
        given = [*map(repr, call.args), *(f"{k}={v!r}" for k, v in call.keywords.items())]
        return f"{name_of(call.func)}({', '.join(given)})"
    if isinstance(call, nn.Module):
        return str(call)
    return getattr(call, "__qualname__", type(call).__qualname__)


def digest(text: bytes) -> str:
    """Shorten what identifies something."""
    return hashlib.sha256(text).hexdigest()[:12]


def data_digest(data: Any) -> str:
    """Identify tensors in memory; "" for data that is read or made item by item."""
    dataset = dataset_of(data)
    if not isinstance(dataset, TensorDataset):
        return ""
    return digest(b"".join(tensor.cpu().numpy().tobytes() for tensor in dataset.tensors))


def seconds(device: str) -> float:
    """Read the clock of training: CPU time, or of another device the time that passes."""
    if device == "cpu":
        return time.process_time()
    torch.accelerator.synchronize()
    return time.perf_counter()


def checked_values(score: Score, outputs: Tensor, targets: Tensor) -> Tensor:
    """Score all outputs, and refuse what is no score."""
    values = torch.as_tensor(score.function(outputs, targets)).double()
    require(
        values.shape in ((), (len(targets),)) and bool(torch.isfinite(values).all()),
        "Experiment: a score must be finite, one number or one per item; got shape "
        f"{tuple(values.shape)} of {score.metric.name}, {len(targets)} items",
    )
    return values
