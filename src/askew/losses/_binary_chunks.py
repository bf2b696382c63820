"""Two-sided binary cross-entropy with value and gradient in one pass over the logits.

Autograd would keep a dozen tensors of the size of the logits. Here the pass goes in chunks that
fit the cache, and only the gradient is kept. Most labels of most data are negative: a chunk is
first computed as if all its labels were, with a few operations in place, and then its positives
are overwritten.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from types import FunctionType
from typing import NamedTuple

import torch
from torch import Tensor

from askew._reduction import compute_dtype, hide, result_dtype
from askew.losses._binary_sides import (
    Sides,
    check_targets,
    positive_value_and_slope,
    softplus,
    two_sided_loss,
    two_sided_slope,
    value_and_slope,
)
from askew.losses._kept_gradient import is_scaled, times

CHUNK = (1 << 17, 1 << 18)
"""Smallest and largest number of elements of a chunk; in between it is a 32nd of the logits.

A chunk is large enough for the overhead of its operations not to matter, and small enough for the
scratch to be small beside the gradient.
"""

SPARSE_MIN_ELEMENTS_PER_POSITIVE = 4
"""With more positives than one in so many elements, both sides are computed for all elements."""

Scratch = tuple[Tensor, ...]
"""Three tensors of the shape of a chunk, which every chunk overwrites."""


class SumSettings(NamedTuple):
    """Name of the caller for errors, settings of the loss, factor of the sum, and the route."""

    name: str
    sides: Sides
    scale: float | Tensor
    compiled: bool


class SumWithGradient(torch.autograd.Function):
    """The scaled sum of the loss, whose gradient is computed in the forward pass and kept."""

    @staticmethod
    def forward(
        ctx, logits: Tensor, targets: Tensor, where: Tensor | None, settings: SumSettings
    ) -> Tensor:
        """Compute value and gradient; the inputs are saved for a second derivative."""
        if settings.compiled:
            total, gradient = compiled_sum(logits, targets, where, settings)
        else:
            gradient = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
            total = chunked_sum(logits, targets, where, settings, gradient)
        ctx.settings = settings
        ctx.save_for_backward(gradient, logits, targets, where)
        return total

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Scale the kept gradient."""
        (grad,) = grad_outputs
        gradient, logits, targets, where = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the kept gradient has no graph of its own
            slope = two_sided_slope(*mask_and_upcast(logits, targets, where), ctx.settings.sides)
            return (slope * (grad * ctx.settings.scale)).to(logits.dtype), None, None, None
        return times(gradient, grad, ctx.settings.scale), None, None, None


def mask_and_upcast(logits: Tensor, targets: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor]:
    """Upcast both; a hidden element becomes a negative at logit −inf, which costs exactly 0."""
    dtype = compute_dtype(logits)
    return hide(logits, where, float("-inf")).to(dtype), hide(targets, where).to(dtype)


