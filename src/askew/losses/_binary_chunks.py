"""Two-sided binary cross-entropy with value and gradient in one walk over the logits.

Autograd would keep a dozen tensors of the size of the logits. Here the walk goes in chunks that
fit the cache, and only the gradient is kept. Most labels of most data are negative, so a chunk is
first taken as if all of it were, with few operations in place; the positives are then put right.
"""

from collections.abc import Callable, Sequence
from functools import cache
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

CHUNK = (1 << 17, 1 << 18)
"""Elements of a chunk, at least and at most: large beside the overhead of its operations, and for
the scratch to be small beside the gradient a 32nd of the logits between."""

MANY = 4
"""From one positive in this many elements on, both sides are computed for all elements."""


Rows = tuple[Tensor, ...]
"""Three tensors of the shape of a chunk, to be overwritten."""


class Job(NamedTuple):
    """What a sum is told beside its tensors: in whose name, the settings, a factor of all."""

    name: str
    sides: Sides
    scale: float | Tensor
    compiled: bool


class SumWithGradient(torch.autograd.Function):
    """The scaled sum of the loss; its gradient is computed along and waits for the backward."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, where: Tensor | None, job: Job) -> Tensor:
        """Keep the gradient; the inputs stay for a second derivative."""
        if job.compiled:
            total, gradient = compiled_sum(logits, targets, where, job)
        else:
            gradient = torch.empty(logits.shape, dtype=logits.dtype)
            total = walk(logits, targets, where, job, gradient)
        ctx.job = job
        ctx.save_for_backward(gradient, logits, targets, where)
        return total

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Scale the kept gradient, never in place; build it anew to differentiate it."""
        (grad,) = grad_outputs
        gradient, logits, targets, where = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = two_sided_slope(*widen(logits, targets, where), ctx.job.sides)
            return (slope * (grad * ctx.job.scale)).to(logits.dtype), None, None, None
        if not _is_scaled(logits):
            grad = grad * ctx.job.scale
        if grad.device.type == "cpu" and grad.item() == 1:
            return gradient, None, None, None
        return gradient * grad, None, None, None


