"""The pairs of a batch on the CPU, with value and gradient in one walk over blocks of rows.

Squared distances come from a matrix product, so that only a block of pairs is ever held. Where
that would cancel, for vectors much nearer to each other than to the mean, the differences are
taken one by one. Rows are sorted by label: the pairs of equal label then are a band along the
diagonal, and all others need no look at labels. A pair is visited once and counts twice.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from askew.losses._ranking import Hinges
from askew.losses._ranking_dense import Batch, hessian_product
from askew.losses._ranking_distances import Distance, is_zero, length

ROWS = 64
"""Rows of a block."""

NEAR = 0.01
"""A squared distance below this share of the squared lengths is taken from the difference."""

LIST = 2048
"""Near pairs that are treated at a time."""


class Job(NamedTuple):
    """What the loss is told beside its tensors."""

    hinges: Hinges
    distance: Distance
    mean: bool
    wants_gradient: bool


class PairLoss(torch.autograd.Function):
    """The loss of all pairs of `x`; its gradient is computed along and waits for the backward.

    For the cosine distance `x` must hold vectors of length 1, or zeros.
    """

    @staticmethod
    def forward(x: Tensor, labels: Tensor, where: Tensor | None, job: Job) -> tuple[Tensor, Tensor]:
        """The loss and its gradient."""
        return walk(Batch(x, labels, where), job)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the gradient, and the inputs for a second derivative."""
        x, labels, where, ctx.job = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, labels, where, output[1])

    @staticmethod
    def backward(ctx, *grads):
        """Scale the kept gradient, never in place."""
        grad = grads[0]
        x, labels, where, gradient = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return gradient * grad, None, None, None
        return _Gradient.apply(x, gradient, labels, where, ctx.job) * grad, None, None, None

    @staticmethod
    def vmap(info, in_dims, *args):
        """One batch after the other."""
        *tensors, job = args
        dims = in_dims[: len(tensors)]
        moved = [
            t if dim is None else t.movedim(dim, 0) for t, dim in zip(tensors, dims, strict=True)
        ]
        results = [
            PairLoss.apply(
                *(t if dim is None else t[i] for t, dim in zip(moved, dims, strict=True)), job
            )
            for i in range(info.batch_size)
        ]
        values, gradients = zip(*results, strict=True)
        return (torch.stack(values), torch.stack(gradients)), (0, 0)


