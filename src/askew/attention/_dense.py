"""Attention over all pairs of positions: by one fused kernel, or with its weights."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from askew._reduction import is_autocast
from askew.attention._masks import band_mask, causal_mask
from askew.attention._relative import slide
from askew.attention._routes import Call
from askew.attention._softmax import masked_softmax

PRODUCTS_MIN_KEYS = 256
"""With fewer keys the fused kernel is as fast for one query as two plain products."""


def attend_dense(call: Call, *, pad: bool) -> Tensor:
    """Compute the output with the fused kernel; `pad` fills widths up to equal ones with zeros."""
    call = _explicit(call)
    if call.sinks is not None and (pad or not _products_are_faster(call)):
        queries = call.q.shape[2]
        return _attend_contained(_with_sink_key(call, call.sinks), pad=True)[:, :, -queries:]
    return _attend_contained(call, pad)


def _attend_contained(call: Call, pad: bool) -> Tensor:
    """Compute the output, in which a broken key reaches only the rows that see it."""
    if _sees_all_keys(call):
        return _attend(call, pad)
    if _can_read_without_sync(call):
        output = _attend(call, pad)
        # One NaN or inf anywhere makes the sum non-finite, so a finite sum clears all rows.
        if math.isfinite(output.detach().sum(dtype=torch.float32)):
            return output
    call, nan_rows = _contain(call)
    output = _attend(call, pad)
    return output if nan_rows is None else output + nan_rows.to(output.dtype)


def _attend(call: Call, pad: bool) -> Tensor:
    q, k, v, d_v = call.q, call.k, call.v, call.v.shape[-1]
    if not pad and _products_are_faster(call):
        return _one_query(call)
    if pad:
        q, k, v = _pad_widths(q, k, v)
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=_merge(call.attn_mask, call.bias, q.dtype),
        dropout_p=call.dropout_p,
        is_causal=call.causal,
        scale=call.scale,
        enable_gqa=bool(q.shape[1] != k.shape[1]),  # under torch.jit.trace sizes are tensors
    )[..., :d_v]


def _products_are_faster(call: Call) -> bool:
    """Whether two plain products beat the fused kernel: one query on a CPU, many keys."""
    q, k, v = call.q, call.k, call.v
    if call.sinks is not None:  # the fused kernel would need a copy of all keys and values
        return call.dropout_p == 0 and q.shape[2] == 1 and k.shape[2] > 0
    # The fused CPU kernel is slow for unequal widths, for grouped heads, and in half precision.
    slow = q.shape[-1] != v.shape[-1] or q.shape[1] != k.shape[1] or q.dtype.itemsize == 2
    possible = call.dropout_p == 0 and call.q.device.type == "cpu" and q.shape[2] == 1
    return possible and slow and k.shape[2] >= PRODUCTS_MIN_KEYS


def _one_query(call: Call) -> Tensor:
    """Compute the output [B, H, 1, d_v] of a single query per head.

    The query heads that share a key head become the rows of one matrix product.
    """
    k, v, kv_heads, kind = call.k, call.v, call.k.shape[1], call.q.dtype
    q = call.q.squeeze(2).unflatten(1, (kv_heads, -1))  # [B, kv, group, d_qk]
    scores = (q @ k.transpose(-2, -1)).to(torch.promote_types(kind, torch.float32)) * call.scale
    if call.bias is not None:
        scores = scores + _by_group(call.bias, kv_heads)
    seen = None if call.attn_mask is None else _by_group(call.attn_mask, kv_heads)
    sinks = None if call.sinks is None else call.sinks.view(kv_heads, -1, 1)
    weights = masked_softmax(scores, seen, sinks)
    return (weights.to(v.dtype) @ v).flatten(1, 2).unsqueeze(2)


def _by_group(t: Tensor, kv_heads: int) -> Tensor:
    """Reshape [.., H or 1, 1, Lk] to [.., kv or 1, group or 1, Lk]."""
    t = t.squeeze(2)
    return t.unsqueeze(1) if t.shape[1] == 1 else t.unflatten(1, (kv_heads, -1))


def attend_with_weights(call: Call) -> tuple[Tensor, Tensor]:
    """Compute the output, and the weights [B, H, Lq, Lk], without the fused kernel."""
    call = _explicit(call)
    nan_rows = None
    if not _sees_all_keys(call):
        call, nan_rows = _contain(call)
    k, v = call.k, call.v
    group = call.q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    wide = torch.promote_types(call.q.dtype, torch.float32)
    scores = (call.q @ k.transpose(-2, -1)).to(wide) * call.scale
    if call.bias is not None:
        scores = scores + call.bias
    sinks = None if call.sinks is None else call.sinks[:, None, None]
    weights = masked_softmax(scores, call.attn_mask, sinks).to(v.dtype)
    if nan_rows is not None:  # added before the product, so that gradients reach the result
        weights = weights + nan_rows.to(weights.dtype)
    return F.dropout(weights, call.dropout_p) @ v, weights


def _with_sink_key(call: Call, sinks: Tensor) -> Call:
    """Turn the heads' sinks into the scores of one more key, in front, whose value is zero.

    One more feature carries them: the sink itself in queries, 1 in the new key, 0 in the others.
    """
    q, k, v, keys = call.q, call.k, call.v, call.k.shape[2]
    kind = torch.get_autocast_dtype(q.device.type) if is_autocast(q.device.type) else q.dtype
    sinks = sinks.to(q.dtype).clamp_min(torch.finfo(kind).min)  # for -inf: 0 · inf is NaN
    sinks = sinks[:, None, None].expand(*q.shape[:3], 1)
    q = torch.cat([q * call.scale, sinks], -1)
    if call.causal:  # of equal lengths: a query in front, that of the new key, keeps them equal
        q = F.pad(q, (0, 0, 1, 0))
    k = F.pad(k, (0, 1, 1, 0))
    k[:, :, 0, -1] = 1.0
    mask, bias = (
        t if t is None else t.expand(*t.shape[:3], keys) for t in (call.attn_mask, call.bias)
    )
    return call._replace(
        q=q,
        k=k,
        v=F.pad(v, (0, 0, 1, 0)),
        attn_mask=None if mask is None else F.pad(mask, (1, 0), value=True),
        bias=None if bias is None else F.pad(bias, (1, 0)),
        scale=1.0,
        sinks=None,
    )


def _explicit(call: Call) -> Call:
    """Express the window, and causality where the kernel needs it, as a mask."""
    if call.window is not None:
        return _with_window(call if call.return_weights else _trim(call))
    queries, keys = call.q.shape[2], call.k.shape[2]
    # A single query stands at the last key, so it sees everything and needs no mask.
    if not call.causal or queries == 1:
        return call._replace(causal=False)
    plain = call.attn_mask is None and call.bias is None and not call.return_weights
    # The kernel's own `is_causal` aligns the first query with the first key (top-left), ours the
    # last with the last: they agree only for equal lengths. It also excludes an explicit mask.
    if plain and queries == keys:
        return call
    seen = causal_mask(queries, keys, device=call.q.device)
    return call._replace(causal=False, attn_mask=_both(call.attn_mask, seen))


def _trim(call: Call) -> Call:
    """Drop the keys that no query reaches; the sinks stay, at the front."""
    sinks, start = call.num_sinks, call.unreached
    if start <= sinks:
        return call
    k, v = _kept(call.k, 2, sinks, start), _kept(call.v, 2, sinks, start)
    mask, bias = (
        t if t is None or t.shape[-1] == 1 else _kept(t, -1, sinks, start)
        for t in (call.attn_mask, call.bias)
    )
    return call._replace(k=k, v=v, attn_mask=mask, bias=bias)


def _kept(rows: Tensor, axis: int, sinks: int, start: int) -> Tensor:
    tail = rows.narrow(axis, start, rows.shape[axis] - start)
    return torch.cat([rows.narrow(axis, 0, sinks), tail], axis) if sinks else tail


def _with_window(call: Call) -> Call:
    before, after = call.window or (0, 0)
    queries, keys = call.q.shape[2], call.k.shape[2]
    mask, bias = call.attn_mask, call.bias
    if queries != 1 or call.return_weights:
        # What `_trim` drops lies between the sinks and the first window: sinks still stand before
        # every window, so the mask and the bias by position stay right.
        seen = band_mask(queries, keys, before, after, call.num_sinks, device=call.q.device)
        mask = _both(mask, seen)
    if call.relative_bias is not None:
        relative = _spread(call.relative_bias, queries, keys, before, after)[None]
        bias = relative if bias is None else bias + relative
    return call._replace(
        attn_mask=mask, bias=bias, causal=False, window=None, num_sinks=0, relative_bias=None
    )


def _spread(bias: Tensor, queries: int, keys: int, before: int, after: int) -> Tensor:
    """Write the bias at every pair of positions, [H, Lq, Lk], zero outside the window."""
    if queries == 0 or keys == 0:
        return bias.new_zeros(bias.shape[0], queries, keys)
    # Offsets j - position(i) run from 1 - keys (last query, first key) to queries - 1 (first
    # query, last key). The line holds one number for each; negative padding crops.
    return slide(F.pad(bias, (keys - 1 - before, queries - 1 - after)), queries, keys)


def _both(mask: Tensor | None, seen: Tensor) -> Tensor:
    seen = seen[None, None]
    return seen if mask is None else mask & seen


def _merge(attn_mask: Tensor | None, bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Make the one mask that the kernel takes: boolean, or a float bias with -inf where hidden."""
    if bias is None:
        return attn_mask
    bias = bias.to(dtype)
    return bias if attn_mask is None else torch.where(attn_mask, bias, -math.inf)


