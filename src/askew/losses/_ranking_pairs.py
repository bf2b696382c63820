"""The two-sided ranking of all pairs of a batch, from embeddings and labels."""

import warnings

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from askew._check import require
from askew._reduction import (
    Reduction,
    check_floating,
    check_reduction,
    check_tensor,
    check_where,
    compute_dtype,
    has_memory,
    hide,
    is_forward_mode,
    is_transformed,
    result_dtype,
)
from askew.losses._ranking import Hinges, check_hinges, leaves_order_open, order_warning
from askew.losses._ranking_blocks import PairLoss, PairSettings
from askew.losses._ranking_dense import Batch, dense_sums
from askew.losses._ranking_distances import Distance, check_distance, direction


def asymmetric_pair_loss(
    embeddings: Float[Tensor, "batch width"],
    labels: Shaped[Tensor, " batch"],
    *,
    margin_pos: float = 0.0,
    margin_neg: float = 1.0,
    scale_pos: float = 1.0,
    scale_neg: float = 1.0,
    distance: Distance = "euclidean",
    where: Bool[Tensor, " batch"] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""`asymmetric_ranking_loss` of every pair of a batch: equal labels near, others far.

    With P the ordered pairs of different rows with equal labels and N those with others,

    .. math::
        \frac{s_+}{|P'|}\sum_{P}[d_{ij}-m_+]_+ \;+\; \frac{s_-}{|N'|}\sum_{N}[m_--d_{ij}]_+ ,

    where P' and N' are the pairs whose hinge is not 0. Each side is thus the mean over the pairs
    that still violate its margin; the many that no longer do don't dilute it. Equal scales and
    margins 0 and m are the contrastive loss over a batch. Swapping which pairs are near mirrors
    the cosine distance, as `asymmetric_ranking_loss` describes.

    As the denominators follow the data, "mean" is not continuous where a pair starts to count,
    and a side with one violating pair left gives it the full weight: for a smooth end of training
    use "sum", or raise `margin_pos`. A `relative_margin` needs triplets: see
    `asymmetric_ranking_loss`. Margins are absolute: normalise the embeddings first, or use the
    cosine distance.

    Args:
        embeddings: One row per example, [batch, width] with width > 0. Any floating dtype.
        labels: Integers or booleans, [batch]; rows with equal ones belong together.
        margin_pos: Distance up to which a positive pair costs nothing, >= 0.
        margin_neg: Distance from which a negative pair costs nothing, >= 0.
        scale_pos: Price of the positive side, >= 0; 0 leaves it out.
        scale_neg: Price of the negative side, in the same form.
        distance: "euclidean", "squared" (of it), or "cosine" (1 minus the cosine).
        where: True where a row counts, [batch]. Pairs with a hidden row do not exist; it may be
            NaN.
        reduction: "mean" as above; "sum" has no denominators; "none" gives for each row the sum of
            its pairs, [batch].

    Returns:
        A scalar, or [batch] for "none", in the dtype of `embeddings`; under autocast at least
        single precision. A side without pairs is 0; nothing at all gives a differentiable 0.

    Raises:
        ValueError: If shapes do not fit or a setting is out of range.
        TypeError: If embeddings are not floating point, labels are, or `where` is not boolean.

    Warns:
        UserWarning: If the loss can be 0 with a negative nearer than a positive. Not inside
            `torch.compile`.

    Numerics:
        No matrix of all pairs is held. On the CPU, a mean or a sum loops over blocks of rows and
        computes the gradient in the same pass. On other devices, and for "none", differences are
        computed block by block, and again in the backward pass; on a CPU that is some hundred
        times slower. Inside `torch.compile` all pairs are one graph, and a second derivative holds
        what autograd saves for all pairs. Equal vectors have distance 0 and no gradient, and near
        ones lose no digits to the matrix product.

    Example:
        >>> x, labels = torch.tensor([[0.0], [0.5], [0.75]]), torch.tensor([7, 7, 8])
        >>> asymmetric_pair_loss(x, labels, scale_pos=2.0)  # 2 * 0.5 + (0.25 + 0.75) / 2
        tensor(1.5000)

    References:
        Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006 (contrastive; squared
        hinges there).
    """
    name = "asymmetric_pair_loss"
    hinges = Hinges(margin_pos, margin_neg, scale_pos, scale_neg)
    _check_settings(name, hinges, distance, reduction)
    if not torch.compiler.is_compiling() and leaves_order_open(hinges, distance):
        warnings.warn(order_warning(name, hinges), stacklevel=2)
    return _pair_loss(name, embeddings, labels, hinges, distance, where, reduction)


class AsymmetricPairLoss(nn.Module):
    """Module form of `asymmetric_pair_loss`.

    Args:
        margin_pos: See `asymmetric_pair_loss`, which describes all settings.
        margin_neg: Distance from which a negative pair costs nothing.
        scale_pos: Price of the positive side.
        scale_neg: Price of the negative side.
        distance: "euclidean", "squared" or "cosine".
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Warns:
        UserWarning: If the loss can be 0 with a negative nearer than a positive.

    Example:
        >>> loss = AsymmetricPairLoss(margin_pos=0.1, margin_neg=1.0)
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
        >>> loss(x, torch.tensor([1, 1, 2]))
        tensor(0.)
    """

    def __init__(
        self,
        *,
        margin_pos: float = 0.0,
        margin_neg: float = 1.0,
        scale_pos: float = 1.0,
        scale_neg: float = 1.0,
        distance: Distance = "euclidean",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.hinges = Hinges(margin_pos, margin_neg, scale_pos, scale_neg)
        _check_settings(name, self.hinges, distance, reduction)
        self.distance: Distance = distance
        self.reduction: Reduction = reduction
        if leaves_order_open(self.hinges, distance):
            warnings.warn(order_warning(name, self.hinges), stacklevel=2)

    def forward(
        self,
        embeddings: Float[Tensor, "batch width"],
        labels: Shaped[Tensor, " batch"],
        *,
        where: Bool[Tensor, " batch"] | None = None,
    ) -> Tensor:
        """Return the loss of all pairs; see `asymmetric_pair_loss`."""
        name, hinges = type(self).__name__, self.hinges
        return _pair_loss(name, embeddings, labels, hinges, self.distance, where, self.reduction)

    def extra_repr(self) -> str:
        """Return every setting."""
        settings = [
            f"{name}={value}"
            for name, value in self.hinges._asdict().items()
            if name != "relative_margin"
        ]
        return ", ".join(
            [*settings, f"distance={self.distance!r}", f"reduction={self.reduction!r}"]
        )


def _pair_loss(
    name: str,
    embeddings: Tensor,
    labels: Tensor,
    hinges: Hinges,
    distance: Distance,
    where: Tensor | None,
    reduction: Reduction,
) -> Tensor:
    _check_inputs(name, embeddings, labels, where)
    if where is not None:
        where = where.expand(labels.shape)
    x = hide(embeddings, None if where is None else where.unsqueeze(1))
    x = x.to(compute_dtype(x))
    dtype = result_dtype(embeddings)
    needs_composition = torch.compiler.is_compiling() or is_forward_mode() or not has_memory(x)
    if reduction == "none" or x.device.type != "cpu" or needs_composition:
        return composed(Batch(x, labels, where), hinges, distance, reduction).to(dtype)
    if distance == "cosine":
        x = direction(x)
    wants_gradient = torch.is_grad_enabled() and (x.requires_grad or is_transformed())
    settings = PairSettings(hinges, distance, reduction == "mean", wants_gradient)
    return PairLoss.apply(x, labels, where, settings)[0].to(dtype)


def composed(
    batch: Batch, hinges: Hinges, distance: Distance, reduction: Reduction = "mean"
) -> Tensor:
    """Return the loss by plain differentiable operations, with which `PairLoss` must agree."""
    sums = dense_sums(batch, hinges, distance)
    pos, neg = hinges.scale_pos * sums.pos, hinges.scale_neg * sums.neg
    if reduction == "none":
        return pos + neg
    pos, neg = pos.sum(), neg.sum()
    if reduction == "mean":
        pos = pos / sums.active_pos.sum().clamp_min(1)
        neg = neg / sums.active_neg.sum().clamp_min(1)
    return pos + neg


def _check_settings(name: str, hinges: Hinges, distance: str, reduction: str) -> None:
    check_hinges(name, hinges)
    check_distance(name, distance)
    check_reduction(name, reduction)


def _check_inputs(name: str, embeddings: Tensor, labels: Tensor, where: Tensor | None) -> None:
    check_floating(name, "embeddings", embeddings)
    check_tensor(name, "labels", labels)
    require(
        embeddings.dim() == 2 and embeddings.shape[1] > 0,
        f"{name}: embeddings must be [batch, width] with width > 0; "
        f"got embeddings {tuple(embeddings.shape)}",
    )
    require(
        labels.shape == embeddings.shape[:1],
        f"{name}: labels must have one entry per row of embeddings; "
        f"got labels {tuple(labels.shape)}, embeddings {tuple(embeddings.shape)}",
    )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"{name}: labels must be integers or booleans; got dtype {labels.dtype}")
    check_where(name, where, labels.shape)
