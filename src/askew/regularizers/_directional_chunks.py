"""The directional penalty: its formula, and value and gradient in one pass over the states.

Autograd would keep four tensors of the size of the states. Here the pass goes in chunks that fit
the cache: each step is computed once, adds its cost, and pulls at both its ends. Only the gradient
is kept.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from askew._reduction import compute_dtype, result_dtype

CHUNK = 131_072
"""Elements of a chunk: enough to outweigh the overhead of its calls, few enough for a cache."""


Norm = Literal[1, 2]


class StepPrice(NamedTuple):
    """The price of one direction, and the norm that measures a step in it."""

    weight: float
    p: Norm


class PenaltySettings(NamedTuple):
    """Both directions, whether to square the norms, and the factor of the sum."""

    forward: StepPrice
    backward: StepPrice
    squared: bool
    scale: float


def step_costs(
    states: Tensor, steps: Tensor | None, forward: StepPrice, backward: StepPrice, squared: bool
) -> Tensor:
    """Return the cost of every step, 0 where `steps` hides it; differentiable to any order."""
    states = states.to(compute_dtype(states))
    after, before = states[..., 1:, :], states[..., :-1, :]
    cost = torch.zeros_like(states[..., 1:, 0])
    if forward.weight:
        cost = cost + forward.weight * _size(after - before.detach(), steps, forward.p, squared)
    if backward.weight:
        cost = cost + backward.weight * _size(after.detach() - before, steps, backward.p, squared)
    if not forward.weight and not backward.weight:  # keeps a graph, with gradient 0
        return cost + 0.0 * _size(after - before, steps, 1, False)
    return cost


def _size(step: Tensor, steps: Tensor | None, p: Norm, squared: bool) -> Tensor:
    """Return the norm of every step or its square; a step of length 0 has slope 0."""
    if steps is not None:
        step = step.masked_fill(~steps.unsqueeze(-1), 0.0)
    if p == 1:
        length = step.abs().sum(-1)
        return length.square() if squared else length
    if squared:
        return step.square().sum(-1)
    largest = step.detach().abs().amax(-1) if step.shape[-1] else step.detach().sum(-1)
    is_zero = largest == 0
    unit = step / largest.masked_fill(is_zero, 1.0).unsqueeze(-1)  # its square stays in range
    return largest * unit.square().sum(-1).masked_fill(is_zero, 1.0).sqrt()


class SumWithGradient(torch.autograd.Function):
    """The scaled sum of all costs, whose gradient is computed in the forward pass and kept."""

    @staticmethod
    def forward(ctx, states: Tensor, steps: Tensor | None, settings: PenaltySettings) -> Tensor:
        """Compute value and gradient; the inputs are saved for a second derivative."""
        gradient = torch.empty(states.shape, dtype=_kept_dtype(states), device=states.device)
        total = chunked_sum(states, steps, settings, gradient)
        ctx.settings = settings
        ctx.save_for_backward(gradient, states, steps)
        return total

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Scale the kept gradient, never in place: the graph may be differentiated again."""
        (grad,) = grad_outputs
        gradient, states, steps = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the kept gradient has no graph of its own
            cost = step_costs(states, steps, *ctx.settings[:3]).sum() * ctx.settings.scale
            grad = grad.to(cost.dtype)
            return *torch.autograd.grad(cost, states, grad, create_graph=True), None, None
        if grad.item() == 1 and gradient.dtype == states.dtype:  # as after loss.backward()
            return gradient, None, None
        return (gradient * grad.to(gradient.dtype)).to(states.dtype), None, None


def _kept_dtype(states: Tensor) -> torch.dtype:
    """Return the dtype of the states; but single for float16, where 1 / count would underflow."""
    return torch.float32 if states.dtype == torch.float16 else states.dtype


