"""The pairs of a batch on the CPU, with value and gradient in one pass over blocks of rows.

Squared distances come from a matrix product, so that only a block of pairs is ever held. For
vectors much nearer to each other than to the mean that product loses its digits; their differences
are computed one by one. Rows are sorted by label: pairs of equal label then lie in a band along the
diagonal, and no labels are compared outside it. Every pair is visited once and counts twice.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from askew.losses._ranking import Hinges
from askew.losses._ranking_dense import Batch, hessian_product
from askew.losses._ranking_distances import Distance, is_zero, length

BLOCK_ROWS = 64
"""Rows of a block of pairs."""

NEAR_SHARE = 0.01
"""A squared distance below this share of the squared lengths is computed from the difference."""

NEAR_PAIRS_AT_A_TIME = 2048
"""Near pairs whose differences are held at a time."""


class PairSettings(NamedTuple):
    """Settings of the loss, whether its sides are means or sums, and whether to differentiate."""

    hinges: Hinges
    distance: Distance
    mean: bool
    wants_gradient: bool


class PairLoss(torch.autograd.Function):
    """The loss of all pairs of `x`, whose gradient is computed in the forward pass and kept.

    For the cosine distance `x` must hold vectors of length 1, or zeros.
    """

    @staticmethod
    def forward(
        x: Tensor, labels: Tensor, where: Tensor | None, settings: PairSettings
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient."""
        return loss_and_gradient(Batch(x, labels, where), settings)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the gradient, and the inputs for a second derivative."""
        x, labels, where, ctx.settings = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, labels, where, output[1])

    @staticmethod
    def backward(ctx, *grads):
        """Scale the kept gradient, never in place: the graph may be differentiated again."""
        grad = grads[0]
        x, labels, where, gradient = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return gradient * grad, None, None, None
        return _Gradient.apply(x, gradient, labels, where, ctx.settings) * grad, None, None, None

    @staticmethod
    def vmap(info, in_dims, *args):
        """Compute one batch after the other: the sizes of bands and near pairs depend on values."""
        *tensors, settings = args
        dims = in_dims[: len(tensors)]
        moved = [
            t if dim is None else t.movedim(dim, 0) for t, dim in zip(tensors, dims, strict=True)
        ]
        results = [
            PairLoss.apply(
                *(t if dim is None else t[i] for t, dim in zip(moved, dims, strict=True)), settings
            )
            for i in range(info.batch_size)
        ]
        values, gradients = zip(*results, strict=True)
        return (torch.stack(values), torch.stack(gradients)), (0, 0)


class _Gradient(torch.autograd.Function):
    """The kept gradient as a function of `x`; the second derivative waits for its own backward.

    `torch.func` runs every backward pass as if it were to be differentiated; it seldom is.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, gradient: Tensor, labels: Tensor, where: Tensor | None, settings: PairSettings
    ) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, _, labels, where, ctx.settings = inputs
        ctx.save_for_backward(x, labels, where)

    @staticmethod
    def backward(ctx, *grads):
        x, labels, where = ctx.saved_tensors
        settings = ctx.settings
        batch = Batch(x, labels, where)
        product = hessian_product(
            batch, grads[0], settings.hinges, settings.distance, mean=settings.mean
        )
        return product, None, None, None, None


def loss_and_gradient(batch: Batch, settings: PairSettings) -> tuple[Tensor, Tensor]:
    """Return the loss of all pairs and its gradient, which is empty where it is not wanted."""
    labels, where = batch.labels.long(), batch.where
    where = torch.ones_like(labels, dtype=torch.bool) if where is None else where
    kept = where.nonzero().squeeze(1)
    labels, order = labels[kept].sort()
    points = _SortedPoints(batch.x, kept[order], labels, settings)
    points.visit_pairs()
    hinges = settings.hinges
    # Cost and count are of unordered pairs: in a mean the 2 of ordered ones cancels.
    share_pos, share_neg = (
        scale / max(side.active, 1) if settings.mean else 2 * scale
        for side, scale in ((points.pos, hinges.scale_pos), (points.neg, hinges.scale_neg))
    )
    value = points.pos.cost * share_pos + points.neg.cost * share_neg
    wanted = settings.wants_gradient
    gradient = points.gradient(share_pos, share_neg) if wanted else batch.x.new_zeros(0)
    return batch.x.new_tensor(value), gradient


