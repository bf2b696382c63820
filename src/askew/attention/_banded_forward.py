"""Banded attention without the square: output and log-sum-exp of every query, tile by tile."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from askew.attention._banded_tiles import LOG2E, Band, Step, Tiles, scratch_like, sink_penalty

SAFE = (2.0**-60, 2.0**40)
"""Sums of a row's exponentials between these can neither overflow nor have lost a key."""


class Head(NamedTuple):
    """What all queries of one key head share; `hidden` keys are zero in the packed rows."""

    keys: Tensor
    values: Tensor
    penalty: Tensor
    masked: bool
    sink_keys: Tensor
    sink_values: Tensor
    sink_penalty: Tensor


def packed_like(tiles: Tiles, heads: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    """Room for the packed rows of one head of each of `heads`."""
    return [t.new_empty(tiles.packed, t.shape[-1], dtype=dtype) for t in heads]


def pack_head(
    tiles: Tiles, k: Tensor, v: Tensor, key_mask: Tensor | None, room: list[Tensor]
) -> Head:
    """Bring keys and values of one head, [keys, d], to the order of the tiles."""
    hidden = None if key_mask is None else ~key_mask
    keys, values = (tiles.pack(t, hidden, r) for t, r in zip((k, v), room, strict=True))
    sink_keys, sink_values = (t[: tiles.band.num_sinks].to(keys.dtype) for t in (k, v))
    if hidden is not None:
        shut = hidden[: tiles.band.num_sinks, None]
        sink_keys, sink_values = (t.masked_fill(shut, 0.0) for t in (sink_keys, sink_values))
    return Head(
        keys,
        values,
        tiles.penalty(keys, hidden),
        hidden is not None,
        sink_keys,
        sink_values,
        sink_penalty(tiles, keys, hidden),
    )


def rows_of(head: Tensor, dtype: torch.dtype) -> Tensor:
    """One head [length, d] in `dtype`, laid out as matrix products want it."""
    head = head.to(dtype)
    fits = head.stride(-1) == 1 and head.stride(0) >= head.shape[-1]
    return head if fits else head.contiguous()


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half precision is computed in float32."""
    return torch.promote_types(dtype, torch.float32)


def banded_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    key_mask: Tensor | None,
    tiles: Tiles,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Output [B, H, Lq, d_v], and log2 of the summed exponentials, inf where nothing is seen."""
    dtype = compute_dtype(q.dtype)
    batch, heads, queries, _ = q.shape
    group = heads // max(k.shape[1], 1)
    output = q.new_empty(batch, heads, queries, v.shape[-1])
    lse = q.new_empty(batch, heads, queries, dtype=dtype)
    bias_tiles = tiles.bias_tile(bias, heads if bias is not None else 1, lse)
    walk = _Walk(tiles, scale * LOG2E, scratch_like(tiles, lse, 1)[0])
    room = packed_like(tiles, (k, v), dtype)
    for b in range(batch):
        seen = None if key_mask is None else key_mask[b]
        for kv in range(k.shape[1]):
            head = pack_head(tiles, k[b, kv], v[b, kv], seen, room)
            for h in range(kv * group, (kv + 1) * group):
                tile = bias_tiles[h if bias is not None else 0]
                walk.run(rows_of(q[b, h], dtype), head, tile, output[b, h], lse[b, h])
    return output, lse.masked_fill_(lse == -math.inf, math.inf)


class _Walk:
    """The walk over the steps of one head, with its scratch."""

    def __init__(self, tiles: Tiles, scale: float, scratch: Tensor) -> None:
        self.tiles, self.scale, self.scratch = tiles, scale, scratch
        self.careful = False

    def run(self, q: Tensor, head: Head, tile: Tensor, output: Tensor, lse: Tensor) -> None:
        """Fill `output` [queries, d_v] and `lse` [queries]."""
        wide = output if output.dtype == q.dtype else torch.empty_like(output, dtype=q.dtype)
        for step in self.tiles.steps():
            self._step(step, q, head, tile, step.queries(wide), step.queries(lse))
        if self.tiles.band.num_sinks:
            _add_sinks(q, head, self.scale, wide, lse)
        if wide is not output:
            output.copy_(wide)

    def _step(
        self, step: Step, q: Tensor, head: Head, tile: Tensor, output: Tensor, lse: Tensor
    ) -> None:
        careful = self.careful or head.masked
        total, top = self._exponentials(step, q, head, tile, careful)
        if not careful:
            least, most = torch.aminmax(total)
            # Exponentials without the row's maximum are faster and mostly safe.
            if not (least >= SAFE[0] and most <= SAFE[1]):
                self.careful = self.careful or step.inside
                total, top = self._exponentials(step, q, head, tile, True)
        torch.bmm(step.scores(self.scratch), step.keys(head.values), out=output)
        output.div_(total.masked_fill(total == 0, 1.0))
        torch.log2(total, out=total)
        lse.copy_((total if top is None else total.add_(top)).squeeze(-1))

    def _exponentials(
        self, step: Step, q: Tensor, head: Head, tile: Tensor, careful: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Leave the exponentials in the scratch; return their sums and what was subtracted."""
        scores = step.scores(self.scratch)
        if step.inside and not head.masked:
            scores.copy_(tile[: step.rows])
        else:
            torch.add(tile[: step.rows], step.penalties(head.penalty), out=scores)
        keys = step.keys(head.keys).transpose(1, 2)
        scores.baddbmm_(step.queries(q), keys, alpha=self.scale)
        top = None
        if careful:
            top = scores.amax(-1, keepdim=True).clamp_min_(torch.finfo(scores.dtype).min)
            scores.sub_(top)
        scores.exp2_()
        return scores.sum(-1, keepdim=True), top


def _add_sinks(q: Tensor, head: Head, scale: float, output: Tensor, lse: Tensor) -> None:
    """Let every query see the sinks outside its band as well."""
    scores = torch.addmm(head.sink_penalty, q, head.sink_keys.t(), alpha=scale)
    ln2 = 1 / LOG2E
    sinks = torch.logsumexp(scores * ln2, -1).mul_(LOG2E)
    total = torch.logaddexp2(lse, sinks)
    finite = total.masked_fill(total == -math.inf, math.inf)
    output.mul_(torch.exp2(lse - finite)[:, None])
    output.addmm_(scores.sub_(finite[:, None]).exp2_(), head.sink_values)
    lse.copy_(total)


def reach_of_rows(flags: Tensor, band: Band, queries: int) -> Tensor:
    """Which queries see a flagged key: [..., keys] boolean to [..., queries]."""
    keys = flags.shape[-1]
    position = torch.arange(queries, device=flags.device) + (keys - queries)
    count = torch.nn.functional.pad(flags.long().cumsum(-1), (1, 0))
    last = (position + band.after + 1).clamp(0, keys)
    first = (position - band.before).clamp(0, keys)
    seen = count[..., last] > count[..., first]
    if band.num_sinks:
        sinks = flags[..., : band.num_sinks, None]
        sink = torch.arange(sinks.shape[-2], device=flags.device)[:, None]
        reachable = (sink <= position) if band.after == 0 else sink >= 0
        seen = seen | (sinks & reachable).any(-2)
    return seen
