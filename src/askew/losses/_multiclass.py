"""Multi-class cross-entropy with a price and a focus for each class."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from askew._reduction import (
    Reduction,
    can_read_without_sync,
    check_reduction,
    check_where,
    compute_dtype,
    hide,
    kernel_obstacle,
    reduce,
    result_dtype,
)
from askew._settings_module import Numbers, SettingsModule, check_integer
from askew.losses._multiclass_inputs import (
    GivenPerClass,
    PerClass,
    by_side,
    check_setting,
    check_shapes,
    checked_settings,
    valid_targets,
)
from askew.losses._multiclass_rows import FocalSum, Rows, blockwise_sum, focal_term

Setting = TypeVar("Setting", float, Tensor, float | Tensor, Tensor | None)

ONE_PASS_MIN_LOGITS = 1 << 20
"""Number of logits from which on `FocalSum` is faster than autograd over `F.cross_entropy`."""


class FocalSettings(NamedTuple):
    """Settings per class or for all classes, in the precision the loss is computed in."""

    alpha: PerClass
    gamma: PerClass
    weight: Tensor | None


def asymmetric_focal_loss(
    logits: Float[Tensor, "..."],
    targets: Shaped[Tensor, "..."],
    *,
    alpha: GivenPerClass = 1.0,
    gamma: GivenPerClass = 0.0,
    positive_classes: Sequence[int] | None = None,
    alpha_pos: float | None = None,
    alpha_neg: float | None = None,
    gamma_pos: float | None = None,
    gamma_neg: float | None = None,
    weight: Numbers | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Focal loss over classes, each with its own price and focus.

    With :math:`p=\operatorname{softmax}(x)` and the class t of a row, the row costs

    .. math::
        \ell = -\,\alpha_t\,(1-p_t)^{\gamma_t}\log p_t .

    A larger gamma fades out the rows of its class that are already right. Equal numbers for all
    classes are the classic focal loss, and the defaults are `F.cross_entropy`. For two groups of
    classes with settings of their own, pass `positive_classes` and the settings of each side.

    Class weights and label smoothing :math:`\epsilon` follow `F.cross_entropy` over C classes:

    .. math::
        \frac{\sum_i (1-\epsilon)\,w_{t_i}\ell_i
              - \frac{\epsilon}{C}\sum_i\sum_c w_c\log p_{ic}}{\sum_i w_{t_i}}

    so `weight` enters the mean's denominator and `alpha` does not; the focus applies to the first
    term alone. Not for calibrated probabilities. On balanced, clean data it is no better than
    cross-entropy; on a long tail compare it with `logit_adjusted_cross_entropy` first.

    Args:
        logits: Scores before the softmax [batch, classes, *rest].
        targets: Class indices [batch, *rest], or probabilities of the shape of `logits`; then every
            class is charged by its own alpha and gamma, times its probability.
        alpha: Price, >= 0; a number or one per class.
        gamma: Focus, >= 0; a number or one per class.
        positive_classes: Indices of the classes that take the settings named `_pos`; the others
            take those named `_neg`.
        alpha_pos: Price of the positive classes, by default `alpha`.
        alpha_neg: Price of the others, by default `alpha`.
        gamma_pos: Focus of the positive classes, by default `gamma`.
        gamma_neg: Focus of the others, by default `gamma`.
        weight: One weight per class, >= 0, by the convention above.
        ignore_index: Rows with this target do not count.
        label_smoothing: Share of the label that is spread over all classes, in [0, 1].
        where: True where a row counts; broadcasts to [batch, *rest]. A hidden row adds nothing to
            value or gradient, and may be NaN or hold any target.
        reduction: "mean" as above (over rows that count, for probabilities), "sum" or "none".

    Returns:
        A scalar, or [batch, *rest] for "none", in the dtype of `logits`; under autocast at least
        single precision. Nothing to count gives a differentiable 0.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or a class index is outside; the
            targets are checked on CPU only.
        TypeError: If logits are not floating point, or `where` is not boolean.

    Numerics:
        1 − p comes from `expm1`, so that it keeps its digits near p = 1. Value and gradient are
        finite for every finite logit, also for a gamma below 1. A mean or a sum is computed in one
        pass that keeps a single tensor of the size of the logits.

    Example:
        >>> x, t = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
        >>> round(asymmetric_focal_loss(x, t, gamma=2.0).item(), 4)
        0.0109

    References:
        Focal Loss for Dense Object Detection, 2017, arXiv:1708.02002.
    """
    name = "asymmetric_focal_loss"
    check_reduction(name, reduction)
    check_shapes(name, logits, targets)
    sides = {
        "alpha_pos": alpha_pos,
        "alpha_neg": alpha_neg,
        "gamma_pos": gamma_pos,
        "gamma_neg": gamma_neg,
    }
    alpha, gamma, weight, positive_classes = checked_settings(
        name, alpha, gamma, weight, positive_classes, sides, label_smoothing
    )
    alpha, gamma = by_side(name, logits, positive_classes, alpha, gamma, tuple(sides.values()))
    return focal_loss(
        name,
        logits,
        targets,
        FocalSettings(alpha, gamma, weight),
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        where=where,
        reduction=reduction,
        dtype=result_dtype(logits),
    )


