"""Asymmetric unhinged loss, for labels of which a share is wrong."""

import math

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from askew._check import require
from askew._reduction import Reduction, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule
from askew.losses._noisy import SMALLEST_SHIFT, check_exponent, label_log_probs


def aul_loss(
    logits: Float[Tensor, "batch classes"],
    targets: Integer[Tensor, " batch"],
    *,
    a: float = 5.5,
    q: float = 3.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric unhinged loss: a power of the distance of the probability from a point above 1.

    With p the softmax of the labelled class, a row costs

    .. math::
        \frac{(a-p)^q-(a-1)^q}{q}.

    "Asymmetric" speaks of noise tolerance, as in `agce_loss`; this loss has it where the odds of
    the right label exceed :math:`(1+1/(a-1))^{q-1}` for q > 1, and any odds above 1 for q <= 1.
    With ``q=1`` it is half the mean absolute error. When not to use it: see `agce_loss`.

    Args:
        logits: Scores of each row for each class.
        targets: Class index of each row.
        a: Point from which the distance is taken, >= 1.001; the defaults are the authors' for
            CIFAR-10, for MNIST they use ``a=3, q=0.1``.
        q: Exponent, > 0.
        where: True where a row counts; broadcasts to [batch].
        reduction: "mean" over the rows that count, "sum" or "none".

    Returns:
        A scalar, or [batch] for "none", in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or a class index is outside; they
            are looked at on CPU only.
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
    log_p, where = label_log_probs("aul_loss", logits, targets, where, reduction)
    ratio = torch.log1p(-torch.expm1(log_p) / (a - 1))  # log (a-p)/(a-1)
    loss = ((a - 1) ** q / q) * torch.expm1(q * ratio)
    return reduce(loss, reduction, where, result_dtype(logits))


class AULLoss(SettingsModule):
    """The settings of `aul_loss`.

    Args:
        a: See `aul_loss`, as for all settings.
        q: Exponent.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> AULLoss(a=5.5, q=3.0)(torch.zeros(2, 4), torch.tensor([0, 3])).round(decimals=4)
        tensor(17.8594)
    """

    def __init__(self, *, a: float = 5.5, q: float = 3.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        _check_aul("AULLoss", a, q)
        check_reduction("AULLoss", reduction)
        self.a = a
        self.q = q
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "batch classes"],
        targets: Integer[Tensor, " batch"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """The loss of `logits` against `targets`."""
        return aul_loss(logits, targets, where=where, **self._settings())


def _check_aul(name: str, a: float, q: float) -> None:
    check_exponent(name, q)
    require(
        1 + SMALLEST_SHIFT <= a < math.inf,
        f"{name}: a must be finite and at least {1 + SMALLEST_SHIFT}; got a {a}",
    )
