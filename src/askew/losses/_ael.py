"""Asymmetric exponential loss, for labels of which a share is wrong."""

import math

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from askew._check import require
from askew._reduction import Reduction, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule
from askew.losses._noisy import SMALLEST_SHIFT, label_log_probs


def ael_loss(
    logits: Float[Tensor, "batch classes"],
    targets: Integer[Tensor, " batch"],
    *,
    a: float = 2.5,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric exponential loss: :math:`e^{-p/a}` with p the softmax of the labelled class.

    "Asymmetric" speaks of noise tolerance, as in `agce_loss`; this loss has it where the odds of
    the right label exceed :math:`e^{1/a}`. Its smallest value is :math:`e^{-1/a}`, not 0. For a
    large ``a`` it is :math:`1-p/a`: half the mean absolute error, scaled and shifted. When not to
    use it: see `agce_loss`; a large ``a`` also makes all slopes small.

    Args:
        logits: Scores of each row for each class.
        targets: Class index of each row.
        a: Scale of the probability, >= 0.001; the default is the authors' for CIFAR-10, for MNIST
            they use 3.5.
        where: True where a row counts; broadcasts to [batch].
        reduction: "mean" over the rows that count, "sum" or "none".

    Returns:
        A scalar, or [batch] for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, `a` is out of range, or a class index is outside; they are
            looked at on CPU only.
        TypeError: If logits are not floating point, targets not integers, or `where` not boolean.

    Example:
        >>> x, y = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
        >>> [round(v, 4) for v in ael_loss(x, y, reduction="none").tolist()]
        [0.7031, 0.9534]

    References:
        Asymmetric Loss Functions for Learning with Noisy Labels, 2021, arXiv:2106.03110.
    """
    _check_ael("ael_loss", a)
    log_p, where = label_log_probs("ael_loss", logits, targets, where, reduction)
    return reduce(torch.exp(-log_p.exp() / a), reduction, where, result_dtype(logits))


class AELLoss(SettingsModule):
    """The settings of `ael_loss`.

    Args:
        a: See `ael_loss`, as for all settings.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> AELLoss(a=2.5)(torch.zeros(2, 4), torch.tensor([0, 3])).round(decimals=4)
        tensor(0.9048)
    """

    def __init__(self, *, a: float = 2.5, reduction: Reduction = "mean") -> None:
        super().__init__()
        _check_ael("AELLoss", a)
        check_reduction("AELLoss", reduction)
        self.a = a
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "batch classes"],
        targets: Integer[Tensor, " batch"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """The loss of `logits` against `targets`."""
        return ael_loss(logits, targets, where=where, **self._settings())


def _check_ael(name: str, a: float) -> None:
    require(
        SMALLEST_SHIFT <= a < math.inf,
        f"{name}: a must be finite and at least {SMALLEST_SHIFT}; got a {a}",
    )
