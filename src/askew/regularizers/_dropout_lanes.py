"""Random masks from 16-bit lanes, and their application by bits.

Random numbers are most of the cost of dropout. One 64-bit draw gives four lanes of 16 bits, and a
feature is kept if its lane is below its count of 65,536. Dropping clears bits, so that it is an
exact zero whatever was there.
"""

import torch
from torch import Tensor

LANES = 65_536
"""Values of a lane: a keep rate is a whole number of them."""

CHUNK = 131_072
"""Elements of a piece: large beside the overhead of a call, small beside a cache."""

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def draw_mask(
    rows: int, kept: Tensor, *, some_never: bool, generator: torch.Generator | None
) -> Tensor:
    """A mask [rows, features] in int8, −1 with rate `kept` / 65,536 for every feature, else 0."""
    features = len(kept)
    mask = torch.empty(rows, features, dtype=torch.int8)
    limit = (kept.clamp_min(1) - LANES // 2 - 1).to(torch.int16)
    never = (kept > 0).to(torch.int16).neg_() if some_never else None
    span = max(CHUNK // max(features, 1) // 4 * 4, 4)
    words = torch.empty(-(-min(span, rows) * features // 4), dtype=torch.int64)
    for start in range(0, rows, span):
        part = mask[start : start + span]
        words = words[: -(-part.numel() // 4)]
        lanes = words.random_(-(2**63), None, generator=generator).view(torch.int16)
        lanes = lanes[: part.numel()].view(part.shape)
        torch.le(lanes, limit, out=lanes).neg_()  # into its own type: five times faster than bool
        if never is not None:
            lanes.bitwise_and_(never)
        part.copy_(lanes)
    return mask


class ApplyMask(torch.autograd.Function):
    """Clear what `mask` drops and multiply the rest by `scale`; its own derivative."""

    @staticmethod
    def forward(ctx, x: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
        """`x` [sequences, length, features], `mask` the same with length 1 or in full."""
        ctx.save_for_backward(mask, scale)
        return apply_mask(x, mask, scale)

    @staticmethod
    def backward(ctx, *grad_outputs):
        """The same map of the gradient, itself differentiable."""
        (grad,) = grad_outputs
        return ApplyMask.apply(grad, *ctx.saved_tensors), None, None


def apply_mask(x: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """The map itself, piece by piece."""
    out = torch.empty(x.shape, dtype=x.dtype)
    bits = _BITS[x.element_size()]
    span = max(CHUNK // max(x[:1].numel(), 1), 1)
    for start in range(0, len(x), span):
        piece = slice(start, start + span)
        kept = mask[piece].to(bits)
        part = out[piece]
        torch.bitwise_and(x[piece].view(bits), kept, out=part.view(bits))
        torch.mul(part, scale, out=part)
    return out
