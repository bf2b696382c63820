"""Ranking losses that price a far positive and a near negative differently."""

import math
import warnings
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

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
from askew._settings_module import check_numbers
from askew.losses._ranking_distances import Distance, check_distance, distances


class Hinges(NamedTuple):
    """Margin and price of each side: from which distance on it costs something, and how much."""

    margin_pos: float
    margin_neg: float
    scale_pos: float = 1.0
    scale_neg: float = 1.0
    relative_margin: float | None = None


def asymmetric_ranking_loss(
    anchor: Float[Tensor, "*batch width"],
    positive: Float[Tensor, "*batch width"],
    negative: Float[Tensor, "*batch width"],
    *,
    margin_pos: float = 0.0,
    margin_neg: float = 1.0,
    scale_pos: float = 1.0,
    scale_neg: float = 1.0,
    relative_margin: float | None = None,
    distance: Distance = "euclidean",
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Pull a positive to its anchor and push a negative away, each side with margin and price.

    With :math:`d_p` and :math:`d_n` the distances of positive and negative from the anchor, and
    :math:`[x]_+=\max(x,0)`, a triplet costs

    .. math::
        s_+\,[d_p-m_+]_+ \;+\; s_-\,[m_--d_n]_+ \;+\; [d_p-d_n+m]_+,

    the last term only with a `relative_margin` m. Equal scales with margins 0 and m are the
    contrastive loss; both scales 0 with a relative margin leave the triplet loss. Swapping the
    sides mirrors the cosine distance: the loss is that of ``(-anchor, negative, positive)`` with
    the margins ``2 - margin_neg`` and ``2 - margin_pos`` and the scales swapped.

    The two margins alone fix distances, not an order: with `margin_pos` above `margin_neg`, say
    .5 and .3, a triplet with d_p = .49 and d_n = .31 costs nothing although its negative is
    nearer. Such settings raise a warning; a `relative_margin` >= 0 closes the gap. Not for
    embeddings without a fixed scale: the margins are absolute, so normalise first or use the cosine
    distance.

    Args:
        anchor: What is compared, [*batch, width] with width > 0. Any floating dtype.
        positive: What should be near; the shape of `anchor`.
        negative: What should be far; the shape of `anchor`.
        margin_pos: Distance up to which a positive costs nothing, >= 0. At 0, as in the
            contrastive loss, every positive is pulled all the way.
        margin_neg: Distance from which a negative costs nothing, >= 0. 1 is the contrastive loss's
            usual value for embeddings of length 1, where distances are between 0 and 2.
        scale_pos: Price of the positive side, >= 0; 0 leaves it out.
        scale_neg: Price of the negative side, in the same form.
        relative_margin: By how much the positive must be nearer than the negative, or None for no
            such term. A negative number tolerates a wrong order by less than its size.
        distance: "euclidean", "squared" (of it), or "cosine" (1 minus the cosine).
        where: True where a triplet counts; broadcasts to [*batch]. A hidden triplet adds nothing to
            value or gradient, may be NaN, and is not counted by "mean".
        reduction: "mean" over the triplets that count, "sum" or "none".

    Returns:
        A scalar, or [*batch] for "none", in the dtype of `anchor`; under autocast at least single
        precision. Nothing to count gives a differentiable 0.

    Raises:
        ValueError: If shapes differ or a setting is out of range.
        TypeError: If an input is not floating point, or `where` is not boolean.

    Warns:
        UserWarning: If the loss can be 0 with the negative nearer. Not inside `torch.compile`.

    Numerics:
        Equal vectors have distance 0 and no gradient. Vectors are scaled before they are squared,
        so that distances stay right where squares would leave the range. A vector of zeros is at
        cosine distance 1.

    Example:
        >>> anchor, positive = torch.tensor([0.0, 0.0]), torch.tensor([0.3, 0.4])
        >>> negative = torch.tensor([0.0, 0.9])
        >>> asymmetric_ranking_loss(anchor, positive, negative, scale_pos=2.0)
        tensor(1.1000)

    References:
        Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006 (contrastive; squared
        hinges there).
        FaceNet, 2015, arXiv:1503.03832 (triplet).
    """
    name = "asymmetric_ranking_loss"
    hinges = Hinges(margin_pos, margin_neg, scale_pos, scale_neg, relative_margin)
    check_hinges(name, hinges)
    check_distance(name, distance)
    check_reduction(name, reduction)
    _check_triplets(name, (anchor, positive, negative), where)
    if not torch.compiler.is_compiling() and leaves_order_open(hinges, distance):
        warnings.warn(order_warning(name, hinges), stacklevel=2)
    return _ranking_loss(anchor, positive, negative, hinges, distance, where, reduction)


class AsymmetricRankingLoss(nn.Module):
    """Module form of `asymmetric_ranking_loss`.

    Args:
        margin_pos: See `asymmetric_ranking_loss`, which describes all settings.
        margin_neg: Distance from which a negative costs nothing.
        scale_pos: Price of the positive side.
        scale_neg: Price of the negative side.
        relative_margin: By how much the positive must be nearer than the negative, or None.
        distance: "euclidean", "squared" or "cosine".
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Warns:
        UserWarning: If the loss can be 0 with the negative nearer.

    Example:
        >>> loss = AsymmetricRankingLoss(margin_pos=0.2, margin_neg=1.0)
        >>> anchor, near, far = torch.tensor([[[0.0]], [[0.1]], [[3.0]]])
        >>> loss(anchor, near, far), loss(anchor, far, near)
        (tensor(0.), tensor(3.7000))
    """

    def __init__(
        self,
        *,
        margin_pos: float = 0.0,
        margin_neg: float = 1.0,
        scale_pos: float = 1.0,
        scale_neg: float = 1.0,
        relative_margin: float | None = None,
        distance: Distance = "euclidean",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.hinges = Hinges(margin_pos, margin_neg, scale_pos, scale_neg, relative_margin)
        check_hinges(name, self.hinges)
        check_distance(name, distance)
        check_reduction(name, reduction)
        self.distance: Distance = distance
        self.reduction: Reduction = reduction
        if leaves_order_open(self.hinges, distance):
            warnings.warn(order_warning(name, self.hinges), stacklevel=2)

    def forward(
        self,
        anchor: Float[Tensor, "*batch width"],
        positive: Float[Tensor, "*batch width"],
        negative: Float[Tensor, "*batch width"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of the triplets; see `asymmetric_ranking_loss`."""
        _check_triplets(type(self).__name__, (anchor, positive, negative), where)
        return _ranking_loss(
            anchor, positive, negative, self.hinges, self.distance, where, self.reduction
        )

    def extra_repr(self) -> str:
        """Return every setting."""
        settings = [f"{name}={value}" for name, value in self.hinges._asdict().items()]
        return ", ".join(
            [*settings, f"distance={self.distance!r}", f"reduction={self.reduction!r}"]
        )


class RankingViolations(NamedTuple):
    """Shares among the triplets that count, as tensors; 0 if none counts.

    `positive`: the positive is beyond its margin. `negative`: the negative is within its margin.
    `order`: the negative is nearer than the positive.

    Example:
        >>> anchor, near, far = torch.tensor([[[0.0]], [[0.1]], [[3.0]]])
        >>> shares = ranking_violations(anchor, near, far, margin_pos=0.2, margin_neg=1.0)
        >>> isinstance(shares, RankingViolations), shares.order
        (True, tensor(0.))
    """

    positive: Tensor
    negative: Tensor
    order: Tensor


def ranking_violations(
    anchor: Float[Tensor, "*batch width"],
    positive: Float[Tensor, "*batch width"],
    negative: Float[Tensor, "*batch width"],
    *,
    margin_pos: float = 0.0,
    margin_neg: float = 1.0,
    distance: Distance = "euclidean",
    where: Bool[Tensor, "..."] | None = None,
) -> RankingViolations:
    """Measure which share of the triplets breaks each margin, and which has the wrong order.

    The shares stay on the device, so that computing them never waits for it. Swapping the sides of
    the loss, as `asymmetric_ranking_loss` describes, swaps the first two shares.

    Args:
        anchor: What is compared, [*batch, width].
        positive: What should be near; the shape of `anchor`.
        negative: What should be far; the shape of `anchor`.
        margin_pos: A positive farther than this violates it, >= 0.
        margin_neg: A negative nearer than this violates it, >= 0.
        distance: "euclidean", "squared" or "cosine".
        where: True where a triplet counts; broadcasts to [*batch].

    Returns:
        Three scalars in [0, 1] without gradient: `positive`, `negative`, `order`.

    Raises:
        ValueError: If shapes differ or a setting is out of range.
        TypeError: If an input is not floating point, or `where` is not boolean.

    Example:
        >>> anchor, near, far = torch.tensor([[0.0], [0.0]]), torch.ones(2, 1), torch.ones(2, 1) / 2
        >>> float(ranking_violations(anchor, near, far, margin_pos=2.0).order)
        1.0
    """
    name = "ranking_violations"
    check_hinges(name, Hinges(margin_pos, margin_neg))
    check_distance(name, distance)
    _check_triplets(name, (anchor, positive, negative), where)
    d_pos, d_neg = _distances(
        anchor.detach(), positive.detach(), negative.detach(), distance, where
    )

    def share(violated: Tensor) -> Tensor:
        if where is not None:
            violated = violated & where
        return violated.sum(dtype=d_pos.dtype) / count(violated.shape, where)

    return RankingViolations(
        share(d_pos > margin_pos), share(d_neg < margin_neg), share(d_neg < d_pos)
    )


def check_hinges(name: str, hinges: Hinges) -> None:
    """Refuse margins and prices that are negative or not finite, and a loss without any term."""
    for label, value in hinges._asdict().items():
        check_numbers(name, {label: 0 if value is None and label == "relative_margin" else value})
        if label == "relative_margin":
            if value is not None and not -math.inf < value < math.inf:
                raise ValueError(
                    f"{name}: relative_margin must be None or finite; got relative_margin {value}"
                )
        elif not 0.0 <= value < math.inf:
            raise ValueError(f"{name}: {label} must be >= 0 and finite; got {label} {value}")
    if not (hinges.scale_pos > 0 or hinges.scale_neg > 0 or hinges.relative_margin is not None):
        raise ValueError(
            f"{name}: something must cost; got scale_pos 0, scale_neg 0 and no relative_margin"
        )


def leaves_order_open(hinges: Hinges, distance: Distance) -> bool:
    """Whether a triplet with the negative nearer can cost nothing.

    Such a triplet has margin_neg <= d_n < d_p <= margin_pos, where a side with scale 0 has no
    bound. A relative margin >= 0 excludes it.
    """
    if hinges.relative_margin is not None and hinges.relative_margin >= 0:
        return False
    farthest = hinges.margin_pos if hinges.scale_pos > 0 else math.inf
    nearest = hinges.margin_neg if hinges.scale_neg > 0 else 0.0
    return nearest < (min(farthest, 2.0) if distance == "cosine" else farthest)


def order_warning(name: str, hinges: Hinges) -> str:
    """Return the warning for settings of which `leaves_order_open` is true."""
    settings = ", ".join(f"{label} {value}" for label, value in hinges._asdict().items())
    return (
        f"{name}: the loss can be 0 while the negative is nearer than the positive; got {settings}."
        " Use margin_neg >= margin_pos with both scales above 0, or a relative_margin >= 0"
    )


def _ranking_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    hinges: Hinges,
    distance: Distance,
    where: Tensor | None,
    reduction: Reduction,
) -> Tensor:
    d_pos, d_neg = _distances(anchor, positive, negative, distance, where)
    loss = torch.zeros_like(d_pos)
    if hinges.scale_pos > 0:
        loss = loss + hinges.scale_pos * (d_pos - hinges.margin_pos).relu()
    if hinges.scale_neg > 0:
        loss = loss + hinges.scale_neg * (hinges.margin_neg - d_neg).relu()
    if hinges.relative_margin is not None:
        largest = torch.finfo(d_pos.dtype).max  # no inf - inf
        gap = d_pos.clamp_max(largest) - d_neg.clamp_max(largest)
        loss = loss + (gap + hinges.relative_margin).relu()
    return reduce(loss, reduction, where, result_dtype(anchor))


def _distances(
    anchor: Tensor, positive: Tensor, negative: Tensor, distance: Distance, where: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the distances of positives and of negatives, 0 where nothing counts."""
    seen = None if where is None else where.unsqueeze(-1)
    a, p, n = (hide(t, seen).to(compute_dtype(t)) for t in (anchor, positive, negative))
    return distances(a, p, distance), distances(a, n, distance)


def _check_triplets(name: str, triplets: tuple[Tensor, ...], where: Tensor | None) -> None:
    labels = ("anchor", "positive", "negative")
    for label, tensor in zip(labels, triplets, strict=True):
        check_floating(name, label, tensor)
    anchor, positive, negative = (tensor.shape for tensor in triplets)
    if not (anchor == positive == negative and len(anchor) > 0 and anchor[-1] > 0):
        shapes = [tuple(tensor.shape) for tensor in triplets]
        raise ValueError(
            f"{name}: anchor, positive and negative must have the same shape [*batch, width]; "
            + "got "
            + ", ".join(f"{label} {shape}" for label, shape in zip(labels, shapes, strict=True))
        )
    check_where(name, where, triplets[0].shape[:-1])
