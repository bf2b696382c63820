"""Value and slope of two-sided binary cross-entropy for every element.

Both sides are one formula: a side is wrong with probability p = σ(x), where x is the logit on the
negative side and minus the logit on the positive side.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from askew._check import require
from askew._reduction import can_read_without_sync, compute_dtype
from askew._settings_module import Numbers, as_setting

Setting = float | Tensor
GivenSetting = float | Numbers

SMALLEST_MARGIN = 1e-3
"""A smaller margin would be lost in the rounding of 1 − p in single precision."""


class SideSettings(NamedTuple):
    """Price, focus and margin of one side of the loss, each a number or one per class."""

    weight: Setting
    gamma: Setting
    margin: Setting

    def numbers(self) -> tuple[float, float, float]:
        """Return the settings as numbers; none may be a tensor."""
        return float(self.weight), float(self.gamma), float(self.margin)


class Sides(NamedTuple):
    """Both sides, and whether the gradient treats the focusing weight as a constant."""

    pos: SideSettings
    neg: SideSettings
    detach_weight: bool

    def is_plain(self) -> bool:
        """Whether every setting is one number for all classes."""
        pos, neg = self.pos, self.neg
        return not (
            isinstance(pos.weight, Tensor)
            or isinstance(neg.weight, Tensor)
            or isinstance(pos.gamma, Tensor)
            or isinstance(neg.gamma, Tensor)
            or isinstance(pos.margin, Tensor)
            or isinstance(neg.margin, Tensor)
        )

    def to(self, like: Tensor) -> "Sides":
        """Move all tensors to the device of `like`, in the precision the loss is computed in."""
        if self.is_plain():
            return self
        pos, neg = (SideSettings(*(_like(s, like) for s in side)) for side in (self.pos, self.neg))
        return Sides(pos, neg, self.detach_weight)


def _like(setting: Setting, like: Tensor) -> Setting:
    if not isinstance(setting, Tensor):
        return setting
    if setting.dim() == 0 and not setting.requires_grad and can_read_without_sync(setting):
        return setting.item()
    return setting.to(device=like.device, dtype=compute_dtype(like))


class _Wrongness(NamedTuple):
    """Of one side: probability p of being wrong, q = 1 − p, and −log q, none by a difference."""

    p: Tensor
    q: Tensor
    cost: Tensor


def two_sided_loss(x: Tensor, y: Tensor, sides: Sides) -> Tensor:
    """Return the loss of every element by differentiable operations; other routes must agree."""
    pos, neg = _differentiable(x)
    finite = x.isfinite()
    missed = _loss(pos, sides.pos, sides.detach_weight, finite)
    alarm = _loss(neg, sides.neg, sides.detach_weight, finite)
    return _price(y, sides.pos.weight, missed) + _price(1 - y, sides.neg.weight, alarm)


def two_sided_slope(x: Tensor, y: Tensor, sides: Sides) -> Tensor:
    """Return the derivative of every element with respect to `x`, itself differentiable."""
    pos, neg = _differentiable(x)
    return _blend(y, sides, pos, neg)


def value_and_slope(x: Tensor, y: Tensor, sides: Sides) -> tuple[Tensor, Tensor]:
    """Return the loss of every element and its derivative, from one exponential and one logarithm.

    Not for autograd, which would get a wrong slope from |x| at 0.
    """
    e = torch.exp(-x.abs())  # at most 1, so nothing overflows
    near, log = 1 / (1 + e), torch.log1p(e)
    far = e * near  # the smaller of both probabilities, without 1 − near
    right = x >= 0
    p, q = torch.where(right, near, far), torch.where(right, far, near)
    pos = _Wrongness(q, p, (-x).clamp_min(0) + log)
    neg = _Wrongness(p, q, x.clamp_min(0) + log)
    missed = _price(y, sides.pos.weight, _loss(pos, sides.pos, True, None))
    alarm = _price(1 - y, sides.neg.weight, _loss(neg, sides.neg, True, None))
    return missed + alarm, _blend(y, sides, pos, neg)


def positive_value_and_slope(x: Tensor, sides: Sides) -> tuple[Tensor, Tensor]:
    """Return what `value_and_slope` would where every target is 1."""
    wrong = -x
    q = torch.sigmoid(wrong)
    wrong = _Wrongness(q, 1 - q, softplus(wrong))
    weight = sides.pos.weight
    loss, slope = _loss(wrong, sides.pos, True, None), _slope(wrong, sides.pos, sides.detach_weight)
    if not isinstance(weight, Tensor) and weight == 1:
        return loss, -slope
    return _price(1.0, weight, loss), slope * -weight


def softplus(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return log(1 + exp(x)). The threshold is 40: the usual 20 is too small for float64."""
    if out is None:
        return torch._C._nn.softplus(x, 1, 40)
    return torch._C._nn.softplus(x, 1, 40, out=out)  # pyrefly: ignore[unexpected-keyword]


def _differentiable(x: Tensor) -> tuple[_Wrongness, _Wrongness]:
    log_p, log_q = F.logsigmoid(x), F.logsigmoid(-x)
    p, q = torch.sigmoid(x), torch.sigmoid(-x)
    return _Wrongness(q, p, -log_p), _Wrongness(p, q, -log_q)


def _price(share: float | Tensor, weight: Setting, loss: Tensor) -> Tensor:
    """Return share · weight · loss, with 0 · ∞ = 0."""
    factor = share * weight
    return torch.where((factor > 0) | loss.isfinite(), factor * loss, 0.0)


