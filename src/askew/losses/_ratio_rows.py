"""Costs −A f(x) of log-ratios x with advantages A, where f is e^x between two bounds of x.

Beyond a bound, f is flat in a clipped loss and its own tangent in a tapered one. Autograd would
build some ten tensors of the size of the log-ratios; one pass over blocks of rows keeps the
gradient alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from askew._reduction import hide, kernel_obstacle, result_dtype
from askew.losses._kept_gradient import times

ONE_PASS_MIN_TOKENS = 1 << 12
"""Number of log-ratios from which on one pass over blocks is faster than autograd."""

BLOCK_TOKENS = 16_384
"""Log-ratios of a block: enough to outweigh the overhead of its calls, few enough for a cache."""

TANGENT_FROM = 30.0
"""Log-ratio from which on a tangent replaces an exponential without bound: e^30 is 1e13."""

FLOAT16_TANGENT_FROM = 8.0
"""The same for log-ratios in float16, whose gradients end at 65504, about e^11."""


class Bounds(NamedTuple):
    """Bounds of x where the advantage is at least 0, and where it is below."""

    pos: tuple[float, float]
    neg: tuple[float, float]
    is_flat: bool
    """Whether f has no slope beyond a bound, instead of that at the bound."""

    def of(self, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lower and the upper bound for every advantage."""
        good = advantage >= 0
        low, high = (
            torch.where(good, advantage.new_full((), pos), advantage.new_full((), neg))
            for pos, neg in zip(self.pos, self.neg, strict=True)
        )
        return low, high


class Rows(NamedTuple):
    """Per row all but its log-ratios; advantage and weight are [rows, tokens] or [rows, 1]."""

    advantage: Tensor
    weight: Tensor
    """Factor of every cost in the sum."""
    where: Tensor | None
    """True where a token counts [rows, tokens], None where all do."""

    def block(self, block: slice) -> "Rows":
        """Select some of the rows."""
        where = None if self.where is None else self.where[block]
        return Rows(self.advantage[block], self.weight[block], where)


def costs(x: Tensor, advantage: Tensor, bounds: Bounds, knee: float) -> Tensor:
    """Return all costs by differentiable operations.

    `torch.where` instead of `clamp`, whose slope at a bound depends on the version of torch.
    """
    low, high = bounds.of(advantage)
    inside = torch.where(x > high, high, torch.where(x < low, low, x))
    near = torch.where(inside > knee, knee, inside)
    ratio = torch.exp(near)
    x = inside if bounds.is_flat else x
    # At an infinite log-ratio these would be ∞ − ∞ and 0 · ∞.
    is_beyond = (x != near) & (ratio.detach() > 0)
    value = ratio + torch.where(is_beyond, ratio.detach() * (x - near), 0.0)
    return torch.where((advantage == 0) & value.isinf(), 0.0, -advantage * value)


def is_in_one_pass(log_ratio: Tensor) -> bool:
    """Whether `CostSum` can serve and is faster. In float16 its kept gradient would underflow."""
    return (
        log_ratio.is_cpu
        and log_ratio.dtype != torch.float16
        and log_ratio.numel() >= ONE_PASS_MIN_TOKENS
        and not kernel_obstacle(log_ratio)
    )


def tangent_from(log_ratio: Tensor) -> float:
    """Return the log-ratio from which on a ratio without bound continues by its tangent."""
    return FLOAT16_TANGENT_FROM if log_ratio.dtype == torch.float16 else TANGENT_FROM


class CostSum(torch.autograd.Function):
    """The weighted sum of the costs, whose gradient is computed in the forward pass and kept."""

    @staticmethod
    def forward(ctx, x: Tensor, rows: Rows, bounds: Bounds) -> Tensor:
        """Compute value and gradient; the log-ratios are saved for a second derivative."""
        gradient = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        total = blockwise_sum(x, rows, bounds, gradient)
        ctx.rows, ctx.bounds = rows, bounds
        ctx.save_for_backward(gradient, x)
        return total

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Scale the kept gradient."""
        (grad,) = grad_outputs
        gradient, x = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return times(gradient, grad, 1.0), None, None
        # create_graph=True: the kept gradient has no graph of its own
        rows = ctx.rows
        visible = hide(x, rows.where).to(rows.advantage.dtype)
        cost = hide(costs(visible, rows.advantage, ctx.bounds, TANGENT_FROM), rows.where)
        (slope,) = torch.autograd.grad((cost * rows.weight).sum(), x, create_graph=True)
        return slope * grad, None, None


def blockwise_sum(x: Tensor, rows: Rows, bounds: Bounds, gradient: Tensor | None) -> Tensor:
    """Return the weighted sum over [rows, tokens], and write its gradient into `gradient`."""
    step = max(BLOCK_TOKENS // max(x.shape[-1], 1), 1)
    total = torch.zeros((), dtype=torch.double, device=x.device)
    for start in range(0, len(x), step):
        block = slice(start, start + step)
        out = None if gradient is None else gradient[block]
        total += _block_sum(x[block], rows.block(block), bounds, out)
    return total.to(result_dtype(x))


def _block_sum(x: Tensor, rows: Rows, bounds: Bounds, out: Tensor | None) -> Tensor:
    """Return the weighted sum of a block, and write its gradient into `out`."""
    low, high = bounds.of(rows.advantage)
    factor = rows.advantage * -rows.weight
    if rows.where is not None:
        x = torch.where(rows.where, x, 0.0)
        factor = factor * rows.where.view(torch.uint8)  # much faster than a product with bool
    x = x.to(factor.dtype)
    inside = torch.minimum(torch.maximum(x, low), high)
    is_free = inside.max() > TANGENT_FROM
    near = inside.clamp_max(TANGENT_FROM) if is_free else inside
    slope = near.exp()
    value = slope
    if is_free or not bounds.is_flat:
        value = torch.addcmul(slope, slope, (inside if bounds.is_flat else x) - near)
    total = (value * factor).sum(dtype=torch.double)
    if not total.isfinite():  # a log-ratio is infinite
        cost = costs(x, rows.advantage, bounds, TANGENT_FROM) * rows.weight
        total = hide(cost, rows.where).sum(dtype=torch.double)
    if out is not None:
        if bounds.is_flat:  # 1 or 0 as numbers, for the same reason
            slope.mul_(torch.eq(inside, x, out=torch.empty_like(x)))
        torch.mul(slope, factor, out=out)
    return total
