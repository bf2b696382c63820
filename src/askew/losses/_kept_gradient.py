"""Sums whose gradient is computed in the forward pass and kept until it is asked for."""

import torch
from torch import Tensor


def is_scaled(logits: Tensor) -> bool:
    """Whether the kept gradient includes the scale: 1 / count would underflow in float16."""
    return logits.dtype != torch.float16


def times(gradient: Tensor, grad: Tensor, scale: float | Tensor) -> Tensor:
    """Return the kept gradient times the incoming one.

    Never in place: the graph may be differentiated again.
    """
    if not is_scaled(gradient):
        grad = grad * scale
    if grad.device.type == "cpu" and grad.item() == 1:  # as after loss.backward(): no copy
        return gradient
    return gradient * grad
