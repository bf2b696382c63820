"""Two-sided binary cross-entropy in 60 digits, by definition and numeric differentiation."""

from dataclasses import dataclass

import mpmath
import torch
from torch import Tensor

LOGITS = [0.0] + [s * x for x in (5.0, 20.0, 50.0, 100.0, 1e4, float("inf")) for s in (1, -1)]
TARGETS = [0.0, 1.0, 0.3]

TOLERANCE = {
    torch.float64: (1e-9, 1e-12),
    torch.float32: (2e-5, 1e-6),
    torch.bfloat16: (1e-2, 1e-6),
    torch.float16: (2e-3, 1e-6),
}
"""Relative and absolute, by precision."""


@dataclass(frozen=True)
class Settings:
    """Those of `asymmetric_bce_loss`."""

    weight_pos: float = 1.0
    weight_neg: float = 1.0
    gamma_pos: float = 0.0
    gamma_neg: float = 0.0
    margin: float = 0.0
    margin_pos: float = 0.0


SETTINGS = {
    "plain": Settings(),
    "focal": Settings(weight_pos=0.25, weight_neg=0.75, gamma_pos=2.0, gamma_neg=2.0),
    "asl": Settings(gamma_neg=4.0, margin=0.05),
    "asl code": Settings(gamma_pos=1.0, gamma_neg=4.0, margin=0.05),
    "miss averse": Settings(weight_pos=2.0, gamma_pos=2.0, gamma_neg=1.0),
    "roots": Settings(gamma_pos=0.5, gamma_neg=0.5),
    "all": Settings(1.5, 0.5, 1.0, 2.5, 0.2, 0.1),
    "margin alone": Settings(margin=0.1, margin_pos=0.2),
    "margin and root": Settings(gamma_pos=3.0, gamma_neg=0.5, margin=0.05),
}


def exact(x: float, y: float, s: Settings) -> tuple[float, float]:
    """Value and derivative at logit x; at an infinite one, their limits."""
    with mpmath.workdps(60):

        def cost(x):
            p, q = 1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(x))
            missed = _side(q, p, s.gamma_pos, mpmath.mpf(s.margin_pos))
            alarm = _side(p, q, s.gamma_neg, mpmath.mpf(s.margin))
            y_ = mpmath.mpf(y)
            return y_ * s.weight_pos * missed + (1 - y_) * s.weight_neg * alarm

        if abs(x) == float("inf"):
            x = mpmath.mpf(10) ** 9 * (1 if x > 0 else -1)
        value, slope = cost(mpmath.mpf(x)), mpmath.diff(cost, mpmath.mpf(x))
        return float("inf") if value > 1e6 else float(value), float(slope)


def _side(wrong, right, gamma, margin):
    """Minus wrong ** gamma times the logarithm of being right, moved by the margin."""
    if margin:
        wrong = max(wrong - margin, mpmath.mpf(0))
        right = 1 - wrong
    return -(wrong ** mpmath.mpf(gamma) if gamma else 1) * mpmath.log(right)


def grid(dtype: torch.dtype, s: Settings) -> tuple[Tensor, Tensor, list[tuple[float, float]]]:
    """All pairs of LOGITS and TARGETS as rounded to `dtype`, and what is right there."""
    x = torch.tensor(LOGITS, dtype=dtype).repeat_interleave(len(TARGETS))
    y = torch.tensor(TARGETS, dtype=dtype).repeat(len(LOGITS))
    return x, y, [exact(a, b, s) for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def failures(loss, dtype: torch.dtype, s: Settings) -> list[str]:
    """Where `loss(x, y)`, on one element at a time, is not within TOLERANCE of the truth."""
    x, y, wanted = grid(dtype, s)
    bad = []
    for a, b, (value, slope) in zip(x, y, wanted, strict=True):
        a = a.view(1).clone().requires_grad_()
        got = loss(a, b.view(1))
        (gradient,) = torch.autograd.grad(got, a)
        for what, ours, right in (("value", got, value), ("gradient", gradient, slope)):
            if not is_close(float(ours.detach()), right, dtype):
                bad.append(
                    f"{what} at x={a.item():g}, y={b.item():g}: {ours.item():g}, not {right:g}"
                )
    return bad


def is_close(ours: float, right: float, dtype: torch.dtype) -> bool:
    relative, absolute = TOLERANCE[dtype]
    return ours == right or abs(ours - right) <= absolute + relative * abs(right)
