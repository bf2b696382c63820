"""Banded attention from differentiable operations: linear cost, any device, any derivative."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from askew.attention._banded_forward import compute_dtype, reach_of_rows
from askew.attention._banded_tiles import Band, Tiles, make_tiles
from askew.attention._softmax import masked_softmax


def banded_by_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    key_mask: Tensor | None,
    band: Band,
    scale: float,
    sinks: Tensor | None = None,
) -> Tensor:
    """Compute the output [B, H, Lq, d_v]; `bias` is [H, offsets] of the band, mask [B, Lk].

    The tiles are those of the operator (`Tiles`), all at once. Autograd keeps the weights of every
    tile for the backward pass, which the operator does not.
    """
    kind, dtype, kv_heads = q.dtype, compute_dtype(q.dtype), k.shape[1]
    tiles = make_tiles(band, q.shape[2], k.shape[2])
    bias = tiles.clip_bias(bias, band.before)
    k, v, nan_rows = _contain(k, v, key_mask, tiles, q.shape[1])
    q, k, v = (t.to(dtype) for t in (q, k, v))
    blocks = _pad_queries(q, tiles).unflatten(2, (-1, tiles.block)).unflatten(1, (kv_heads, -1))
    # blocks is [B, kv, group, blocks, block, d]: the heads of a group share keys and values.
    keys, values = (_windows(t, tiles) for t in (k, v))  # [B, kv, 1, blocks, width, d]
    scores = blocks @ keys.transpose(-2, -1) * scale
    if bias is not None:
        tile = _tile(bias.to(dtype), tiles).unflatten(0, (kv_heads, -1))
        scores = scores + tile[:, :, None]
    seen = _seen(tiles, key_mask, q.device)
    if tiles.band.num_sinks:
        first = blocks @ k[:, :, None, None, : tiles.band.num_sinks].transpose(-2, -1) * scale
        scores = torch.cat([scores, first], -1)
        seen = torch.cat([seen, _sinks_seen(tiles, key_mask, q.device)], -1)
    if sinks is not None:
        sinks = sinks.view(kv_heads, -1, 1, 1, 1)
    weights = masked_softmax(scores, seen, sinks)
    output = weights[..., : tiles.width] @ values
    if tiles.band.num_sinks:
        output = output + weights[..., tiles.width :] @ v[:, :, None, None, : tiles.band.num_sinks]
    output = output.flatten(1, 2).flatten(2, 3)[:, :, : tiles.queries]
    return (output + nan_rows).to(kind)


def _contain(
    k: Tensor, v: Tensor, key_mask: Tensor | None, tiles: Tiles, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Set keys and values that are not finite to zero, since 0 · NaN is NaN also for hidden keys.

    The third result, to be added to the output, is NaN in the rows that see such a key.
    """
    bad = ~(k.isfinite().all(-1) & v.isfinite().all(-1))
    k, v = (t.masked_fill(bad[..., None], 0.0) for t in (k, v))
    if key_mask is not None:
        bad = bad & key_mask[:, None]
    reached = reach_of_rows(bad, tiles.band, tiles.queries)
    reached = reached.repeat_interleave(heads // bad.shape[1], dim=1)[..., None]
    return k, v, torch.where(reached, math.nan, 0.0).to(compute_dtype(k.dtype))


def _pad_queries(q: Tensor, tiles: Tiles) -> Tensor:
    """Pad the queries to whole blocks."""
    return F.pad(q, (0, 0, 0, tiles.packed - tiles.width + tiles.block - tiles.queries))


def _windows(rows: Tensor, tiles: Tiles) -> Tensor:
    """Cut the tile of each block out of the padded keys: [B, kv, 1, blocks, width, d]."""
    keys, place = tiles.span()
    packed = F.pad(rows[:, :, keys], (0, 0, place.start, tiles.packed - place.stop))
    return packed.unfold(2, tiles.width, tiles.block).transpose(-2, -1)[:, :, None]


def _tile(bias: Tensor, tiles: Tiles) -> Tensor:
    """Spread the bias over a tile, [H, block, width]: row r is row 0 moved r columns right.

    Outside the band it is 0; `_seen` hides those places.
    """
    start = tiles.left - tiles.band.before
    gap = tiles.width - bias.shape[-1] - start
    # Windows of one line: the last row begins at its start, every earlier row one place further.
    padded = F.pad(bias, (start + tiles.block - 1, gap))
    return padded.unfold(-1, tiles.width, 1).flip(1)


def _seen(tiles: Tiles, key_mask: Tensor | None, device: torch.device) -> Tensor:
    """Find the keys of its tile that a query sees: [B or 1, 1, 1, blocks, block, width]."""
    row = torch.arange(tiles.block, device=device)[:, None]
    offset = torch.arange(tiles.width, device=device) - tiles.left - row  # key minus query
    band = (offset >= -tiles.band.before) & (offset <= tiles.band.after)
    if key_mask is None:
        key_mask = torch.ones(1, tiles.keys, dtype=torch.bool, device=device)
    # The mask is padded with 0 exactly as the keys are, so padding counts as hidden.
    exists = _windows(key_mask[:, None, :, None].to(torch.uint8), tiles) > 0
    return exists.transpose(-2, -1) & band


def _sinks_seen(tiles: Tiles, key_mask: Tensor | None, device: torch.device) -> Tensor:
    """Find the sinks that a query sees outside its band: [B or 1, 1, 1, blocks, block, sinks]."""
    band = tiles.band
    rows = tiles.packed - tiles.width + tiles.block
    position = torch.arange(rows, device=device)[:, None] + (tiles.keys - tiles.queries)
    sink = torch.arange(band.num_sinks, device=device)
    seen = sink < position - band.before
    if band.after > 0:
        seen = seen | (sink > position + band.after)
    seen = seen.unflatten(0, (-1, tiles.block))[None, None, None]
    if key_mask is None:
        return seen
    return seen & key_mask[:, None, None, None, None, : band.num_sinks]