class _PairTotals:
    """Of one side: the cost of its pairs, how many cost something, and the sums of a gradient.

    The gradient of row i is Σ_j w_ij (x_i − x_j) = x_i Σ_j w_ij − Σ_j w_ij x_j. Both sums come from
    one product of the weights with [x, 1], and no difference is ever held.
    """

    def __init__(self, points: "_SortedPoints") -> None:
        self.points = points
        self.cost = 0.0
        self.active = 0
        self.summed: Tensor | None = None  # Σ_j w_ij [x_j, 1] for each row i, in sorted order
        self.direct: Tensor | None = None  # gradient of the near pairs, in the order of the batch

    def add(self, cost: Tensor, d: Tensor, start: int) -> None:
        """Add the pairs of a block with all rows from its first on; `cost` is overwritten."""
        total = cost.sum().item()
        if total == 0:
            return
        self.cost += total
        active = cost.sign_()
        self.active += int(active.sum().item())
        settings, points = self.points.settings, self.points
        if not settings.wants_gradient:
            return
        # The slope of a norm is the difference over its length; of a square, 2 × the difference.
        weight = active.div_(d) if settings.distance == "euclidean" else active
        if self.summed is None:
            self.summed = torch.zeros_like(points.homogeneous)
        stop, end = start + len(cost), start + cost.shape[1]
        self.summed[start:stop].addmm_(weight, points.homogeneous[start:end])
        self.summed[start:end].addmm_(weight.T, points.homogeneous[start:stop])

    def add_near(self, cost: Tensor, i: Tensor, j: Tensor, slope: Tensor) -> None:
        """Add pairs by their indices; `slope` is that of the distance by the first vector."""
        self.cost += cost.sum().item()
        active = (cost > 0).nonzero().squeeze(1)
        self.active += len(active)
        if self.points.settings.wants_gradient and len(active):
            if self.direct is None:
                self.direct = torch.zeros_like(self.points.x)
            self.direct.index_add_(0, i[active], slope[active])
            self.direct.index_add_(0, j[active], slope[active], alpha=-1)


