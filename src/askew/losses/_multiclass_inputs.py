"""Settings per class or side and targets of multi-class losses, and their checks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from askew._check import require
from askew._reduction import can_read_without_sync, check_floating, check_tensor, compute_dtype
from askew._settings_module import Numbers, as_numbers, as_setting, check_numbers

PerClass = float | Float[Tensor, " classes"]
GivenPerClass = float | Numbers


class ClassSettings(NamedTuple):
    """Settings of a focal loss that were converted and checked, but for the number of classes."""

    alpha: PerClass
    gamma: PerClass
    weight: Tensor | None
    positive_classes: tuple[int, ...] | None


def checked_settings(
    name: str,
    alpha: GivenPerClass,
    gamma: GivenPerClass,
    weight: Numbers | None,
    positive_classes: Sequence[int] | Numbers | None,
    sides: Mapping[str, float | None],
    label_smoothing: float,
) -> ClassSettings:
    """Convert settings to numbers and tensors, and refuse those out of range."""
    check_label_smoothing(name, label_smoothing)
    given = {label: side for label, side in sides.items() if side is not None}
    check_numbers(name, given)
    classes = None
    if positive_classes is not None:
        numbers = as_numbers(name, "positive_classes", positive_classes)
        if not all(number.is_integer() for number in numbers):
            raise ValueError(
                f"{name}: positive_classes must be class indices; got positive_classes {numbers}"
            )
        classes = tuple(int(number) for number in numbers)
    if given and classes is None:
        raise ValueError(
            f"{name}: settings of a side need to know which classes are positive; "
            f"got alpha_pos, alpha_neg, gamma_pos, gamma_neg {tuple(sides.values())}. "
            "Give positive_classes"
        )
    alpha, gamma = as_setting(name, "alpha", alpha), as_setting(name, "gamma", gamma)
    for label, setting in {"alpha": alpha, "gamma": gamma, **given}.items():
        _check_not_negative(name, label, setting)
    return ClassSettings(alpha, gamma, checked_weight(name, weight), classes)


def check_label_smoothing(name: str, label_smoothing: float) -> None:
    """Refuse a share of the label outside [0, 1]."""
    check_numbers(name, {"label_smoothing": label_smoothing})
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"{name}: label_smoothing must be in [0, 1]; got label_smoothing {label_smoothing}"
        )


def checked_weight(name: str, weight: Numbers | None) -> Tensor | None:
    """Convert the weights of classes to a tensor, and refuse those below 0."""
    weight = as_setting(name, "weight", weight)
    if weight is None:
        return None
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name}: weight must be one number per class; got weight {weight}")
    _check_not_negative(name, "weight", weight)
    return weight


def _check_not_negative(name: str, label: str, setting: PerClass) -> None:
    """Refuse a setting below 0 or NaN; a tensor only where reading it needs no synchronisation."""
    low = setting
    if isinstance(setting, Tensor):
        readable = can_read_without_sync(setting) and setting.numel()
        low = float(setting.detach().min()) if readable else 0.0
    if not low >= 0:
        raise ValueError(f"{name}: {label} must be at least 0; got {label} {setting}")


def by_side(
    name: str,
    logits: Tensor,
    positive_classes: Sequence[int] | None,
    alpha: PerClass,
    gamma: PerClass,
    sides: tuple[float | None, ...],
) -> tuple[PerClass, PerClass]:
    """Return alpha and gamma per class where the settings of a side are given."""
    if positive_classes is None:
        return alpha, gamma
    classes = logits.shape[1]
    require(
        all(0 <= c < classes for c in positive_classes),
        f"{name}: positive_classes must be in [0, {classes}); "
        f"got positive_classes {list(positive_classes)}",
    )
    positive = torch.zeros(classes, dtype=torch.bool, device=logits.device)
    positive[list(positive_classes)] = True
    alpha_pos, alpha_neg, gamma_pos, gamma_neg = sides

    alphas, gammas = (
        torch.as_tensor(both, dtype=compute_dtype(logits), device=logits.device).expand(classes)
        for both in (alpha, gamma)
    )
    return (
        _filled(alphas, positive, alpha_pos, alpha_neg),
        _filled(gammas, positive, gamma_pos, gamma_neg),
    )


def _filled(both: Tensor, positive: Tensor, pos: float | None, neg: float | None) -> Tensor:
    """Return the settings of all classes, where a side's own setting replaces the common one."""
    filled = both if pos is None else both.masked_fill(positive, pos)
    return filled if neg is None else filled.masked_fill(~positive, neg)


def valid_targets(
    name: str, target: Tensor, kept: Tensor | None, ignore_index: int, classes: int
) -> tuple[Tensor, Tensor | None]:
    """Return targets with 0 where a row does not count, and where rows count; None if all do."""
    if kept is not None:
        target = target.masked_fill(~kept, ignore_index)
    if kept is None and not 0 <= ignore_index < classes and _are_classes(target, classes):
        return target, None
    kept = target != ignore_index
    target = target.masked_fill(~kept, 0)
    if can_read_without_sync(target) and not _are_classes(target, classes):
        low, high = target.min().item(), target.max().item()
        raise ValueError(
            f"{name}: targets must be in [0, {classes}) or ignore_index {ignore_index}; "
            f"got targets from {low} to {high}"
        )
    return target, kept


def _are_classes(target: Tensor, classes: int) -> bool:
    """Whether all targets are class indices; False where reading them would wait."""
    if not can_read_without_sync(target):
        return False
    if not target.numel():
        return True
    low, high = target.aminmax()
    return low.item() >= 0 and high.item() < classes


def check_shapes(name: str, logits: Tensor, targets: Tensor) -> None:
    """Refuse logits without classes, and targets that are neither indices nor probabilities."""
    check_floating(name, "logits", logits)
    check_tensor(name, "targets", targets)
    require(
        logits.dim() >= 2,
        lambda: f"{name}: logits must be [batch, classes, …]; got logits {tuple(logits.shape)}",
    )
    soft = targets.is_floating_point()
    wanted = logits.shape if soft else logits.shape[:1] + logits.shape[2:]
    kind = "probabilities" if soft else "class indices"
    require(
        targets.shape == wanted,
        lambda: (
            f"{name}: targets that are {kind} must be {tuple(wanted)}; "
            f"got targets {tuple(targets.shape)}, logits {tuple(logits.shape)}"
        ),
    )


def check_setting(name: str, label: str, setting: PerClass | None, logits: Tensor) -> None:
    """Refuse a setting of classes that is not one per class."""
    if isinstance(setting, Tensor):
        require(
            setting.shape == logits.shape[1:2],
            f"{name}: {label} must be a number or one per class; "
            f"got {label} {tuple(setting.shape)}, logits {tuple(logits.shape)}",
        )


def class_log_probs(logits: Tensor, dim: int) -> Tensor:
    """Return the log-softmax along `dim`, in at least single precision, also of infinite logits."""
    x = logits.to(compute_dtype(logits))
    largest = torch.finfo(x.dtype).max / 4  # a difference of two stays finite
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
