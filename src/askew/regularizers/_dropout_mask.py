"""Random masks from packed 16-bit numbers, and their application by bits.

Random numbers are most of the cost of dropout. One draw of 64 bits holds four numbers of 16 bits,
and a feature is kept if its number is below its count out of 65,536. Dropping clears bits, so the
result is exactly 0 whatever the feature was.
"""

import torch
from torch import Tensor

LEVELS = 65_536
"""Values that 16 bits can have: a keep rate is a whole number of these levels."""

CHUNK = 131_072
"""Elements of a chunk: enough to outweigh the overhead of its calls, few enough for a cache."""

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def draw_mask(
    rows: int, kept: Tensor, *, some_never: bool, generator: torch.Generator | None
) -> Tensor:
    """Draw a mask [rows, features] in int8: −1 with rate `kept` / 65,536 of the feature, else 0.

    `some_never` says whether any entry of `kept` is 0.
    """
    features = len(kept)
    mask = torch.empty(rows, features, dtype=torch.int8, device=kept.device)
    limit = (kept.clamp_min(1) - LEVELS // 2 - 1).to(torch.int16)  # int16 starts at −32,768
    # No limit of int16 clears every number, so features that are never kept are cleared apart.
    possible = (kept > 0).to(torch.int16).neg_() if some_never else None
    span = max(CHUNK // max(features, 1) // 4 * 4, 4)
    words = torch.empty(-(-min(span, rows) * features // 4), dtype=torch.int64, device=kept.device)
    for start in range(0, rows, span):
        chunk = mask[start : start + span]
        words = words[: -(-chunk.numel() // 4)]
        numbers = words.random_(-(2**63), None, generator=generator).view(torch.int16)
        numbers = numbers[: chunk.numel()].view(chunk.shape)
        torch.le(numbers, limit, out=numbers).neg_()  # in their own dtype: 5 × faster than bool
        if possible is not None:
            numbers.bitwise_and_(possible)
        chunk.copy_(numbers)
    return mask


class ApplyMask(torch.autograd.Function):
    """Clear what `mask` drops and multiply the rest by `scale`: linear, so its own derivative."""

    @staticmethod
    def forward(ctx, x: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
        """Apply `mask`, of the shape of `x` [sequences, length, features] or with length 1."""
        ctx.save_for_backward(mask, scale)
        ctx.save_for_forward(mask, scale)
        return apply_mask(x, mask, scale)

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Apply the same map to the tangent."""
        return ApplyMask.apply(grad_inputs[0], *ctx.saved_tensors)

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Apply the same map to the gradient, so that it is differentiable again."""
        (grad,) = grad_outputs
        return ApplyMask.apply(grad, *ctx.saved_tensors), None, None


def apply_mask(x: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """Compute the map of `ApplyMask` chunk by chunk."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    bits = _BITS[x.element_size()]
    span = max(CHUNK // max(x[:1].numel(), 1), 1)
    for start in range(0, len(x), span):
        rows = slice(start, start + span)
        kept = mask[rows].to(bits)  # −1 has all bits set, in any width
        chunk = out[rows]
        torch.bitwise_and(x[rows].view(bits), kept, out=chunk.view(bits))
        torch.mul(chunk, scale, out=chunk)
    return out
