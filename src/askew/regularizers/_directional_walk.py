"""The directional penalty: its formula, and value and gradient in one walk over the states.

Autograd would keep four tensors of the size of the states. Here the walk goes in pieces that fit
the cache: each step is taken once, gives its length, and pulls its two ends; only the gradient is
kept.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from askew._reduction import compute_dtype, result_dtype

CHUNK = 131_072
"""Elements of a piece: large beside the overhead of a call, small beside a cache."""


Norm = Literal[1, 2]


class Side(NamedTuple):
    """The price of one direction, and the norm that measures a step in it."""

    weight: float
    p: Norm


class Job(NamedTuple):
    """What a walk is told beside its tensors: both sides, whether to square, a factor of all."""

    forward: Side
    backward: Side
    squared: bool
    scale: float


def step_costs(
    states: Tensor, steps: Tensor | None, forward: Side, backward: Side, squared: bool
) -> Tensor:
    """The cost of every step, 0 where `steps` hides it; differentiable to any order."""
    states = states.to(compute_dtype(states))
    after, before = states[..., 1:, :], states[..., :-1, :]
    cost = torch.zeros_like(states[..., 1:, 0])
    if forward.weight:
        cost = cost + forward.weight * _size(after - before.detach(), steps, forward.p, squared)
    if backward.weight:
        cost = cost + backward.weight * _size(after.detach() - before, steps, backward.p, squared)
    if not forward.weight and not backward.weight:
        return cost + 0.0 * _size(after - before, steps, 1, False)
    return cost


def _size(step: Tensor, steps: Tensor | None, p: Norm, squared: bool) -> Tensor:
    """The norm of every step or its square, with slope 0 at no step at all."""
    if steps is not None:
        step = step.masked_fill(~steps.unsqueeze(-1), 0.0)
    if p == 1:
        length = step.abs().sum(-1)
        return length.square() if squared else length
    if squared:
        return step.square().sum(-1)
    largest = step.detach().abs().amax(-1) if step.shape[-1] else step.detach().sum(-1)
    still = largest == 0
    unit = step / largest.masked_fill(still, 1.0).unsqueeze(-1)  # its square stays in range
    return largest * unit.square().sum(-1).masked_fill(still, 1.0).sqrt()


class SumWithGradient(torch.autograd.Function):
    """The scaled sum of all costs; its gradient is computed along and waits for the backward."""

    @staticmethod
    def forward(ctx, states: Tensor, steps: Tensor | None, job: Job) -> Tensor:
        """Keep the gradient; the inputs stay for a second derivative."""
        gradient = torch.empty(states.shape, dtype=_kept_dtype(states))
        total = walk(states, steps, job, gradient)
        ctx.job = job
        ctx.save_for_backward(gradient, states, steps)
        return total

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Scale the kept gradient, never in place; build it anew to differentiate it."""
        (grad,) = grad_outputs
        gradient, states, steps = ctx.saved_tensors
        if torch.is_grad_enabled():
            cost = step_costs(states, steps, *ctx.job[:3]).sum() * ctx.job.scale
            wanted = grad.to(cost.dtype)
            return *torch.autograd.grad(cost, states, wanted, create_graph=True), None, None
        if grad.item() == 1 and gradient.dtype == states.dtype:
            return gradient, None, None
        return (gradient * grad.to(gradient.dtype)).to(states.dtype), None, None


def _kept_dtype(states: Tensor) -> torch.dtype:
    """That of the states, except that float16 has no room for a share of a mean."""
    return torch.float32 if states.dtype == torch.float16 else states.dtype


