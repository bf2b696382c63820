"""Losses for labels of which a share is wrong."""

import math

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
    check_floating,
    check_reduction,
    check_tensor,
    check_where,
    hide,
    reduce,
    result_dtype,
)
from askew._settings_module import SettingsModule, check_integer, check_numbers
from askew.losses._multiclass_inputs import class_log_probs, valid_targets

SMALLEST_SHIFT = 1e-3
"""A smaller shift of the probability would be lost in the rounding of 1 − p in single precision."""


def agce_loss(
    logits: Float[Tensor, "batch classes *rest"],
    targets: Integer[Tensor, " batch *rest"],
    *,
    a: float = 0.6,
    q: float = 0.6,
    ignore_index: int = -100,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric generalised cross-entropy: cross-entropy whose slope stays bounded.

    With p the softmax of the labelled class, a row costs

    .. math::
        \frac{(a+1)^q-(a+p)^q}{q}.

    Here "asymmetric" means *noise tolerance*, not positives and negatives. Let labels be wrong at
    random, but right more often than any single wrong class; then the minimiser is the same as with
    clean labels. This loss has that property if the odds of the right label against any wrong one
    exceed :math:`(1+1/a)^{1-q}` for q < 1, and for all odds above 1 if q >= 1. With ``q=1`` it is
    half the mean absolute error, with ``a=0`` generalised cross-entropy, and with ``a=0`` and q
    towards 0 cross-entropy.

    Not for clean labels: rows that are very wrong have small gradients, so training starts slowly
    and may never fit rare classes. The best settings differ between data sets.

    Args:
        logits: Scores of each row for each class [batch, classes, *rest].
        targets: Class index of each row [batch, *rest].
        a: Shift of the probability, 0 or >= 0.001; the defaults are the authors' for CIFAR-10, for
            MNIST they use ``a=4, q=0.2``.
        q: Exponent, > 0.
        ignore_index: Rows with this target do not count.
        where: True where a row counts; broadcasts to [batch, *rest].
        reduction: "mean" over the rows that count, "sum" or "none".

    Returns:
        A scalar, or [batch, *rest] for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or a class index is outside
            (checked on CPU only).
        TypeError: If logits are not floating point, targets not integers, or `where` not boolean.

    Numerics:
        A difference of powers is computed by one `expm1`, exact where p is near 1. Infinite
        logits are replaced by the largest finite ones.

    Example:
        >>> x, y = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
        >>> [round(v, 4) for v in agce_loss(x, y, reduction="none").tolist()]
        [0.1003, 0.842]

    References:
        Asymmetric Loss Functions for Learning with Noisy Labels, 2021, arXiv:2106.03110.
    """
    _check_agce("agce_loss", a, q)
    log_p, where = _label_log_probs("agce_loss", logits, targets, ignore_index, where, reduction)
    ratio = log_p if a == 0 else torch.log1p(torch.expm1(log_p) / (1 + a))  # log (a+p)/(a+1)
    loss = -((1 + a) ** q / q) * torch.expm1(q * ratio)
    return reduce(loss, reduction, where, result_dtype(logits))


class AGCELoss(SettingsModule):
    """Module form of `agce_loss`.

    Args:
        a: See `agce_loss`, which describes all settings.
        q: Exponent.
        ignore_index: Rows with this target do not count.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> AGCELoss(a=0.6, q=0.6)(torch.zeros(2, 4), torch.tensor([0, 3])).round(decimals=4)
        tensor(0.6978)
    """

    def __init__(
        self,
        *,
        a: float = 0.6,
        q: float = 0.6,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_agce("AGCELoss", a, q)
        check_reduction("AGCELoss", reduction)
        check_integer("AGCELoss", "ignore_index", ignore_index)
        self.a = a
        self.q = q
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
        return agce_loss(logits, targets, where=where, **self._settings())


def aul_loss(
    logits: Float[Tensor, "batch classes *rest"],
    targets: Integer[Tensor, " batch *rest"],
    *,
    a: float = 5.5,
    q: float = 3.0,
    ignore_index: int = -100,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric unhinged loss: a power of the distance of the probability from a point above 1.

    With p the softmax of the labelled class, a row costs

    .. math::
        \frac{(a-p)^q-(a-1)^q}{q}.

    "Asymmetric" means noise tolerance, as in `agce_loss`. This loss has it if the odds of the right
    label exceed :math:`(1+1/(a-1))^{q-1}` for q > 1, and for all odds above 1 if q <= 1. With
    ``q=1`` it is half the mean absolute error. When not to use it: see `agce_loss`.

    Args:
        logits: Scores of each row for each class [batch, classes, *rest].
        targets: Class index of each row [batch, *rest].
        a: Point from which the distance is measured, >= 1.001; the defaults are the authors' for
            CIFAR-10, for MNIST they use ``a=3, q=0.1``.
        q: Exponent, > 0.
        ignore_index: Rows with this target do not count.
        where: True where a row counts; broadcasts to [batch, *rest].
        reduction: "mean" over the rows that count, "sum" or "none".

    Returns:
        A scalar, or [batch, *rest] for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or a class index is outside
            (checked on CPU only).
        TypeError: If logits are not floating point, targets not integers, or `where` not boolean.

    Numerics:
        As for `agce_loss`.

    Example:
        >>> x, y = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
        >>> [round(v, 4) for v in aul_loss(x, y, reduction="none").tolist()]
        [2.4784, 21.555]

    References:
        Asymmetric Loss Functions for Learning with Noisy Labels, 2021, arXiv:2106.03110.
    """
    _check_aul("aul_loss", a, q)
    log_p, where = _label_log_probs("aul_loss", logits, targets, ignore_index, where, reduction)
    ratio = torch.log1p(-torch.expm1(log_p) / (a - 1))  # log (a-p)/(a-1)
    loss = ((a - 1) ** q / q) * torch.expm1(q * ratio)
    return reduce(loss, reduction, where, result_dtype(logits))


class AULLoss(SettingsModule):
    """Module form of `aul_loss`.

    Args:
        a: See `aul_loss`, which describes all settings.
        q: Exponent.
        ignore_index: Rows with this target do not count.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> AULLoss(a=5.5, q=3.0)(torch.zeros(2, 4), torch.tensor([0, 3])).round(decimals=4)
        tensor(17.8594)
    """

    def __init__(
        self,
        *,
        a: float = 5.5,
        q: float = 3.0,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_aul("AULLoss", a, q)
        check_reduction("AULLoss", reduction)
        check_integer("AULLoss", "ignore_index", ignore_index)
        self.a = a
        self.q = q
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
        return aul_loss(logits, targets, where=where, **self._settings())


def ael_loss(
    logits: Float[Tensor, "batch classes *rest"],
    targets: Integer[Tensor, " batch *rest"],
    *,
    a: float = 2.5,
    ignore_index: int = -100,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric exponential loss: :math:`e^{-p/a}` with p the softmax of the labelled class.

    "Asymmetric" means noise tolerance, as in `agce_loss`. This loss has it if the odds of the right
    label exceed :math:`e^{1/a}`. Its smallest value is :math:`e^{-1/a}`, not 0. For a
    large ``a`` it is :math:`1-p/a`: half the mean absolute error, scaled and shifted. When not to
    use it: see `agce_loss`; a large ``a`` also makes all slopes small.

    Args:
        logits: Scores of each row for each class [batch, classes, *rest].
        targets: Class index of each row [batch, *rest].
        a: Scale of the probability, >= 0.001; the default is the authors' for CIFAR-10, for MNIST
            they use 3.5.
        ignore_index: Rows with this target do not count.
        where: True where a row counts; broadcasts to [batch, *rest].
        reduction: "mean" over the rows that count, "sum" or "none".

    Returns:
        A scalar, or [batch, *rest] for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, `a` is out of range, or a class index is outside (checked on
            CPU only).
        TypeError: If logits are not floating point, targets not integers, or `where` not boolean.

    Example:
        >>> x, y = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
        >>> [round(v, 4) for v in ael_loss(x, y, reduction="none").tolist()]
        [0.7031, 0.9534]

    References:
        Asymmetric Loss Functions for Learning with Noisy Labels, 2021, arXiv:2106.03110.
    """
    _check_ael("ael_loss", a)
    log_p, where = _label_log_probs("ael_loss", logits, targets, ignore_index, where, reduction)
    return reduce(torch.exp(-log_p.exp() / a), reduction, where, result_dtype(logits))


class AELLoss(SettingsModule):
    """Module form of `ael_loss`.

    Args:
        a: See `ael_loss`, which describes all settings.
        ignore_index: Rows with this target do not count.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> AELLoss(a=2.5)(torch.zeros(2, 4), torch.tensor([0, 3])).round(decimals=4)
        tensor(0.9048)
    """

    def __init__(
        self, *, a: float = 2.5, ignore_index: int = -100, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        _check_ael("AELLoss", a)
        check_reduction("AELLoss", reduction)
        check_integer("AELLoss", "ignore_index", ignore_index)
        self.a = a
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
        return ael_loss(logits, targets, where=where, **self._settings())


def _label_log_probs(
    name: str,
    logits: Tensor,
    targets: Tensor,
    ignore_index: int,
    where: Tensor | None,
    reduction: str,
) -> tuple[Tensor, Tensor | None]:
    """Check the inputs; return the log-probability of each row's label, and `where` by row."""
    check_reduction(name, reduction)
    check_floating(name, "logits", logits)
    check_tensor(name, "targets", targets)
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(f"{name}: targets must be class indices; got dtype {targets.dtype}")
    require(
        logits.dim() >= 2 and targets.shape == logits.shape[:1] + logits.shape[2:],
        lambda: (
            f"{name}: logits must be [batch, classes, *rest] and targets [batch, *rest]; "
            f"got logits {tuple(logits.shape)}, targets {tuple(targets.shape)}"
        ),
    )
    check_where(name, where, targets.shape)
    kept = None if where is None else where.expand(targets.shape)
    targets, kept = valid_targets(name, targets.long(), kept, ignore_index, logits.shape[1])
    log_probs = class_log_probs(hide(logits, None if kept is None else kept.unsqueeze(1)), 1)
    return log_probs.gather(1, targets.unsqueeze(1)).squeeze(1), kept


def _check_exponent(name: str, q: float) -> None:
    check_numbers(name, {"q": q})
    if not 0 < q < math.inf:
        raise ValueError(f"{name}: q must be finite and above 0; got q {q}")


def _check_agce(name: str, a: float, q: float) -> None:
    _check_exponent(name, q)
    check_numbers(name, {"a": a})
    if not (a == 0 or SMALLEST_SHIFT <= a < math.inf):
        raise ValueError(f"{name}: a must be 0, or finite and at least {SMALLEST_SHIFT}; got a {a}")


def _check_aul(name: str, a: float, q: float) -> None:
    _check_exponent(name, q)
    check_numbers(name, {"a": a})
    if not 1 + SMALLEST_SHIFT <= a < math.inf:
        raise ValueError(f"{name}: a must be finite and at least {1 + SMALLEST_SHIFT}; got a {a}")


def _check_ael(name: str, a: float) -> None:
    check_numbers(name, {"a": a})
    if not SMALLEST_SHIFT <= a < math.inf:
        raise ValueError(f"{name}: a must be finite and at least {SMALLEST_SHIFT}; got a {a}")
