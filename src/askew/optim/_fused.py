"""Where the fused kernels of PyTorch compute the step that its loops compute."""

from collections.abc import Sequence
from itertools import chain

from torch import Tensor


def can_run_fused(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    *states: Sequence[Tensor | None],
    sharded: bool,
) -> bool:
    """Whether the elements that belong together lie at the same place in memory.

    Args:
        params: The parameters of a group.
        grads: Their gradients.
        states: For each state of the optimizer one tensor per parameter, None before the first
            step of a parameter; a list may be empty.
        sharded: Whether the kernel takes parameters that are split over processes.

    Returns:
        False too if a gradient is sparse or of another dtype, or only some states are missing.
    """
    if [p.dtype for p in params] != [g.dtype for g in grads]:
        return False
    lists = [params, grads]
    for tensors in states:
        present = [tensor for tensor in tensors if tensor is not None]
        if present and len(present) < len(params):
            return False
        lists += [present] if present else []
    # A sharded tensor has the strides of the whole; what the kernel reads is the local piece.
    if any(hasattr(p, "_local_tensor") for p in params):
        if not sharded:
            return False
        lists = [[getattr(t, "_local_tensor", t) for t in tensors] for tensors in lists]
    if all(map(Tensor.is_contiguous, chain.from_iterable(lists))):
        return True
    return all(_alike(*tensors) for tensors in zip(*lists, strict=True))


def _alike(parameter: Tensor, gradient: Tensor, *states: Tensor) -> bool:
    """Whether the tensors of one parameter are dense and their dimensions in the same order."""
    steps = _steps(parameter)
    dense, size = True, 1
    for stride, length in sorted(steps):
        dense, size = dense and stride == size, size * length
    alike = [t for t in (gradient, *states) if t.shape == parameter.shape]
    return dense and gradient.layout == parameter.layout and all(_steps(t) == steps for t in alike)


def _steps(tensor: Tensor) -> list[tuple[int, int]]:
    """Pair stride and length of every dimension longer than 1; the strides of others are idle."""
    return [(s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1]
