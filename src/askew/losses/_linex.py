"""Regression loss that is exponential on one side and linear on the other."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from askew._reduction import Reduction, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._regression import residual

TANGENT_FROM = 30.0
"""|a u| from which on the tangent replaces the exponential: e^30 is 1e13."""

FLOAT16_TANGENT_FROM = 8.0
"""The same in float16, whose gradients end at 65504, about e^11."""

SERIES_BELOW = 0.1
"""|a u| below which a series is summed: e^v − 1 − v would cancel there."""


def linex_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    *,
    a: float = 1.0,
    b: float = 1.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cost that is exponential on one side of the target and nearly linear on the other.

    With :math:`u = \hat y - y`, an element costs

    .. math::
        b\,(e^{au} - au - 1).

    For a > 0 a prediction too high costs exponentially, for a < 0 one too low; changing the signs
    of a and u changes nothing. The minimiser is :math:`-\tfrac1a\log E\,e^{-ay}`, for normal
    targets their mean minus :math:`a\sigma^2/2`. For ``a`` towards 0 and ``b=2/a**2`` it becomes
    `F.mse_loss`.

    One outlier on the exponential side dominates the whole batch, and ``a`` has a unit: scale the
    targets to a spread of about 1 first, or keep :math:`|a u|` below 5 or so.

    Args:
        prediction: Any shape.
        target: The same shape.
        a: Steepness; its sign picks the exponential side. Finite, not 0, in 1 / unit of the target.
        b: Scale, > 0.
        where: True where an element counts; broadcasts to `prediction`.
        reduction: "mean" over what counts, "sum" or "none".

    Returns:
        A scalar, or the shape of `prediction` for "none", in the dtype of `prediction`.

    Raises:
        ValueError: If shapes differ or a setting is out of range.
        TypeError: If prediction or target is not floating point, or `where` is not boolean.

    Numerics:
        From a u = 30 on, in float16 from 8 on, the tangent replaces the exponential, so that value
        and gradient stay finite; the minimiser above holds while no residual is beyond. For |a u|
        below .1 a series is summed, as the difference would lose its digits.

    Example:
        >>> y, high = torch.tensor([1.0, 1.0]), torch.tensor([3.0, -1.0])
        >>> [round(v, 4) for v in linex_loss(high, y, reduction="none").tolist()]
        [4.3891, 1.1353]

    References:
        Bayesian Estimation and Prediction Using Asymmetric Loss Functions, JASA, 1986,
        doi:10.2307/2289234.
    """
    name = "linex_loss"
    _check_settings(name, a, b)
    u = -residual(name, prediction, target, where, reduction)
    knee = FLOAT16_TANGENT_FROM if prediction.dtype == torch.float16 else TANGENT_FROM
    return reduce(b * _excess(a * u, knee), reduction, where, result_dtype(prediction))


class LinExLoss(SettingsModule):
    """Module form of `linex_loss`.

    Args:
        a: See `linex_loss`, which describes all settings.
        b: Scale.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> LinExLoss(a=1.0, reduction="none")(torch.tensor([1.0, -1.0]), torch.zeros(2))
        tensor([0.7183, 0.3679])
    """

    def __init__(self, *, a: float = 1.0, b: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        _check_settings("LinExLoss", a, b)
        check_reduction("LinExLoss", reduction)
        self.a = a
        self.b = b
        self.reduction: Reduction = reduction

    def forward(
        self,
        prediction: Float[Tensor, "*shape"],
        target: Float[Tensor, "*shape"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `prediction` against `target`."""
        return linex_loss(prediction, target, where=where, **self._settings())


def _excess(v: Tensor, knee: float) -> Tensor:
    """Return e^v − 1 − v, continued by its tangent beyond `knee`."""
    inside = torch.where(v > knee, knee, v)  # torch 2.15 has no slope of `clamp` at its bound
    small = inside.abs() < SERIES_BELOW
    series = _series(torch.where(small, inside, 0.0))
    curve = torch.where(small, series, torch.expm1(inside) - inside)
    slope = math.expm1(knee)
    return torch.where(v > knee, slope - knee + slope * (v - knee), curve)


def _series(v: Tensor) -> Tensor:
    """Return v²/2 + v³/6 + … to the precision of the dtype for |v| < `SERIES_BELOW`."""
    total = torch.ones_like(v)
    for n in range(10 if v.dtype == torch.float64 else 6, 2, -1):
        total = 1 + v / n * total
    return v * v / 2 * total


def _check_settings(name: str, a: float, b: float) -> None:
    check_numbers(name, {"a": a, "b": b})
    if a == 0 or not -math.inf < a < math.inf:
        raise ValueError(
            f"{name}: a must be finite and not 0; got a {a}. For a towards 0 and b = 2/a² the "
            "limit is the squared error: use torch.nn.functional.mse_loss"
        )
    if not 0 < b < math.inf:
        raise ValueError(f"{name}: b must be finite and above 0; got b {b}")
