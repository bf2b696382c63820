"""What the losses of regression share: the residual, its price, and levels in (0, 1)."""

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

Level = float | Tensor


def residual(
    name: str,
    prediction: Tensor,
    target: Tensor,
    where: Tensor | None,
    reduction: str,
    level: Level = 0.5,
) -> Tensor:
    """Target minus prediction in the precision of the arithmetic, 0 where nothing counts.

    With a level for each entry of the last axis, the target need not have that axis.
    """
    check_reduction(name, reduction)
    check_floating(name, "prediction", prediction)
    check_floating(name, "target", target)
    check_where(name, where, prediction.shape)
    if isinstance(level, Tensor) and level.dim() == 1:
        require(
            level.shape == prediction.shape[-1:],
            f"{name}: the last axis of prediction must have one entry for each level; "
            f"got levels {tuple(level.shape)}, prediction {tuple(prediction.shape)}",
        )
        if target.shape == prediction.shape[:-1]:
            target = target.unsqueeze(-1).expand(prediction.shape)
    require(
        target.shape == prediction.shape,
        f"{name}: target must have the shape of prediction; "
        f"got target {tuple(target.shape)}, prediction {tuple(prediction.shape)}",
    )
    dtype = compute_dtype(prediction)
    return hide(target, where).to(dtype) - hide(prediction, where).to(dtype)


def price_of(u: Tensor, level: Level) -> Tensor:
    """What a residual of this sign costs a unit."""
    if isinstance(level, Tensor):
        level = level.to(device=u.device, dtype=u.dtype)
        return torch.where(u < 0, 1 - level, level)
    return torch.where(u < 0, 1 - level, u.new_full((), level))


def check_level(name: str, label: str, level: Level) -> None:
    if isinstance(level, Tensor):
        require(
            level.dim() <= 1,
            f"{name}: {label} must be a number or a vector; got {label} {tuple(level.shape)}",
        )
        if not is_readable(level):
            return
        fits = bool(((level > 0) & (level < 1)).all())
    else:
        fits = 0 < level < 1
    require(fits, f"{name}: {label} must be in (0, 1); got {label} {level}")