class _Gradient(torch.autograd.Function):
    """The kept gradient as a function of `x`; all of a second derivative is left for its backward.

    A transform of `torch.func` runs every backward pass as if it were to be differentiated.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, gradient: Tensor, labels: Tensor, where: Tensor | None, job: Job
    ) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, _, labels, where, ctx.job = inputs
        ctx.save_for_backward(x, labels, where)

    @staticmethod
    def backward(ctx, *grads):
        x, labels, where = ctx.saved_tensors
        job = ctx.job
        batch = Batch(x, labels, where)
        product = hessian_product(batch, grads[0], job.hinges, job.distance, mean=job.mean)
        return product, None, None, None, None


def walk(batch: Batch, job: Job) -> tuple[Tensor, Tensor]:
    """The loss of all pairs, and its gradient where that is wanted, else nothing."""
    labels = batch.labels.long()
    kept = torch.arange(len(labels)) if batch.where is None else batch.where.nonzero().squeeze(1)
    labels, order = labels[kept].sort()
    points = _Points(batch.x, kept[order], labels, job)
    points.walk()
    hinges = job.hinges
    share_pos, share_neg = (
        scale / max(side.active, 1) if job.mean else 2 * scale
        for side, scale in ((points.pos, hinges.scale_pos), (points.neg, hinges.scale_neg))
    )
    value = points.pos.cost * share_pos + points.neg.cost * share_neg
    gradient = points.gradient(share_pos, share_neg) if job.wants_gradient else batch.x.new_zeros(0)
    return batch.x.new_tensor(value), gradient


class _Side:
    """What the pairs of one side cost, how many do, and where they pull."""

    def __init__(self, points: "_Points") -> None:
        self.points = points
        self.cost = 0.0
        self.active = 0
        self.summed: Tensor | None = None  # of w_ij [x_j, 1], for each row
        self.direct: Tensor | None = None

    def add(self, cost: Tensor, d: Tensor, start: int) -> None:
        """Pairs of a block of rows with the rows from its first on; `cost` is overwritten."""
        total = cost.sum().item()
        if total == 0:
            return
        self.cost += total
        active = cost.sign_()
        self.active += int(active.sum().item())
        job, points = self.points.job, self.points
        if not job.wants_gradient:
            return
        weight = active.div_(d) if job.distance == "euclidean" else active
        if self.summed is None:
            self.summed = torch.zeros_like(points.homogeneous)
        stop, end = start + len(cost), start + cost.shape[1]
        self.summed[start:stop].addmm_(weight, points.homogeneous[start:end])
        self.summed[start:end].addmm_(weight.T, points.homogeneous[start:stop])

    def add_near(self, cost: Tensor, i: Tensor, j: Tensor, slope: Tensor) -> None:
        """Pairs by their indices, with the derivative of the distance by the first vector."""
        self.cost += cost.sum().item()
        found = (cost > 0).nonzero().squeeze(1)
        self.active += len(found)
        if self.points.job.wants_gradient and len(found):
            if self.direct is None:
                self.direct = torch.zeros_like(self.points.x)
            self.direct.index_add_(0, i[found], slope[found])
            self.direct.index_add_(0, j[found], slope[found], alpha=-1)


class _Points:
    """Vectors sorted by label, and the walk over their pairs."""

    def __init__(self, x: Tensor, order: Tensor, labels: Tensor, job: Job) -> None:
        self.x, self.order, self.labels, self.job = x, order, labels, job
        self.pos, self.neg = _Side(self), _Side(self)
        self.homogeneous = x.new_ones(len(order), x.shape[1] + 1)
        centred = self.homogeneous[:, :-1]
        centred.copy_(x[order])
        centre = (centred / max(len(x), 1)).sum(0)
        centred -= torch.where(centre.isfinite(), centre, 0.0)
        self.square = torch.linalg.vector_norm(centred, dim=1).square_()
        beyond = ~self.square.isfinite()
        centred.masked_fill_(beyond.unsqueeze(1), 0.0)
        self.square.masked_fill_(beyond, float("inf"))  # all their pairs are taken one by one
        if job.distance == "cosine":
            self.square += is_zero(x)[order]

    def gradient(self, share_pos: float, share_neg: float) -> Tensor:
        """By `x`, of what the two sides cost, times their shares."""
        total = torch.zeros_like(self.x)
        factor = 2 if self.job.distance == "squared" else 1
        for side, share in ((self.pos, share_pos), (self.neg, -share_neg)):
            if side.summed is not None:
                pull = side.summed[:, :-1].neg_()
                pull.addcmul_(self.homogeneous[:, :-1], side.summed[:, -1:])
                total.index_add_(0, self.order, pull, alpha=share * factor)
                side.summed = None
            if side.direct is not None:
                total.add_(side.direct, alpha=share)
        return total

    def walk(self) -> None:
        """Visit every pair once."""
        n = len(self.order)
        if n == 0:
            return
        ends = torch.searchsorted(self.labels, self.labels, right=True)
        largest = self.square.max()
        scratch = self.x.new_empty((2, min(ROWS, n) * n))
        for start in range(0, n, ROWS):
            stop = min(start + ROWS, n)
            shape = (stop - start, n - start)
            d, cost = (row[: shape[0] * shape[1]].view(shape) for row in scratch)
            self._square_distances(start, stop, d)
            near = self._near(start, d, cost, largest)
            if near is not None:
                self._add_near(*near)
            self._add_far(start, stop, int(ends[stop - 1]), d, cost)

    def _square_distances(self, start: int, stop: int, out: Tensor) -> None:
        """Of a block of rows from the rows from its first on; infinite where not a pair."""
        left, right = self.homogeneous[start:stop, :-1], self.homogeneous[start:, :-1]
        torch.addmm(self.square[start:], left, right.T, alpha=-2, out=out)
        out += self.square[start:stop, None]
        rows = stop - start
        twice = torch.ones((rows, rows), dtype=torch.bool).tril_()
        out[:, :rows].masked_fill_(twice, float("inf"))

    def _near(
        self, start: int, square: Tensor, scratch: Tensor, largest: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Pairs whose squared distance has lost its digits; it is set to infinity."""
        smallest = torch.finfo(square.dtype).tiny / NEAR
        if bool(square.min() > 2 * NEAR * largest + smallest):
            return None
        own = self.square[start : start + len(square), None]
        torch.add(own, self.square[start:], out=scratch).mul_(NEAR).add_(smallest)
        found = (square > scratch).logical_not_()
        found[:, : len(found)].triu_(1)
        square.masked_fill_(found, float("inf"))
        i, j = found.nonzero(as_tuple=True)
        return i + start, j + start

    def _add_near(self, first: Tensor, second: Tensor) -> None:
        hinges, distance = self.job.hinges, self.job.distance
        for i, j in zip(first.split(LIST), second.split(LIST), strict=True):
            same = self.labels[i] == self.labels[j]
            i, j = self.order[i], self.order[j]
            half = self.x[i] / 2 - self.x[j] / 2
            if distance == "euclidean":
                d = 2 * length(half)
                slope = half / torch.where(d == 0, 1.0, d / 2).unsqueeze(1)
            else:
                factor = 2 if distance == "cosine" else 4
                d = factor * half.square().sum(1)
                slope = factor * half
            for side, pairs, scale, cost in (
                (self.pos, same, hinges.scale_pos, d - hinges.margin_pos),
                (self.neg, ~same, hinges.scale_neg, hinges.margin_neg - d),
            ):
                if scale > 0:
                    side.add_near(cost.clamp_min_(0).masked_fill_(~pairs, 0), i, j, slope)

    def _add_far(self, start: int, stop: int, end: int, square: Tensor, scratch: Tensor) -> None:
        hinges, distance = self.job.hinges, self.job.distance
        d = square.sqrt_() if distance == "euclidean" else square
        if distance == "cosine":
            d.mul_(0.5)
        band = d[:, : end - start]
        same = self.labels[start:stop, None] == self.labels[start:end]
        if hinges.scale_pos > 0:
            same &= band != float("inf")
            cost = scratch.view(-1)[: band.numel()].view(band.shape)
            torch.sub(band, hinges.margin_pos, out=cost)
            self.pos.add(cost.clamp_min_(0).masked_fill_(~same, 0), band, start)
        if hinges.scale_neg > 0:
            band.masked_fill_(same, float("inf"))
            torch.neg(d, out=scratch).add_(hinges.margin_neg).clamp_min_(0)
            self.neg.add(scratch, d, start)
