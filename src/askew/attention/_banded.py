"""Attention in a window at a cost that grows with what is seen: the registered operator."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from askew._reduction import is_autocast, without_autocast
from askew.attention._banded_backward import banded_backward
from askew.attention._banded_blocks import banded_by_blocks
from askew.attention._banded_forward import banded_forward, compute_dtype, reach_of_rows
from askew.attention._banded_tiles import Band, make_tiles


def attend_banded(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    relative_bias: Tensor | None,
    key_mask: Tensor | None,
    band: Band,
    scale: float,
    sinks: Tensor | None = None,
) -> Tensor:
    """Compute the output [B, H, Lq, d_v] of queries that see a band of keys, and sinks before it.

    On the CPU a registered operator does it. On other devices, under `torch.func` transforms and
    for forward-mode derivatives, the same mathematics runs by differentiable operations.
    """
    device = q.device.type
    if is_autocast(device):
        dtype = torch.get_autocast_dtype(device)
        q, k, v = (t.to(dtype) for t in (q, k, v))
    with without_autocast(device):
        if device == "cpu" and not _needs_composition(q, k, v, relative_bias, sinks):
            return _operator(q, k, v, relative_bias, key_mask, *band, scale, sinks)[0]
        return banded_by_blocks(q, k, v, relative_bias, key_mask, band, scale, sinks)


def _needs_composition(*tensors: Tensor | None) -> bool:
    """Whether a transform or a derivative is wanted that the operator does not support."""
    if torch.compiler.is_compiling():
        return False
    if torch._C._are_functorch_transforms_active():
        return True
    return any(t is not None and forward_ad.unpack_dual(t).tangent is not None for t in tensors)


@torch.library.custom_op("askew::banded_attention", mutates_args=(), device_types="cpu")
def _operator(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    relative_bias: Tensor | None,
    key_mask: Tensor | None,
    before: int,
    after: int,
    num_sinks: int,
    scale: float,
    sinks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the output, and the base-2 log-sum-exp of each row (inf where nothing is seen).

    A hidden key has weight 0, but 0 · NaN is NaN: a broken key spoils all rows of its tile. So if
    any output is not finite, it is computed again with those keys at zero, and the rows that see
    one of them become NaN.
    """
    tiles = make_tiles(Band(before, after, num_sinks), q.shape[2], k.shape[2])
    relative_bias = tiles.clip_bias(relative_bias, before)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        output, lse = banded_forward(q, k, v, relative_bias, key_mask, tiles, scale, sinks)
        if output.sum().isfinite():
            return output, lse
        bad = _broken_keys(k, v, key_mask)
        k, v = (t.masked_fill(bad[..., None], 0.0) for t in (k, v))
        output, lse = banded_forward(q, k, v, relative_bias, key_mask, tiles, scale, sinks)
        reached = reach_of_rows(bad, tiles.band, q.shape[2])
        reached = reached.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        return output.masked_fill_(reached[..., None], math.nan), lse


def _broken_keys(k: Tensor, v: Tensor, key_mask: Tensor | None) -> Tensor:
    """Find the visible keys that are not finite, or whose value is not: [B, kv, Lk]."""
    bad = ~(k.isfinite().all(-1) & v.isfinite().all(-1))
    return bad if key_mask is None else bad & key_mask[:, None]


@_operator.register_fake
def _(q, k, v, relative_bias, key_mask, before, after, num_sinks, scale, sinks=None):
    rows = q.shape[:3]
    return q.new_empty(*rows, v.shape[-1]), q.new_empty(rows, dtype=compute_dtype(q.dtype))


_operator.register_autocast("cpu", torch.bfloat16)


