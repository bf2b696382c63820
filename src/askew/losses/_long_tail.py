"""Cross-entropies for classes of very different frequency."""

import math

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
    can_read_without_sync,
    check_reduction,
    compute_dtype,
    result_dtype,
)
from askew._settings_module import Numbers, SettingsModule, as_setting, check_integer, check_numbers
from askew.losses._multiclass import FocalSettings, focal_loss
from askew.losses._multiclass_inputs import check_label_smoothing, check_shapes, checked_weight

PLAIN = FocalSettings(alpha=1.0, gamma=0.0, weight=None)
"""Settings with which the focal loss is cross-entropy."""


def logit_adjusted_cross_entropy(
    logits: Float[Tensor, "batch classes *rest"],
    targets: Integer[Tensor, " batch *rest"],
    class_counts: Numbers,
    *,
    tau: float = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross-entropy of logits to which the log-frequency of their class is added.

    With :math:`\pi_c` the share of class c in training,

    .. math::
        \operatorname{CE}(x + \tau\log\pi,\; t).

    A rare class then needs larger logits while training. The plain logits, which are the ones to
    use at test time, then err about equally often on all classes. Equal counts, or ``tau = 0``,
    give plain cross-entropy. Not where the test data are as unbalanced as the training data and
    plain accuracy is the goal: there it loses.

    Args:
        logits: Scores before the softmax [batch, classes, *rest].
        targets: Class indices [batch, *rest].
        class_counts: Training rows of every class, > 0; only their ratios matter.
        tau: Factor of the log-frequencies; 1 is consistent for the balanced error.
        label_smoothing: Share of the label that is spread over all classes, in [0, 1].
        ignore_index: Rows with this target do not count.
        where: True where a row counts; broadcasts to [batch, *rest].
        reduction: "mean" over what counts, "sum" or "none".

    Returns:
        A scalar, or [batch, *rest] for "none", in the dtype of `logits`.

    Raises:
        ValueError: If the counts do not fit or are not positive (checked on CPU only), or as in
            `asymmetric_focal_loss`.

    Example:
        >>> x, t = torch.zeros(1, 2), torch.tensor([1])
        >>> round(logit_adjusted_cross_entropy(x, t, torch.tensor([3, 1])).item(), 4)
        1.3863

    References:
        Long-Tail Learning via Logit Adjustment, 2021, arXiv:2007.07314.
    """
    name = "logit_adjusted_cross_entropy"
    _check_tau(name, tau)
    check_label_smoothing(name, label_smoothing)
    check_reduction(name, reduction)
    check_shapes(name, logits, targets)
    counts = _counts_like(name, _checked_counts(name, class_counts), logits)
    log_shares = tau * (counts.log() - counts.sum().log())
    return focal_loss(
        name,
        logits + log_shares,  # in the dtype of the counts, which is single precision at least
        targets,
        PLAIN,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        where=where,
        reduction=reduction,
        dtype=result_dtype(logits),
    )


def ldam_loss(
    logits: Float[Tensor, "batch classes *rest"],
    targets: Integer[Tensor, " batch *rest"],
    class_counts: Numbers,
    *,
    max_margin: float = 0.5,
    scale: float = 30.0,
    weight: Numbers | None = None,
    ignore_index: int = -100,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross-entropy in which a row must be right by a margin that is wider for rare classes.

    .. math::
        \operatorname{CE}\bigl(s\,(x - m_t e_t),\; t\bigr),\qquad
        m_c = m\,\Bigl(\frac{\min_k n_k}{n_c}\Bigr)^{1/4}.

    Here e_t is 1 at class t and 0 elsewhere. ``max_margin = 0`` and ``scale = 1`` give plain
    cross-entropy, equal counts one margin for all classes. The defaults are made for cosines:
    logits should be products of normalised features and normalised class vectors. The gains in the
    paper also need its deferred schedule: a `weight` per class in the last fifth of the epochs.

    Args:
        logits: Scores before the softmax [batch, classes, *rest], cosines in [−1, 1].
        targets: Class indices [batch, *rest].
        class_counts: Training rows of every class, > 0; only their ratios matter.
        max_margin: Margin m of the rarest class, >= 0, in units of the logits.
        scale: Factor s of the logits after the margin, > 0.
        weight: One weight per class by the convention of `F.cross_entropy`.
        ignore_index: Rows with this target do not count.
        where: True where a row counts; broadcasts to [batch, *rest].
        reduction: "mean" over what counts, "sum" or "none".

    Returns:
        A scalar, or [batch, *rest] for "none", in the dtype of `logits`.

    Raises:
        ValueError: If the counts do not fit or are not positive (checked on CPU only), a setting is
            out of range, or as in `asymmetric_focal_loss`.

    Example:
        >>> x, t = torch.tensor([[0.5, 0.5]]), torch.tensor([1])
        >>> round(ldam_loss(x, t, torch.tensor([16, 1]), scale=1.0).item(), 4)
        0.9741

    References:
        Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, 2019,
        arXiv:1906.07413.
    """
    name = "ldam_loss"
    _check_margin(name, max_margin, scale)
    check_reduction(name, reduction)
    check_shapes(name, logits, targets)
    counts = _counts_like(name, _checked_counts(name, class_counts), logits)
    if targets.is_floating_point():
        raise TypeError(f"{name}: targets must be class indices; got dtype {targets.dtype}")
    margins = max_margin * (counts.min() / counts) ** 0.25
    classes = torch.arange(logits.shape[1], device=logits.device).view(counts.shape)
    is_target = classes == targets.unsqueeze(1)
    return focal_loss(
        name,
        scale * torch.where(is_target, logits - margins, logits),  # in the dtype of the counts
        targets,
        PLAIN._replace(weight=checked_weight(name, weight)),
        label_smoothing=0.0,
        ignore_index=ignore_index,
        where=where,
        reduction=reduction,
        dtype=result_dtype(logits),
    )


def _check_tau(name: str, tau: float) -> None:
    check_numbers(name, {"tau": tau})
    if not -math.inf < tau < math.inf:
        raise ValueError(f"{name}: tau must be finite; got tau {tau}")


def _check_margin(name: str, max_margin: float, scale: float) -> None:
    check_numbers(name, {"max_margin": max_margin, "scale": scale})
    if not max_margin >= 0:
        raise ValueError(f"{name}: max_margin must be at least 0; got max_margin {max_margin}")
    if not scale > 0:
        raise ValueError(f"{name}: scale must be positive; got scale {scale}")


def _checked_counts(name: str, class_counts: Numbers) -> Tensor:
    """Convert the counts to a tensor, and refuse any that is not positive, where that is known."""
    counts = as_setting(name, "class_counts", class_counts)
    if not isinstance(counts, Tensor):
        raise TypeError(f"{name}: class_counts must be one number per class; got {counts}")
    if can_read_without_sync(counts) and counts.numel():
        low = counts.min().item()
        if not low > 0:
            raise ValueError(f"{name}: class_counts must be positive; got class_counts {low}")
    return counts


def _counts_like(name: str, counts: Tensor, logits: Tensor) -> Tensor:
    """Return the counts as [classes, 1, …], in the precision in which the loss is computed."""
    require(
        counts.shape == logits.shape[1:2],
        lambda: (
            f"{name}: class_counts must be one number per class; "
            f"got class_counts {tuple(counts.shape)}, logits {tuple(logits.shape)}"
        ),
    )
    counts = counts.to(logits.device, compute_dtype(logits))
    return counts if logits.dim() == 2 else counts.view(-1, *(1,) * (logits.dim() - 2))


class LogitAdjustedCrossEntropy(SettingsModule):
    """Module form of `logit_adjusted_cross_entropy`; the counts are a buffer.

    Args:
        class_counts: See `logit_adjusted_cross_entropy`, which describes all settings.
        tau: Factor of the log-frequencies.
        label_smoothing: Share of the label that is spread over all classes.
        ignore_index: Rows with this target do not count.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> logits, target = torch.tensor([[1.0, 2.0]]), torch.tensor([0])
        >>> balanced = LogitAdjustedCrossEntropy(torch.tensor([50, 50]))
        >>> balanced(logits, target) == torch.nn.CrossEntropyLoss()(logits, target)
        tensor(True)
    """

    _unprinted = ("class_counts",)

    def __init__(
        self,
        class_counts: Numbers,
        *,
        tau: float = 1.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_reduction(name, reduction)
        check_integer(name, "ignore_index", ignore_index)
        _check_tau(name, tau)
        check_label_smoothing(name, label_smoothing)
        self._store("class_counts", _checked_counts(name, class_counts))
        self.tau = tau
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "batch classes *rest"],
        targets: Integer[Tensor, " batch *rest"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `logits` against `targets`."""
        return logit_adjusted_cross_entropy(logits, targets, where=where, **self._settings())


class LDAMLoss(SettingsModule):
    """Module form of `ldam_loss`; the counts and the weights are buffers.

    Args:
        class_counts: See `ldam_loss`, which describes all settings.
        max_margin: Margin of the rarest class.
        scale: Factor of the logits after the margin.
        weight: One weight per class; assign it later for a deferred schedule.
        ignore_index: Rows with this target do not count.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> loss = LDAMLoss(torch.tensor([100, 4]))
        >>> loss.class_counts.tolist()
        [100, 4]
    """

    _unprinted = ("class_counts", "weight")

    def __init__(
        self,
        class_counts: Numbers,
        *,
        max_margin: float = 0.5,
        scale: float = 30.0,
        weight: Numbers | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_reduction(name, reduction)
        check_integer(name, "ignore_index", ignore_index)
        _check_margin(name, max_margin, scale)
        self._store("class_counts", _checked_counts(name, class_counts))
        self._store("weight", checked_weight(name, weight))
        self.max_margin = max_margin
        self.scale = scale
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "batch classes *rest"],
        targets: Integer[Tensor, " batch *rest"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `logits` against `targets`."""
        return ldam_loss(logits, targets, where=where, **self._settings())
