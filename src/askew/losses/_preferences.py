"""Losses on pairs of a preferred and a rejected answer."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn.functional import logsigmoid

from askew._check import require
from askew._reduction import (
    Reduction,
    can_read_without_sync,
    check_floating,
    check_reduction,
    check_tensor,
    check_where,
    compute_dtype,
    hide,
    reduce,
    result_dtype,
)
from askew._settings_module import SettingsModule, check_numbers

Preference = Literal["dpo", "robust", "ipo", "apo_zero", "apo_down"]
"""What a pair costs; see `preference_loss`."""


def preference_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    *,
    kind: Preference = "dpo",
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    chosen_lengths: Shaped[Tensor, "*pairs"] | None = None,
    rejected_lengths: Shaped[Tensor, "*pairs"] | None = None,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Move a policy towards chosen answers and away from rejected ones.

    With log-ratios c and r of policy to reference for the chosen and the rejected answer, u = c − r
    and smoothing :math:`\varepsilon`, a pair costs

    .. math::
        \text{dpo:}\quad & -(1-\varepsilon)\log\sigma(\beta u)-\varepsilon\log\sigma(-\beta u) \\
        \text{robust:}\quad & \bigl(-(1-\varepsilon)\log\sigma(\beta u)
            +\varepsilon\log\sigma(-\beta u)\bigr)\,/\,(1-2\varepsilon) \\
        \text{ipo:}\quad & \bigl(u-\tfrac{1}{2\beta}\bigr)^2 \\
        \text{apo\_zero:}\quad & \sigma(-\beta c)+\sigma(\beta r) \\
        \text{apo\_down:}\quad & \sigma(\beta c)+\sigma(-\beta u)

    Without smoothing, "dpo" is DPO and "robust" the same; with it they are conservative DPO, which
    wants a finite u, and the unbiased loss for labels of which a share ε is swapped. These and
    "ipo" see the difference u alone: both answers may become less likely. APO anchors each side.
    "apo_zero" makes the chosen answer more likely and the rejected one less, for chosen answers
    better than the policy's own; "apo_down" makes both less likely and the rejected one more so,
    for chosen answers that are worse than its own.

    Args:
        chosen: Log-probability of the chosen answer under the policy minus that under the
            reference, summed over its tokens [*pairs]; see `token_log_probs`.
        rejected: The same of the rejected answer.
        kind: "dpo", "robust", "ipo", "apo_zero" or "apo_down".
        beta: β > 0; the smaller, the farther may the policy move from the reference.
        label_smoothing: ε, for "dpo" in [0, .5], for "robust" in [0, .5).
        chosen_lengths: Numbers of tokens, by which log-ratios are divided, so that a long answer
            counts no more than a short one; > 0. Without them sums count. IPO is reported with
            them, and β then is per token.
        rejected_lengths: The same of the rejected answers; both or neither.
        where: True where a pair counts; broadcasts to [*pairs]. A hidden pair may be NaN.
        reduction: "mean" over the pairs that count, "sum" or "none".

    Returns:
        A scalar, or [*pairs] for "none", in the dtype of `chosen`. Nothing to count gives a
        differentiable 0.

    Raises:
        ValueError: If shapes differ, a setting is out of range, or a length is not above 0, which
            is checked on CPU only.
        TypeError: If log-ratios are not floating point, or `where` is not boolean.

    Numerics:
        Computed in at least single precision from log σ, never from 1 − σ.

    Example:
        >>> chosen, rejected = torch.tensor([3.0, 0.0]), torch.tensor([-7.0, 0.0])
        >>> preference_loss(chosen, rejected, reduction="none").round(decimals=4)
        tensor([0.3133, 0.6931])

    References:
        Direct Preference Optimization, 2023, arXiv:2305.18290, eq. 7, and the note of its authors
        on conservative DPO. Provably Robust DPO, 2024, arXiv:2403.00409.
        A General Theoretical Paradigm to Understand Learning from Human Preferences, 2023,
        arXiv:2310.12036, eq. 17 (IPO). Anchored Preference Optimization, 2024, arXiv:2408.06266,
        eqs. 7 and 8.
    """
    name = "preference_loss"
    _check_settings(name, kind, beta, label_smoothing, reduction)
    lengths = _checked_lengths(name, chosen_lengths, rejected_lengths)
    for label, tensor in (("chosen", chosen), ("rejected", rejected)):
        check_floating(name, label, tensor)
    for label, tensor in (("rejected", rejected), *lengths.items()):
        check_tensor(name, label, tensor)
        require(
            tensor.shape == chosen.shape,
            lambda: (
                f"{name}: {label} must have the shape of chosen; "  # noqa: B023
                f"got {label} {tuple(tensor.shape)}, chosen {tuple(chosen.shape)}"  # noqa: B023
            ),
        )
    check_where(name, where, chosen.shape, "the pairs")
    dtype = torch.promote_types(compute_dtype(chosen), compute_dtype(rejected))
    c, r = (hide(t, where).to(dtype) for t in (chosen, rejected))
    lengths = {label: hide(n, where, 1.0) for label, n in lengths.items()}
    for label, n in lengths.items():
        if can_read_without_sync(n) and not (n > 0).all():
            lowest = n.min().item()
            raise ValueError(
                f"{name}: {label} must be > 0 where a pair counts; got {label} {lowest:g}. "
                "Leave pairs without an answer out by where"
            )
    if lengths:
        c, r = (x / n for x, n in zip((c, r), lengths.values(), strict=True))
    loss = _costs(c, r, kind, beta, label_smoothing)
    return reduce(loss, reduction, where, result_dtype(chosen))