@torch.library.custom_op("askew::banded_attention_backward", mutates_args=(), device_types="cpu")
def _backward_operator(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    relative_bias: Tensor | None,
    key_mask: Tensor | None,
    output: Tensor,
    lse: Tensor,
    before: int,
    after: int,
    num_sinks: int,
    scale: float,
    sinks: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of q, k, v and, where there are such, of the bias and the sinks."""
    tiles = make_tiles(Band(before, after, num_sinks), q.shape[2], k.shape[2])
    relative_bias = tiles.clip_bias(relative_bias, before)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        bad = None  # as in the forward pass, whose output and lse of broken rows are of no use
        if not output.sum().isfinite():
            bad = _broken_keys(k, v, key_mask)[..., None]
            k, v = (t.masked_fill(bad, 0.0) for t in (k, v))
            output, lse = banded_forward(q, k, v, relative_bias, key_mask, tiles, scale, sinks)
        inputs = (q, k, v, relative_bias, key_mask, sinks)
        dq, dk, dv, dbias, dsinks = banded_backward(grad, inputs, output, lse, tiles, scale)
        if bad is not None:
            dk, dv = (t.masked_fill_(bad, 0.0) for t in (dk, dv))
        if relative_bias is not None:  # offsets that no query can reach have no gradient
            unreached = before - tiles.band.before, after - tiles.band.after
            dbias = F.pad(dbias.to(relative_bias.dtype), unreached)
        return dq, dk, dv, dbias, dsinks if sinks is None else dsinks.to(sinks.dtype)


@_backward_operator.register_fake
def _(
    grad, q, k, v, relative_bias, key_mask, output, lse, before, after, num_sinks, scale, sinks=None
):
    dbias = q.new_empty(0) if relative_bias is None else torch.empty_like(relative_bias)
    dsinks = lse.new_empty(0) if sinks is None else sinks.new_empty(sinks.shape)
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape), dbias, dsinks


def _save_for_backward(ctx, inputs, output):
    *tensors, ctx.before, ctx.after, ctx.num_sinks, ctx.scale, sinks = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*tensors, *output, sinks)


def _differentiate(ctx, grad, _):
    band = (ctx.before, ctx.after, ctx.num_sinks)
    # Once: under checkpointing a second reading is an error.
    *saved, sinks = ctx.saved_tensors
    *gradients, dbias, dsinks = _backward_operator(grad, *saved, *band, ctx.scale, sinks)
    dbias = None if saved[3] is None else dbias
    # Between them key mask, band (3) and scale, which have no gradient.
    return (*gradients, dbias, None, None, None, None, None, None if sinks is None else dsinks)


_operator.register_autograd(_differentiate, setup_context=_save_for_backward)


def _save_for_second_backward(ctx, inputs, output):
    *tensors, ctx.before, ctx.after, ctx.num_sinks, ctx.scale, sinks = inputs
    ctx.save_for_backward(*tensors[:6], sinks)  # without output and lse, which are computed again


def _differentiate_twice(ctx, *upstream):
    """Build the gradient again from differentiable operations and differentiate that."""
    grad, q, k, v, bias, key_mask, sinks = ctx.saved_tensors
    deeper = torch.is_grad_enabled()
    with torch.enable_grad():
        # Fresh views, lest one input's gradient run on through the history of another.
        grad, q, k, v = (_variable(t) for t in (grad, q, k, v))
        bias, sinks = (None if t is None else _variable(t) for t in (bias, sinks))
        band = Band(ctx.before, ctx.after, ctx.num_sinks)
        output = banded_by_blocks(q, k, v, bias, key_mask, band, ctx.scale, sinks)
        # In the place of an input that is None, `upstream` holds an empty tensor.
        there = [i for i, t in enumerate((q, k, v, bias, sinks)) if t is not None]
        inputs = [t for t in (q, k, v, bias, sinks) if t is not None]
        first = torch.autograd.grad(output, inputs, grad, create_graph=True)
        dgrad, *second = torch.autograd.grad(
            first,
            [grad, *inputs],
            [upstream[i] for i in there],
            create_graph=deeper,
            allow_unused=True,
        )
    found = dict(zip(there, second, strict=True))
    dq, dk, dv, dbias, dsinks = (found.get(i) for i in range(5))
    # Between them key mask, output, lse, band (3) and scale. Output and lse count as functions of
    # the inputs here: their derivatives are in `second` already.
    return (dgrad, dq, dk, dv, dbias, None, None, None, None, None, None, None, dsinks)


def _variable(t: Tensor) -> Tensor:
    """Return a fresh view, or a fresh leaf, that requires a gradient."""
    return t.view_as(t) if t.requires_grad else t.detach().requires_grad_()


_backward_operator.register_autograd(_differentiate_twice, setup_context=_save_for_second_backward)