def widen(logits: Tensor, targets: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both in the precision of the arithmetic, what is hidden as a negative beyond all doubt."""
    dtype = compute_dtype(logits)
    return hide(logits, where, float("-inf")).to(dtype), hide(targets, where).to(dtype)


def _is_scaled(logits: Tensor) -> bool:
    """Whether the kept gradient has its factor: 1 / count would underflow in float16."""
    return logits.dtype != torch.float16


def walk(
    logits: Tensor, targets: Tensor, where: Tensor | None, job: Job, gradient: Tensor | None
) -> Tensor:
    """The scaled sum of the loss; its gradient goes into `gradient` where one is given."""
    shape = (-1,) if job.sides.is_plain() or not logits.dim() else (-1, logits.shape[-1])
    x, y = logits.reshape(shape), targets.reshape(shape)
    seen = None if where is None else where.expand(logits.shape).reshape(shape)
    kept = None if gradient is None else gradient.view(shape)
    size = min(max(logits.numel() // 32, CHUNK[0]), CHUNK[1])
    rows = max(size // x[:1].numel(), 1) if len(x) else 1
    dtype = compute_dtype(x)
    direct = kept is None or kept.dtype == dtype
    scratch = x.new_empty((3 if direct else 4, *x[:rows].shape), dtype=dtype)
    total = 0.0
    for parts in zip(*(_parts(t, rows, len(x)) for t in (x, y, seen, kept)), strict=True):
        x, y, where, out = parts
        own = scratch.unbind() if len(x) == rows else scratch[:, : len(x)].unbind()
        slope = out if direct else own[3]
        total += _chunk(x, y, where, job, slope, own[:3])
        if out is not None:
            _keep(slope, out, job.scale)
    return torch.tensor(total * job.scale, dtype=result_dtype(logits))


def _parts(t: Tensor | None, rows: int, length: int) -> Sequence[Tensor | None]:
    if length <= rows:
        return (t,)
    return t.split(rows) if t is not None else (None,) * -(-length // rows)


def _keep(slope: Tensor, kept: Tensor, scale: float | Tensor) -> None:
    """Scale, and cast where the slope is not in its place already."""
    if _is_scaled(kept) and scale != 1.0:
        slope *= scale
    if slope.dtype != kept.dtype:
        kept.copy_(slope)


def _chunk(
    x: Tensor, y: Tensor, where: Tensor | None, job: Job, slope: Tensor | None, scratch: Rows
) -> float:
    """Sum of the loss of a chunk; its derivative goes into `slope`."""
    x, y, sides = hide(x, where, float("-inf")), hide(y, where), job.sides
    x = x.to(scratch[0].dtype)
    if _is_quick(sides):
        found = _nonzero(y)
        if len(found) * MANY <= len(y):
            total = _negatives(x, found, sides, slope, scratch)
            return total + _positives(x, y, found, job, slope) if len(found) else total
    y = y.to(x.dtype)
    check_targets(job.name, y)
    if slope is None:
        return two_sided_loss(x, y, sides).sum().item()
    loss, derivative = value_and_slope(x, y, sides)
    slope.copy_(derivative)
    return loss.sum().item()


def _is_quick(sides: Sides) -> bool:
    """Whether the operations in place cover the negative side."""
    if not sides.is_plain():
        return False
    _, gamma, margin = sides.neg.numbers()
    return margin == 0 or gamma >= 1


def _nonzero(y: Tensor) -> Tensor:
    """Where `y` is not 0: looked for in words of eight, since most of them are empty."""
    if len(y) < 16_384:
        return y.nonzero().squeeze(1)
    marks = y.to(torch.bool, copy=True)
    whole = len(y) // 8 * 8
    words = marks[:whole].view(torch.int64).nonzero()
    near = (words * 8 + torch.arange(8)).view(-1)
    found = near[marks.index_select(0, near)]
    if whole == len(y):
        return found
    return torch.cat([found, marks[whole:].nonzero().squeeze(1) + whole])


def _positives(x: Tensor, y: Tensor, found: Tensor, job: Job, slope: Tensor | None) -> float:
    x = x.index_select(0, found)
    if y.dtype == torch.bool or (y := y.index_select(0, found)).eq(1).all():
        loss, derivative = positive_value_and_slope(x, job.sides)
    else:
        y = y.to(x.dtype)
        check_targets(job.name, y)
        loss, derivative = value_and_slope(x, y, job.sides)
    if slope is not None:
        slope.index_copy_(0, found, derivative)
    return loss.sum().item()


def _negatives(
    x: Tensor, found: Tensor, sides: Sides, slope: Tensor | None, scratch: Rows
) -> float:
    """The negative side of all elements but those found positive, whose slope is left to others."""
    weight, gamma, margin = sides.neg.numbers()
    p, base, cost = scratch
    torch.sigmoid(x, out=p)
    if margin > 0:
        p.index_fill_(0, found, 0.0)
        torch.sub(p, margin, out=base).clamp_min_(0)
        total = _beyond_a_margin(gamma, sides.detach_weight, slope, scratch)
    else:
        cost = softplus(x, out=cost).index_fill_(0, found, 0.0)
        total = _without_margin(gamma, sides.detach_weight, slope, scratch)
    if weight != 1 and slope is not None:
        slope *= weight
    return total * weight


def _without_margin(gamma: float, detach: bool, slope: Tensor | None, scratch: Rows) -> float:
    """p^γ · c with c = softplus(x), whose derivative is p^γ · (γ · (1 − p) · c + p)."""
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
    cost.clamp_max_(torch.finfo(cost.dtype).max)  # 0 · inf where p is 1
    torch.addcmul(cost, cost, p, value=-1, out=slope)
    slope.mul_(gamma).add_(p).mul_(weight)
    return total


def _beyond_a_margin(gamma: float, detach: bool, slope: Tensor | None, scratch: Rows) -> float:
    """−b^γ · log(1 − b) with b = max(p − m, 0), for γ >= 1.

    Its derivative is p (1 − p) · b^(γ−1) · (b / (1 − b) − γ · log(1 − b)).
    """
    p, base, log = scratch
    torch.neg(base, out=log)
    if slope is not None:
        torch.add(log, 1, out=slope)
        torch.div(base, slope, out=slope)
    log.log1p_()
    if slope is not None:
        if not detach:
            slope.sub_(log, alpha=gamma)
        slope.mul_(torch.addcmul(p, p, p, value=-1, out=p))
    if gamma != 1:
        weight = _power(base, gamma - 1, p)
        log.mul_(weight)
        if slope is not None:
            slope.mul_(weight)
    return -torch.dot(log, base).item()


def _power(base: Tensor, exponent: float, out: Tensor) -> Tensor:
    if exponent == 4:
        return torch.mul(base, base, out=out).mul_(out)
    return torch.pow(base, exponent, out=out)


def sum_without_gradient(logits: Tensor, targets: Tensor, where: Tensor | None, job: Job) -> Tensor:
    """The scaled sum alone."""
    if job.compiled:
        return compiled_sum(logits, targets, where, job)[0]
    return walk(logits, targets, where, job, None)


def compiled_sum(
    logits: Tensor, targets: Tensor, where: Tensor | None, job: Job
) -> tuple[Tensor, Tensor]:
    """The scaled sum and its gradient by one kernel, built on first use."""
    settings = (*job.sides.pos, *job.sides.neg, job.sides.detach_weight)
    key = tuple("tensor" if isinstance(s, Tensor) else float(s) for s in settings)
    total, gradient = _kernel(key)(logits, targets, where, job.sides, job.scale)
    return total.to(result_dtype(logits)), gradient


@cache
def _kernel(key: tuple[float | str, ...]) -> Callable[..., tuple[Tensor, Tensor]]:
    """A kernel for these settings alone.

    The compiler keeps its work by code object. One for all settings would run into its limit, and
    it would take numbers that change for variables, whose powers it then gets wrong.
    """
    code = _fused.__code__.replace(co_name=f"two_sided_{abs(hash(key)):x}")
    return torch.compile(FunctionType(code, globals()), fullgraph=True)


def _fused(
    logits: Tensor, targets: Tensor, where: Tensor | None, sides: Sides, scale: float | Tensor
) -> tuple[Tensor, Tensor]:
    x, y = widen(logits, targets, where)
    loss, slope = value_and_slope(x, y, sides)
    if _is_scaled(logits):
        slope = slope * scale
    return loss.sum() * scale, slope.to(logits.dtype)