class _SortedPoints:
    """Vectors sorted by label, and the loop over their pairs."""

    def __init__(self, x: Tensor, order: Tensor, labels: Tensor, settings: PairSettings) -> None:
        self.x, self.order, self.labels, self.settings = x, order, labels, settings
        self.pos, self.neg = _PairTotals(self), _PairTotals(self)
        self.homogeneous = x.new_ones(len(order), x.shape[1] + 1)  # [x, 1]
        centred = self.homogeneous[:, :-1]
        centred.copy_(x[order])
        # Distances do not depend on the origin; near the mean, squares are small and lose less.
        centre = (centred / max(len(x), 1)).sum(0)
        centred -= torch.where(centre.isfinite(), centre, 0.0)
        self.square = torch.linalg.vector_norm(centred, dim=1).square_()
        beyond = ~self.square.isfinite()
        centred.masked_fill_(beyond.unsqueeze(1), 0.0)
        self.square.masked_fill_(beyond, float("inf"))  # makes all their pairs near ones
        if settings.distance == "cosine":
            self.square += is_zero(x)[order]  # each zero adds 1 / 2 to a distance

    def gradient(self, share_pos: float, share_neg: float) -> Tensor:
        """Return the gradient by `x` of both costs times their shares."""
        total = torch.zeros_like(self.x)
        factor = 2 if self.settings.distance == "squared" else 1  # cosine is half a square
        for side, share in ((self.pos, share_pos), (self.neg, -share_neg)):
            if side.summed is not None:
                pull = side.summed[:, :-1].neg_()  # x_i Σ_j w_ij − Σ_j w_ij x_j, in place
                pull.addcmul_(self.homogeneous[:, :-1], side.summed[:, -1:])
                total.index_add_(0, self.order, pull, alpha=share * factor)
                side.summed = None  # frees it before the other side
            if side.direct is not None:
                total.add_(side.direct, alpha=share)
        return total

    def visit_pairs(self) -> None:
        """Add every pair once to the totals of its side."""
        n = len(self.order)
        if n == 0:
            return
        ends = torch.searchsorted(self.labels, self.labels, right=True)  # where a label ends
        largest = self.square.max()
        scratch = self.x.new_empty((2, min(BLOCK_ROWS, n) * n))
        for start in range(0, n, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, n)
            shape = (stop - start, n - start)
            d, cost = (row[: shape[0] * shape[1]].view(shape) for row in scratch)
            self._square_distances(start, stop, d)
            near = self._near(start, d, cost, largest)
            if near is not None:
                self._add_near(*near)
            self._add_far(start, stop, int(ends[stop - 1]), d, cost)

    def _square_distances(self, start: int, stop: int, out: Tensor) -> None:
        """Compute |x_i|² + |x_j|² − 2 x_i·x_j of a block with all rows from its first on.

        Infinity stands where j <= i, so that no pair is counted twice.
        """
        left, right = self.homogeneous[start:stop, :-1], self.homogeneous[start:, :-1]
        torch.addmm(self.square[start:], left, right.T, alpha=-2, out=out)
        out += self.square[start:stop, None]
        rows = stop - start
        not_after = out.new_ones((rows, rows), dtype=torch.bool).tril_()
        out[:, :rows].masked_fill_(not_after, float("inf"))

    def _near(
        self, start: int, square: Tensor, scratch: Tensor, largest: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Return the pairs whose squared distance has lost its digits, and set it to infinity."""
        smallest = torch.finfo(square.dtype).tiny / NEAR_SHARE
        if bool(square.min() > 2 * NEAR_SHARE * largest + smallest):  # a bound for all thresholds
            return None
        squares = self.square[start : start + len(square), None]
        torch.add(squares, self.square[start:], out=scratch).mul_(NEAR_SHARE).add_(smallest)
        near = (square > scratch).logical_not_()  # so that NaN is near too
        near[:, : len(near)].triu_(1)
        square.masked_fill_(near, float("inf"))
        i, j = near.nonzero(as_tuple=True)
        return i + start, j + start

    def _add_near(self, first: Tensor, second: Tensor) -> None:
        """Add the pairs of these indices into the sorted rows, from their differences."""
        hinges, distance = self.settings.hinges, self.settings.distance
        chunks = (indices.split(NEAR_PAIRS_AT_A_TIME) for indices in (first, second))
        for i, j in zip(*chunks, strict=True):
            same = self.labels[i] == self.labels[j]
            i, j = self.order[i], self.order[j]
            half = self.x[i] / 2 - self.x[j] / 2  # a whole difference might overflow
            if distance == "euclidean":
                d = 2 * length(half)
                slope = half / torch.where(d == 0, 1.0, d / 2).unsqueeze(1)
            else:  # for vectors of length 1 the cosine distance is half the squared one
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
        """Add the pairs of a block that are not near; `end` is where its last label ends."""
        hinges, distance = self.settings.hinges, self.settings.distance
        d = square.sqrt_() if distance == "euclidean" else square
        if distance == "cosine":
            d.mul_(0.5)
        band = d[:, : end - start]  # the only columns in which labels can be equal
        same = self.labels[start:stop, None] == self.labels[start:end]
        if hinges.scale_pos > 0:
            same &= band != float("inf")
            cost = scratch.view(-1)[: band.numel()].view(band.shape)
            torch.sub(band, hinges.margin_pos, out=cost)
            self.pos.add(cost.clamp_min_(0).masked_fill_(~same, 0), band, start)
        if hinges.scale_neg > 0:
            band.masked_fill_(same, float("inf"))  # beyond every margin: costs nothing
            torch.neg(d, out=scratch).add_(hinges.margin_neg).clamp_min_(0)
            self.neg.add(scratch, d, start)
