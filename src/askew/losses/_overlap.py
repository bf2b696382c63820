"""Segmentation loss on the overlap of region and prediction, with a price for each error."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
    can_read_without_sync,
    check_floating,
    check_reduction,
    check_tensor,
    check_where,
    compute_dtype,
    hide,
    reduce,
    result_dtype,
)
from askew._settings_module import Numbers, SettingsModule, as_setting, check_numbers
from askew.losses._binary_sides import check_targets
from askew.losses._multiclass_inputs import check_class_index, class_log_probs

SMALLEST_SMOOTH = 1e-7
"""A smaller one would leave 0 / 0 where a class is absent."""

Weight = float | Tensor


def asymmetric_tversky_loss(
    logits: Float[Tensor, "batch classes *space"],
    targets: Shaped[Tensor, "..."],
    *,
    weight_fn: float | Numbers = 0.5,
    weight_fp: float | Numbers = 0.5,
    gamma: float = 1.0,
    smooth: float = 1.0,
    per_image: bool = True,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Dice loss with one price for a missed pixel and another for a pixel marked in error.

    With the soft counts TP, FN and FP of a class, it costs

    .. math::
        \Bigl(1-\frac{TP+s}{TP+w_{FN}\,FN+w_{FP}\,FP+s}\Bigr)^{\gamma}.

    A larger price of FN trades precision for recall. Both prices .5 and ``gamma=1`` give the Dice
    loss, both 1 that of Jaccard. Swapping prediction with target and the two prices changes
    nothing. Of two classes, the FN of one are the FP of the other.

    With one class the scores go through a sigmoid, with more through a softmax. The mean weights
    all classes alike, the background included; to leave one out, average ``reduction="none"``
    yourself. With a small ``smooth``, a few wrong pixels of a class that an image lacks cost nearly
    1. With ``per_image=False`` the counts, and so the loss, depend on the whole batch. Gradients
    are small where nothing overlaps yet: begin with a cross-entropy, or add one. Scores are driven
    to the extremes, so they are no probabilities.

    Args:
        logits: Scores [batch, classes, *space]; one class means region or not.
        targets: Class index [batch, *space]; or a share in [0, 1] for each class, in the shape of
            `logits`: bool, integer 0/1, or soft. With one class, 0/1 or soft, in either shape.
        weight_fn: Price of a missed pixel, >= 0; a number or one per class.
        weight_fp: Price of a pixel marked in error, in the same form.
        gamma: Focus, > 0: above 1 fades out classes already good, below 1 emphasises them.
        smooth: Added to both sides of the fraction, in pixels, >= 1e-7.
        per_image: Whether each image is counted alone, or the batch as one.
        where: True where a pixel counts; broadcasts to [batch, *space].
        reduction: "mean" over the classes of every image with a pixel that counts, "sum" or "none".

    Returns:
        A scalar, or for "none" [batch, classes], without `per_image` [classes]; in the dtype of
        `logits`.

    Raises:
        ValueError: If shapes differ, or a setting or target is out of range; targets are checked on
            CPU only.
        TypeError: If logits are not floating point, class indices no integers, or `where` not
            boolean.

    Numerics:
        The loss is computed as one fraction, without a difference from 1. Infinite logits are
        replaced by the largest finite ones.

    Example:
        >>> x, y = torch.tensor([[[3.0, -3.0, 0.0]]]), torch.tensor([[1, 0, 1]])
        >>> round(asymmetric_tversky_loss(x, y, weight_fn=0.7, weight_fp=0.3).item(), 4)
        0.1394

    References:
        Tversky loss function for image segmentation, 2017, arXiv:1706.05721 (.7 for FN, .3 for FP).
        A Novel Focal Tversky loss function, 2018, arXiv:1810.07842 (there too, and gamma .75).
    """
    name = "asymmetric_tversky_loss"
    weight_fn, weight_fp = check_tversky(name, weight_fn, weight_fp, gamma, smooth)
    check_reduction(name, reduction)
    for label, weight in (("weight_fn", weight_fn), ("weight_fp", weight_fp)):
        if isinstance(weight, Tensor) and weight.shape not in ((), logits.shape[1:2]):
            raise ValueError(
                f"{name}: {label} must be a number or one per class; "
                f"got {label} {tuple(weight.shape)}, logits {tuple(logits.shape)}"
            )
    pixels = to_pixels(name, logits, targets, where)
    dims = (2,) if per_image else (0, 2)
    cost = tversky_cost(pixels, weight_fn, weight_fp, smooth, dims)
    if gamma != 1:
        cost = cost.clamp_min(torch.finfo(cost.dtype).tiny) ** gamma
    return reduce(cost, reduction, count_regions(pixels, dims), result_dtype(logits))


