"""What a call of any module costs in arithmetic, counted as it runs."""

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_flops(call: Callable[[], object]) -> int:
    """Count the floating-point operations of matrix products and convolutions in a call.

    A multiplication and an addition are two. PyTorch's counter passes over what a CPU runs as one
    kernel of its own, attention and recurrent layers; these run here as the products they are made
    of, so the call may need more memory than usual.

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
