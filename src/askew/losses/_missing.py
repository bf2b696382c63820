"""Multi-label losses for labels that are missing: many a negative is a positive nobody marked."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from askew._check import require
from askew._reduction import (
    Reduction,
    check_floating,
    check_reduction,
    check_where,
    compute_dtype,
    hide,
    is_readable,
    reduce,
    result_dtype,
)
from askew.losses._binary_sides import check_targets


def hill_loss(
    logits: Float[Tensor, "*shape"],
    targets: Shaped[Tensor, "*shape"],
    *,
    margin_pos: float = 1.0,
    gamma_pos: float = 2.0,
    lambda_neg: float = 1.5,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Focal loss for marked positives, a hill-shaped slope for everything unmarked.

    With :math:`p=\sigma(x)` and :math:`p_m=\sigma(x-m)`, a logit x with target y costs

    .. math::
        -\,y\,(1-p_m)^{\gamma}\log p_m \;+\; (1-y)\,(\lambda-p)\,p^2.

    An unmarked label teaches most where the model is undecided, and nothing once the model is sure
    of it: it may be right. For :math:`\lambda=1.5` the slope is :math:`3p^2(1-p)^2`, the same on
    both flanks; for a larger one sure mistakes are pushed down again, for a smaller one they are
    pushed up. With ``gamma_pos=0`` and ``margin_pos=0`` a marked label costs what binary
    cross-entropy asks. No setting makes both sides alike.

    Not for complete labels: the hardest true negatives are then given up.

    Args:
        logits: Scores before the sigmoid; any shape.
        targets: Labels in [0, 1] of the same shape: bool, integer 0/1, or soft; 0 = not marked.
        margin_pos: What a positive logit must have beyond zero, finite; the authors advise .5 to 1.
        gamma_pos: Focus of the positive side, >= 0.
        lambda_neg: Height of the negative side, >= 1: the cost of a sure mistake is one less.
        where: True where an element counts; broadcasts to `logits`.
        reduction: "mean" over what counts, "sum" or "none". The authors sum.

    Returns:
        A scalar, or the shape of `logits` for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or targets leave [0, 1]; they are
            looked at on CPU only.
        TypeError: If logits are not floating point, or `where` is not boolean.

    Numerics:
        Value and gradient are right for every logit, infinite ones included. Where the hill is
        flat, beyond about 50 in single precision, a negative's gradient is 0: that is the formula.

    Example:
        >>> x, y = torch.tensor([2.0, -1.0, 9.0]), torch.tensor([1, 0, 0])
        >>> [round(v, 4) for v in hill_loss(x, y, reduction="none").tolist()]
        [0.0227, 0.089, 0.5]

    References:
        Simple and Robust Loss Design for Multi-Label Learning with Missing Labels, 2021,
        arXiv:2112.07368. The defaults are its settings.
    """
    name = "hill_loss"
    _check_hill(name, margin_pos, gamma_pos, lambda_neg)
    x, y = _elements(name, logits, targets, where, reduction)
    if is_readable(y):
        check_targets(name, y)
    p = torch.sigmoid(x)
    loss = _price(y, _focal(margin_pos - x, gamma_pos)) + (1 - y) * (lambda_neg - p) * p * p
    return reduce(loss, reduction, where, result_dtype(logits))


