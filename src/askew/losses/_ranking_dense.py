"""The pairs of a batch by plain differentiable operations, some rows at a time."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from askew._reduction import is_transformed
from askew.losses._ranking import Hinges
from askew.losses._ranking_distances import Distance, distances

CPU_BLOCK_ELEMENTS = 1 << 21
"""Components of differences that are held at a time on the CPU: what fits its cache."""

ACCELERATOR_BLOCK_ELEMENTS = 1 << 26
"""The same on other devices, where a block must outweigh the launches of its kernels."""


class Batch(NamedTuple):
    """Vectors, their labels, and which of them count (None = all)."""

    x: Tensor
    labels: Tensor
    where: Tensor | None


class Sums(NamedTuple):
    """Per row: the cost of its pairs on each side, and how many of them cost something."""

    pos: Tensor
    neg: Tensor
    active_pos: Tensor
    active_neg: Tensor


def dense_sums(batch: Batch, hinges: Hinges, distance: Distance) -> Sums:
    """Return the sums of every row; the backward pass recomputes the differences block by block."""
    blocks = row_blocks(batch.x)
    compute: Callable[..., Sums] = _sums
    if len(blocks) > 1 and torch.is_grad_enabled() and not is_transformed():
        compute = partial(checkpoint, _sums, use_reentrant=False, preserve_rng_state=False)
    parts = [compute(batch, start, stop, hinges, distance) for start, stop in blocks]
    return Sums(*(torch.cat(column) for column in zip(*parts, strict=True)))


def row_blocks(x: Tensor) -> list[tuple[int, int]]:
    """Return where blocks of rows start and stop; in `torch.compile` all rows are one block."""
    rows, width = x.shape
    if torch.compiler.is_compiling():  # a loop would fix the number of rows
        return [(0, rows)]
    elements = CPU_BLOCK_ELEMENTS if x.device.type == "cpu" else ACCELERATOR_BLOCK_ELEMENTS
    step = max(elements // max(rows * width, 1), 1)
    return [(start, min(start + step, rows)) for start in range(0, rows, step)] or [(0, 0)]


def _sums(batch: Batch, start: int, stop: int, hinges: Hinges, distance: Distance) -> Sums:
    d = distances(batch.x[start:stop, None], batch.x[None], distance)
    pos, neg = _pairs(batch, start, stop)
    pos = pos & (hinges.scale_pos > 0)  # 0 · inf would be NaN
    pos_cost = torch.where(pos, (d - hinges.margin_pos).relu(), 0.0)
    neg_cost = torch.where(neg, (hinges.margin_neg - d).relu(), 0.0)
    active = [(cost > 0).sum(1) for cost in (pos_cost, neg_cost)]
    return Sums(pos_cost.sum(1), neg_cost.sum(1), *active)


def _pairs(batch: Batch, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Return which pairs of these rows have equal labels, and which have different ones."""
    rows = torch.arange(start, stop, device=batch.labels.device)
    same = batch.labels[start:stop, None] == batch.labels
    pair = rows[:, None] != torch.arange(batch.labels.shape[0], device=rows.device)
    if batch.where is not None:
        pair = pair & batch.where[start:stop, None] & batch.where
    return same & pair, ~same & pair


def hessian_product(
    batch: Batch, v: Tensor, hinges: Hinges, distance: Distance, *, mean: bool
) -> Tensor:
    r"""Return the second derivative of the loss of all pairs times `v`, itself differentiable.

    A pair adds :math:`\pm a (\Delta v - u\,u^\top \Delta v) / d` for Euclidean distances, with u
    the unit vector from one to the other, and :math:`\pm a\,\Delta v` up to a factor for squares.
    """
    with torch.no_grad():  # the counts of a mean are constants, as in the first derivative
        sums = dense_sums(batch, hinges, distance)
        share_pos, share_neg = (
            2 * scale / (active.sum().clamp_min(1).to(v.dtype) if mean else 1)
            for scale, active in (  # times 2, as (i, j) and (j, i) both move row i
                (hinges.scale_pos, sums.active_pos),
                (hinges.scale_neg, sums.active_neg),
            )
        )
    parts = []
    for start, stop in row_blocks(batch.x):
        d = distances(batch.x[start:stop, None], batch.x[None], distance)
        pos, neg = _pairs(batch, start, stop)
        price = share_pos * (pos & (d > hinges.margin_pos))
        price = price - share_neg * (neg & (d < hinges.margin_neg))
        gap = batch.x[start:stop, None] - batch.x
        dv = v[start:stop, None] - v
        if distance == "euclidean":
            equal = d == 0
            d = torch.where(equal, 1.0, d)
            price = torch.where(equal, 0.0, price / d)  # equal vectors have slope 0 of every order
            unit = gap / d.unsqueeze(-1)
            dv = dv - unit * (unit * dv).sum(-1, keepdim=True)
        elif distance == "squared":
            price = 2 * price
        parts.append((price.unsqueeze(-1) * dv).sum(1))
    return torch.cat(parts)
