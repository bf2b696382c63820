"""Segmentation loss of a cross-entropy and an overlap that share one price and one focus."""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
    check_floating,
    check_reduction,
    check_tensor,
    compute_dtype,
    hide,
    reduce,
    result_dtype,
)
from askew._settings_module import SettingsModule, check_integer, check_numbers
from askew.losses._overlap import Pixels, check_smooth, count_regions, to_pixels, tversky_cost


def asymmetric_unified_focal_loss(
    logits: Float[Tensor, "batch classes *space"],
    targets: Shaped[Tensor, "..."],
    *,
    weight: float = 0.5,
    delta: float = 0.6,
    gamma: float = 0.5,
    background: int = 0,
    smooth: float = 1e-6,
    per_image: bool = True,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Tversky loss plus cross-entropy, whose focus fades the background and emphasises regions.

    With the share y and probability p of a class in a pixel, and the Tversky index T of a class
    with the price :math:`\delta` for FN and :math:`1-\delta` for FP, an image costs

    .. math::
        \lambda \operatorname{mean}_c\,(1-T_c)^{\,1-\gamma [c\,\text{is no background}]}
        \;-\; (1-\lambda)\operatorname{mean}_{\text{pixels}} \Bigl(
        \delta\sum_{c\neq b} y_c\log p_c + (1-\delta)\,y_b(1-p_b)^{\gamma}\log p_b \Bigr).

    With ``gamma=0`` and ``delta=0.5`` it is the Dice loss and half the cross-entropy.

    The same gamma has opposite effects: in the cross-entropy it fades out easy background pixels,
    in the overlap it raises the slope of regions that are already good. Both emphasise regions
    against the background, which is no use with many classes of similar size. An image that lacks a
    region costs nearly ``weight`` / classes for it unless no pixel at all is marked; see `smooth`.

    Args:
        logits: Scores [batch, classes, *space]; one class means region or background, by a sigmoid.
        targets: Class index [batch, *space]; or a share in [0, 1] for each class, in the shape of
            `logits`. With one class, 0/1 or soft, in either shape.
        weight: Share :math:`\lambda` of the overlap, in [0, 1]; the rest is that of the
            cross-entropy.
        delta: Price of a missed pixel of a region, in [0, 1]; that of a false one is 1 − delta.
        gamma: Focus, in [0, 1).
        background: Index b of the class that is no region; with one class, 0 is its absence, 1 the
            class itself.
        smooth: Added to both sides of the Tversky fraction, in pixels, >= 1e-7.
        per_image: Whether each image is counted alone, or the batch as one.
        where: True where a pixel counts; broadcasts to [batch, *space].
        reduction: "mean" over the images with a pixel that counts, "sum" or "none".

    Returns:
        A scalar, or for "none" [batch]; without `per_image` always a scalar. In the dtype of
        `logits`.

    Raises:
        ValueError: If shapes differ, or a setting or target is out of range; targets are checked on
            CPU only.
        TypeError: If logits are not floating point, class indices no integers, or `where` not
            boolean.

    Numerics:
        The published code multiplies by a power with a negative exponent, which is NaN for a region
        without any error. Here the exponents are merged, and bases are kept above 0, as a power
        below 1 has an infinite slope there. Infinite logits are replaced by the largest finite
        ones.

    Example:
        >>> x, y = torch.tensor([[[3.0, -3.0, 0.0]]]), torch.tensor([[1, 0, 1]])
        >>> round(asymmetric_unified_focal_loss(x, y).item(), 4)
        0.2363

    References:
        Unified Focal loss, Computerized Medical Imaging and Graphics, 2022, arXiv:2102.04525. The
        defaults are its settings.
    """
    name = "asymmetric_unified_focal_loss"
    _check_settings(name, weight, delta, gamma, smooth, background)
    check_reduction(name, reduction)
    check_floating(name, "logits", logits)
    check_tensor(name, "targets", targets)
    dtype = result_dtype(logits)
    pixels = to_pixels(name, *_with_absence(logits, targets), where)
    num_classes = pixels.y.shape[1]
    if not 0 <= background < num_classes:
        raise ValueError(
            f"{name}: background must be a class in [0, {num_classes}); got background {background}"
        )
    is_region = torch.arange(num_classes, device=logits.device) != background
    dims = (2,) if per_image else (0, 2)
    overlap = tversky_cost(pixels, delta, 1 - delta, smooth, dims)
    if gamma != 0:
        lifted = overlap.clamp_min(torch.finfo(overlap.dtype).tiny) ** (1 - gamma)
        overlap = torch.where(is_region, lifted, overlap)
    entropy = _cross_entropy(pixels, is_region, delta, gamma, dims)
    loss = weight * overlap.mean(-1) + (1 - weight) * entropy
    counts = count_regions(pixels, dims)
    counts = None if counts is None else counts.squeeze(-1)
    return reduce(loss, reduction, counts, dtype)


class AsymmetricUnifiedFocalLoss(SettingsModule):
    """Module form of `asymmetric_unified_focal_loss`.

    Args:
        weight: See `asymmetric_unified_focal_loss`, which describes all settings.
        delta: Price of a missed pixel of a region.
        gamma: Focus.
        background: Class that is no region.
        smooth: Added to both sides of the Tversky fraction.
        per_image: Whether each image is counted alone.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> logits, target = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
        >>> AsymmetricUnifiedFocalLoss()(logits, target).ndim
        0
    """

    def __init__(
        self,
        *,
        weight: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        background: int = 0,
        smooth: float = 1e-6,
        per_image: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_settings("AsymmetricUnifiedFocalLoss", weight, delta, gamma, smooth, background)
        check_reduction("AsymmetricUnifiedFocalLoss", reduction)
        require(
            background >= 0,
            "AsymmetricUnifiedFocalLoss: background must be at least 0; "
            f"got background {background}",
        )
        self.weight = weight
        self.delta = delta
        self.gamma = gamma
        self.background = background
        self.smooth = smooth
        self.per_image = per_image
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "batch classes *space"],
        targets: Shaped[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `logits` against `targets`."""
        return asymmetric_unified_focal_loss(logits, targets, where=where, **self._settings())


def _with_absence(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a single class into two, its absence first: the softmax then equals the sigmoid."""
    image = logits.shape[:1] + logits.shape[2:]
    if logits.shape[1:2] != (1,) or targets.shape not in (image, logits.shape):
        return logits, targets
    y = targets.reshape(logits.shape).to(compute_dtype(logits))
    return torch.cat([torch.zeros_like(logits), logits], 1), torch.cat([1 - y, y], 1)


def _cross_entropy(
    pixels: Pixels, is_region: Tensor, delta: float, gamma: float, dims: tuple[int, ...]
) -> Tensor:
    """Return the mean over the pixels that count of the weighted and focused cross-entropy."""
    log_p, q, y, seen = pixels
    is_region = is_region.unsqueeze(1)
    price = torch.where(is_region, delta, torch.full_like(log_p[:1], 1 - delta))
    if gamma != 0:
        fading = q.clamp_min(torch.finfo(q.dtype).tiny) ** gamma
        price = price * torch.where(is_region, 1.0, fading)
    cost = hide(-price * y * log_p, seen).sum(1, keepdim=True)
    if seen is None:
        seen = torch.ones_like(cost, dtype=torch.bool)
    return (cost.sum(dims) / seen.sum(dims).clamp_min(1)).squeeze(-1)


def _check_settings(
    name: str, weight: float, delta: float, gamma: float, smooth: float, background: int
) -> None:
    check_numbers(name, {"weight": weight, "delta": delta, "gamma": gamma})
    for label, value in (("weight", weight), ("delta", delta)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: {label} must be in [0, 1]; got {label} {value}")
    check_integer(name, "background", background)
    if not 0 <= gamma < 1:
        raise ValueError(f"{name}: gamma must be in [0, 1); got gamma {gamma}")
    check_smooth(name, smooth)