class HillLoss(nn.Module):
    """The settings of `hill_loss`.

    Args:
        margin_pos: See `hill_loss`, as for all settings.
        gamma_pos: Focus of the positive side.
        lambda_neg: Height of the negative side.
        reduction: "mean", "sum" or "none".

    Example:
        >>> HillLoss()(torch.tensor([9.0, -9.0]), torch.tensor([1.0, 0.0])) < 1e-6
        tensor(True)
    """

    def __init__(
        self,
        *,
        margin_pos: float = 1.0,
        gamma_pos: float = 2.0,
        lambda_neg: float = 1.5,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_hill("HillLoss", margin_pos, gamma_pos, lambda_neg)
        check_reduction("HillLoss", reduction)
        self.margin_pos = margin_pos
        self.gamma_pos = gamma_pos
        self.lambda_neg = lambda_neg
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "*shape"],
        targets: Shaped[Tensor, "*shape"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """The loss of `logits` against `targets`."""
        return hill_loss(
            logits,
            targets,
            margin_pos=self.margin_pos,
            gamma_pos=self.gamma_pos,
            lambda_neg=self.lambda_neg,
            where=where,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Every setting."""
        return (
            f"margin_pos={self.margin_pos}, gamma_pos={self.gamma_pos}, "
            f"lambda_neg={self.lambda_neg}, reduction={self.reduction!r}"
        )


def splc_loss(
    logits: Float[Tensor, "*shape"],
    targets: Shaped[Tensor, "*shape"],
    *,
    tau: float = 0.6,
    correct: bool = True,
    margin_pos: float = 1.0,
    gamma_pos: float = 2.0,
    gamma_neg: float = 2.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Focal loss in which an unmarked label that the model believes in counts as marked.

    With :math:`p=\sigma(x)` and :math:`p_m=\sigma(x-m)`, a logit x costs

    .. math::
        -(1-p_m)^{\gamma_+}\log p_m \;\text{ if marked,}\quad
        -(1-p)^{\gamma_+}\log p \;\text{ if not and } p>\tau,\quad
        -p^{\gamma_-}\log(1-p) \;\text{ otherwise.}

    A label so corrected has no margin, as in the authors' code. With ``correct=False``, equal
    gammas and no margin it is the focal loss; zero gammas then give binary cross-entropy.

    A model that has learnt nothing corrects at random: pass ``correct=epoch >= 1``. Not for
    complete labels: every sure false alarm is then rewarded. Calibration is lost either way.

    Args:
        logits: Scores before the sigmoid; any shape.
        targets: Labels of the same shape, 0 or 1, of any dtype; 0 = not marked.
        tau: Probability above which an unmarked label is taken for a missing one, in (0, 1).
        correct: Whether to do so; False while the model is not yet to be trusted.
        margin_pos: What a marked positive's logit must have beyond zero, finite.
        gamma_pos: Focus of the positive side, >= 0.
        gamma_neg: Focus of the negative side, >= 0; the authors have one for both sides.
        where: True where an element counts; broadcasts to `logits`.
        reduction: "mean" over what counts, "sum" or "none". The authors sum.

    Returns:
        A scalar, or the shape of `logits` for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or a target is neither 0 nor 1;
            they are looked at on CPU only.
        TypeError: If logits are not floating point, or `where` is not boolean.

    Numerics:
        Value and gradient are right for every logit, infinite ones included. The value jumps
        where p passes `tau`; the gradient is that of the branch taken.

    Example:
        >>> x, y = torch.tensor([3.0, 3.0]), torch.tensor([False, False])
        >>> [round(splc_loss(x, y, correct=c).item(), 4) for c in (False, True)]
        [2.7663, 0.0001]

    References:
        Simple and Robust Loss Design for Multi-Label Learning with Missing Labels, 2021,
        arXiv:2112.07368. The defaults are its settings.
    """
    name = "splc_loss"
    _check_splc(name, tau, margin_pos, gamma_pos, gamma_neg)
    x, y = _elements(name, logits, targets, where, reduction)
    if is_readable(y):
        check_labels(name, y)
    marked = y != 0
    believed = ~marked & (torch.sigmoid(x.detach()) > tau) & correct
    alike = torch.where(marked, margin_pos - x, torch.where(believed, -x, x))
    pos, neg = _focal(alike, gamma_pos), _focal(alike, gamma_neg)
    loss = torch.where(marked | believed, pos, neg)
    return reduce(loss, reduction, where, result_dtype(logits))


class SPLCLoss(nn.Module):
    """The settings of `splc_loss`.

    Args:
        tau: See `splc_loss`, as for all settings.
        margin_pos: What a marked positive's logit must have beyond zero.
        gamma_pos: Focus of the positive side.
        gamma_neg: Focus of the negative side.
        reduction: "mean", "sum" or "none".

    Example:
        >>> loss = SPLCLoss(tau=0.6)
        >>> loss(torch.tensor([9.0, 9.0]), torch.tensor([1.0, 0.0])) < 1e-6  # 9 counts as positive
        tensor(True)
    """

    def __init__(
        self,
        *,
        tau: float = 0.6,
        margin_pos: float = 1.0,
        gamma_pos: float = 2.0,
        gamma_neg: float = 2.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_splc("SPLCLoss", tau, margin_pos, gamma_pos, gamma_neg)
        check_reduction("SPLCLoss", reduction)
        self.tau = tau
        self.margin_pos = margin_pos
        self.gamma_pos = gamma_pos
        self.gamma_neg = gamma_neg
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "*shape"],
        targets: Shaped[Tensor, "*shape"],
        *,
        correct: bool = True,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """The loss of `logits` against `targets`; `correct` may change from call to call."""
        return splc_loss(
            logits,
            targets,
            tau=self.tau,
            correct=correct,
            margin_pos=self.margin_pos,
            gamma_pos=self.gamma_pos,
            gamma_neg=self.gamma_neg,
            where=where,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Every setting."""
        names = ("tau", "margin_pos", "gamma_pos", "gamma_neg")
        settings = [f"{name}={getattr(self, name)}" for name in names]
        return ", ".join([*settings, f"reduction={self.reduction!r}"])


def check_labels(name: str, y: Tensor) -> None:
    """Refuse targets that are neither 0 nor 1."""
    wrong = (y != 0) & (y != 1)
    if wrong.any():
        first = float(y[wrong][0])
        require(False, f"{name}: targets must be 0 or 1; got a target {first:g}")


def _elements(
    name: str, logits: Tensor, targets: Tensor, where: Tensor | None, reduction: str
) -> tuple[Tensor, Tensor]:
    """Logits and targets in the precision of the arithmetic, nothing where nothing counts."""
    check_reduction(name, reduction)
    check_floating(name, "logits", logits)
    require(
        logits.shape == targets.shape,
        f"{name}: targets must have the shape of logits; "
        f"got targets {tuple(targets.shape)}, logits {tuple(logits.shape)}",
    )
    check_where(name, where, logits.shape)
    dtype = compute_dtype(logits)
    return hide(logits, where).to(dtype), hide(targets, where).to(dtype)


def _focal(wrong: Tensor, gamma: float) -> Tensor:
    """-σ(w)^γ · log(1 − σ(w)) at the logit w of being wrong."""
    cost = -F.logsigmoid(-wrong)
    if gamma == 0:
        return cost
    weight = torch.exp(gamma * F.logsigmoid(wrong))
    # At an infinite cost the weight is flat, but its slope times that cost is NaN.
    return torch.where(cost.isfinite(), weight, weight.detach()) * cost


def _price(share: Tensor, loss: Tensor) -> Tensor:
    """`share · loss`, where nothing times infinity is nothing."""
    return torch.where((share > 0) | loss.isfinite(), share * loss, 0.0)


def _check_focus(name: str, margin_pos: float, **gammas: float) -> None:
    require(
        -_INFINITY < margin_pos < _INFINITY,
        f"{name}: margin_pos must be finite; got margin_pos {margin_pos}",
    )
    for label, gamma in gammas.items():
        require(
            0 <= gamma < _INFINITY,
            f"{name}: {label} must be finite and at least 0; got {label} {gamma}",
        )


def _check_hill(name: str, margin_pos: float, gamma_pos: float, lambda_neg: float) -> None:
    _check_focus(name, margin_pos, gamma_pos=gamma_pos)
    require(
        1 <= lambda_neg < _INFINITY,
        f"{name}: lambda_neg must be finite and at least 1; got lambda_neg {lambda_neg}. "
        "Below 1 a sure mistake would cost less than nothing",
    )


def _check_splc(
    name: str, tau: float, margin_pos: float, gamma_pos: float, gamma_neg: float
) -> None:
    _check_focus(name, margin_pos, gamma_pos=gamma_pos, gamma_neg=gamma_neg)
    require(0 < tau < 1, f"{name}: tau must be in (0, 1); got tau {tau}")


_INFINITY = float("inf")