def _blend(y: Tensor, sides: Sides, pos: _Wrongness, neg: _Wrongness) -> Tensor:
    """Return the derivative with respect to the logit: a positive is wrong at minus the logit."""
    falling = _slope(pos, sides.pos, sides.detach_weight)
    rising = _slope(neg, sides.neg, sides.detach_weight)
    return (1 - y) * sides.neg.weight * rising - y * sides.pos.weight * falling


def _loss(wrong: _Wrongness, side: SideSettings, detach: bool, finite: Tensor | None) -> Tensor:
    base, cost = _shifted(wrong, side.margin)
    if _is_zero(side.gamma):
        return cost
    weight = _power(base, side.gamma)
    if detach:
        return weight.detach() * cost
    if finite is None:
        return weight * cost
    # At an infinite logit the weight is flat, but its slope times the infinite cost is NaN.
    return torch.where(finite, weight, weight.detach()) * cost


def _slope(wrong: _Wrongness, side: SideSettings, detach: bool) -> Tensor:
    """Return the derivative of one side with respect to the logit of being wrong."""
    p, q = wrong.p, wrong.q
    base, cost = _shifted(wrong, side.margin)
    finite = cost.clamp_max(torch.finfo(cost.dtype).max)  # q · ∞ would be NaN where q is 0
    if _is_zero(side.margin):
        # (p^γ c)' = p^γ (p + γ q c), as p' = p q and c' = p.
        inner = p if detach or _is_zero(side.gamma) else p + side.gamma * (q * finite)
        return inner if _is_zero(side.gamma) else _power(base, side.gamma) * inner
    # With base b = p − m: (b^γ c)' = b^γ c' + γ b^(γ−1) p q c, where c = −log(1 − b).
    rate = torch.where(base > 0, p * q / (1 - base), 0.0)
    if isinstance(side.margin, Tensor):
        rate = torch.where(side.margin > 0, rate, p)  # p q / (1 − p) = p, but 0 / 0 at p = 1
    if _is_zero(side.gamma):
        return rate
    slope = _power(base, side.gamma) * rate
    if detach:
        return slope
    return slope + side.gamma * _power(base, side.gamma - 1) * (p * q) * finite


def _shifted(wrong: _Wrongness, margin: Setting) -> tuple[Tensor, Tensor]:
    """Return the probability of being wrong beyond the margin, and its cost."""
    if _is_zero(margin):
        return wrong.p, wrong.cost
    base = (wrong.p - margin).relu()  # slope 0 at the bound; that of `clamp` depends on torch
    if isinstance(margin, Tensor):
        shifted = -torch.log1p(-torch.where(margin > 0, base, 0.0))
        return base, torch.where(margin > 0, shifted, wrong.cost)
    return base, -torch.log1p(-base)


def _power(base: Tensor, exponent: Setting) -> Tensor:
    """Return `base ** exponent` for a base in [0, 1], with a finite slope at 0.

    A general power is slow, so the usual exponents are multiplied out.
    """
    if isinstance(exponent, Tensor):
        return base.clamp_min(torch.finfo(base.dtype).tiny) ** exponent
    if exponent == 0:
        return torch.ones_like(base)
    if exponent == 1:
        return base
    if exponent in (2, 3, 4):
        square = base * base
        return square if exponent == 2 else square * (base if exponent == 3 else square)
    return base.clamp_min(torch.finfo(base.dtype).tiny) ** exponent


def _is_zero(setting: Setting) -> bool:
    return not isinstance(setting, Tensor) and setting == 0


def checked_side(
    name: str, end: str, weight: GivenSetting, gamma: GivenSetting, margin: GivenSetting
) -> SideSettings:
    """Convert the settings of the side with this end of a name, and refuse those out of range.

    Tensors are checked only where reading them needs no synchronisation.
    """
    margin_name = "margin_pos" if end == "pos" else "margin"
    side = SideSettings(
        as_setting(name, f"weight_{end}", weight),
        as_setting(name, f"gamma_{end}", gamma),
        as_setting(name, margin_name, margin),
    )
    _check_setting(name, f"weight_{end}", side.weight)
    _check_setting(name, f"gamma_{end}", side.gamma)
    for bound in _range(side.margin):
        if not (bound == 0 or SMALLEST_MARGIN <= bound < 1):
            repair = f"must be 0 or in [{SMALLEST_MARGIN}, 1)"
            raise ValueError(f"{name}: {margin_name} {repair}; got {margin_name} {side.margin}")
    return side


def _check_setting(name: str, label: str, setting: Setting) -> None:
    low, high = _range(setting)
    # No `require` here: it formats its message, and a number may be symbolic in a compiled graph.
    if not (low >= 0 and high < float("inf")):
        raise ValueError(f"{name}: {label} must be finite and at least 0; got {label} {setting}")


def _range(setting: Setting) -> tuple[float, float]:
    """Return the smallest and largest value; both 0 for a tensor that must not be read."""
    if not isinstance(setting, Tensor):
        return setting, setting
    if not setting.numel() or not can_read_without_sync(setting):
        return 0.0, 0.0
    low, high = setting.detach().aminmax()
    return float(low), float(high)


def check_targets(name: str, y: Tensor) -> None:
    """Refuse labels that are NaN or outside [0, 1]."""
    if y.numel():
        low, high = y.detach().aminmax()
        require(
            bool((low >= 0) & (high <= 1)),
            f"{name}: targets must be in [0, 1]; got targets from {low:g} to {high:g}",
        )
