"""Loss on single answers that are desirable or not, each kind with its own price."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
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


def kto_loss(
    log_ratio: Float[Tensor, "*answers"],
    desirable: Bool[Tensor, "*answers"],
    reference_point: float | Float[Tensor, "..."] = 0.0,
    *,
    beta: float = 0.1,
    weight_desirable: float = 1.0,
    weight_undesirable: float = 1.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Make desirable answers more likely and others less, with a price for each kind.

    With the log-ratio x of policy to reference and the reference point z, an answer costs

    .. math::
        w_D\,\sigma(-\beta(x-z)) \text{ if desirable}, \qquad
        w_U\,\sigma(\beta(x-z)) \text{ if not}.

    No pairs are needed, and one kind may be rare: with :math:`n_D` and :math:`n_U` answers of each
    kind, weights for which :math:`w_D n_D` and :math:`w_U n_U` are about equal balance them. Where
    z is 0, swapping the kinds, the weights and the sign of x changes nothing, and equal weights
    give "apo_zero" of `preference_loss` for answers without a partner.

    Args:
        log_ratio: Log-probability of the answer under the policy minus that under the reference,
            summed over its tokens [*answers]; see `token_log_probs`.
        desirable: True where the answer is desirable [*answers].
        reference_point: z, an estimate of the divergence of the policy from the reference: its
            value, or log-ratios of answers that belong to other prompts, whose mean is taken. It
            gets no gradient, and below 0 it counts as 0, as no divergence is negative.
        beta: β > 0; the smaller, the farther may the policy move from the reference.
        weight_desirable: Price of the desirable side, >= 0.
        weight_undesirable: Price of the other side, >= 0.
        where: True where an answer counts; broadcasts to [*answers]. A hidden answer may be NaN.
        reduction: "mean" over all answers that count, of both kinds together, "sum" or "none".

    Returns:
        A scalar, or [*answers] for "none", in the dtype of `log_ratio`. Nothing to count gives a
        differentiable 0.

    Raises:
        ValueError: If shapes differ or a setting is out of range.
        TypeError: If log-ratios are not floating point, or `desirable` or `where` is not boolean.

    Numerics:
        Computed in at least single precision. The gradient vanishes on both far sides, so that
        answers which cannot be learned, or are learned, do not teach.

    Example:
        >>> log_ratio, desirable = torch.tensor([10.0, 10.0]), torch.tensor([True, False])
        >>> kto_loss(log_ratio, desirable, 0.0, reduction="none").round(decimals=4)
        tensor([0.2689, 0.7311])

    References:
        KTO: Model Alignment as Prospect Theoretic Optimization, 2024, arXiv:2402.01306.
    """
    name = "kto_loss"
    _check_settings(name, beta, weight_desirable, weight_undesirable, reduction)
    check_floating(name, "log_ratio", log_ratio)
    check_tensor(name, "desirable", desirable)
    if desirable.dtype != torch.bool:
        raise TypeError(f"{name}: desirable must be boolean; got dtype {desirable.dtype}")
    require(
        desirable.shape == log_ratio.shape,
        lambda: (
            f"{name}: desirable must have the shape of log_ratio; "
            f"got desirable {tuple(desirable.shape)}, log_ratio {tuple(log_ratio.shape)}"
        ),
    )
    check_where(name, where, log_ratio.shape, "the answers")
    x = hide(log_ratio, where).to(compute_dtype(log_ratio))
    u = beta * (x - _stopped(name, reference_point, x))
    loss = torch.where(
        desirable,
        weight_desirable * torch.sigmoid(-u),
        weight_undesirable * torch.sigmoid(u),
    )
    return reduce(loss, reduction, where, result_dtype(log_ratio))


class KTOLoss(SettingsModule):
    """Module form of `kto_loss`.

    Args:
        beta: See `kto_loss`, which describes all settings.
        weight_desirable: Price of the desirable side.
        weight_undesirable: Price of the other side.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> loss = KTOLoss(weight_desirable=4.0)
        >>> loss(torch.tensor([0.0, 0.0]), torch.tensor([True, False]))
        tensor(1.2500)
    """

    def __init__(
        self,
        *,
        beta: float = 0.1,
        weight_desirable: float = 1.0,
        weight_undesirable: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_settings(type(self).__name__, beta, weight_desirable, weight_undesirable, reduction)
        self.beta = beta
        self.weight_desirable = weight_desirable
        self.weight_undesirable = weight_undesirable
        self.reduction: Reduction = reduction

    def forward(
        self,
        log_ratio: Float[Tensor, "*answers"],
        desirable: Bool[Tensor, "*answers"],
        reference_point: float | Float[Tensor, "..."] = 0.0,
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of the answers."""
        return kto_loss(log_ratio, desirable, reference_point, where=where, **self._settings())


def _stopped(name: str, point: float | Tensor, like: Tensor) -> Tensor | float:
    """Return the mean of the reference point, at least 0 and without gradient."""
    if not isinstance(point, Tensor):
        check_numbers(name, {"reference_point": point})
        return max(float(point), 0.0)
    check_floating(name, "reference_point", point)
    require(point.numel() > 0, f"{name}: reference_point must not be empty; got shape (0,)")
    return point.detach().to(like.dtype).mean().clamp_min(0.0)


def _check_settings(
    name: str, beta: float, desirable: float, undesirable: float, reduction: str
) -> None:
    weights = {"weight_desirable": desirable, "weight_undesirable": undesirable}
    check_numbers(name, {"beta": beta, **weights})
    if not 0 < beta < math.inf:
        raise ValueError(f"{name}: beta must be finite and above 0; got beta {beta}")
    for label, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"{name}: {label} must be >= 0 and finite; got {label} {weight}")
    check_reduction(name, reduction)
