"""The loss whose minimiser is a quantile."""

from jaxtyping import Bool, Float
from torch import Tensor

from askew._reduction import Reduction, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule
from askew.losses._regression import Level, check_level, price_of, residual


def pinball_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    *,
    quantile: float | Float[Tensor, "..."] = 0.5,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Absolute error with the price of a quantile: the minimiser is that quantile of the target.

    With :math:`u = y - \hat y` and quantile :math:`\tau`, an element costs
    :math:`\tau u` for u >= 0 and :math:`(1-\tau)(-u)` for u < 0. At .5 it is **half** of
    `F.l1_loss`. Turning the signs and taking :math:`1-\tau` changes nothing.

    Several quantiles predicted side by side may cross; predict increments through a softplus. In
    the tails it needs many targets beyond the quantile, else it fits noise.

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
        ValueError: If shapes differ or `quantile` is out of range; tensors are looked at on CPU.
        TypeError: If prediction or target is not floating point, or `where` is not boolean.

    Numerics:
        At u = 0 the slope is 0, as that of `F.l1_loss`.

    Example:
        >>> import torch
        >>> y, low = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 4.0])
        >>> pinball_loss(low, y, quantile=0.75, reduction="none")
        tensor([0.7500, 0.2500])

    References:
        Regression Quantiles, Econometrica, 1978, doi:10.2307/1913643.
    """
    name = "pinball_loss"
    check_level(name, "quantile", quantile)
    u = residual(name, prediction, target, where, reduction, quantile)
    loss = price_of(u, quantile) * u.abs()
    return reduce(loss, reduction, where, result_dtype(prediction))


class PinballLoss(SettingsModule):
    """The settings of `pinball_loss`; quantiles given as a tensor are a buffer.

    Args:
        quantile: See `pinball_loss`, as for all settings.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> import torch
        >>> PinballLoss(quantile=0.9)(torch.zeros(2), torch.tensor([1.0, -1.0]))
        tensor(0.5000)
    """

    quantile: Level

    def __init__(
        self, *, quantile: float | Float[Tensor, "..."] = 0.5, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        check_level("PinballLoss", "quantile", quantile)
        check_reduction("PinballLoss", reduction)
        self._store("quantile", quantile)
        self.reduction: Reduction = reduction

    def forward(
        self,
        prediction: Float[Tensor, "*shape"],
        target: Float[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """The loss of `prediction` against `target`."""
        return pinball_loss(prediction, target, where=where, **self._settings())