def _pad_widths(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gap = v.shape[-1] - q.shape[-1]
    if gap > 0:
        return F.pad(q, (0, gap)), F.pad(k, (0, gap)), v
    return q, k, F.pad(v, (0, -gap)) if gap < 0 else v


def _sees_all_keys(call: Call) -> bool:
    """Whether every query sees every key, so that no hidden key can spoil its row."""
    return call.attn_mask is None and not call.causal


def _can_read_without_sync(call: Call) -> bool:
    """Whether the output's values exist and may be read at no cost: in eager mode on a CPU."""
    return (
        call.q.device.type == "cpu"
        and type(call.v) is Tensor  # fake tensors have no values, distributed ones are elsewhere
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
    )


def _contain(call: Call) -> tuple[Call, Tensor | None]:
    """Replace keys and values that are not finite, so that they cannot spoil other rows.

    A hidden key has weight 0, but 0 · NaN is NaN. So such keys are set to zero, and the second
    result, to be added to the output, is NaN in the rows that see one of them (None: no row can).
    """
    k, v = call.k, call.v
    mask = None
    if call.attn_mask is not None:
        mask = call.attn_mask.expand(*call.attn_mask.shape[:3], k.shape[2])
        if mask.shape[1] == mask.shape[2] == 1:  # no query sees the hidden keys: zero them all
            hidden = ~mask.transpose(-2, -1)
            k, v = k.masked_fill(hidden, 0.0), v.masked_fill(hidden, 0.0)
            return call._replace(k=k, v=v), None
    bad = ~(k.isfinite().all(-1) & v.isfinite().all(-1))
    k, v = k.masked_fill(bad[..., None], 0.0), v.masked_fill(bad[..., None], 0.0)
    # Without a mask the call is causal with equal lengths: row i sees the keys up to i.
    reached = bad.cumsum(-1) > 0 if mask is None else _reached(bad, mask)
    reached = reached.repeat_interleave(call.q.shape[1] // reached.shape[1], dim=1)
    return call._replace(k=k, v=v), torch.where(reached, math.nan, 0.0)[..., None]


def _reached(bad: Tensor, mask: Tensor) -> Tensor:
    """Find the rows that see a bad key.

    `bad` is [B, kv, Lk], `mask` [B or 1, H or 1, Lq or 1, Lk], the result [B, H or kv, Lq or 1].
    """
    # Products count the bad keys that each row sees; float32 has the fast kernels.
    seen, flags = mask.to(torch.float32), bad.to(torch.float32)
    if mask.shape[1] != 1:
        flags = flags.repeat_interleave(mask.shape[1] // bad.shape[1], dim=1)
        return (seen @ flags[..., None]).squeeze(-1) > 0
    if mask.shape[0] == 1:
        return flags @ seen[0, 0].t() > 0
    return flags @ seen[:, 0].transpose(-2, -1) > 0
