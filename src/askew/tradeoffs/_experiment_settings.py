"""Scores, optimizers and descriptions of the models of an experiment."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from askew._check import require
from askew._config import DESCRIBES
from askew.tradeoffs._experiment_code import tensor_bytes, without_addresses
from askew.tradeoffs._running.batches import Batch, answer, dataset_of, join
from askew.tradeoffs._statistics.verdicts import Metric

Build = Callable[..., nn.Module]
Loss = Callable[[Any, Any], Tensor]
MakeOptimizer = Callable[..., torch.optim.Optimizer]
Fit = Callable[..., Iterable[Mapping[str, float]] | None]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure of quality, computed from outputs and targets.

    Attributes:
        metric: Name, direction and equivalence of the figure.
        function: From all outputs and all targets of a set to one value per item, shape (items,),
            whose mean is the figure, or to a single number for the whole set.

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
"""The share of right classes; a difference within half a point counts as none."""


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
    """A description of a model of an experiment, by which models are compared for equality.

    Attributes:
        arm: Name of its arm; it does not count for equality.
        build: Name of the function that builds it.
        modules: Digest of its modules as PyTorch prints them, and of their shapes.
        loss: Name of its loss.
        optimizer: Name of the function that makes its optimizer.
        fit: Name of its training loop, "" for the usual one.

    Example:
        >>> from askew.tradeoffs import Experiment
        >>> data = (torch.randn(8, 4), torch.zeros(8, dtype=torch.long))
        >>> models = {"wide": lambda: nn.Linear(4, 9), "plain": lambda: nn.Linear(4, 2)}
        >>> task = Experiment(name="signs", models=models, train_data=data, test_data=data)
        >>> isinstance(task.arms[0].config, ModelConfig), task.arms[0].config.arm
        (True, 'wide')
    """

    arm: str = field(compare=False, metadata=DESCRIBES)
    build: str = field(metadata=DESCRIBES)
    modules: str = field(metadata=DESCRIBES)
    loss: str = field(metadata=DESCRIBES)
    optimizer: str = field(metadata=DESCRIBES)
    fit: str = field(metadata=DESCRIBES)


@dataclass(frozen=True)
class NumberedConfig(ModelConfig):
    """A description of a model whose numbers a search changes.

    The digest is that of the model as given.

    Attributes:
        model: Keywords of the function that builds it.
    """

    model: Mapping[str, bool | int | float | str]


def of_arm(given: T | Mapping[str, T], arm: str) -> T:
    """Return the value of an arm, of a setting that may be given by arm."""
    return given[arm] if isinstance(given, Mapping) else given


def without(call: Callable[..., T], keywords: Iterable[str]) -> Callable[..., T]:
    """Return a partial function without some of its keywords, and any other as it is."""
    if not isinstance(call, partial):
        return call
    kept = {key: value for key, value in call.keywords.items() if key not in keywords}
    return partial(call.func, *call.args, **kept) if call.args or kept else call.func


def name_of(call: object) -> str:
    """Name a function, a partial function with its arguments, or an object."""
    if call is None:
        return ""
    if isinstance(call, partial):
        arguments = [*map(repr, call.args), *(f"{k}={v!r}" for k, v in call.keywords.items())]
        return without_addresses(f"{name_of(call.func)}({', '.join(arguments)})")
    if isinstance(call, nn.Module):
        return without_addresses(str(call))
    return getattr(call, "__qualname__", type(call).__qualname__)


def accepts(call: Callable[..., object], keyword: str) -> bool:
    """Return whether a function takes a keyword, as far as its signature says."""
    try:
        parameters = signature(call).parameters
    except ValueError:  # of a function that is not written in Python
        return True
    return keyword in parameters or any(p.kind == p.VAR_KEYWORD for p in parameters.values())


def digest(content: bytes) -> str:
    """Shorten content to an identifier of twelve digits."""
    return hashlib.sha256(content).hexdigest()[:12]


def data_digest(data: Any) -> str:
    """Identify tensors in memory; "" for data that is read or made item by item."""
    dataset = dataset_of(data)
    if not isinstance(dataset, TensorDataset):
        return ""
    return digest(b"".join(map(tensor_bytes, dataset.tensors)))


def tensors_of(data: Any) -> list[str]:
    """Describe tensors in memory by type and shape; none of other data."""
    dataset = dataset_of(data)
    tensors = dataset.tensors if isinstance(dataset, TensorDataset) else ()
    return [f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in tensors]


def seconds(device: str) -> float:
    """Read the clock of training: CPU time, or on another device wall time."""
    if device == "cpu":
        return time.process_time()
    torch.accelerator.synchronize()
    return time.perf_counter()


def checked_values(score: Score, outputs: Tensor, targets: Tensor) -> Tensor:
    """Score all outputs.

    Raises:
        ValueError: If there is neither one value nor one per item.
        FloatingPointError: If a value is not finite, as after a training that diverged.
    """
    values = torch.as_tensor(score.function(outputs, targets)).double()
    require(
        values.shape in ((), (len(targets),)),
        "Experiment: a score must be one number or one per item; got shape "
        f"{tuple(values.shape)} of {score.metric.name}, {len(targets)} items",
    )
    broken = values[~values.isfinite()]
    if len(broken):
        raise FloatingPointError(
            f"Experiment: a score must be finite; got {score.metric.name} {broken[0].item()}"
        )
    return values


@torch.no_grad()
def score_model(
    model: nn.Module, batches: Iterable[Batch], scores: Sequence[Score]
) -> dict[str, Tensor]:
    """Compute every score of a model's outputs: per metric one value per item, or a number."""
    model.eval()
    outputs, targets = [], []
    for inputs, target in batches:
        outputs.append(answer(model, inputs))
        targets.append(target)
    output, target = join(outputs).cpu(), join(targets).cpu()
    return {score.metric.name: checked_values(score, output, target) for score in scores}
