"""SPLC loss: unmarked labels of which the model is sure count as missing positives."""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from askew._reduction import Reduction, can_read_without_sync, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._missing import check_focus, check_labels, checked_elements, focal_cost


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
    r"""Focal loss in which an unmarked label with a high predicted probability counts as marked.

    With :math:`p=\sigma(x)` and :math:`p_m=\sigma(x-m)`, a logit x costs

    .. math::
        -(1-p_m)^{\gamma_+}\log p_m \;\text{ if marked,}\quad
        -(1-p)^{\gamma_+}\log p \;\text{ if not and } p>\tau,\quad
        -p^{\gamma_-}\log(1-p) \;\text{ otherwise.}

    A corrected label has no margin, as in the authors' code. With ``correct=False``, equal gammas
    and no margin it is the focal loss; zero gammas then give binary cross-entropy.

    A model that has learned nothing corrects at random: pass ``correct=epoch >= 1``. Not for
    complete labels: every sure false alarm is then rewarded. Probabilities are no longer
    calibrated in any case.

    Args:
        logits: Scores before the sigmoid; any shape.
        targets: Labels of the same shape, 0 or 1, of any dtype; 0 = not marked.
        tau: Probability above which an unmarked label counts as a missing positive, in (0, 1).
        correct: Whether to correct labels; False while predictions are not yet reliable.
        margin_pos: Margin m of the logits of marked labels, finite.
        gamma_pos: Focus of the positive side, >= 0.
        gamma_neg: Focus of the negative side, >= 0; the authors have one for both sides.
        where: True where an element counts; broadcasts to `logits`.
        reduction: "mean" over what counts, "sum" or "none". The authors sum.

    Returns:
        A scalar, or the shape of `logits` for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or a target is neither 0 nor 1
            (checked on CPU only).
        TypeError: If logits are not floating point, or `where` is not boolean.

    Numerics:
        Value and gradient are right for every logit, infinite ones included. At p = `tau` the value
        jumps; the gradient is that of the case that applies.

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
    x, y = checked_elements(name, logits, targets, where, reduction)
    if can_read_without_sync(y):
        check_labels(name, y)
    marked = y != 0
    corrected = ~marked & (torch.sigmoid(x.detach()) > tau) & correct
    # The logit of being wrong: minus the logit of what counts as positive.
    wrong = torch.where(marked, margin_pos - x, torch.where(corrected, -x, x))
    pos, neg = focal_cost(wrong, gamma_pos), focal_cost(wrong, gamma_neg)
    loss = torch.where(marked | corrected, pos, neg)
    return reduce(loss, reduction, where, result_dtype(logits))


class SPLCLoss(SettingsModule):
    """Module form of `splc_loss`.

    Args:
        tau: See `splc_loss`, which describes all settings.
        margin_pos: Margin of the logits of marked labels.
        gamma_pos: Focus of the positive side.
        gamma_neg: Focus of the negative side.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

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
        """Return the loss of `logits` against `targets`; `correct` may change from call to call."""
        return splc_loss(logits, targets, correct=correct, where=where, **self._settings())


def _check_splc(
    name: str, tau: float, margin_pos: float, gamma_pos: float, gamma_neg: float
) -> None:
    check_focus(name, margin_pos, {"gamma_pos": gamma_pos, "gamma_neg": gamma_neg})
    check_numbers(name, {"tau": tau})
    if not 0 < tau < 1:
        raise ValueError(f"{name}: tau must be in (0, 1); got tau {tau}")
