"""Regression losses that price a prediction too low and one too high differently."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
    can_read_without_sync,
    check_floating,
    check_reduction,
    check_where,
    compute_dtype,
    hide,
    reduce,
    result_dtype,
)
from askew._settings_module import Numbers, SettingsModule, as_setting, check_numbers

Level = float | Tensor
GivenLevel = float | Numbers


def pinball_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    *,
    quantile: GivenLevel = 0.5,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Absolute error with the price of a quantile: the minimiser is that quantile of the target.

    With :math:`u = y - \hat y` and quantile :math:`\tau`, an element costs
    :math:`\tau u` for u >= 0 and :math:`(1-\tau)(-u)` for u < 0. At .5 it is **half** of
    `F.l1_loss`. Swapping the signs and :math:`\tau` with :math:`1-\tau` changes nothing.

    Several predicted quantiles may cross; predict increments through a softplus to avoid it. In the
    tails the loss needs many targets beyond the quantile, or it fits noise.

    Args:
        prediction: Any shape; with several quantiles, they are its last axis.
        target: The shape of `prediction`; with several quantiles also without its last axis.
        quantile: Share of targets that should lie below the prediction, in (0, 1); a number, or a
            tensor with one for each entry of the last axis. The default is the median.
        where: True where an element counts; broadcasts to `prediction`.
        reduction: "mean" over what counts, "sum" or "none".

    Returns:
        A scalar, or the shape of `prediction` for "none", in the dtype of `prediction`.

    Raises:
        ValueError: If shapes differ or `quantile` is out of range; tensors are checked on CPU only.
        TypeError: If prediction or target is not floating point, or `where` is not boolean.

    Numerics:
        At u = 0 the slope is 0, as in `F.l1_loss`.

    Example:
        >>> y, low = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 4.0])
        >>> pinball_loss(low, y, quantile=0.75, reduction="none")
        tensor([0.7500, 0.2500])

    References:
        Regression Quantiles, Econometrica, 1978, doi:10.2307/1913643.
    """
    name = "pinball_loss"
    quantile = _checked_level(name, "quantile", quantile)
    u = residual(name, prediction, target, where, reduction, quantile)
    loss = _price_of(u, quantile) * u.abs()
    return reduce(loss, reduction, where, result_dtype(prediction))


