"""What the losses for missing labels share: checks, a focal cost, a product that stays finite."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from askew._check import require
from askew._reduction import (
    check_floating,
    check_reduction,
    check_tensor,
    check_where,
    compute_dtype,
    hide,
)
from askew._settings_module import check_numbers


def check_labels(name: str, y: Tensor) -> None:
    """Refuse targets that are neither 0 nor 1."""
    wrong = (y != 0) & (y != 1)
    if wrong.any():
        first = float(y[wrong][0])
        require(False, f"{name}: targets must be 0 or 1; got a target {first:g}")


def checked_elements(
    name: str, logits: Tensor, targets: Tensor, where: Tensor | None, reduction: str
) -> tuple[Tensor, Tensor]:
    """Check the inputs of a loss, hide what does not count, and upcast."""
    check_reduction(name, reduction)
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
    dtype = compute_dtype(logits)
    return hide(logits, where).to(dtype), hide(targets, where).to(dtype)


def focal_cost(wrong: Tensor, gamma: float) -> Tensor:
    """Return −σ(w)^γ · log(1 − σ(w)) at the logit w of being wrong."""
    cost = -F.logsigmoid(-wrong)
    if gamma == 0:
        return cost
    weight = torch.exp(gamma * F.logsigmoid(wrong))
    # At an infinite cost the weight is flat, but its slope times that cost is NaN.
    return torch.where(cost.isfinite(), weight, weight.detach()) * cost


def priced(share: Tensor, loss: Tensor) -> Tensor:
    """Return share · loss, with 0 · ∞ = 0."""
    return torch.where((share > 0) | loss.isfinite(), share * loss, 0.0)


def check_focus(name: str, margin_pos: float, gammas: Mapping[str, float]) -> None:
    check_numbers(name, {"margin_pos": margin_pos, **gammas})
    if not -math.inf < margin_pos < math.inf:
        raise ValueError(f"{name}: margin_pos must be finite; got margin_pos {margin_pos}")
    for label, gamma in gammas.items():
        if not 0 <= gamma < math.inf:
            raise ValueError(f"{name}: {label} must be finite and at least 0; got {label} {gamma}")
