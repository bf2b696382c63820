"""Binary cross-entropy whose negative focus adapts while training."""

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from askew._check import require
from askew._reduction import Reduction, check_reduction, hide
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._binary import asymmetric_bce_loss
from askew.losses._binary_sides import checked_side


class AdaptiveAsymmetry(SettingsModule):
    r"""Two-sided loss whose `gamma_neg` moves until positives are learned as well as negatives.

    Let the gap be the mean probability of being right on positives minus that on negatives,
    :math:`\Delta = \bar p_{+} - \overline{(1-p)}_{-}`. Where most labels are negative, they are
    learned first and the gap is below 0; a larger gamma of the negative side raises it. After every
    call in training mode

    .. math::
        \gamma_- \leftarrow
            \operatorname{clip}(\gamma_- + \lambda(\Delta^* - \Delta),\ 0,\ \gamma_{max}).

    With ``rate = 0`` it is `asymmetric_bce_loss` with the initial settings. The gap of a small
    batch is noisy: keep `rate` small. A batch without positives or without negatives has no gap and
    moves nothing. The paper sets the target to .1.

    The state is one buffer, `gamma_neg`, which checkpoints contain. DistributedDataParallel
    broadcasts that of the first process.

    Args:
        target_gap: Gap :math:`\Delta^*` to reach, in (−1, 1).
        rate: Step :math:`\lambda` of gamma for a gap that is off by 1, >= 0.
        max_gamma: Largest `gamma_neg`, > 0.
        gamma_neg: Initial focus of the negative side, in [0, max_gamma].
        gamma_pos: Focus of the positive side, fixed.
        margin: Margin of the negative side, fixed.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> loss = AdaptiveAsymmetry(rate=1.0)
        >>> x, y = torch.tensor([-3.0, -3.0, -3.0]), torch.tensor([1.0, 0.0, 0.0])
        >>> value = loss(x, y)
        >>> round(loss.gamma_neg.item(), 3)
        1.005

    References:
        Asymmetric Loss for Multi-Label Classification, 2021, arXiv:2009.14119 (adaptive asymmetry).
    """

    _unprinted = ("gamma_neg",)  # a buffer that moves while training

    def __init__(
        self,
        *,
        target_gap: float = 0.1,
        rate: float = 0.01,
        max_gamma: float = 8.0,
        gamma_neg: float = 0.0,
        gamma_pos: float = 0.0,
        margin: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        numbers = {"target_gap": target_gap, "rate": rate, "max_gamma": max_gamma}
        numbers |= {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "margin": margin}
        check_numbers(name, numbers)
        checked_side(name, "pos", 1.0, gamma_pos, 0.0)
        checked_side(name, "neg", 1.0, 0.0, margin)
        require(
            -1 < target_gap < 1,
            f"{name}: target_gap must be in (-1, 1); got target_gap {target_gap}",
        )
        require(0 <= rate < math.inf, f"{name}: rate must be at least 0; got rate {rate}")
        require(
            0 < max_gamma < math.inf,
            f"{name}: max_gamma must be above 0 and finite; got max_gamma {max_gamma}",
        )
        require(
            0 <= gamma_neg <= max_gamma,
            f"{name}: gamma_neg must be in [0, max_gamma]; "
            f"got gamma_neg {gamma_neg}, max_gamma {max_gamma}",
        )
        check_reduction(name, reduction)
        self.target_gap = target_gap
        self.rate = rate
        self.max_gamma = max_gamma
        self.gamma_pos = gamma_pos
        self.margin = margin
        self.reduction: Reduction = reduction
        self._initial_gamma = float(gamma_neg)
        self.gamma_neg: Tensor
        self.register_buffer("gamma_neg", torch.tensor(self._initial_gamma))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Return `gamma_neg` to where it started; `to_empty` leaves it undefined."""
        self.gamma_neg.fill_(self._initial_gamma)

    def forward(
        self,
        logits: Float[Tensor, "*shape"],
        targets: Shaped[Tensor, "*shape"],
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss with the current `gamma_neg`; in training mode, then move it."""
        loss = asymmetric_bce_loss(
            logits,
            targets,
            gamma_pos=self.gamma_pos,
            gamma_neg=self.gamma_neg,
            margin=self.margin,
            where=where,
            reduction=self.reduction,
        )
        if self.training:
            # A new tensor: the backward pass may still need the current one.
            self.gamma_neg = self._moved(logits.detach(), targets.detach(), where)
        return loss

    def _moved(self, logits: Tensor, targets: Tensor, where: Tensor | None) -> Tensor:
        """Return `gamma_neg` after the step; it stays where the gap is NaN."""
        p = hide(logits, where).float().sigmoid()
        pos = hide(targets, where).float()
        neg = 1 - pos if where is None else (1 - pos) * where
        gap = (p * pos).sum() / pos.sum() - ((1 - p) * neg).sum() / neg.sum()
        step = torch.where(gap.isfinite(), self.rate * (self.target_gap - gap), 0.0)
        return (self.gamma_neg + step).clamp(0, self.max_gamma)
