"""Costs of any module: its parameters, and the operations of a call, counted as it runs."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from askew.tradeoffs._running.batches import answer


def count_flops(call: Callable[[], object]) -> int:
    """Count the floating-point operations of matrix products and convolutions in a call.

    A multiplication and an addition count as two. PyTorch's counter does not see attention and
    recurrent layers that a CPU runs as one kernel; here these run as separate products, so the call
    may need more memory than usual.

    Args:
        call: What is counted, forward and backward if it does both.

    Returns:
        Operations.

    Example:
        >>> layer, x = torch.nn.Linear(3, 5), torch.ones(2, 3)
        >>> count_flops(lambda: layer(x)), count_flops(lambda: layer(x).sum().backward())
        (60, 120)
    """
    counter = FlopCounterMode(display=False)
    enabled, *_ = torch.backends.mkldnn.set_flags(_enabled=False)
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:
            call()
    finally:
        torch.backends.mkldnn.set_flags(_enabled=enabled)
    return counter.get_total_flops()


def flops_of_step(
    model: nn.Module, batch: tuple[Any, Any], loss_of: Callable[[Any, Any], Tensor] | None
) -> float:
    """Count the operations of one forward and backward pass of a training.

    Without a loss the gradients are those of the sum of the outputs, which takes as many products.
    Of an output that holds no tensors only the forward pass counts.
    """
    inputs, target = batch

    def step() -> None:
        output = answer(model, inputs)
        loss = _sum(output) if loss_of is None else loss_of(output, target)
        if loss.requires_grad:
            loss.backward()

    return float(count_flops(step))


def _sum(output: Any) -> Tensor:
    """Return the sum of all numbers of an output that have gradients, whatever holds them."""
    if isinstance(output, Tensor):
        return output.sum().cpu() if output.requires_grad else torch.zeros(())
    if isinstance(output, Mapping):
        output = tuple(output.values())
    parts = output if isinstance(output, tuple | list) else ()
    return sum((_sum(part) for part in parts), torch.zeros(()))


def count_parameters(model: nn.Module) -> int:
    """Count the trainable numbers of a model; shared ones count once.

    Args:
        model: Any module.

    Returns:
        Their number.

    Example:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
