"""Two trained models side by side, as they are."""

import copy
import time
from statistics import median
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from askew._check import require
from askew.tradeoffs._experiment_settings import ACCURACY, Loss, Score, score_model
from askew.tradeoffs._running.batches import answer, as_data, ordered_batches
from askew.tradeoffs._running.flops import count_parameters
from askew.tradeoffs._statistics.intervals import (
    HIGHEST_CONFIDENCE,
    estimate_spread,
    margin_of,
    scale_of,
)

_STEP_ITEMS = 64


class Tradeoffs(NamedTuple):
    """What two models score and cost.

    Attributes:
        symmetric_acc: Score of the symmetric model: accuracy, or the `score` that was given.
        asymmetric_acc: Score of the asymmetric model.
        difference: Asymmetric minus symmetric score, with the sign turned if lower is better.
        low: Lower end of its interval over test items; None for a score of the whole set.
        high: Upper end.
        symmetric_params: Trainable numbers.
        asymmetric_params: Trainable numbers.
        symmetric_time: Seconds of a training step, forward and backward, on 64 items or fewer.
        asymmetric_time: Likewise.
        position: "dominates": certainly better with no more parameters; "dominated": certainly
            worse with no fewer; "trades": better and larger, or worse and smaller; else
            "cannot tell".
        efficiency_gain: Difference per added parameter; None unless the asymmetric model is the
            larger one, since saved parameters would turn the sign.

    Example:
        >>> import torch
        >>> from askew.tradeoffs import analyze_asymmetric_tradeoffs
        >>> x = torch.randn(20, 4)
        >>> models = nn.Linear(4, 2), nn.Linear(4, 2, bias=False)
        >>> tradeoffs = analyze_asymmetric_tradeoffs(*models, (x, (x[:, 0] > 0).long()))
        >>> tradeoffs.symmetric_params, tradeoffs.asymmetric_params
        (10, 8)
    """

    symmetric_acc: float
    asymmetric_acc: float
    difference: float
    low: float | None
    high: float | None
    symmetric_params: int
    asymmetric_params: int
    symmetric_time: float
    asymmetric_time: float
    position: Literal["dominates", "dominated", "trades", "cannot tell"]
    efficiency_gain: float | None


def analyze_asymmetric_tradeoffs(
    symmetric_model: nn.Module,
    asymmetric_model: nn.Module,
    task_data: Any,
    *,
    score: Score = ACCURACY,
    loss: Loss = nn.functional.cross_entropy,
    rounds: int = 7,
    confidence: float = 0.95,
) -> Tradeoffs:
    """Score and time two models as they are; neither is changed.

    The interval is Student's t of the paired differences over test items. It holds for these two
    models on new items. Whether the asymmetry pays needs several trainings of each model, as
    `Experiment` and `compare` do.

    Args:
        symmetric_model: The baseline.
        asymmetric_model: What is judged against it.
        task_data: Test data: a dataset of (input, target), a `DataLoader`, or a tuple of tensors.
        score: Figure of quality.
        loss: What a training step computes.
        rounds: How often both steps are timed in turn, >= 1; the medians are returned.
        confidence: Of the interval, in (0, 0.999999999].

    Returns:
        Scores, parameters, times and the position that follows from them.

    Raises:
        ValueError: If a model is no module, or data or a setting cannot be used.

    Example:
        >>> x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        >>> symmetric, asymmetric = nn.Linear(3, 2), nn.Linear(3, 2, bias=False)
        >>> asymmetric.weight.data = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> symmetric.weight.data = torch.zeros(2, 3)
        >>> data = (x, (x[:, 0] > 0).long())
        >>> tradeoffs = analyze_asymmetric_tradeoffs(symmetric, asymmetric, data)
        >>> tradeoffs.asymmetric_acc, tradeoffs.position, tradeoffs.efficiency_gain
        (1.0, 'dominates', None)
    """
    models = {"symmetric_model": symmetric_model, "asymmetric_model": asymmetric_model}
    for name, model in models.items():
        require(
            isinstance(model, nn.Module),
            f"analyze_asymmetric_tradeoffs: {name} must be a module; got {name} {model!r}. "
            "Give functions that build models to Experiment",
        )
    require(rounds >= 1, f"analyze_asymmetric_tradeoffs: rounds must be >= 1; got rounds {rounds}")
    require(
        0 < confidence <= HIGHEST_CONFIDENCE,
        f"analyze_asymmetric_tradeoffs: confidence must be in (0, {HIGHEST_CONFIDENCE}]; "
        f"got confidence {confidence}",
    )
    data = as_data(task_data, "task_data")
    symmetric, asymmetric = (
        _scored(copy.deepcopy(model), data, score) for model in models.values()
    )
    sign = 1.0 if score.metric.better == "higher" else -1.0
    gap = sign * (asymmetric - symmetric)
    difference, low, high = gap.mean().item(), None, None
    if gap.ndim and len(gap) > 1:
        scale = scale_of(gap.numpy())
        margin = scale * margin_of(estimate_spread(gap.numpy() / scale, None), confidence)
        low, high = difference - margin, difference + margin
    sizes = [count_parameters(model) for model in models.values()]
    times = _step_seconds([copy.deepcopy(m) for m in models.values()], data, loss, rounds)
    added = sizes[1] - sizes[0]
    return Tradeoffs(
        symmetric.mean().item(),
        asymmetric.mean().item(),
        difference,
        low,
        high,
        *sizes,
        *times,
        position=_position(low, high, added),
        efficiency_gain=difference / added if added > 0 else None,
    )


def _position(
    low: float | None, high: float | None, added: int
) -> Literal["dominates", "dominated", "trades", "cannot tell"]:
    if low is None or high is None or low <= 0 <= high:
        return "cannot tell"
    if low > 0:
        return "trades" if added > 0 else "dominates"
    return "trades" if added < 0 else "dominated"


def _scored(model: nn.Module, data: Any, score: Score) -> Tensor:
    batches = ordered_batches(data, _STEP_ITEMS, _device(model))
    return score_model(model, batches, [score])[score.metric.name]


def _step_seconds(models: list[nn.Module], data: Any, loss: Loss, rounds: int) -> list[float]:
    """Time forward and backward in turn, after one step each that does not count."""
    spent: list[list[float]] = [[] for _ in models]
    batches = [next(ordered_batches(data, _STEP_ITEMS, _device(model))) for model in models]
    for turn in range(rounds + 1):
        for place, (model, (inputs, target)) in enumerate(zip(models, batches, strict=True)):
            model.train().zero_grad(set_to_none=True)
            started = time.perf_counter()
            loss(answer(model, inputs), target).backward()
            if torch.accelerator.is_available():
                torch.accelerator.synchronize()
            if turn:
                spent[place].append(time.perf_counter() - started)
    return [median(seconds) for seconds in spent]


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
