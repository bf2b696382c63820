"""Reductions, and the checks, masks and dtypes that all losses and penalties share."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad

from askew._check import require

Reduction = Literal["mean", "sum", "none"]
"""How costs are combined into one number; "none" keeps one cost per row or element."""


def check_reduction(name: str, reduction: str) -> None:
    """Refuse a reduction that `name` does not know."""
    require(
        reduction in get_args(Reduction),
        lambda: f'{name}: reduction must be "mean", "sum" or "none"; got reduction {reduction!r}',
    )


def check_where(
    name: str, where: Tensor | None, shape: torch.Size, label: str = "the shape of the loss"
) -> None:
    """Refuse a `where` that is not boolean or does not broadcast to `shape`, that of `label`."""
    if where is None:
        return
    check_tensor(name, "where", where)
    if where.dtype != torch.bool:
        raise TypeError(
            f"{name}: where must be boolean, True = counts; got dtype {where.dtype}. "
            "Compare it with 0 first"
        )
    missing = len(shape) - where.dim()
    fits = missing >= 0 and all(
        size in (1, full) for size, full in zip(where.shape, shape[missing:], strict=True)
    )
    require(
        fits,
        f"{name}: where must broadcast to {label}; "
        f"got where {tuple(where.shape)}, {label.removeprefix('the shape of the ')} {tuple(shape)}",
    )


def check_tensor(name: str, label: str, value: object) -> None:
    """Refuse a list, an array or a number in place of a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}: {label} must be a tensor; got {label} of type {type(value).__name__}. "
            f"Write torch.as_tensor({label})"
        )


def check_floating(name: str, label: str, tensor: Tensor) -> None:
    """Refuse scores that are not floating point."""
    check_tensor(name, label, tensor)
    if not tensor.is_floating_point():
        raise TypeError(f"{name}: {label} must be floating point; got dtype {tensor.dtype}")


def can_read_without_sync(*tensors: Tensor) -> bool:
    """Whether values can be read at no cost: plain CPU tensors in eager mode, without `torch.func`.

    Elsewhere reading a value would wait for the device or break the graph, so checks are skipped.
    """
    return (
        not torch.compiler.is_compiling()
        and not is_transformed()
        and all(t.is_cpu and has_memory(t) for t in tensors)
    )


def is_transformed() -> bool:
    """Whether the call runs under a transform of `torch.func`."""
    return torch._C._are_functorch_transforms_active()


def kernel_obstacle(*tensors: Tensor) -> str:
    """Describe why only plain differentiable operations can serve; an empty text if others can.

    A kernel written by hand reads and writes memory, and knows its first derivative alone.
    """
    if torch.compiler.is_compiling():
        return "a call inside torch.compile"
    if is_transformed():
        return "a call under a transform of torch.func"
    if is_forward_mode():
        return "a call in forward-mode differentiation"
    return "" if all(has_memory(t) for t in tensors) else "tensors without memory of their own"


def is_forward_mode() -> bool:
    """Whether the call runs in a level of forward-mode differentiation, also by `torch.func`."""
    return forward_ad._current_level >= 0


def is_autocast(device: str) -> bool:
    """Whether autocast acts on a kind of device; it knows no "meta", and asking there fails.

    `torch.amp.is_autocast_available` would be the question, but torch 2.9 cannot compile it.
    """
    return device != "meta" and torch.is_autocast_enabled(device)


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Return a context in which autocast does not act on a kind of device."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def has_memory(tensor: Tensor) -> bool:
    """Whether the values are in memory; not those of meta and fake tensors or other subclasses."""
    return (
        type(tensor) in _PLAIN and not tensor.is_meta and torch._C._get_dispatch_mode(_FAKE) is None
    )


_PLAIN = (Tensor, torch.nn.Parameter)
_FAKE = torch._C._TorchDispatchModeKey.FAKE


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """Return the dtype in which a loss is computed: at least single precision."""
    return torch.promote_types(tensor.dtype, torch.float32)


def result_dtype(tensor: Tensor) -> torch.dtype:
    """Return the dtype of the result: that of the scores, at least single under autocast."""
    if is_autocast(tensor.device.type):
        return compute_dtype(tensor)
    return tensor.dtype


def hide(tensor: Tensor, where: Tensor | None, fill: float = 0.0) -> Tensor:
    """Fill hidden elements before anything is computed from them: 0 · NaN would still be NaN."""
    return tensor if where is None else tensor.masked_fill(~where, fill)


def reduce(
    loss: Tensor,
    reduction: Reduction,
    where: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Apply `reduction` to the entries of `loss` where `where` is True, and cast to `dtype`.

    "none" returns 0 at the other entries. "mean" divides by the number of entries that count; if
    there is none, it is a differentiable zero.
    """
    if where is not None:
        loss = torch.where(where, loss, 0.0)
    if reduction == "sum":
        loss = loss.sum()
    elif reduction == "mean":
        loss = loss.sum() / count(loss.shape, where)
    return loss if dtype is None else loss.to(dtype)


def count(shape: torch.Size, where: Tensor | None) -> Tensor | int:
    """Return how many entries of `shape` count, at least 1."""
    if where is None:
        return max(shape.numel(), 1)
    return where.expand(shape).sum().clamp_min(1)
