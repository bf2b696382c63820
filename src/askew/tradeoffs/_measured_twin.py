"""The symmetric model that takes as long as an asymmetric one, by timing both."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from askew._check import require
from askew.tradeoffs._running.trials import step_seconds
from askew.tradeoffs._task import Arm, Task
from askew.tradeoffs._twin import FF_STEP, Config, Twin, candidates, middle, sides_of, with_both
from askew.transformer import StackConfig

_LATENCY_ITEMS, _LATENCY_ROUNDS, _STEP_ROUNDS = 4, 9, 3


def measured_twin(
    task: Task[Any],
    config: Config,
    *,
    sides: tuple[str, str],
    match: Literal["latency", "time"],
    tolerance: float = 0.1,
) -> Twin[Config]:
    """Find the symmetric model that answers, or trains a step, in the same time.

    Widths are searched by bisection from the mean depth of both sides, with the feed-forward ratio
    of the wider side; if no width comes near enough, neighbouring depths. Each candidate is
    timed in turn with the original, both with their initial weights; nothing else should run on
    the machine.

    Args:
        task: Builds, answers and trains.
        config: The asymmetric model, a dataclass.
        sides: Names of its two `StackConfig`s that are to be equal.
        match: "latency", of one answer at a time, or "time", of a training step.
        tolerance: Largest relative mismatch, > 0; timings of equal models differ by some per cent.

    Returns:
        The configuration and the mismatch that was measured.

    Raises:
        ValueError: If `match` is unknown, `sides` do not fit, or no model comes near enough.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task = application.make_task(application.options())
        >>> measured_twin(task, None, sides=("encoder", "decoder"), match="weight")
        Traceback (most recent call last):
        ValueError: measured_twin: match must be 'latency' or 'time'; got 'weight'
    """
    require(
        match in ("latency", "time"),
        f"measured_twin: match must be 'latency' or 'time'; got {match!r}",
    )
    require(tolerance > 0, f"measured_twin: tolerance must be positive; got {tolerance}")
    one, other = sides_of(config, sides, "measured_twin")
    if one == other:
        return Twin(config, 0.0, match)
    measure = latency_ratio if match == "latency" else time_ratio
    wide, depth = middle(one, other)
    tried: dict[int, tuple[float, StackConfig]] = {}
    while depth >= 1 and depth not in tried and depth <= one.num_layers + other.num_layers:
        family = [_in_proportion(stack, wide) for stack in candidates(wide, depth)]
        ratio, stack = _bisect(
            family,
            lambda tried_stack: measure(task, with_both(config, sides, tried_stack), config),
            tolerance,
        )
        if abs(ratio - 1) <= tolerance:
            return Twin(with_both(config, sides, stack), ratio - 1, match)
        tried[depth] = ratio, stack
        depth += 1 if ratio < 1 else -1
    nearest = min((ratio for ratio, _ in tried.values()), key=lambda r: abs(r - 1))
    raise ValueError(
        f"measured_twin: no symmetric model comes within {tolerance:.0%} of the {match}; the "
        f"nearest takes {nearest:.2f} times as long. Raise the tolerance, or match parameters"
    )


def _in_proportion(stack: StackConfig, wide: StackConfig) -> StackConfig:
    width = round(wide.d_ff * stack.d_model / wide.d_model / FF_STEP)
    return replace(stack, d_ff=max(1, width) * FF_STEP)


def _bisect(
    family: list[StackConfig], ratio_of: Callable[[StackConfig], float], tolerance: float
) -> tuple[float, StackConfig]:
    """Search stacks of increasing time for the one whose ratio is nearest to 1."""
    best = (float("inf"), family[0])
    low, high = 0, len(family) - 1
    while low <= high and abs(best[0] - 1) > tolerance / 4:
        place = (low + high) // 2
        ratio = ratio_of(family[place])
        best = min(best, (ratio, family[place]), key=lambda pair: abs(pair[0] - 1))
        low, high = (place + 1, high) if ratio < 1 else (low, place - 1)
    return best


def latency_ratio(task: Task[Any], config: Any, other: Any) -> float:
    """Time single answers of two models in turn, both with their initial weights.

    Args:
        task: Builds and answers.
        config: One model.
        other: Another one.

    Returns:
        The median time of the one divided by that of the other.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, _, _ = application.setup(application.options())
        >>> latency_ratio(task, arms[0].config, arms[0].config) > 0
        True
    """
    one, two = latencies(task, config, other)
    return one / two


def latencies(task: Task[Any], *configs: Any, rounds: int = _LATENCY_ROUNDS) -> list[float]:
    """Time single answers of models with initial weights in turn; return the median seconds."""
    models = [task.deploy(task.build(each, 0).eval()) for each in configs]
    spent: list[list[float]] = [[] for _ in models]
    with torch.no_grad():
        for turn in range(rounds + 1):
            for seconds, model in zip(spent, models, strict=True):
                started = time.perf_counter()
                task.time_answers(model, items=_LATENCY_ITEMS)
                if turn:
                    seconds.append((time.perf_counter() - started) / _LATENCY_ITEMS)
    return [median(seconds) for seconds in spent]


def time_ratio(task: Task[Any], config: Any, other: Any) -> float:
    """Time a few training steps of both models in turn; return the ratio of the medians."""
    spent: list[list[float]] = [[], []]
    for _ in range(_STEP_ROUNDS):
        for seconds, each in zip(spent, (config, other), strict=True):
            with tempfile.TemporaryDirectory() as folder:
                seconds.append(step_seconds(task, Arm(name="timed", config=each), Path(folder)))
    return median(spent[0]) / median(spent[1])
