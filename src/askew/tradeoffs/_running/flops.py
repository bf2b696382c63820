"""Costs of any module: its parameters, and the operations of a call, counted as it runs."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


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
