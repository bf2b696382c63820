"""Binary and multi-label losses that charge a missed positive and a false alarm differently."""

import warnings
from typing import Literal, get_args

import torch
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
    has_memory,
    kernel_obstacle,
    reduce,
    result_dtype,
)
from askew._settings_module import SettingsModule
from askew.losses._binary_chunks import (
    SumSettings,
    SumWithGradient,
    mask_and_upcast,
    sum_without_gradient,
)
from askew.losses._binary_sides import (
    GivenSetting,
    Setting,
    Sides,
    check_targets,
    checked_side,
    two_sided_loss,
)

Route = Literal["auto", "composed", "chunked", "compiled"]

COMPILE_MIN_LOGITS = 1 << 20
"""Number of logits from which on "auto" compiles on an accelerator."""


def asymmetric_bce_loss(
    logits: Float[Tensor, "*shape"],
    targets: Shaped[Tensor, "*shape"],
    *,
    weight_pos: GivenSetting = 1.0,
    weight_neg: GivenSetting = 1.0,
    gamma_pos: GivenSetting = 0.0,
    gamma_neg: GivenSetting = 0.0,
    margin: GivenSetting = 0.0,
    margin_pos: GivenSetting = 0.0,
    detach_weight: bool = False,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
    route: Route = "auto",
) -> Tensor:
    r"""Binary cross-entropy with a price, a focus and a margin for each side.

    With :math:`p=\sigma(x)`, :math:`q=1-p`, :math:`q_m=\max(q-m_+,0)` and
    :math:`p_m=\max(p-m_-,0)`, a logit x with target y costs

    .. math::
        -\,y\,w_+\,q_m^{\gamma_+}\log(1-q_m) \;-\; (1-y)\,w_-\,p_m^{\gamma_-}\log(1-p_m).

    A larger gamma fades out the elements of its side that are already easy; a margin drops those
    that are wrong by less than it, and bounds the cost of the worst, so that labels which are
    likely mistaken teach nothing. The default is binary cross-entropy; equal gammas and no
    margins are the focal loss; ``margin`` with ``gamma_neg > gamma_pos`` is ASL. Swapping the
    sides, the targets and the sign of the logits changes nothing.

    Not for calibrated probabilities: with a gamma or a margin the minimiser is not the true
    probability. Compared with a plain loss whose decision threshold is tuned, gains are often
    small.

    Args:
        logits: Scores before the sigmoid; any shape, classes last.
        targets: Labels in [0, 1] of the same shape: bool, integer 0/1, or soft.
        weight_pos: Price of the positive side, >= 0; a number or one per class.
        weight_neg: Price of the negative side, in the same form.
        gamma_pos: Focus of the positive side, >= 0; a number or one per class.
        gamma_neg: Focus of the negative side, in the same form. Rare positives want
            ``gamma_neg >= gamma_pos``, or the many easy negatives outweigh them.
        margin: Margin of the negative side, 0 or in [0.001, 1); a number or one per class.
        margin_pos: Margin of the positive side, in the same form.
        detach_weight: Treat the focusing weight as a constant in the gradient, as the published
            code of ASL does. The gradient is then not that of the value.
        where: True where an element counts; broadcasts to `logits`. A hidden element adds nothing
            to value or gradient, may be NaN, and is not counted by "mean".
        reduction: "mean" over what counts, "sum" or "none".
        route: "auto" takes "chunked" (value and gradient in one pass, on CPU, for a mean or a sum),
            "compiled" (one kernel; on an accelerator from a million logits on) or "composed"
            (differentiable in everything, any device; also inside `torch.compile` and under
            `torch.func`). All give the same numbers. A named route that cannot serve is an error.

    Returns:
        A scalar, or the shape of `logits` for "none", in the dtype of `logits`; under autocast at
        least single precision. Nothing to count gives a differentiable 0.

    Raises:
        ValueError: If shapes differ, a setting is out of range, targets leave [0, 1], or the named
            route cannot serve. Targets are checked on CPU only: elsewhere that would wait for the
            device.
        TypeError: If logits are not floating point, or `where` is not boolean.

    Numerics:
        No logarithm of a probability is taken, so that value and gradient are right for every
        logit, infinite ones included, in any precision; the arithmetic is in single at least.
        "chunked" and "compiled" hold one tensor of the size of the logits, "composed" a dozen.

    Example:
        >>> x, y = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
        >>> round(asymmetric_bce_loss(x, y, weight_pos=2.0).item(), 4)
        1.4402

    References:
        Focal Loss for Dense Object Detection, 2017, arXiv:1708.02002.
        Asymmetric Loss for Multi-Label Classification, 2021, arXiv:2009.14119.
    """
    name = "asymmetric_bce_loss"
    pos = checked_side(name, "pos", weight_pos, gamma_pos, margin_pos)
    neg = checked_side(name, "neg", weight_neg, gamma_neg, margin)
    sides = Sides(pos, neg, detach_weight)
    check_reduction(name, reduction)
    _check_inputs(name, logits, targets, where, sides)
    sides = sides.to(logits)
    route = _choose(name, route, _obstacle(logits, targets, sides, reduction), logits)
    if route == "composed":
        x, y = mask_and_upcast(logits, targets, where)
        if can_read_without_sync(y):
            check_targets(name, y)
        return reduce(two_sided_loss(x, y, sides), reduction, where, result_dtype(logits))
    scale = 1.0 if reduction == "sum" else _share(logits, where)
    settings = SumSettings(name, sides, scale, route == "compiled")
    if torch.is_grad_enabled() and logits.requires_grad:
        return SumWithGradient.apply(logits, targets, where, settings)
    return sum_without_gradient(logits, targets, where, settings)


