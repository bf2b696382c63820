"""Huber loss with a price for each side."""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from askew._check import require
from askew._reduction import Reduction, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule
from askew.losses._regression import Level, check_level, price_of, residual


def asymmetric_huber_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    *,
    quantile: float | Float[Tensor, "..."] = 0.5,
    delta: float = 1.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Huber's loss with a price for each side: squared near the target, absolute far from it.

    With :math:`u = y - \hat y` and Huber's :math:`H_\delta`, an element costs
    :math:`\tau H_\delta(u)` for u >= 0 and :math:`(1-\tau)H_\delta(u)` for u < 0. At .5 it is
    **half** of `F.huber_loss`. For a large delta it is half of `expectile_loss`; divided by delta,
    for a small one `pinball_loss`. Turning the signs and taking :math:`1-\tau` changes nothing.

    The minimiser lies between quantile and expectile: do not read it as a quantile unless delta is
    small against the spread of the target.

    Args:
        prediction: Any shape; with several quantiles, they are its last axis.
        target: The shape of `prediction`; with several quantiles also without its last axis.
        quantile: Price of a prediction too low, in (0, 1), against 1 for both sides; a number, or
            a tensor with one for each entry of the last axis. The default has equal sides.
        delta: Distance at which squared becomes absolute, > 0, in the unit of the target.
        where: True where an element counts; broadcasts to `prediction`.
        reduction: "mean" over what counts, "sum" or "none".

    Returns:
        A scalar, or the shape of `prediction` for "none", in the dtype of `prediction`.

    Raises:
        ValueError: If shapes differ or a setting is out of range; tensors are looked at on CPU.
        TypeError: If prediction or target is not floating point, or `where` is not boolean.

    Example:
        >>> import torch
        >>> y, low = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0])
        >>> asymmetric_huber_loss(low, y, quantile=0.75, reduction="none")
        tensor([0.3750, 0.3750])

    References:
        Distributional Reinforcement Learning with Quantile Regression, 2017, arXiv:1710.10044.
    """
    name = "asymmetric_huber_loss"
    check_level(name, "quantile", quantile)
    _check_delta(name, delta)
    u = residual(name, prediction, target, where, reduction, quantile)
    near = u.abs().clamp_max(delta)
    loss = price_of(u, quantile) * near * (u.abs() - near / 2)
    return reduce(loss, reduction, where, result_dtype(prediction))


class AsymmetricHuberLoss(SettingsModule):
    """The settings of `asymmetric_huber_loss`; quantiles given as a tensor are a buffer.

    Args:
        quantile: See `asymmetric_huber_loss`, as for all settings.
        delta: Distance at which squared becomes absolute.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> import torch
        >>> AsymmetricHuberLoss(quantile=0.9)(torch.zeros(2), torch.tensor([3.0, -3.0]))
        tensor(1.2500)
    """

    quantile: Level

    def __init__(
        self,
        *,
        quantile: float | Float[Tensor, "..."] = 0.5,
        delta: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_level("AsymmetricHuberLoss", "quantile", quantile)
        _check_delta("AsymmetricHuberLoss", delta)
        check_reduction("AsymmetricHuberLoss", reduction)
        self._store("quantile", quantile)
        self.delta = delta
        self.reduction: Reduction = reduction

    def forward(
        self,
        prediction: Float[Tensor, "*shape"],
        target: Float[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """The loss of `prediction` against `target`."""
        return asymmetric_huber_loss(prediction, target, where=where, **self._settings())


def _check_delta(name: str, delta: float) -> None:
    require(
        0 < delta < math.inf,
        f"{name}: delta must be finite and above 0; got delta {delta}. "
        "Without a delta it is expectile_loss",
    )
