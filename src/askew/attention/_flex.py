"""Windows by FlexAttention: for CUDA, where it trains."""

from typing import cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, create_block_mask, flex_attention

from askew.attention._routes import Call, expanded_mask


def attend_flex(call: Call) -> Tensor:
    """Compute a call without dropout and dense bias; compiled on CUDA."""
    queries, keys = call.q.shape[2], call.k.shape[2]
    visible = _predicate(call)
    batch, heads = (None, None) if call.attn_mask is None else call.q.shape[:2]
    blocks = create_block_mask(visible, batch, heads, queries, keys, device=str(call.q.device))
    kernel = flex_attention
    if call.q.device.type == "cuda" and not torch.compiler.is_compiling():
        kernel = torch.compile(flex_attention)
    result = kernel(
        call.q,
        call.k,
        call.v,
        score_mod=_bias_of(call),
        block_mask=blocks,
        scale=call.scale,
        enable_gqa=call.q.shape[1] != call.k.shape[1],
        return_aux=None if call.sinks is None else AuxRequest(lse=True),
    )
    if isinstance(result, Tensor):
        return result
    lse, sinks = cast("tuple[Tensor, Tensor]", (result[1].lse, call.sinks))  # both asked for
    share = torch.sigmoid(lse - sinks.to(lse.dtype)[:, None])  # as in `masked_softmax`
    return result[0] * share[..., None].to(result[0].dtype)


def _predicate(call: Call):
    """Make the function that says whether query i of batch row b and head h sees key j."""
    shift = call.k.shape[2] - call.q.shape[2]
    before, after = call.window or (call.k.shape[2], 0 if call.causal else call.q.shape[2])
    sinks, mask = call.num_sinks, expanded_mask(call)

    def visible(b, h, i, j):
        position = i + shift
        seen = (j >= position - before) & (j <= position + after)
        if sinks:
            seen = seen | ((j < sinks) & ((j <= position) | (after > 0)))
        return seen if mask is None else seen & mask[b, h, i, j]

    return visible


def _bias_of(call: Call):
    """Make the function that adds the relative bias to a score, or None without a bias."""
    bias = call.relative_bias
    if bias is None:
        return None
    shift, before = call.k.shape[2] - call.q.shape[2], (call.window or (0, 0))[0]
    last = bias.shape[-1] - 1

    def add(score, b, h, i, j):
        offset = j - (i + shift) + before
        inside = (offset >= 0) & (offset <= last)
        return score + torch.where(inside, bias[h, offset.clamp(0, last)], 0.0)

    return add
