"""Clipped loss of a policy, with one bound for good actions and another for bad ones."""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from askew._reduction import Reduction
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._policy_inputs import Per, check_combination, check_inputs, policy_loss
from askew.losses._ratio_rows import Bounds


def clipped_policy_loss(
    log_ratio: Float[Tensor, "*shape"],
    advantage: Float[Tensor, "..."],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
    per: Per = "token",
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Loss of a policy that gains no more once its probabilities have moved far enough.

    With the ratio :math:`r=e^x` of an action's probability now to that when it was sampled, and its
    advantage A, an action costs :math:`-\min(rA,\ \operatorname{clip}(r,1-l,1+h)\,A)`, that is

    .. math::
        -A\,\min(r,\ 1+h) \quad\text{if } A\ge0, \qquad
        -A\,\min(\max(r,\ 1-l),\ c) \quad\text{if } A<0.

    Beyond its bound an action has no gradient. Equal l and h are the clipped objective of PPO. A
    larger h lets rare actions that turned out well become likely, as DAPO does by .2 and .28: a
    probability of .01 may rise to .0128 but could fall to .008. The dual clip c bounds the cost of
    an action that turned out badly and has become likely; without it c is ∞.

    Args:
        log_ratio: Log-probability now minus that when sampled [*batch, tokens]; see
            `token_log_probs`. For one ratio per sequence (GSPO), give the mean over the tokens as
            [*batch, 1].
        advantage: How much better than expected, of each token [*batch, tokens] or of each sequence
            [*batch]. It gets no gradient.
        clip_low: l in [0, 1], how far the probability of a bad action may fall; 1 is no bound.
        clip_high: h >= 0, how far the probability of a good action may rise; ∞ is no bound.
        dual_clip: c > 1, 3 as published; None is no bound.
        per: What "mean" averages. "token": all tokens, as DAPO's code does. "sequence": the tokens
            of each sequence first, so that long ones count no more than short ones, as GRPO does.
            "group": all tokens of each group first, for inputs [*groups, sequences, tokens], as
            DAPO's formula does. "sum" over "token", divided by a constant of yours, is Dr. GRPO.
        where: True where a token counts; broadcasts to `log_ratio`. A hidden token adds nothing to
            value, gradient or denominator, and may be NaN.
        reduction: "mean" over the tokens, sequences or groups that have tokens, "sum" of the same
            costs, or "none".

    Returns:
        A scalar, or for "none" one cost per token [*batch, tokens], sequence [*batch] or group, in
        the dtype of `log_ratio`. Nothing to count gives a differentiable 0.

    Raises:
        ValueError: If shapes do not fit or a setting is out of range.
        TypeError: If an input is not floating point, or `where` is not boolean.

    Numerics:
        Computed in at least single precision. From a log-ratio of 30 on, in float16 from 8 on, the
        tangent replaces an exponential that has no bound, so that value and gradient stay finite.

    Example:
        >>> import torch
        >>> log_ratio, advantage = torch.tensor([0.5, -0.5, 0.5]), torch.tensor([1.0, -1.0, -1.0])
        >>> clipped_policy_loss(log_ratio, advantage, clip_high=0.28, reduction="none")
        tensor([-1.2800,  0.8000,  1.6487])

    References:
        Proximal Policy Optimization Algorithms, 2017, arXiv:1707.06347, eq. 7.
        Mastering Complex Control in MOBA Games with Deep Reinforcement Learning, 2020,
        arXiv:1912.09729 (dual clip). DeepSeekMath, 2024, arXiv:2402.03300 (GRPO).
        DAPO, 2025, arXiv:2503.14476. Dr. GRPO, 2025, arXiv:2503.20783. GSPO, 2025,
        arXiv:2507.18071.
    """
    name = "clipped_policy_loss"
    _check_settings(name, clip_low, clip_high, dual_clip, per, reduction)
    check_inputs(name, log_ratio, advantage, where, per)
    lowest = math.log1p(-clip_low) if clip_low < 1 else -math.inf
    highest = math.inf if dual_clip is None else math.log(dual_clip)
    bounds = Bounds((-math.inf, math.log1p(clip_high)), (lowest, highest), is_flat=True)
    return policy_loss(log_ratio, advantage, bounds, where, per, reduction)


class ClippedPolicyLoss(SettingsModule):
    """Module form of `clipped_policy_loss`.

    Args:
        clip_low: See `clipped_policy_loss`, which describes all settings.
        clip_high: How far the probability of a good action may rise.
        dual_clip: Bound of a bad action that has become likely.
        per: "token", "sequence" or "group".
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> import torch
        >>> loss = ClippedPolicyLoss(clip_high=0.28)
        >>> loss(torch.tensor([[1.0, 0.0]]), torch.tensor([1.0]))
        tensor(-1.1400)
    """

    def __init__(
        self,
        *,
        clip_low: float = 0.2,
        clip_high: float = 0.2,
        dual_clip: float | None = None,
        per: Per = "token",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_settings(type(self).__name__, clip_low, clip_high, dual_clip, per, reduction)
        self.clip_low = clip_low
        self.clip_high = clip_high
        self.dual_clip = dual_clip
        self.per: Per = per
        self.reduction: Reduction = reduction

    def forward(
        self,
        log_ratio: Float[Tensor, "*shape"],
        advantage: Float[Tensor, "..."],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of the policy."""
        return clipped_policy_loss(log_ratio, advantage, where=where, **self._settings())


def _check_settings(
    name: str, low: float, high: float, dual: float | None, per: str, reduction: str
) -> None:
    numbers = {"clip_low": low, "clip_high": high}
    check_numbers(name, numbers if dual is None else {**numbers, "dual_clip": dual})
    if not 0 <= low <= 1:
        raise ValueError(f"{name}: clip_low must be in [0, 1]; got clip_low {low}")
    if not 0 <= high <= math.inf:
        raise ValueError(f"{name}: clip_high must be >= 0; got clip_high {high}")
    if dual is not None and not 1 < dual < math.inf:
        raise ValueError(f"{name}: dual_clip must be above 1 and finite; got dual_clip {dual}")
    check_combination(name, per, reduction)