def chunked_sum(
    logits: Tensor,
    targets: Tensor,
    where: Tensor | None,
    settings: SumSettings,
    gradient: Tensor | None,
) -> Tensor:
    """Return the scaled sum of the loss, and write its gradient into `gradient` if there is one."""
    # Settings per class broadcast along the last axis, so chunks must then be whole rows.
    plain = settings.sides.is_plain()
    shape = (-1,) if plain or not logits.dim() else (-1, logits.shape[-1])
    x, y = logits.reshape(shape), targets.reshape(shape)
    seen = None if where is None else where.expand(logits.shape).reshape(shape)
    kept = None if gradient is None else gradient.view(shape)
    size = min(max(logits.numel() // 32, CHUNK[0]), CHUNK[1])
    length, *width = x.shape
    rows = max(size // prod(width), 1) if x.numel() else 1
    dtype = compute_dtype(x)
    direct = kept is None or kept.dtype == dtype  # else the slope is cast from a fourth tensor
    scratch = x.new_empty((3 if direct else 4, min(rows, length), *width), dtype=dtype)
    quick = plain and _has_quick_negatives(settings.sides)
    total = 0.0
    for chunk in zip(*(_chunks(t, rows, length) for t in (x, y, seen, kept)), strict=True):
        x, y, where, out = chunk
        own = x.shape[0]
        views = (scratch if own == scratch.shape[1] else scratch[:, :own]).unbind()
        slope = out if direct else views[3]
        total += _chunk(x, y, where, settings, slope, views[:3], quick=quick)
        if out is not None:
            _scale_and_cast(slope, out, settings.scale)
    return logits.new_tensor(total * settings.scale, dtype=result_dtype(logits))


def _chunks(t: Tensor | None, rows: int, length: int) -> Sequence[Tensor | None]:
    if length <= rows:
        return (t,)
    return t.split(rows) if t is not None else (None,) * -(-length // rows)


def _scale_and_cast(slope: Tensor, kept: Tensor, scale: float | Tensor) -> None:
    if is_scaled(kept) and scale != 1.0:
        slope *= scale
    if slope.dtype != kept.dtype:
        kept.copy_(slope)


def _chunk(
    x: Tensor,
    y: Tensor,
    where: Tensor | None,
    settings: SumSettings,
    slope: Tensor | None,
    scratch: Scratch,
    *,
    quick: bool,
) -> float:
    """Return the sum of the loss of a chunk, and write its derivative into `slope`."""
    x, y, sides = hide(x, where, float("-inf")), hide(y, where), settings.sides
    x = x.to(scratch[0].dtype)
    if quick:
        positives = _nonzero(y)
        count = positives.shape[0]
        if count * SPARSE_MIN_ELEMENTS_PER_POSITIVE <= y.shape[0]:
            total = _negatives(x, positives, sides, slope, scratch)
            return total + _positives(x, y, positives, settings, slope) if count else total
    y = y.to(x.dtype)
    check_targets(settings.name, y)
    if slope is None:
        return two_sided_loss(x, y, sides).sum().item()
    loss, derivative = value_and_slope(x, y, sides)
    slope.copy_(derivative)
    return loss.sum().item()


def _has_quick_negatives(sides: Sides) -> bool:
    """Whether the operations in place cover the negative side of numbers for all classes."""
    _, gamma, margin = sides.neg.numbers()
    return margin == 0 or gamma >= 1  # b^(γ−1) of a margin would be infinite at b = 0


def _nonzero(y: Tensor) -> Tensor:
    """Return the indices where `y` is not 0, looking at eight bytes at a time: most are all 0."""
    if y.shape[0] < 16_384:
        return y.nonzero().squeeze(1)
    marks = y.to(torch.bool, copy=True)
    whole = y.shape[0] // 8 * 8
    words = marks[:whole].view(torch.int64).nonzero()
    candidates = (words * 8 + torch.arange(8, device=y.device)).view(-1)
    indices = candidates[marks.index_select(0, candidates)]
    if whole == y.shape[0]:
        return indices
    return torch.cat([indices, marks[whole:].nonzero().squeeze(1) + whole])


def _positives(
    x: Tensor, y: Tensor, indices: Tensor, settings: SumSettings, slope: Tensor | None
) -> float:
    """Return the sum of the loss of these elements, and overwrite their slope."""
    x = x.index_select(0, indices)
    if y.dtype == torch.bool or (y := y.index_select(0, indices)).eq(1).all():
        loss, derivative = positive_value_and_slope(x, settings.sides)
    else:  # soft labels have both sides
        y = y.to(x.dtype)
        check_targets(settings.name, y)
        loss, derivative = value_and_slope(x, y, settings.sides)
    if slope is not None:
        slope.index_copy_(0, indices, derivative)
    return loss.sum().item()


def _negatives(
    x: Tensor, positives: Tensor, sides: Sides, slope: Tensor | None, scratch: Scratch
) -> float:
    """Return the negative side of all elements but the positives, whose slope is set later."""
    weight, gamma, margin = sides.neg.numbers()
    p, base, cost = scratch
    torch.sigmoid(x, out=p)
    if margin > 0:
        p.index_fill_(0, positives, 0.0)  # p = 0 lies within the margin and costs nothing
        torch.sub(p, margin, out=base).clamp_min_(0)
        total = _beyond_a_margin(gamma, sides.detach_weight, slope, scratch)
    else:
        cost = softplus(x, out=cost).index_fill_(0, positives, 0.0)
        total = _without_margin(gamma, sides.detach_weight, slope, scratch)
    if weight != 1 and slope is not None:
        slope *= weight
    return total * weight if weight > 0 else 0.0  # 0 · ∞ would be NaN


def _without_margin(gamma: float, detach: bool, slope: Tensor | None, scratch: Scratch) -> float:
    """Return the sum of p^γ · c with c = softplus(x). Its slope is p^γ · (γ · (1 − p) · c + p)."""
    p, weight, cost = scratch
    if gamma == 0:
        if slope is not None:
            slope.copy_(p)
        return cost.sum().item()
    _power(p, gamma, weight)
    total = torch.dot(weight, cost).item()
    if slope is None:
        return total
    if detach:
        torch.mul(weight, p, out=slope)
        return total
    cost.clamp_max_(torch.finfo(cost.dtype).max)  # (1 − p) · c would be 0 · inf where p is 1
    torch.addcmul(cost, cost, p, value=-1, out=slope)  # (1 − p) · c
    slope.mul_(gamma).add_(p).mul_(weight)
    return total


def _beyond_a_margin(gamma: float, detach: bool, slope: Tensor | None, scratch: Scratch) -> float:
    """Return the sum of −b^γ · log(1 − b) with b = max(p − m, 0), for γ >= 1.

    Its slope is p (1 − p) · b^(γ−1) · (b / (1 − b) − γ · log(1 − b)).
    """
    p, base, log = scratch
    torch.neg(base, out=log)
    if slope is not None:
        torch.add(log, 1, out=slope)
        torch.div(base, slope, out=slope)  # b / (1 − b)
    log.log1p_()  # log(1 − b)
    if slope is not None:
        if not detach:
            slope.sub_(log, alpha=gamma)
        slope.mul_(torch.addcmul(p, p, p, value=-1, out=p))  # p (1 − p); p is free from here on
    if gamma != 1:  # value and slope share the factor b^(γ−1)
        weight = _power(base, gamma - 1, p)
        log.mul_(weight)
        if slope is not None:
            slope.mul_(weight)
    return -torch.dot(log, base).item()


def _power(base: Tensor, exponent: float, out: Tensor) -> Tensor:
    if exponent == 4:  # the usual gamma of ASL, for which a general power is slow
        return torch.mul(base, base, out=out).mul_(out)
    return torch.pow(base, exponent, out=out)


def sum_without_gradient(
    logits: Tensor, targets: Tensor, where: Tensor | None, settings: SumSettings
) -> Tensor:
    """Return the scaled sum without keeping a gradient."""
    if settings.compiled:
        return compiled_sum(logits, targets, where, settings)[0]
    return chunked_sum(logits, targets, where, settings, None)


def compiled_sum(
    logits: Tensor, targets: Tensor, where: Tensor | None, settings: SumSettings
) -> tuple[Tensor, Tensor]:
    """Return the scaled sum and its gradient by one kernel, which is compiled on first use."""
    sides = settings.sides
    numbers = (*sides.pos, *sides.neg, sides.detach_weight)
    key = tuple("tensor" if isinstance(n, Tensor) else float(n) for n in numbers)
    total, gradient = _kernel(key)(logits, targets, where, sides, settings.scale)
    return total.to(result_dtype(logits)), gradient


@cache
def _kernel(key: tuple[float | str, ...]) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return a kernel for these settings alone.

    The compiler caches by code object, so each setting gets a code object of its own. With a shared
    one its limit of recompilations would be reached, and numbers that change from call to call
    would become symbols, whose powers it computes wrongly.
    """
    code = _fused.__code__.replace(co_name=f"two_sided_{abs(hash(key)):x}")
    return torch.compile(FunctionType(code, globals()), fullgraph=True)


def _fused(
    logits: Tensor,
    targets: Tensor,
    where: Tensor | None,
    sides: Sides,
    scale: float | Tensor,
) -> tuple[Tensor, Tensor]:
    x, y = mask_and_upcast(logits, targets, where)
    loss, slope = value_and_slope(x, y, sides)
    if is_scaled(logits):
        slope = slope * scale
    return loss.sum() * scale, slope.to(logits.dtype)
