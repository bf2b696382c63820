"""Schedules: pure functions from a step to a multiplier of the rate."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from operator import index
from typing import Literal

from askew._check import require

Schedule = Callable[[int], float]


def constant(multiplier: float = 1.0) -> Schedule:
    """Keep the rate. With this schedule for all parts, training is as without a scheduler.

    Args:
        multiplier: Factor of the rate, >= 0.

    Returns:
        A function from a step to `multiplier`.

    Raises:
        ValueError: If `multiplier` is negative or not finite.

    Example:
        >>> constant()(1000)
        1.0
    """
    _check_number("constant", "multiplier", multiplier)
    return partial(_constant, multiplier=float(multiplier))


def warmup(steps: int, then: Schedule | None = None, *, start: float = 0.0) -> Schedule:
    r"""Rise linearly to the first value of another schedule, then follow that schedule.

    .. math::
        m(t) = \begin{cases}
            \left(s + (1 - s)\,t/w\right) f(0) & t < w \\ f(t - w) & t \ge w \end{cases}

    Args:
        steps: Length w of the rise, >= 0; with 0 the schedule is `then`.
        then: The schedule f that follows, counted from its own step 0; `constant()` by default.
        start: The first value s, as a share of f(0), >= 0.

    Returns:
        A function from a step to a multiplier.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> rate = warmup(4, cosine(10))
        >>> rate(0), rate(2), rate(4), rate(9), rate(14)
        (0.0, 0.5, 1.0, 0.5, 0.0)
    """
    steps = _steps("warmup", "steps", steps, least=0)
    _check_number("warmup", "start", start)
    follows = constant() if then is None else _checked("warmup", "then", then)
    return partial(_warmup, steps=steps, then=follows, start=float(start))


def cosine(steps: int, *, end: float = 0.0) -> Schedule:
    r"""Fall along half a cosine from 1 to `end`, and stay there.

    .. math:: m(t) = e + (1 - e)\,\tfrac12\left(1 + \cos(\pi\,\min(t, T)/T)\right)

    Args:
        steps: Length T of the fall, >= 1.
        end: Last multiplier e, >= 0.

    Returns:
        A function from a step to a multiplier.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> cosine(10)(0), cosine(10, end=0.1)(25)
        (1.0, 0.1)

    References:
        SGDR: Stochastic Gradient Descent with Warm Restarts, 2016, arXiv:1608.03983.
    """
    steps = _steps("cosine", "steps", steps)
    _check_number("cosine", "end", end)
    return partial(_cosine, steps=steps, end=float(end))


def linear(steps: int, *, end: float = 0.0) -> Schedule:
    r"""Fall, or rise, in a straight line from 1 to `end`, and stay there.

    .. math:: m(t) = 1 - (1 - \text{end})\,\min(t, \text{steps}) / \text{steps}

    Args:
        steps: Length of the line, >= 1.
        end: Last multiplier, >= 0.

    Returns:
        A function from a step to a multiplier.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> linear(4)(1), linear(4)(9)
        (0.75, 0.0)
    """
    steps = _steps("linear", "steps", steps)
    _check_number("linear", "end", end)
    return partial(_linear, steps=steps, end=float(end))


def step_decay(every: int, *, factor: float = 0.1) -> Schedule:
    r"""Multiply the rate by `factor` every `every` steps.

    .. math:: m(t) = \text{factor}^{\lfloor t / \text{every} \rfloor}

    Args:
        every: Steps between two changes, >= 1.
        factor: Factor of each change, >= 0; the default is that of `StepLR`.

    Returns:
        A function from a step to a multiplier.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> rate = step_decay(100, factor=0.5)
        >>> rate(99), rate(100), rate(250)
        (1.0, 0.5, 0.25)
    """
    every = _steps("step_decay", "every", every)
    _check_number("step_decay", "factor", factor)
    return partial(_step_decay, every=every, factor=float(factor))


def inverse_sqrt(timescale: int) -> Schedule:
    r"""Fall with the inverse square root of the step, without end.

    .. math:: m(t) = \sqrt{T / (T + t)}

    `warmup(w, inverse_sqrt(w))` is the schedule of the first Transformer: a straight line up to
    step w, then :math:`\sqrt{w / t}`.

    Args:
        timescale: T, >= 1: after 3 T steps the rate has halved.

    Returns:
        A function from a step to a multiplier.

    Raises:
        ValueError: If `timescale` is out of range.

    Example:
        >>> inverse_sqrt(100)(300)
        0.5

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762.
    """
    timescale = _steps("inverse_sqrt", "timescale", timescale)
    return partial(_inverse_sqrt, timescale=timescale)


def wsd(
    steps: int,
    *,
    decay: float = 0.4,
    end: float = 0.0,
    shape: Literal["linear", "sqrt"] = "linear",
) -> Schedule:
    r"""Stay stable, then fall in the last part of the training.

    .. math::
        m(t) = 1 - (1 - e)\,u^p, \qquad u = \frac{\max(0,\;t - (1 - d)\,T)}{d\,T}, \qquad
        p = 1 \text{ or } \tfrac12

    With `warmup` before it this is warm-up, stable, decay. Up to its decay it does not depend on
    the length of the training, so that a short training is the beginning of a longer one.

    Args:
        steps: Length T of the training, warm-up left out, >= 1.
        decay: Share d of the steps in which the rate falls, in (0, 1]; 1 is `linear`.
        end: Last multiplier e, >= 0.
        shape: "linear" falls with the power p = 1, "sqrt" with 1/2: fast at first.

    Returns:
        A function from a step to a multiplier.

    Raises:
        ValueError: If a number is out of range, or the shape is not known.

    Example:
        >>> rate = wsd(100)
        >>> rate(60), rate(80), rate(100)
        (1.0, 0.5, 0.0)
        >>> wsd(100, shape="sqrt")(70)
        0.5

    References:
        MiniCPM, 2024, arXiv:2404.06395. Scaling Laws and Compute-Optimal Training Beyond Fixed
        Training Durations, 2024, arXiv:2405.18392.
    """
    steps = _steps("wsd", "steps", steps)
    require(0 < decay <= 1, f"wsd: decay must be in (0, 1]; got decay {decay}")
    _check_number("wsd", "end", end)
    require(
        shape in ("linear", "sqrt"), f"wsd: shape must be 'linear' or 'sqrt'; got shape {shape!r}"
    )
    falling = max(1, round(decay * steps))
    if shape == "linear":
        fall = linear(falling, end=end)
    else:
        fall = partial(_root, steps=falling, end=float(end))
    return fall if falling == steps else join(constant(), fall, at=[steps - falling])


def join(*schedules: Schedule, at: Sequence[int]) -> Schedule:
    """Follow several schedules one after the other, each counted from its own step 0.

    Args:
        schedules: The schedules in their order.
        at: Steps at which the second, the third and so on begin: one fewer than schedules,
            rising, the first >= 1.

    Returns:
        A function from a step to a multiplier.

    Raises:
        ValueError: If `at` does not fit.

    Example:
        >>> rate = join(constant(), linear(4), at=[10])
        >>> rate(9), rate(10), rate(12)
        (1.0, 1.0, 0.5)
    """
    starts = (0, *(_steps("join", "at", step) for step in at))
    require(
        len(starts) == len(schedules),
        "join: at must have one step fewer than there are schedules; "
        f"got {len(schedules)} schedules, at {list(starts[1:])}",
    )
    for one, two in pairwise(starts):
        require(one < two, f"join: at must rise; got at {list(starts[1:])}")
    kept = tuple(_checked("join", "schedules", schedule) for schedule in schedules)
    return partial(_join, schedules=kept, starts=starts)


def freeze_until(step: int, then: Schedule | None = None) -> Schedule:
    """Keep a part's weights unchanged until a step, as gradual unfreezing does part by part.

    A rate of 0 leaves the weights bit for bit as they are, also under weight decay. It differs
    from `requires_grad_(False)`: gradients are computed and Adam updates its moments, so that
    the moments are warm when the part starts to move.

    Args:
        step: The first step that changes the part, >= 0; with 0 the schedule is `then`.
        then: The schedule that follows, counted from its own step 0; `constant()` by default.

    Returns:
        A function from a step to a multiplier.

    Raises:
        ValueError: If `step` is out of range.

    Example:
        >>> rate = freeze_until(100, linear(10))
        >>> rate(99), rate(100), rate(105)
        (0.0, 1.0, 0.5)

    References:
        Universal Language Model Fine-tuning for Text Classification, 2018, arXiv:1801.06146.
    """
    step = _steps("freeze_until", "step", step, least=0)
    follows = constant() if then is None else _checked("freeze_until", "then", then)
    return partial(_freeze_until, until=step, then=follows)


# A schedule is a partial of one of these: it can be pickled, and its repr shows its numbers.


def _constant(step: int, *, multiplier: float) -> float:
    return multiplier


def _warmup(step: int, *, steps: int, then: Schedule, start: float) -> float:
    if step < steps:
        return (start + (1.0 - start) * step / steps) * then(0)
    return then(step - steps)


def _cosine(step: int, *, steps: int, end: float) -> float:
    return end + (1.0 - end) * (1.0 + math.cos(math.pi * min(step, steps) / steps)) / 2.0


def _linear(step: int, *, steps: int, end: float) -> float:
    share = min(step, steps) / steps
    return (1.0 - share) + share * end  # exactly `end` at share 1, unlike 1 - share * (1 - end)


def _root(step: int, *, steps: int, end: float) -> float:
    share = math.sqrt(min(step, steps) / steps)
    return (1.0 - share) + share * end


def _step_decay(step: int, *, every: int, factor: float) -> float:
    return factor ** (step // every)


def _inverse_sqrt(step: int, *, timescale: int) -> float:
    return math.sqrt(timescale / (timescale + step))


def _join(step: int, *, schedules: tuple[Schedule, ...], starts: tuple[int, ...]) -> float:
    now = max(bisect_right(starts, step) - 1, 0)
    return schedules[now](step - starts[now])


def _freeze_until(step: int, *, until: int, then: Schedule) -> float:
    return 0.0 if step < until else then(step - until)


def schedule_text(schedule: Schedule) -> str:
    """Describe a schedule with its numbers; of a function of the user, return the name."""
    if not isinstance(schedule, partial):
        return getattr(schedule, "__name__", type(schedule).__name__)
    settings = ", ".join(f"{name}={_value(value)}" for name, value in schedule.keywords.items())
    return f"{schedule.func.__name__.removeprefix('_')}({settings})"


def _value(value: object) -> str:
    if callable(value):
        return schedule_text(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _checked(function: str, name: str, schedule: Schedule) -> Schedule:
    if not callable(schedule):
        raise TypeError(
            f"{function}: {name} must be a function from a step to a multiplier; "
            f"got {name} {schedule!r}"
        )
    return schedule


def _steps(function: str, name: str, value: object, *, least: int = 1) -> int:
    """Check a number of steps and return it; integers of numpy and of PyTorch are welcome."""
    try:
        steps = index(value)  # pyrefly: ignore[bad-argument-type]  raises the TypeError below
    except TypeError:
        steps = None
    if steps is None or isinstance(value, bool):
        raise TypeError(f"{function}: {name} must be an integer; got {name} {value!r}")
    require(steps >= least, f"{function}: {name} must be >= {least}; got {name} {steps}")
    return steps


def _check_number(function: str, name: str, value: float) -> None:
    require(
        math.isfinite(value) and value >= 0,
        f"{function}: {name} must be finite and >= 0; got {name} {value}",
    )
