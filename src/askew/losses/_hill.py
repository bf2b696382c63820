"""Hill loss: unmarked labels that are likely positive are hardly penalised."""

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from askew._reduction import Reduction, can_read_without_sync, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._binary_sides import check_targets
from askew.losses._missing import check_focus, checked_elements, focal_cost, priced


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

    An unmarked label has the largest gradient where the model is undecided, and none once the model
    is sure that it is positive, since it may be right. For :math:`\lambda=1.5` the slope is
    :math:`3p^2(1-p)^2`, symmetric about p = 1/2; with a larger :math:`\lambda` the scores of sure
    mistakes are lowered again, with a smaller one they are raised. With ``gamma_pos=0`` and
    ``margin_pos=0`` a marked label costs its binary cross-entropy. No setting makes both sides
    alike.

    Not for complete labels: the hardest true negatives then have no gradient.

    Args:
        logits: Scores before the sigmoid; any shape.
        targets: Labels in [0, 1] of the same shape: bool, integer 0/1, or soft; 0 = not marked.
        margin_pos: Margin m of positive logits, finite; the authors advise .5 to 1.
        gamma_pos: Focus :math:`\gamma` of the positive side, >= 0.
        lambda_neg: Height :math:`\lambda` of the negative side, >= 1; a sure mistake costs 1 less.
        where: True where an element counts; broadcasts to `logits`.
        reduction: "mean" over what counts, "sum" or "none". The authors sum.

    Returns:
        A scalar, or the shape of `logits` for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or targets leave [0, 1], which is
            checked on CPU only.
        TypeError: If logits are not floating point, or `where` is not boolean.

    Numerics:
        Value and gradient are right for every logit, infinite ones included. Beyond a logit of
        about 50 the gradient of a negative is 0 in single precision, as the hill is flat there.

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
    x, y = checked_elements(name, logits, targets, where, reduction)
    if can_read_without_sync(y):
        check_targets(name, y)
    p = torch.sigmoid(x)
    loss = priced(y, focal_cost(margin_pos - x, gamma_pos)) + (1 - y) * (lambda_neg - p) * p * p
    return reduce(loss, reduction, where, result_dtype(logits))


class HillLoss(SettingsModule):
    """Module form of `hill_loss`.

    Args:
        margin_pos: See `hill_loss`, which describes all settings.
        gamma_pos: Focus of the positive side.
        lambda_neg: Height of the negative side.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

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
        """Return the loss of `logits` against `targets`."""
        return hill_loss(logits, targets, where=where, **self._settings())


def _check_hill(name: str, margin_pos: float, gamma_pos: float, lambda_neg: float) -> None:
    check_focus(name, margin_pos, {"gamma_pos": gamma_pos})
    check_numbers(name, {"lambda_neg": lambda_neg})
    if not 1 <= lambda_neg < math.inf:
        raise ValueError(
            f"{name}: lambda_neg must be finite and at least 1; got lambda_neg {lambda_neg}. "
            "Below 1 a sure mistake would cost less than nothing"
        )