def walk(states: Tensor, steps: Tensor | None, job: Job, gradient: Tensor | None) -> Tensor:
    """The scaled sum of all costs; its gradient goes into `gradient` where one is given."""
    length, width = states.shape[-2:]
    x = states.reshape(-1, length, width)
    if steps is not None:
        steps = steps.expand(*states.shape[:-2], length - 1).reshape(len(x), length - 1)
    out = None if gradient is None else gradient.view(x.shape)
    dtype = compute_dtype(x)
    whole = out is not None and out.dtype != dtype  # rounded once, so never in two pieces
    span = length - 1 if whole else min(max(CHUNK // max(width, 1), 1), length - 1)
    rows = max(CHUNK // max(span * width, 1), 1)
    scratch = x.new_empty((min(rows, len(x)), span, width), dtype=dtype)
    if out is not None:
        out[:, :1] = 0.0
    total = 0.0
    for first in range(0, len(x), rows):
        for start in range(0, length - 1, span):
            block = (slice(first, first + rows), slice(start, start + span + 1))
            seen = None if steps is None else steps[block[0], start : start + span]
            pull = None if out is None else out[block]
            total += _piece(x[block], seen, job, pull, scratch)
    return torch.tensor(total * job.scale, dtype=result_dtype(states))


def _piece(x: Tensor, seen: Tensor | None, job: Job, out: Tensor | None, scratch: Tensor) -> float:
    """Sum of the costs of a piece; the pull of its steps goes into `out`."""
    dtype = compute_dtype(x)
    x = x.to(dtype)
    step = torch.sub(x[:, 1:], x[:, :-1], out=scratch[: len(x), : x.shape[1] - 1])
    if seen is not None:  # bits, since 0 · NaN would still be NaN, and a fill is many times slower
        bits = torch.int32 if dtype == torch.float32 else torch.int64
        step.view(bits).bitwise_and_(seen.to(bits).neg_().unsqueeze(-1))
    if out is None or out.dtype == dtype:
        return _both_sides(step, seen, job, out)
    pull = torch.zeros(x.shape, dtype=dtype)
    total = _both_sides(step, seen, job, pull)
    out.copy_(pull)
    return total


def _both_sides(step: Tensor, seen: Tensor | None, job: Job, pull: Tensor | None) -> float:
    forward, backward = job.forward, job.backward
    cost, slope, factor = _slope(step, seen, forward.p, job.squared)
    total = _priced(cost, forward.weight)
    if pull is not None:
        torch.mul(slope, factor * (forward.weight * job.scale), out=pull[:, 1:])
    if not backward.weight:
        return total
    if backward.p != forward.p:
        cost, slope, factor = _slope(step, seen, backward.p, job.squared)
    if pull is not None:
        pull[:, :-1].addcmul_(slope, factor * (-backward.weight * job.scale))
    return total + _priced(cost, backward.weight)


def _priced(cost: Tensor, weight: float) -> float:
    return weight * cost.sum(dtype=torch.float64).item() if weight else 0.0


def _slope(
    step: Tensor, seen: Tensor | None, p: Norm, squared: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Costs of the steps, and the derivative as a tensor times a factor for every step."""
    if p == 1:
        length, slope = step.abs().sum(-1), step.sign()  # vector_norm is five times slower here
        if squared:
            return length.square(), slope, (2 * length).unsqueeze(-1)
        return length, slope, torch.ones_like(length).unsqueeze(-1)
    length = torch.linalg.vector_norm(step, dim=-1)
    if squared:
        return length.square(), step, torch.full_like(length, 2.0).unsqueeze(-1)
    return _unit(step, seen, length)


def _unit(step: Tensor, seen: Tensor | None, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Length, and direction as steps times a factor: 0 for no step at all.

    A step whose square leaves the range of the dtype is divided by its largest number first.
    """
    limits = torch.finfo(step.dtype)
    factor = length.reciprocal().masked_fill_(length == 0, 0.0)
    odd = (length < (limits.tiny / limits.eps) ** 0.5) | ~length.isfinite()
    odd = odd if seen is None else odd & seen
    rows = odd.reshape(-1).nonzero().squeeze(1)
    some = step.view(-1, step.shape[-1]).index_select(0, rows)
    if not some.any():
        return length, step, factor.unsqueeze(-1)
    largest = some.abs().amax(-1, keepdim=True)
    some = some / largest.masked_fill(largest == 0, 1.0)
    size = torch.linalg.vector_norm(some, dim=-1, keepdim=True)
    some /= size.masked_fill(size == 0, 1.0)
    slope = step.clone()
    slope.view(-1, step.shape[-1]).index_copy_(0, rows, some)
    factor.view(-1).index_fill_(0, rows, 1.0)
    length.view(-1).index_copy_(0, rows, (largest * size).squeeze(-1))
    return length, slope, factor.unsqueeze(-1)