def chunked_sum(
    states: Tensor, steps: Tensor | None, settings: PenaltySettings, gradient: Tensor | None
) -> Tensor:
    """Return the scaled sum of all costs, and write its gradient into `gradient` if given."""
    length, width = states.shape[-2:]
    x = states.reshape(-1, length, width)
    if steps is not None:
        steps = steps.expand(*states.shape[:-2], length - 1).reshape(len(x), length - 1)
    out = None if gradient is None else gradient.view(x.shape)
    dtype = compute_dtype(x)
    # Neighbouring chunks share a state and both add to its gradient. Where the gradient is rounded
    # to a lower precision it must be complete first, so a chunk then holds whole sequences.
    whole = out is not None and out.dtype != dtype
    span = length - 1 if whole else min(max(CHUNK // max(width, 1), 1), length - 1)
    rows = max(CHUNK // max(span * width, 1), 1)
    scratch = x.new_empty((min(rows, len(x)), span, width), dtype=dtype)
    if out is not None:
        out[:, :1] = 0.0  # the first state has no step before it that would set its gradient
    total = 0.0
    for first in range(0, len(x), rows):
        for start in range(0, length - 1, span):
            chunk = (slice(first, first + rows), slice(start, start + span + 1))
            seen = None if steps is None else steps[chunk[0], start : start + span]
            pull = None if out is None else out[chunk]
            total += _chunk_sum(x[chunk], seen, settings, pull, scratch)
    return states.new_tensor(total * settings.scale, dtype=result_dtype(states))


def _chunk_sum(
    x: Tensor, seen: Tensor | None, settings: PenaltySettings, out: Tensor | None, scratch: Tensor
) -> float:
    """Return the sum of the costs of a chunk, and write the pull of its steps into `out`."""
    dtype = compute_dtype(x)
    x = x.to(dtype)
    step = torch.sub(x[:, 1:], x[:, :-1], out=scratch[: len(x), : x.shape[1] - 1])
    if seen is not None:  # clears bits: 0 · NaN would be NaN, and a fill is many times slower
        bits = torch.int32 if dtype == torch.float32 else torch.int64
        step.view(bits).bitwise_and_(seen.to(bits).neg_().unsqueeze(-1))
    if out is None or out.dtype == dtype:
        return _both_sides(step, seen, settings, out)
    pull = torch.zeros(x.shape, dtype=dtype, device=x.device)
    total = _both_sides(step, seen, settings, pull)
    out.copy_(pull)
    return total


def _both_sides(
    step: Tensor, seen: Tensor | None, settings: PenaltySettings, pull: Tensor | None
) -> float:
    """Return the sum of both terms, and write their gradient by the states into `pull`."""
    forward, backward = settings.forward, settings.backward
    cost, slope, factor = _slope(step, seen, forward.p, settings.squared)
    total = _priced(cost, forward.weight)
    if pull is not None:  # overwrites the later states, so that nothing needs to be zeroed
        torch.mul(slope, factor * (forward.weight * settings.scale), out=pull[:, 1:])
    if not backward.weight:
        return total
    if backward.p != forward.p:
        cost, slope, factor = _slope(step, seen, backward.p, settings.squared)
    if pull is not None:
        pull[:, :-1].addcmul_(slope, factor * (-backward.weight * settings.scale))
    return total + _priced(cost, backward.weight)


def _priced(cost: Tensor, weight: float) -> float:
    return weight * cost.sum(dtype=torch.float64).item() if weight else 0.0


def _slope(
    step: Tensor, seen: Tensor | None, p: Norm, squared: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the costs of the steps, and their derivative as a tensor times a factor per step."""
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
    """Return the length, and the direction as steps times a factor, 0 for a step of length 0.

    A step whose square leaves the range of the dtype is divided by its largest component first.
    """
    limits = torch.finfo(step.dtype)
    factor = length.reciprocal().masked_fill_(length == 0, 0.0)
    imprecise = (length < (limits.tiny / limits.eps) ** 0.5) | ~length.isfinite()
    imprecise = imprecise if seen is None else imprecise & seen
    rows = imprecise.reshape(-1).nonzero().squeeze(1)
    redone = step.view(-1, step.shape[-1]).index_select(0, rows)
    if not redone.any():  # all of them are 0, and their length is right
        return length, step, factor.unsqueeze(-1)
    largest = redone.abs().amax(-1, keepdim=True)
    redone = redone / largest.masked_fill(largest == 0, 1.0)
    size = torch.linalg.vector_norm(redone, dim=-1, keepdim=True)
    redone /= size.masked_fill(size == 0, 1.0)
    slope = step.clone()  # the steps themselves are needed for the other norm
    slope.view(-1, step.shape[-1]).index_copy_(0, rows, redone)
    factor.view(-1).index_fill_(0, rows, 1.0)
    length.view(-1).index_copy_(0, rows, (largest * size).squeeze(-1))
    return length, slope, factor.unsqueeze(-1)