class AsymmetricBCELoss(SettingsModule):
    """Module form of `asymmetric_bce_loss`; those that are tensors are buffers.

    Args:
        weight_pos: See `asymmetric_bce_loss`, which describes all settings.
        weight_neg: Price of the negative side.
        gamma_pos: Focus of the positive side.
        gamma_neg: Focus of the negative side.
        margin: Margin of the negative side.
        margin_pos: Margin of the positive side.
        detach_weight: Treat the focusing weight as a constant in the gradient.
        reduction: "mean", "sum" or "none".
        route: "auto", "composed", "chunked" or "compiled".

    Raises:
        ValueError: If a setting is out of range.

    Warns:
        UserWarning: If `gamma_pos > gamma_neg`, which fades out positives before negatives.

    Example:
        >>> logits, targets = torch.tensor([-2.0, 0.5, 3.0]), torch.tensor([1.0, 0.0, 1.0])
        >>> AsymmetricBCELoss()(logits, targets) == torch.nn.BCEWithLogitsLoss()(logits, targets)
        tensor(True)
        >>> AsymmetricBCELoss.asl()(logits, targets).round(decimals=4)
        tensor(0.7556)
    """

    weight_pos: Setting
    weight_neg: Setting
    gamma_pos: Setting
    gamma_neg: Setting
    margin: Setting
    margin_pos: Setting

    def __init__(
        self,
        *,
        weight_pos: GivenSetting = 1.0,
        weight_neg: GivenSetting = 1.0,
        gamma_pos: GivenSetting = 0.0,
        gamma_neg: GivenSetting = 0.0,
        margin: GivenSetting = 0.0,
        margin_pos: GivenSetting = 0.0,
        detach_weight: bool = False,
        reduction: Reduction = "mean",
        route: Route = "auto",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        pos = checked_side(name, "pos", weight_pos, gamma_pos, margin_pos)
        neg = checked_side(name, "neg", weight_neg, gamma_neg, margin)
        check_reduction(name, reduction)
        _check_route(name, route)
        self._store("weight_pos", pos.weight)
        self._store("weight_neg", neg.weight)
        self._store("gamma_pos", pos.gamma)
        self._store("gamma_neg", neg.gamma)
        self._store("margin", neg.margin)
        self._store("margin_pos", pos.margin)
        self.detach_weight = detach_weight
        self.reduction: Reduction = reduction
        self.route: Route = route
        if _can_be_above(pos.gamma, neg.gamma):
            warnings.warn(
                f"{name}: gamma_pos {gamma_pos} above gamma_neg {gamma_neg} fades out easy "
                "positives before easy negatives; where positives are rare, swap them",
                stacklevel=2,
            )

    @classmethod
    def focal(cls, *, alpha: float = 0.25, gamma: float = 2.0) -> "AsymmetricBCELoss":
        """Return the focal loss with the settings of RetinaNet, arXiv:1708.02002, as a mean.

        Raises:
            ValueError: If alpha is outside [0, 1].
        """
        require(0 <= alpha <= 1, f"AsymmetricBCELoss.focal: alpha must be in [0, 1]; got {alpha}")
        return cls(weight_pos=alpha, weight_neg=1 - alpha, gamma_pos=gamma, gamma_neg=gamma)

    @classmethod
    def asl(cls, *, gamma_pos: float = 0.0, gamma_neg: float = 4.0) -> "AsymmetricBCELoss":
        """Return ASL with the settings of arXiv:2009.14119 and its margin .05.

        Its code sums, has `gamma_pos=1` by default, and detaches the focusing weight in one of its
        two classes: set `reduction` and `detach_weight` of the result to have either.
        """
        return cls(gamma_pos=gamma_pos, gamma_neg=gamma_neg, margin=0.05)

    @classmethod
    def miss_averse(cls) -> "AsymmetricBCELoss":
        """Return a loss in which a miss costs twice a false alarm and has the larger focus.

        As `gamma_pos` exceeds `gamma_neg`, the constructor warns.
        """
        return cls(weight_pos=2.0, gamma_pos=2.0, gamma_neg=1.0)

    def forward(
        self,
        logits: Float[Tensor, "*shape"],
        targets: Shaped[Tensor, "*shape"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of `logits` against `targets`."""
        return asymmetric_bce_loss(logits, targets, where=where, **self._settings())


def _can_be_above(gamma_pos: Setting, gamma_neg: Setting) -> bool:
    """Whether a class of positives has a larger gamma than one of negatives, as far as is known."""
    if not all(has_memory(g) for g in (gamma_pos, gamma_neg) if isinstance(g, Tensor)):
        return False
    high = gamma_pos.max().item() if isinstance(gamma_pos, Tensor) else gamma_pos
    low = gamma_neg.min().item() if isinstance(gamma_neg, Tensor) else gamma_neg
    return high > low


def _share(logits: Tensor, where: Tensor | None) -> float | Tensor:
    """Return one over the number of elements that count; no read where that would wait."""
    if where is None:
        return 1.0 / max(logits.numel(), 1)
    seen = where.expand(logits.shape).sum()
    if can_read_without_sync(seen):
        return 1.0 / max(int(seen), 1)
    return 1.0 / seen.clamp_min(1).to(compute_dtype(logits))


def _choose(name: str, route: Route, obstacle: str, logits: Tensor) -> Route:
    _check_route(name, route)
    if route == "auto":
        if obstacle:
            return "composed"
        if logits.device.type == "cpu":
            return "chunked"
        return "compiled" if logits.numel() >= COMPILE_MIN_LOGITS else "composed"
    if route == "chunked" and logits.device.type != "cpu":
        obstacle = obstacle or f"logits on {logits.device}"
    require(
        not obstacle or route == "composed",
        lambda: f"{name}: route {route!r} cannot serve; got {obstacle}. Leave it at 'auto'",
    )
    return route


def _obstacle(logits: Tensor, targets: Tensor, sides: Sides, reduction: Reduction) -> str:
    """Describe what only the composed route can serve; an empty text if there is nothing."""
    if reduction == "none":
        return 'reduction "none"'
    constants = [targets, *(s for s in (*sides.pos, *sides.neg) if isinstance(s, Tensor))]
    if any(t.requires_grad for t in constants):
        return "targets or settings that want a gradient"
    return kernel_obstacle(logits, *constants)


def _check_route(name: str, route: str) -> None:
    require(
        route in get_args(Route),
        lambda: f"{name}: route must be one of {', '.join(get_args(Route))}; got route {route!r}",
    )


def _check_inputs(
    name: str, logits: Tensor, targets: Tensor, where: Tensor | None, sides: Sides
) -> None:
    check_floating(name, "logits", logits)
    check_tensor(name, "targets", targets)
    require(
        logits.shape == targets.shape,
        lambda: (
            f"{name}: targets must have the shape of logits; "
            f"got targets {tuple(targets.shape)}, logits {tuple(logits.shape)}"
        ),
    )
    check_where(name, where, logits.shape)
    for setting in (*sides.pos, *sides.neg):
        if isinstance(setting, Tensor):
            require(
                setting.dim() == 0 or setting.shape == logits.shape[-1:],
                f"{name}: a setting per class must have the length of the last axis; "
                f"got setting {tuple(setting.shape)}, logits {tuple(logits.shape)}",
            )
