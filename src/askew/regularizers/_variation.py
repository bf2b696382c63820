"""Total variation in which a rise and a fall have their own price."""

from jaxtyping import Bool, Float
from torch import Tensor

from askew._reduction import (
    Reduction,
    check_floating,
    check_reduction,
    check_where,
    compute_dtype,
    reduce,
    result_dtype,
)
from askew._settings_module import SettingsModule, check_integer
from askew.regularizers._inputs import check_weight


def asymmetric_total_variation(
    x: Float[Tensor, "*shape"],
    *,
    weight_rise: float = 1.0,
    weight_fall: float = 1.0,
    squared: bool = False,
    dim: int = -1,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Price every change along one axis, rises and falls differently.

    With :math:`d_t = x_{t+1} - x_t` and :math:`[\cdot]_+ = \max(\cdot, 0)`, a change costs

    .. math::
        w_\text{rise}\,[d_t]_+ + w_\text{fall}\,[-d_t]_+,

    or the same with squares of the brackets. Equal weights are total variation (squared: the
    smoothness penalty). With ``weight_rise=0`` only falls cost: a series is drawn toward one that
    never falls. Reversing the axis, or the sign, swaps the weights.

    Unsquared, the asymmetry depends on the ends only: rises minus falls are last minus first, so
    the sum is :math:`\tfrac{w_r+w_f}{2}\sum|d_t| + \tfrac{w_r-w_f}{2}(x_\text{last} -
    x_\text{first})`. To make every single fall cost more than a rise of its size, use the squares.

    Args:
        x: Values, of any shape.
        weight_rise: Price of a rise, >= 0.
        weight_fall: Price of a fall, >= 0.
        squared: Price the square of a change instead.
        dim: The axis along which changes are taken; -2 for states [batch, length, d_model].
        where: True where a value is real; broadcasts to `x`. A change counts if both its ends are
            real. A hidden value may be NaN and gets no gradient.
        reduction: "mean" over the changes that count, "sum", or "none": the shape of `x`, one
            shorter along `dim`.

    Returns:
        A scalar, or one number per change for "none", in the dtype of `x`; under autocast at
        least single precision. Without a change that counts, a differentiable 0.

    Raises:
        ValueError: If a weight is negative or infinite, `x` has no axis `dim`, or `where` does not
            fit.
        TypeError: If `x` is not floating point, or `where` is not boolean.

    Numerics:
        Sums are in single precision at least. A change of 0 has slope 0.

    Example:
        >>> import torch
        >>> x = torch.tensor([0.0, 2.0, 1.0])
        >>> asymmetric_total_variation(x, weight_fall=10.0, reduction="none")
        tensor([ 2., 10.])

    References:
        Nonlinear Total Variation Based Noise Removal Algorithms, 1992, Physica D 60 (equal
        weights).
    """
    name = "asymmetric_total_variation"
    _check_weights(name, weight_rise, weight_fall)
    check_reduction(name, reduction)
    check_floating(name, "x", x)
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"{name}: dim must be an axis of x; got dim {dim}, x {tuple(x.shape)}")
    check_where(name, where, x.shape, "x")
    changes = None
    if where is not None:
        where = where.expand(x.shape).movedim(dim, -1)
        changes = where[..., 1:] & where[..., :-1]
    series = x.to(compute_dtype(x)).movedim(dim, -1)
    change = series[..., 1:] - series[..., :-1]
    if changes is not None:
        change = change.masked_fill(~changes, 0.0)
    sign = change.detach().sign()
    slope = weight_rise * sign.clamp_min(0) + weight_fall * sign.clamp_max(0)  # 0 at no change
    cost = change.square() * slope.abs() if squared else change * slope
    cost = reduce(cost, reduction, changes, result_dtype(x))
    return cost.movedim(-1, dim) if reduction == "none" else cost


class AsymmetricTotalVariation(SettingsModule):
    """Module form of `asymmetric_total_variation`.

    Args:
        weight_rise: Price of a rise, >= 0.
        weight_fall: Price of a fall, >= 0.
        squared: Price the square of a change instead.
        dim: The axis along which changes are taken.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> import torch
        >>> falls = AsymmetricTotalVariation(weight_rise=0.0, weight_fall=1.0)
        >>> falls(torch.tensor([[0.0, 2.0, 4.0]])), falls(torch.tensor([[4.0, 2.0, 0.0]]))
        (tensor(0.), tensor(2.))
    """

    def __init__(
        self,
        *,
        weight_rise: float = 1.0,
        weight_fall: float = 1.0,
        squared: bool = False,
        dim: int = -1,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_weights(type(self).__name__, weight_rise, weight_fall)
        check_reduction(type(self).__name__, reduction)
        check_integer(type(self).__name__, "dim", dim)
        self.weight_rise = weight_rise
        self.weight_fall = weight_fall
        self.squared = squared
        self.dim = dim
        self.reduction: Reduction = reduction

    def forward(
        self,
        x: Float[Tensor, "*shape"],
        *,
        where: Bool[Tensor, "..."] | None = None,
        reduction: Reduction | None = None,
    ) -> Tensor:
        """Return the penalty of `x`; `reduction` overrides that of the module."""
        settings = self._settings() | {"reduction": reduction or self.reduction}
        return asymmetric_total_variation(x, where=where, **settings)


def _check_weights(name: str, weight_rise: float, weight_fall: float) -> None:
    check_weight(name, "weight_rise", weight_rise)
    check_weight(name, "weight_fall", weight_fall)
