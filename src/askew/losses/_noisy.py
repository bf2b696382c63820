"""What the losses for wrong labels share: checks, and the log-probability of a label."""

import math

import torch
from torch import Tensor

from askew._check import require
from askew._reduction import (
    check_floating,
    check_reduction,
    check_where,
    compute_dtype,
    hide,
    is_readable,
)

SMALLEST_SHIFT = 1e-3
"""A smaller shift of the probability would drown in the rounding of 1 − p in single precision."""


def class_log_probs(logits: Tensor, dim: int) -> Tensor:
    """Log-softmax along `dim` in the precision of the arithmetic, also of infinite logits."""
    x = logits.to(compute_dtype(logits))
    largest = torch.finfo(x.dtype).max / 4
    return x.clamp(-largest, largest).log_softmax(dim)


def check_class_index(name: str, targets: Tensor, num_classes: int) -> None:
    """Refuse class indices outside [0, `num_classes`)."""
    if targets.numel():
        low, high = targets.aminmax()
        require(
            bool((low >= 0) & (high < num_classes)),
            f"{name}: targets must be class indices in [0, {num_classes}); "
            f"got targets from {low:d} to {high:d}. Leave rows out by where",
        )


def label_log_probs(
    name: str, logits: Tensor, targets: Tensor, where: Tensor | None, reduction: str
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each row's label, and `where`."""
    check_reduction(name, reduction)
    check_floating(name, "logits", logits)
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(f"{name}: targets must be class indices; got dtype {targets.dtype}")
    require(
        logits.dim() == 2 and targets.shape == logits.shape[:1],
        f"{name}: logits must be [batch, classes] and targets [batch]; "
        f"got logits {tuple(logits.shape)}, targets {tuple(targets.shape)}",
    )
    check_where(name, where, targets.shape)
    if where is not None:
        where = where.expand(targets.shape)
        logits, targets = hide(logits, where.unsqueeze(-1)), hide(targets, where)
    if is_readable(targets):
        check_class_index(name, targets, logits.shape[1])
    log_probs = class_log_probs(logits, 1)
    return log_probs.gather(1, targets.long().unsqueeze(1)).squeeze(1), where


def check_exponent(name: str, q: float) -> None:
    require(0 < q < math.inf, f"{name}: q must be finite and above 0; got q {q}")