class AsymmetricTverskyLoss(SettingsModule):
    """Module form of `asymmetric_tversky_loss`; prices given as tensors are buffers.

    Args:
        weight_fn: See `asymmetric_tversky_loss`, which describes all settings.
        weight_fp: Price of a pixel marked in error.
        gamma: Focus.
        smooth: Added to both sides of the fraction.
        per_image: Whether each image is counted alone.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> logits, target = torch.full((1, 1, 2, 2), 9.0), torch.ones(1, 1, 2, 2)
        >>> AsymmetricTverskyLoss(weight_fn=0.7, weight_fp=0.3)(logits, target) < 0.001
        tensor(True)
    """

    weight_fn: Weight
    weight_fp: Weight

    def __init__(
        self,
        *,
        weight_fn: float | Numbers = 0.5,
        weight_fp: float | Numbers = 0.5,
        gamma: float = 1.0,
        smooth: float = 1.0,
        per_image: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        weight_fn, weight_fp = check_tversky(name, weight_fn, weight_fp, gamma, smooth)
        check_reduction(name, reduction)
        self._store("weight_fn", weight_fn)
        self._store("weight_fp", weight_fp)
        self.gamma = gamma
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
        return asymmetric_tversky_loss(logits, targets, where=where, **self._settings())


class Pixels(NamedTuple):
    """Of every image, class and pixel: log p, q = 1 − p and target y; and which pixels count."""

    log_p: Tensor
    q: Tensor
    y: Tensor
    seen: Tensor | None


def to_pixels(name: str, logits: Tensor, targets: Tensor, where: Tensor | None) -> Pixels:
    """Check the inputs, and bring them to [batch, classes, pixels] in at least single precision."""
    check_floating(name, "logits", logits)
    check_tensor(name, "targets", targets)
    require(
        logits.dim() >= 2 and logits.shape[1] > 0,
        lambda: (
            f"{name}: logits must be [batch, classes, *space]; got logits {tuple(logits.shape)}"
        ),
    )
    image = logits.shape[:1] + logits.shape[2:]
    check_where(name, where, image)
    require(
        targets.shape in (image, logits.shape),
        lambda: (
            f"{name}: targets must be [batch, *space] or have the shape of logits; "
            f"got targets {tuple(targets.shape)}, logits {tuple(logits.shape)}"
        ),
    )
    seen = None if where is None else where.expand(image).unsqueeze(1)
    y = _shares(name, targets, logits, seen)
    x = _flat(hide(logits, seen))
    seen = None if seen is None else _flat(seen)
    if x.shape[1] > 1:
        log_p = class_log_probs(x, 1)
        return Pixels(log_p, -torch.expm1(log_p), y, seen)
    x = x.to(compute_dtype(x))
    return Pixels(F.logsigmoid(x), torch.sigmoid(-x), y, seen)


def tversky_cost(
    pixels: Pixels, weight_fn: Weight, weight_fp: Weight, smooth: float, dims: tuple[int, ...]
) -> Tensor:
    """Return 1 minus the Tversky index, with the counts summed over `dims`."""
    log_p, q, y, seen = pixels
    p = log_p.exp()
    hits, missed, alarms = (hide(t, seen).sum(dims) for t in (p * y, q * y, p * (1 - y)))
    error = _like(weight_fn, p) * missed + _like(weight_fp, p) * alarms
    return error / (hits + error + smooth)


def count_regions(pixels: Pixels, dims: tuple[int, ...]) -> Tensor | None:
    """Return where at least one pixel counts, summed over `dims`; None if all count."""
    return None if pixels.seen is None else pixels.seen.sum(dims) > 0


def _flat(tensor: Tensor) -> Tensor:
    return tensor.flatten(2) if tensor.dim() > 2 else tensor.unsqueeze(2)


def _shares(name: str, targets: Tensor, logits: Tensor, seen: Tensor | None) -> Tensor:
    """Return the share of each class in each pixel, [batch, classes, pixels]."""
    num_classes = logits.shape[1]
    if targets.dim() == logits.dim() or num_classes == 1:
        y = targets if targets.dim() == logits.dim() else targets.unsqueeze(1)
        y = hide(y, seen).to(compute_dtype(logits))
        if can_read_without_sync(y):
            check_targets(name, y)
        return _flat(y)
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(
            f"{name}: targets without an axis of classes must be class indices; "
            f"got dtype {targets.dtype}"
        )
    index = hide(targets.unsqueeze(1), seen)
    if can_read_without_sync(index):
        check_class_index(name, index, num_classes)
    classes = torch.arange(num_classes, device=index.device).unsqueeze(1)
    return (_flat(index) == classes).to(compute_dtype(logits))


def _like(weight: Weight, like: Tensor) -> Weight:
    return weight.to(like) if isinstance(weight, Tensor) else weight


def check_tversky(
    name: str,
    weight_fn: float | Numbers,
    weight_fp: float | Numbers,
    gamma: float,
    smooth: float,
) -> tuple[Weight, Weight]:
    """Return both prices; refuse settings out of range, tensors where reading is at no cost."""
    fn = as_setting(name, "weight_fn", weight_fn)
    fp = as_setting(name, "weight_fp", weight_fp)
    for label, weight in (("weight_fn", fn), ("weight_fp", fp)):
        if isinstance(weight, Tensor):
            fits = not can_read_without_sync(weight) or bool(
                ((weight >= 0) & weight.isfinite()).all()
            )
        else:
            fits = 0 <= weight < math.inf
        if not fits:
            raise ValueError(f"{name}: {label} must be finite and at least 0; got {label} {weight}")
    check_numbers(name, {"gamma": gamma})
    if not 0 < gamma < math.inf:
        raise ValueError(f"{name}: gamma must be finite and above 0; got gamma {gamma}")
    check_smooth(name, smooth)
    return fn, fp


def check_smooth(name: str, smooth: float) -> None:
    """Refuse a `smooth` that could leave 0 / 0."""
    check_numbers(name, {"smooth": smooth})
    if not SMALLEST_SMOOTH <= smooth < math.inf:
        raise ValueError(
            f"{name}: smooth must be finite and at least {SMALLEST_SMOOTH}; got smooth {smooth}"
        )
