"""Loss of a policy on samples of another, whose good and bad ones have their own weights."""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from askew._reduction import Reduction
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._policy_inputs import check_combination, check_inputs, policy_loss
from askew.losses._ratio_rows import Bounds

SMALLEST_LOG = -1e30
"""Stands for log 0, as 0 · ∞ would be NaN."""


def asymmetric_policy_loss(
    log_ratio: Float[Tensor, "*shape"],
    advantage: Float[Tensor, "..."],
    *,
    weights_pos: tuple[float, float] = (1.0, 1.0),
    weights_neg: tuple[float, float] = (0.0, 1.0),
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Policy gradient on samples of another policy, with a taper for each sign of the advantage.

    With the ratio :math:`r=e^x` of a sample's probability now to that when it was drawn, and its
    advantage A, the gradient of the loss is that of REINFORCE with a truncated weight,

    .. math::
        -A\,\operatorname{clip}(r,\ a,\ b)\,\nabla\log\pi,

    with its own bounds (a, b) for A >= 0 and for A < 0. The default is tapered off-policy
    REINFORCE: good samples weigh 1, as in supervised training, however unlikely they still are; bad
    ones weigh r, at most 1, so that they stop pushing once they have become unlikely. Bounds (1, 1)
    on both sides are plain REINFORCE, which never stops pushing bad samples down and may end in a
    policy of samples that nobody has seen; (0, 1) on both sides is truncated importance sampling,
    (0, ∞) the unbiased one. `weights_neg=(0, 0)` leaves bad samples out.

    Args:
        log_ratio: Log-probability now minus that when drawn, of each sample [*shape]. A sample is a
            whole sequence as published: sum `token_log_probs` over its tokens.
        advantage: Reward minus a baseline, of the same shape. It gets no gradient. The baseline
            decides how many samples count as good.
        weights_pos: Bounds (a, b) with 0 <= a <= b of the weight of a good sample; b may be ∞.
        weights_neg: The same for a bad sample.
        where: True where a sample counts; broadcasts to `log_ratio`.
        reduction: "mean" over the samples that count, "sum" or "none".

    Returns:
        A scalar, or [*shape] for "none", in the dtype of `log_ratio`. Nothing to count gives a
        differentiable 0.

    Raises:
        ValueError: If shapes differ or a setting is out of range.
        TypeError: If an input is not floating point, or `where` is not boolean.

    Numerics:
        The value is −A times :math:`c\,(1+x-\log c)` with c the truncated ratio, whose exact
        derivative is the gradient above; nothing is detached but the advantage. An upper bound is
        at most e^30, in float16 e^8, so that value and gradient stay finite.

    Example:
        >>> import torch
        >>> log_ratio = torch.tensor([-2.0, -2.0], requires_grad=True)
        >>> advantage = torch.tensor([1.0, -1.0])
        >>> asymmetric_policy_loss(log_ratio, advantage, reduction="sum").backward()
        >>> log_ratio.grad.round(decimals=4)
        tensor([-1.0000,  0.1353])

    References:
        Tapered Off-Policy REINFORCE, 2025, arXiv:2503.14286 (TOPR).
    """
    name = "asymmetric_policy_loss"
    bounds = _checked(name, weights_pos, weights_neg, reduction)
    check_inputs(name, log_ratio, advantage, where, "token")
    return policy_loss(log_ratio, advantage, bounds, where, "token", reduction)


class AsymmetricPolicyLoss(SettingsModule):
    """Module form of `asymmetric_policy_loss`.

    Args:
        weights_pos: See `asymmetric_policy_loss`, which describes all settings.
        weights_neg: Bounds of the weight of a bad sample.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> import torch
        >>> loss = AsymmetricPolicyLoss(reduction="none")
        >>> loss(torch.tensor([0.0, -9.0]), torch.tensor([2.0, -2.0])).round(decimals=3)
        tensor([-2.,  0.])
    """

    def __init__(
        self,
        *,
        weights_pos: tuple[float, float] = (1.0, 1.0),
        weights_neg: tuple[float, float] = (0.0, 1.0),
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _checked(type(self).__name__, weights_pos, weights_neg, reduction)
        self.weights_pos = weights_pos
        self.weights_neg = weights_neg
        self.reduction: Reduction = reduction

    def forward(
        self,
        log_ratio: Float[Tensor, "*shape"],
        advantage: Float[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of the policy."""
        return asymmetric_policy_loss(log_ratio, advantage, where=where, **self._settings())


def _checked(
    name: str, pos: tuple[float, float], neg: tuple[float, float], reduction: Reduction
) -> Bounds:
    """Return the logarithms of the weights, which must be in their ranges."""
    logs = []
    for label, pair in (("weights_pos", pos), ("weights_neg", neg)):
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(f"{name}: {label} must be two numbers; got {label} {pair!r}")
        low, high = pair
        check_numbers(name, {label: low})
        check_numbers(name, {label: high})
        if not (0 <= low <= high and low < math.inf):
            raise ValueError(
                f"{name}: {label} must be (a, b) with 0 <= a <= b, a finite; got {label} {pair}"
            )
        logs.append((_log(low), _log(high)))
    check_combination(name, "token", reduction)
    return Bounds(*logs, is_flat=False)


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else SMALLEST_LOG
