"""Multi-label loss that ranks marked above unmarked labels, in each sample and in each class."""

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
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._missing import check_labels


def two_way_loss(
    logits: Float[Tensor, "batch classes"],
    targets: Shaped[Tensor, "batch classes"],
    *,
    temperature_pos: float = 4.0,
    temperature_neg: float = 1.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Softmax-like loss over rows and over columns, with a temperature for each side.

    A row (a sample) or a column (a class) with marked labels P and unmarked ones N costs

    .. math::
        \log\Bigl(1+\exp\bigl(T_-\log\sum_{n\in N}e^{x_n/T_-}
        + T_+\log\sum_{p\in P}e^{-x_p/T_+}\bigr)\Bigr).

    The loss is the mean over rows plus the mean over columns. A high temperature spreads the
    gradient of its side over all labels, a low one concentrates it on the worst. With both
    temperatures 1 and a single marked label in a row, the term of the row is cross-entropy.
    Swapping the sides, the targets and the sign of the logits changes nothing if every row and
    column has both kinds of label.

    Rows and columns without a marked label are left out, also of the denominator. A sample without
    any then has a gradient only through the columns, a class without any only through the rows. A
    row or column in which all labels are marked counts, and costs nothing. The term of the columns
    depends on the batch: small or sorted batches change the loss. The loss only ranks: it gives
    neither a threshold nor probabilities.

    Args:
        logits: Scores of each sample for each class.
        targets: Labels of the same shape, 0 or 1, of any dtype.
        temperature_pos: Temperature of the marked labels, > 0; the default is the author's.
        temperature_neg: Temperature of the unmarked labels, > 0; the default is the author's.
        where: True where an element counts; broadcasts to `logits`. A hidden element is neither
            marked nor unmarked.
        reduction: "mean" over the rows that count plus the mean over the columns that count, "sum"
            over all rows and columns, or "none".

    Returns:
        A scalar, or for "none" the costs of all rows, then of all columns, [batch + classes], with
        0 for those left out; in the dtype of `logits`.

    Raises:
        ValueError: If shapes differ or are not [batch, classes], a temperature is not positive, or
            a target is neither 0 nor 1 (checked on CPU only).
        TypeError: If logits are not floating point, or `where` is not boolean.

    Numerics:
        Labels of the other side are left out instead of getting a large negative score, so that
        logits of any size are right. Infinite ones are replaced by the largest finite ones and get
        no gradient.

    Example:
        >>> x = torch.tensor([[2.0, -1.0], [0.5, 1.0]])
        >>> y = torch.tensor([[1, 0], [0, 1]])
        >>> round(two_way_loss(x, y).item(), 4)
        0.4255

    References:
        Two-way Multi-Label Loss, CVPR 2023, pp. 7476-7485.
    """
    name = "two_way_loss"
    _check_temperatures(name, temperature_pos, temperature_neg)
    check_reduction(name, reduction)
    _check_inputs(name, logits, targets, where)
    x = hide(logits, where).to(compute_dtype(logits))
    y = hide(targets, where)
    if can_read_without_sync(y):
        check_labels(name, y)
    seen = torch.ones_like(x, dtype=torch.bool) if where is None else where.expand(x.shape)
    marked, unmarked = seen & (y != 0), seen & (y == 0)
    dtype = result_dtype(logits)
    pos, neg = _SideScores(-x, marked, temperature_pos), _SideScores(x, unmarked, temperature_neg)
    costs = [(_cost(pos, neg, dim), marked.any(dim)) for dim in (1, 0)]  # rows, columns
    if reduction == "mean":
        rows, columns = (reduce(cost, "mean", counts) for cost, counts in costs)
        return (rows + columns).to(dtype)
    cost, counts = (torch.cat(tensors) for tensors in zip(*costs, strict=True))
    return reduce(cost, reduction, counts, dtype)


class TwoWayLoss(SettingsModule):
    """Module form of `two_way_loss`.

    Args:
        temperature_pos: See `two_way_loss`, which describes all settings.
        temperature_neg: Temperature of the unmarked labels.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> logits, targets = torch.tensor([[4.0, -4.0], [-4.0, 4.0]]), torch.eye(2)
        >>> TwoWayLoss()(logits, targets) < TwoWayLoss()(-logits, targets)
        tensor(True)
    """

    def __init__(
        self,
        *,
        temperature_pos: float = 4.0,
        temperature_neg: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_temperatures("TwoWayLoss", temperature_pos, temperature_neg)
        check_reduction("TwoWayLoss", reduction)
        self.temperature_pos = temperature_pos
        self.temperature_neg = temperature_neg
        self.reduction: Reduction = reduction

    def forward(
        self,
        logits: Float[Tensor, "batch classes"],
        targets: Shaped[Tensor, "batch classes"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `logits` against `targets`."""
        return two_way_loss(logits, targets, where=where, **self._settings())


class _SideScores(NamedTuple):
    """Scores that rise with the cost, which of them belong to this side, and its temperature."""

    scores: Tensor
    members: Tensor
    temperature: float

    def worst(self, dim: int) -> tuple[Tensor, Tensor]:
        """Return the soft maximum along `dim`, 0 without a member, and where there is a member."""
        any_member = self.members.any(dim)
        largest = torch.finfo(self.scores.dtype).max / 4 / max(self.temperature, 1)
        scaled = (self.scores / self.temperature).clamp(-largest, largest)  # ∞ − ∞ would be NaN
        # Where there is no member nothing is masked: a row of −inf alone would have a NaN gradient.
        masked = scaled.masked_fill(~self.members & any_member.unsqueeze(dim), float("-inf"))
        return torch.where(any_member, self.temperature * masked.logsumexp(dim), 0.0), any_member


def _cost(pos: _SideScores, neg: _SideScores, dim: int) -> Tensor:
    missed, any_marked = pos.worst(dim)
    alarm, any_unmarked = neg.worst(dim)
    return torch.where(any_marked & any_unmarked, -F.logsigmoid(-(missed + alarm)), 0.0)


def _check_temperatures(name: str, temperature_pos: float, temperature_neg: float) -> None:
    for side, temperature in (("pos", temperature_pos), ("neg", temperature_neg)):
        check_numbers(name, {f"temperature_{side}": temperature})
        if not 0 < temperature < float("inf"):
            raise ValueError(
                f"{name}: temperature_{side} must be finite and above 0; "
                f"got temperature_{side} {temperature}"
            )


def _check_inputs(name: str, logits: Tensor, targets: Tensor, where: Tensor | None) -> None:
    check_floating(name, "logits", logits)
    check_tensor(name, "targets", targets)
    require(
        logits.dim() == 2 and logits.shape == targets.shape,
        lambda: (
            f"{name}: logits and targets must both be [batch, classes]; "
            f"got logits {tuple(logits.shape)}, targets {tuple(targets.shape)}"
        ),
    )
    check_where(name, where, logits.shape)
