"""The loss whose minimiser is an expectile."""

from jaxtyping import Bool, Float
from torch import Tensor

from askew._reduction import Reduction, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule
from askew.losses._regression import Level, check_level, price_of, residual


def expectile_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    *,
    expectile: float | Float[Tensor, "..."] = 0.5,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Squared error with a price for each side: the minimiser is that expectile of the target.

    With :math:`u = y - \hat y` and expectile :math:`\tau`, an element costs
    :math:`\tau u^2` for u >= 0 and :math:`(1-\tau)u^2` for u < 0. At .5 it is **half** of
    `F.mse_loss`, and the minimiser the mean. At the minimum
    :math:`\tau\,E[u]_+ = (1-\tau)\,E[-u]_+`. Turning the signs and taking :math:`1-\tau`
    changes nothing.

    An expectile is no quantile: it doesn't say which share of targets lies below. Like the mean it
    follows outliers.

    Args:
        prediction: Any shape; with several expectiles, they are its last axis.
        target: The shape of `prediction`; with several expectiles also without its last axis.
        expectile: Price of a prediction too low, in (0, 1), against 1 for both sides; a number, or
            a tensor with one for each entry of the last axis. The default is the mean.
        where: True where an element counts; broadcasts to `prediction`.
        reduction: "mean" over what counts, "sum" or "none".

    Returns:
        A scalar, or the shape of `prediction` for "none", in the dtype of `prediction`.

    Raises:
        ValueError: If shapes differ or `expectile` is out of range; tensors are looked at on CPU.
        TypeError: If prediction or target is not floating point, or `where` is not boolean.

    Numerics:
        A square beyond the range of the dtype is inf; the gradient is right even then.

    Example:
        >>> import torch
        >>> y, low = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0])
        >>> expectile_loss(low, y, expectile=0.75, reduction="none")
        tensor([0.7500, 1.0000])

    References:
        Asymmetric Least Squares Estimation and Testing, Econometrica, 1987, doi:10.2307/1911031.
    """
    name = "expectile_loss"
    check_level(name, "expectile", expectile)
    u = residual(name, prediction, target, where, reduction, expectile)
    loss = price_of(u, expectile) * u * u
    return reduce(loss, reduction, where, result_dtype(prediction))


class ExpectileLoss(SettingsModule):
    """The settings of `expectile_loss`; expectiles given as a tensor are a buffer.

    Args:
        expectile: See `expectile_loss`, as for all settings.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> import torch
        >>> ExpectileLoss(expectile=0.9)(torch.zeros(2), torch.tensor([1.0, -1.0]))
        tensor(0.5000)
    """

    expectile: Level

    def __init__(
        self, *, expectile: float | Float[Tensor, "..."] = 0.5, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        check_level("ExpectileLoss", "expectile", expectile)
        check_reduction("ExpectileLoss", reduction)
        self._store("expectile", expectile)
        self.reduction: Reduction = reduction

    def forward(
        self,
        prediction: Float[Tensor, "*shape"],
        target: Float[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """The loss of `prediction` against `target`."""
        return expectile_loss(prediction, target, where=where, **self._settings())