class PreferenceLoss(SettingsModule):
    """Module form of `preference_loss`.

    Args:
        kind: See `preference_loss`, which describes all settings.
        beta: The smaller, the farther may the policy move from the reference.
        label_smoothing: Share of swapped labels.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> PreferenceLoss(kind="ipo", beta=0.5)(torch.tensor([1.0]), torch.tensor([0.0]))
        tensor(0.)
    """

    def __init__(
        self,
        *,
        kind: Preference = "dpo",
        beta: float = 0.1,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_settings(type(self).__name__, kind, beta, label_smoothing, reduction)
        self.kind: Preference = kind
        self.beta = beta
        self.label_smoothing = label_smoothing
        self.reduction: Reduction = reduction

    def forward(
        self,
        chosen: Float[Tensor, "*pairs"],
        rejected: Float[Tensor, "*pairs"],
        *,
        chosen_lengths: Shaped[Tensor, "*pairs"] | None = None,
        rejected_lengths: Shaped[Tensor, "*pairs"] | None = None,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of the pairs."""
        return preference_loss(
            chosen,
            rejected,
            chosen_lengths=chosen_lengths,
            rejected_lengths=rejected_lengths,
            where=where,
            **self._settings(),
        )


def _costs(c: Tensor, r: Tensor, kind: Preference, beta: float, smoothing: float) -> Tensor:
    if kind == "ipo":
        return (c - r - 1 / (2 * beta)) ** 2
    if kind == "apo_zero":
        return torch.sigmoid(-beta * c) + torch.sigmoid(beta * r)
    if kind == "apo_down":
        return torch.sigmoid(beta * c) + torch.sigmoid(-beta * (c - r))
    u = beta * (c - r)
    right = -logsigmoid(u)
    if smoothing == 0:
        return right
    wrong = -logsigmoid(-u)
    if kind == "dpo":
        return (1 - smoothing) * right + smoothing * wrong
    return ((1 - smoothing) * right - smoothing * wrong) / (1 - 2 * smoothing)


def _checked_lengths(
    name: str, chosen: Tensor | None, rejected: Tensor | None
) -> dict[str, Tensor]:
    """Return both numbers of tokens by name, or nothing."""
    if chosen is None and rejected is None:
        return {}
    if chosen is None or rejected is None:
        given = "chosen_lengths" if rejected is None else "rejected_lengths"
        raise ValueError(f"{name}: lengths must be given for both sides or none; got {given} alone")
    return {"chosen_lengths": chosen, "rejected_lengths": rejected}


def _check_settings(name: str, kind: str, beta: float, smoothing: float, reduction: str) -> None:
    require(
        kind in get_args(Preference),
        lambda: f"{name}: kind must be one of {', '.join(get_args(Preference))}; got kind {kind!r}",
    )
    check_numbers(name, {"beta": beta, "label_smoothing": smoothing})
    if not 0 < beta < math.inf:
        raise ValueError(f"{name}: beta must be finite and above 0; got beta {beta}")
    if smoothing != 0 and kind not in ("dpo", "robust"):
        raise ValueError(
            f"{name}: label_smoothing belongs to dpo and robust; "
            f"got label_smoothing {smoothing}, kind {kind!r}"
        )
    if not (0 <= smoothing < 0.5 or (kind == "dpo" and smoothing == 0.5)):
        allowed = "[0, .5]" if kind == "dpo" else "[0, .5)"
        raise ValueError(
            f"{name}: label_smoothing must be in {allowed}; got label_smoothing {smoothing}"
        )
    check_reduction(name, reduction)