class AsymmetricFocalLoss(SettingsModule):
    """Module form of `asymmetric_focal_loss`; those that are tensors are buffers.

    Args:
        alpha: See `asymmetric_focal_loss`, which describes all settings.
        gamma: Focus.
        positive_classes: Classes that take the settings named `_pos`.
        alpha_pos: Price of the positive classes.
        alpha_neg: Price of the others.
        gamma_pos: Focus of the positive classes.
        gamma_neg: Focus of the others.
        weight: One weight per class, in the mean's denominator too.
        ignore_index: Rows with this target do not count.
        label_smoothing: Share of the label that is spread over all classes.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> logits, target = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([1])
        >>> AsymmetricFocalLoss()(logits, target) == torch.nn.CrossEntropyLoss()(logits, target)
        tensor(True)
    """

    alpha: PerClass
    gamma: PerClass
    weight: Tensor | None

    def __init__(
        self,
        *,
        alpha: GivenPerClass = 1.0,
        gamma: GivenPerClass = 0.0,
        positive_classes: Sequence[int] | None = None,
        alpha_pos: float | None = None,
        alpha_neg: float | None = None,
        gamma_pos: float | None = None,
        gamma_neg: float | None = None,
        weight: Numbers | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_reduction(name, reduction)
        check_integer(name, "ignore_index", ignore_index)
        sides = {
            "alpha_pos": alpha_pos,
            "alpha_neg": alpha_neg,
            "gamma_pos": gamma_pos,
            "gamma_neg": gamma_neg,
        }
        settings = checked_settings(
            name, alpha, gamma, weight, positive_classes, sides, label_smoothing
        )
        self._store("alpha", settings.alpha)
        self._store("gamma", settings.gamma)
        self._store("weight", settings.weight)
        self.positive_classes = settings.positive_classes
        self.alpha_pos, self.alpha_neg = alpha_pos, alpha_neg
        self.gamma_pos, self.gamma_neg = gamma_pos, gamma_neg
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "..."],
        targets: Shaped[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `logits` against `targets`."""
        return asymmetric_focal_loss(logits, targets, where=where, **self._settings())


def focal_loss(
    name: str,
    logits: Tensor,
    targets: Tensor,
    settings: FocalSettings,
    *,
    label_smoothing: float,
    ignore_index: int,
    where: Tensor | None,
    reduction: Reduction,
    dtype: torch.dtype,
) -> Tensor:
    """Return the loss in `dtype`, of logits and settings that `name` has checked one by one."""
    rest = logits.shape[:1] + logits.shape[2:]
    check_where(name, where, rest)
    for label, setting in zip(FocalSettings._fields, settings, strict=True):
        check_setting(name, label, setting, logits)
    x = logits.flatten(2) if logits.dim() > 2 else logits
    kept = None if where is None else where.expand(rest).reshape(x.shape[:1] + x.shape[2:])
    alpha, gamma, weight = settings
    settings = FocalSettings(_upcast(alpha, x), _upcast(gamma, x), _upcast(weight, x))
    if targets.is_floating_point():
        loss = _of_probabilities(x, targets.reshape(x.shape), settings, label_smoothing, kept)
        loss = reduce(loss, reduction, kept, dtype)
        return loss.reshape(rest) if reduction == "none" else loss
    indices = targets.reshape(x.shape[:1] + x.shape[2:]).long()
    target, kept = valid_targets(name, indices, kept, ignore_index, logits.shape[1])
    rows, scale = _rows(target, kept, settings, label_smoothing, reduction, compute_dtype(x))
    smoothing = _smoothing(x, settings.weight, label_smoothing)
    if x.numel() >= ONE_PASS_MIN_LOGITS and _is_plain_sum(reduction, x, settings):
        if torch.is_grad_enabled() and x.requires_grad:
            return FocalSum.apply(x, rows, smoothing, scale).to(dtype)
        return blockwise_sum(x, rows, smoothing, scale, None).to(dtype)
    loss = _composed(x, rows, smoothing)
    loss = loss.reshape(rest) if reduction == "none" else loss.sum() * scale
    return loss.to(dtype)


def _rows(
    target: Tensor,
    kept: Tensor | None,
    settings: FocalSettings,
    label_smoothing: float,
    reduction: Reduction,
    dtype: torch.dtype,
) -> tuple[Rows, float | Tensor]:
    """Return target, price and focus of each row, and the factor of the sum."""
    gamma = _of_rows(settings.gamma, target)
    price = _of_rows(settings.alpha, target)
    weight = None if settings.weight is None else settings.weight[target]
    price = price if weight is None else price * weight
    if label_smoothing:
        price = price * (1 - label_smoothing)
    rows = Rows(target, kept, price, gamma)
    if reduction != "mean":
        return rows, 1.0
    if weight is None:
        total = target.numel() if kept is None else kept.sum(dtype=dtype)
    else:
        total = weight.sum() if kept is None else (weight * kept).sum()
    if isinstance(total, Tensor) and not can_read_without_sync(total):
        return rows, 1.0 / torch.where(total > 0, total, 1.0)
    return rows, 1.0 / (float(total) or 1.0)


def _upcast(setting: Setting, x: Tensor) -> Setting:
    return setting.to(x.device, compute_dtype(x)) if isinstance(setting, Tensor) else setting


def _of_rows(setting: PerClass, target: Tensor) -> float | Tensor:
    return setting[target] if isinstance(setting, Tensor) else setting


def _smoothing(x: Tensor, weight: Tensor | None, label_smoothing: float) -> Tensor | None:
    """Return the price of −log p of every class, which is None without smoothing."""
    if not label_smoothing:
        return None
    classes = x.shape[1]
    share = torch.full(
        (classes,), label_smoothing / classes, device=x.device, dtype=compute_dtype(x)
    )
    share = share if weight is None else share * weight
    return share.view(classes, *(1,) * (x.dim() - 2))


def _is_plain_sum(reduction: Reduction, x: Tensor, settings: FocalSettings) -> bool:
    """Whether it is a mean or sum of which only the logits need a gradient, in plain eager mode."""
    constants = [s for s in settings if isinstance(s, Tensor)]
    return (
        reduction != "none"
        and not any(s.requires_grad for s in constants)
        and not kernel_obstacle(x, *constants)
    )


def _composed(x: Tensor, rows: Rows, smoothing: Tensor | None) -> Tensor:
    """Return the loss of every row by differentiable operations, 0 where it does not count."""
    x = _hide_and_upcast(x, rows.kept)
    loss = focal_term(F.cross_entropy(x, rows.target, reduction="none"), rows)
    if smoothing is not None:
        loss = loss - (torch.log_softmax(x, 1) * smoothing).sum(1)
    return loss if rows.kept is None else torch.where(rows.kept, loss, 0.0)


def _hide_and_upcast(x: Tensor, kept: Tensor | None) -> Tensor:
    """Upcast the logits, with 0 where a row does not count."""
    return hide(x, None if kept is None else kept.unsqueeze(1)).to(compute_dtype(x))


def _of_probabilities(
    x: Tensor,
    targets: Tensor,
    settings: FocalSettings,
    label_smoothing: float,
    kept: Tensor | None,
) -> Tensor:
    """Return the loss of every row whose target is a distribution."""
    targets = hide(targets, None if kept is None else kept.unsqueeze(1))
    log_p = torch.log_softmax(_hide_and_upcast(x, kept), 1)
    shape = (x.shape[1], *(1,) * (x.dim() - 2))
    price, gamma = (
        s.view(shape) if isinstance(s, Tensor) else s for s in (settings.alpha, settings.gamma)
    )
    if settings.weight is not None:
        price = price * settings.weight.view(shape)
    each = Rows(targets, None, price, gamma)
    loss = (1 - label_smoothing) * (targets * focal_term(-log_p, each)).sum(1)
    smoothing = _smoothing(x, settings.weight, label_smoothing)
    return loss if smoothing is None else loss - (log_p * smoothing).sum(1)
