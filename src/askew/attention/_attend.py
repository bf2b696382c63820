"""The only softmax over keys: queries look at keys and gather values."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from askew._check import require
from askew.attention._masks import causal_mask


class AttentionOutput(NamedTuple):
    """What attention gives: `output`, and `weights` where they were asked for, else None."""

    output: Tensor
    weights: Tensor | None


def attend(
    q: Float[Tensor, "batch heads queries d_qk"],
    k: Float[Tensor, "batch kv_heads keys d_qk"],
    v: Float[Tensor, "batch kv_heads keys d_v"],
    *,
    attn_mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    return_weights: bool = False,
) -> AttentionOutput:
    r"""Scaled dot-product attention whose two sides may differ in length, heads and width.

    .. math::
        o_i = \sum_j \operatorname{softmax}_j(s\,q_i^\top k_j + b_{ij})\,v_j

    over the keys j that query i may see. Equal lengths, heads and widths give ordinary
    attention. A query that sees no key gets zeros, in value and in gradient.

    Args:
        q: Queries.
        k: Keys. `heads` is a multiple of `kv_heads`; consecutive query heads share a key head.
        v: Values; their width may differ from that of queries and keys.
        attn_mask: True = may attend; broadcasts to [batch, heads, queries, keys].
        bias: Added to the scaled scores; broadcasts like `attn_mask`.
        causal: Hide the future. The last query stands at the last key.
        scale: Factor of the dot product, d_qk ** -0.5 by default.
        dropout_p: Share of the weights to drop, in [0, 1). Pass 0 outside training.
        return_weights: Also return the weights, at the cost of holding them all.

    Returns:
        Output [batch, heads, queries, d_v] and weights [batch, heads, queries, keys] or None.

    Raises:
        ValueError: If shapes do not fit or `dropout_p` is out of range.
        TypeError: If `attn_mask` is not boolean.

    Numerics:
        Where d_qk and d_v differ the narrower side is padded with zeros, which keeps the
        fused kernels; the scale is that of the true width.

    Example:
        >>> q, k, v = torch.zeros(1, 4, 2, 8), torch.zeros(1, 2, 3, 8), torch.ones(1, 2, 3, 5)
        >>> attend(q, k, v, causal=True).output.shape
        torch.Size([1, 4, 2, 5])

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762, equation 1.
        GQA, 2023, arXiv:2305.13245 (grouped heads).
    """
    _check_attend(q, k, v, attn_mask, dropout_p)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    # One query alone stands at the last key and sees everything: no mask needed.
    if causal and q.shape[2] > 1 and (q.shape[2] != k.shape[2] or _explicit(attn_mask, bias)):
        seen = causal_mask(q.shape[2], k.shape[2], device=q.device)
        attn_mask = seen if attn_mask is None else attn_mask & seen
        causal = False
    causal = causal and q.shape[2] > 1
    if return_weights:
        if causal:
            attn_mask = causal_mask(q.shape[2], device=q.device)
        return _attend_with_weights(q, k, v, attn_mask, bias, scale, dropout_p)
    d_v = v.shape[-1]
    q, k, v = _pad_widths(q, k, v)
    output = F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=_merge(attn_mask, bias, q.dtype),
        dropout_p=dropout_p,
        is_causal=causal,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return AttentionOutput(output[..., :d_v], None)


def _explicit(attn_mask: Tensor | None, bias: Tensor | None) -> bool:
    return attn_mask is not None or bias is not None


def _merge(attn_mask: Tensor | None, bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """One tensor for the kernel: boolean, or a float bias with -inf where hidden."""
    if bias is None:
        return attn_mask
    bias = bias.to(dtype)
    return bias if attn_mask is None else torch.where(attn_mask, bias, float("-inf"))


def _pad_widths(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gap = v.shape[-1] - q.shape[-1]
    if gap > 0:
        return F.pad(q, (0, gap)), F.pad(k, (0, gap)), v
    return q, k, F.pad(v, (0, -gap)) if gap < 0 else v


def _attend_with_weights(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None,
    bias: Tensor | None,
    scale: float,
    dropout_p: float,
) -> AttentionOutput:
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = (q @ k.transpose(-2, -1)).to(torch.promote_types(q.dtype, torch.float32)) * scale
    if bias is not None:
        scores = scores + bias
    if attn_mask is None:
        weights = scores.softmax(dim=-1)
    else:
        # The finite fill keeps an all-hidden row free of NaN; the product makes it zero.
        hidden = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
        weights = hidden.softmax(dim=-1) * attn_mask
    weights = weights.to(v.dtype)
    return AttentionOutput(F.dropout(weights, dropout_p) @ v, weights)


def _check_attend(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None, dropout_p: float
) -> None:
    require(
        q.dim() == k.dim() == v.dim() == 4,
        "attend: q, k and v must have four axes [batch, heads, length, width]; "
        f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}",
    )
    require(
        q.shape[0] == k.shape[0] and q.shape[-1] == k.shape[-1],
        "attend: q and k must agree in batch and width; "
        f"got q {tuple(q.shape)}, k {tuple(k.shape)}",
    )
    require(
        k.shape[:3] == v.shape[:3],
        "attend: k and v must agree in batch, heads and length; "
        f"got k {tuple(k.shape)}, v {tuple(v.shape)}",
    )
    require(
        k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0,
        "attend: the heads of q must be a multiple of those of k; "
        f"got q {q.shape[1]}, k {k.shape[1]}",
    )
    require(0.0 <= dropout_p < 1.0, f"attend: dropout_p must be in [0, 1); got {dropout_p}")
    if attn_mask is not None and attn_mask.dtype != torch.bool:
        raise TypeError(
            f"attend: attn_mask must be boolean, True = may attend; got dtype {attn_mask.dtype}. "
            "Pass additive scores as bias"
        )
