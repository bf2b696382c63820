"""What losses of policies share: inputs, and means over tokens, sequences or groups."""

from typing import Literal

import torch
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
    check_floating,
    check_reduction,
    check_where,
    compute_dtype,
    count,
    hide,
    reduce,
    result_dtype,
)
from askew.losses._ratio_rows import (
    Bounds,
    CostSum,
    Rows,
    blockwise_sum,
    costs,
    is_in_one_pass,
    tangent_from,
)

Per = Literal["token", "sequence", "group"]
"""What is averaged: all tokens, or the means of every sequence or group."""

AXES = {"token": 0, "sequence": 1, "group": 2}
"""How many of the last axes are averaged first."""


def check_combination(name: str, per: str, reduction: str) -> None:
    """Refuse averages that `name` does not know."""
    require(
        per in AXES,
        lambda: f'{name}: per must be "token", "sequence" or "group"; got per {per!r}',
    )
    check_reduction(name, reduction)


def check_inputs(
    name: str, log_ratio: Tensor, advantage: Tensor, where: Tensor | None, per: Per
) -> None:
    """Refuse inputs of the wrong kind or shape."""
    check_floating(name, "log_ratio", log_ratio)
    check_floating(name, "advantage", advantage)
    shape = log_ratio.shape
    require(
        len(shape) > 0 and advantage.shape in (shape, shape[:-1]),
        lambda: (
            f"{name}: advantage must be one per token or one per sequence; "
            f"got advantage {tuple(advantage.shape)}, log_ratio {tuple(shape)}"
        ),
    )
    require(
        len(shape) >= AXES[per],
        lambda: (
            f"{name}: for groups, log_ratio must be [*groups, sequences, tokens]; "
            f"got log_ratio {tuple(shape)}"
        ),
    )
    check_where(name, where, shape)


def policy_loss(
    log_ratio: Tensor,
    advantage: Tensor,
    bounds: Bounds,
    where: Tensor | None,
    per: Per,
    reduction: Reduction,
) -> Tensor:
    """Return the loss of a policy whose ratios have these bounds."""
    advantage = advantage.detach().to(compute_dtype(log_ratio))
    if advantage.dim() < log_ratio.dim():
        advantage = advantage.unsqueeze(-1)
    if where is not None:
        where = where.expand(log_ratio.shape)
        is_seen = where if advantage.shape == where.shape else where.any(-1, keepdim=True)
        advantage = hide(advantage, is_seen)
    if reduction != "none" and is_in_one_pass(log_ratio):
        weight = _weights(log_ratio, where, per, reduction)
        seen = None if where is None else _as_rows(where, log_ratio)
        rows = Rows(_as_rows(advantage, log_ratio), _as_rows(weight, log_ratio), seen)
        x = _as_rows(log_ratio, log_ratio)
        if torch.is_grad_enabled() and log_ratio.requires_grad:
            return CostSum.apply(x, rows, bounds).to(result_dtype(log_ratio))
        return blockwise_sum(x, rows, bounds, None)
    x = hide(log_ratio, where).to(advantage.dtype)
    loss, where = _means(costs(x, advantage, bounds, tangent_from(log_ratio)), where, per)
    return reduce(loss, reduction, where, result_dtype(log_ratio))


def _means(loss: Tensor, where: Tensor | None, per: Per) -> tuple[Tensor, Tensor | None]:
    """Return the mean of every token, sequence or group, and which of them have a token."""
    if per == "token":
        return loss, where
    axes = tuple(range(-AXES[per], 0))
    if where is None and loss.numel():
        return loss.mean(axes), None
    where = torch.ones_like(loss, dtype=torch.bool) if where is None else where
    sizes = where.sum(axes)
    return torch.where(where, loss, 0.0).sum(axes) / sizes.clamp_min(1), sizes > 0


def _weights(x: Tensor, where: Tensor | None, per: Per, reduction: Reduction) -> Tensor:
    """Return the factor of every token in the sum or mean of what `_means` returns [*batch, 1]."""
    each = x.new_ones((*x.shape[:-1], 1), dtype=compute_dtype(x), requires_grad=False)
    if per == "token":
        return each / (count(x.shape, where) if reduction == "mean" else 1)
    axes = tuple(range(-AXES[per], 0))
    if where is None:
        where = each.new_ones((), dtype=torch.bool).expand(x.shape)
    sizes = where.sum(axes, keepdim=True)
    units = count(sizes.shape, sizes > 0) if reduction == "mean" else 1
    return each / (sizes.clamp_min(1) * units)


def _as_rows(tensor: Tensor, x: Tensor) -> Tensor:
    """Make all axes but the last one axis; tokens without a sequence become rows of their own."""
    if x.dim() == 1:
        return tensor.expand(x.shape).unsqueeze(-1)
    return tensor.expand(*x.shape[:-1], tensor.shape[-1]).reshape(-1, tensor.shape[-1])
