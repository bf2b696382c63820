"""Asymmetric generalised cross-entropy, for labels of which a share is wrong."""

import math

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from askew._check import require
from askew._reduction import Reduction, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule
from askew.losses._noisy import SMALLEST_SHIFT, check_exponent, label_log_probs


def agce_loss(
    logits: Float[Tensor, "batch classes"],
    targets: Integer[Tensor, " batch"],
    *,
    a: float = 0.6,
    q: float = 0.6,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric generalised cross-entropy: cross-entropy whose slope stays bounded.

    With p the softmax of the labelled class, a row costs

    .. math::
        \frac{(a+1)^q-(a+p)^q}{q}.

    Here "asymmetric" speaks of *noise tolerance*, not of positives and negatives: where labels are
    wrong at random, but right more often than any single wrong class, the minimiser is that of
    clean labels; this loss has the property where the odds of the right label exceed
    :math:`(1+1/a)^{1-q}` for q < 1, and any odds above 1 for q >= 1. With ``q=1`` it is half the
    mean absolute error, with ``a=0`` generalised cross-entropy, and with ``a=0`` and q towards 0
    cross-entropy.

    Not for clean labels: rows that are quite wrong hardly teach, so training starts slowly and may
    never fit rare classes. The best settings differ from one data set to the next.

    Args:
        logits: Scores of each row for each class.
        targets: Class index of each row.
        a: Shift of the probability, 0 or >= 0.001; the defaults are the authors' for CIFAR-10, for
            MNIST they use ``a=4, q=0.2``.
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
        A difference of powers is taken as one `expm1`, exact where p is near 1. Infinite logits
        are taken for the largest finite ones.

    Example:
        >>> x, y = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
        >>> [round(v, 4) for v in agce_loss(x, y, reduction="none").tolist()]
        [0.1003, 0.842]

    References:
        Asymmetric Loss Functions for Learning with Noisy Labels, 2021, arXiv:2106.03110.
    """
    _check_agce("agce_loss", a, q)
    log_p, where = label_log_probs("agce_loss", logits, targets, where, reduction)
    ratio = log_p if a == 0 else torch.log1p(torch.expm1(log_p) / (1 + a))  # log (a+p)/(a+1)
    loss = -((1 + a) ** q / q) * torch.expm1(q * ratio)
    return reduce(loss, reduction, where, result_dtype(logits))


class AGCELoss(SettingsModule):
    """The settings of `agce_loss`.

    Args:
        a: See `agce_loss`, as for all settings.
        q: Exponent.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> AGCELoss(a=0.6, q=0.6)(torch.zeros(2, 4), torch.tensor([0, 3])).round(decimals=4)
        tensor(0.6978)
    """

    def __init__(self, *, a: float = 0.6, q: float = 0.6, reduction: Reduction = "mean") -> None:
        super().__init__()
        _check_agce("AGCELoss", a, q)
        check_reduction("AGCELoss", reduction)
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
        return agce_loss(logits, targets, where=where, **self._settings())


def _check_agce(name: str, a: float, q: float) -> None:
    check_exponent(name, q)
    require(
        a == 0 or SMALLEST_SHIFT <= a < math.inf,
        f"{name}: a must be 0, or finite and at least {SMALLEST_SHIFT}; got a {a}",
    )