class PinballLoss(SettingsModule):
    """Module form of `pinball_loss`; quantiles given as a tensor are a buffer.

    Args:
        quantile: See `pinball_loss`, which describes all settings.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> PinballLoss(quantile=0.9)(torch.zeros(2), torch.tensor([1.0, -1.0]))
        tensor(0.5000)
    """

    quantile: Level

    def __init__(self, *, quantile: GivenLevel = 0.5, reduction: Reduction = "mean") -> None:
        super().__init__()
        self._store("quantile", _checked_level("PinballLoss", "quantile", quantile))
        check_reduction("PinballLoss", reduction)
        self.reduction: Reduction = reduction

    def forward(
        self,
        prediction: Float[Tensor, "*shape"],
        target: Float[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `prediction` against `target`."""
        return pinball_loss(prediction, target, where=where, **self._settings())


def expectile_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    *,
    expectile: GivenLevel = 0.5,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Squared error with a price for each side: the minimiser is that expectile of the target.

    With :math:`u = y - \hat y` and expectile :math:`\tau`, an element costs
    :math:`\tau u^2` for u >= 0 and :math:`(1-\tau)u^2` for u < 0. At .5 it is **half** of
    `F.mse_loss`, and the minimiser the mean. At the minimum
    :math:`\tau\,E[u]_+ = (1-\tau)\,E[-u]_+`. Swapping the signs and :math:`\tau` with
    :math:`1-\tau` changes nothing.

    An expectile is not a quantile: it does not say which share of targets lies below it. Like the
    mean, it follows outliers.

    Args:
        prediction: Any shape; with several expectiles, they are its last axis.
        target: The shape of `prediction`; with several expectiles also without its last axis.
        expectile: Price of a prediction too low, in (0, 1); one too high costs 1 minus it. A
            number, or a tensor with one for each entry of the last axis. The default is the mean.
        where: True where an element counts; broadcasts to `prediction`.
        reduction: "mean" over what counts, "sum" or "none".

    Returns:
        A scalar, or the shape of `prediction` for "none", in the dtype of `prediction`.

    Raises:
        ValueError: If shapes differ or `expectile` is out of range; tensors are checked on CPU
            only.
        TypeError: If prediction or target is not floating point, or `where` is not boolean.

    Numerics:
        A square beyond the range of the dtype is inf; the gradient is right even then.

    Example:
        >>> y, low = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0])
        >>> expectile_loss(low, y, expectile=0.75, reduction="none")
        tensor([0.7500, 1.0000])

    References:
        Asymmetric Least Squares Estimation and Testing, Econometrica, 1987, doi:10.2307/1911031.
    """
    name = "expectile_loss"
    expectile = _checked_level(name, "expectile", expectile)
    u = residual(name, prediction, target, where, reduction, expectile)
    loss = _price_of(u, expectile) * u * u
    return reduce(loss, reduction, where, result_dtype(prediction))


class ExpectileLoss(SettingsModule):
    """Module form of `expectile_loss`; expectiles given as a tensor are a buffer.

    Args:
        expectile: See `expectile_loss`, which describes all settings.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> ExpectileLoss(expectile=0.9)(torch.zeros(2), torch.tensor([1.0, -1.0]))
        tensor(0.5000)
    """

    expectile: Level

    def __init__(self, *, expectile: GivenLevel = 0.5, reduction: Reduction = "mean") -> None:
        super().__init__()
        self._store("expectile", _checked_level("ExpectileLoss", "expectile", expectile))
        check_reduction("ExpectileLoss", reduction)
        self.reduction: Reduction = reduction

    def forward(
        self,
        prediction: Float[Tensor, "*shape"],
        target: Float[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `prediction` against `target`."""
        return expectile_loss(prediction, target, where=where, **self._settings())


def asymmetric_huber_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    *,
    quantile: GivenLevel = 0.5,
    delta: float = 1.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Huber's loss with a price for each side: squared near the target, absolute far from it.

    With :math:`u = y - \hat y` and Huber's :math:`H_\delta`, an element costs
    :math:`\tau H_\delta(u)` for u >= 0 and :math:`(1-\tau)H_\delta(u)` for u < 0. At .5 it is
    **half** of `F.huber_loss`. For a large delta it is half of `expectile_loss`; for a small one it
    is delta times `pinball_loss`. Swapping the signs and :math:`\tau` with :math:`1-\tau` changes
    nothing.

    The minimiser lies between quantile and expectile: it is close to a quantile only if delta is
    small compared with the spread of the target.

    Args:
        prediction: Any shape; with several quantiles, they are its last axis.
        target: The shape of `prediction`; with several quantiles also without its last axis.
        quantile: Price of a prediction too low, in (0, 1); one too high costs 1 minus it. A number,
            or a tensor with one for each entry of the last axis. The default has equal sides.
        delta: Distance at which squared becomes absolute, > 0, in the unit of the target.
        where: True where an element counts; broadcasts to `prediction`.
        reduction: "mean" over what counts, "sum" or "none".

    Returns:
        A scalar, or the shape of `prediction` for "none", in the dtype of `prediction`.

    Raises:
        ValueError: If shapes differ or a setting is out of range; tensors are checked on CPU only.
        TypeError: If prediction or target is not floating point, or `where` is not boolean.

    Example:
        >>> y, low = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0])
        >>> asymmetric_huber_loss(low, y, quantile=0.75, reduction="none")
        tensor([0.3750, 0.3750])

    References:
        Distributional Reinforcement Learning with Quantile Regression, 2017, arXiv:1710.10044.
    """
    name = "asymmetric_huber_loss"
    quantile = _checked_level(name, "quantile", quantile)
    _check_delta(name, delta)
    u = residual(name, prediction, target, where, reduction, quantile)
    near = u.abs().clamp_max(delta)
    loss = _price_of(u, quantile) * near * (u.abs() - near / 2)
    return reduce(loss, reduction, where, result_dtype(prediction))


class AsymmetricHuberLoss(SettingsModule):
    """Module form of `asymmetric_huber_loss`; quantiles given as a tensor are a buffer.

    Args:
        quantile: See `asymmetric_huber_loss`, which describes all settings.
        delta: Distance at which squared becomes absolute.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> AsymmetricHuberLoss(quantile=0.9)(torch.zeros(2), torch.tensor([3.0, -3.0]))
        tensor(1.2500)
    """

    quantile: Level

    def __init__(
        self,
        *,
        quantile: GivenLevel = 0.5,
        delta: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self._store("quantile", _checked_level("AsymmetricHuberLoss", "quantile", quantile))
        _check_delta("AsymmetricHuberLoss", delta)
        check_reduction("AsymmetricHuberLoss", reduction)
        self.delta = delta
        self.reduction: Reduction = reduction

    def forward(
        self,
        prediction: Float[Tensor, "*shape"],
        target: Float[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `prediction` against `target`."""
        return asymmetric_huber_loss(prediction, target, where=where, **self._settings())


def residual(
    name: str,
    prediction: Tensor,
    target: Tensor,
    where: Tensor | None,
    reduction: str,
    level: Level = 0.5,
) -> Tensor:
    """Check the inputs; return target minus prediction, upcast, 0 where nothing counts.

    If there is a level for each entry of the last axis, the target may lack that axis.
    """
    check_reduction(name, reduction)
    check_floating(name, "prediction", prediction)
    check_floating(name, "target", target)
    check_where(name, where, prediction.shape)
    if isinstance(level, Tensor) and level.dim() == 1:
        require(
            level.shape == prediction.shape[-1:],
            lambda: (
                f"{name}: the last axis of prediction must have one entry for each level; "
                f"got levels {tuple(level.shape)}, prediction {tuple(prediction.shape)}"
            ),
        )
        if target.shape == prediction.shape[:-1]:
            target = target.unsqueeze(-1).expand(prediction.shape)
    require(
        target.shape == prediction.shape,
        lambda: (
            f"{name}: target must have the shape of prediction; "
            f"got target {tuple(target.shape)}, prediction {tuple(prediction.shape)}"
        ),
    )
    dtype = compute_dtype(prediction)
    return hide(target, where).to(dtype) - hide(prediction, where).to(dtype)


def _price_of(u: Tensor, level: Level) -> Tensor:
    """Return the price of a residual per unit, which depends on its sign."""
    if isinstance(level, Tensor):
        level = level.to(device=u.device, dtype=u.dtype)
        return torch.where(u < 0, 1 - level, level)
    return torch.where(u < 0, 1 - level, u.new_full((), level))


def _checked_level(name: str, label: str, given: GivenLevel) -> Level:
    """Convert a level or several, and refuse those out of range, where that is known."""
    level = as_setting(name, label, given)
    if not isinstance(level, Tensor):
        check_numbers(name, {label: level})
        fits = 0 < level < 1
    else:
        if level.dim() > 1:
            raise ValueError(
                f"{name}: {label} must be a number or a vector; got {label} {tuple(level.shape)}"
            )
        fits = not can_read_without_sync(level) or bool(((level > 0) & (level < 1)).all())
    if not fits:
        raise ValueError(f"{name}: {label} must be in (0, 1); got {label} {level}")
    return level


def _check_delta(name: str, delta: float) -> None:
    check_numbers(name, {"delta": delta})
    if not 0 < delta < math.inf:
        raise ValueError(
            f"{name}: delta must be finite and above 0; got delta {delta}. "
            "Without a delta it is expectile_loss"
        )
