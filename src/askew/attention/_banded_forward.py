"""Banded attention without the square: output and log-sum-exp of every query, tile by tile."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from askew.attention._banded_tiles import LOG2E, Band, Step, Tiles, scratch_like, sink_penalty

SAFE_SUMS = (2.0**-60, 2.0**40)
"""Between these a row's sum of exponentials has not overflowed, nor lost keys to underflow."""


class KeyHead(NamedTuple):
    """What all queries of one key head share; hidden keys are zero in the packed rows."""

    keys: Tensor
    values: Tensor
    penalty: Tensor
    masked: bool
    sink_keys: Tensor
    sink_values: Tensor
    sink_penalty: Tensor


def packed_like(tiles: Tiles, heads: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    """Allocate the packed rows of one head, for each of `heads`."""
    return [t.new_empty(tiles.packed, t.shape[-1], dtype=dtype) for t in heads]


def pack_head(
    tiles: Tiles, k: Tensor, v: Tensor, key_mask: Tensor | None, room: list[Tensor]
) -> KeyHead:
    """Pack keys and values of one head, [keys, d], into `room`, and set its sinks apart."""
    hidden = None if key_mask is None else ~key_mask
    keys, values = (tiles.pack(t, hidden, r) for t, r in zip((k, v), room, strict=True))
    sink_keys, sink_values = (t[: tiles.band.num_sinks].to(keys.dtype) for t in (k, v))
    if hidden is not None:
        hidden_sinks = hidden[: tiles.band.num_sinks, None]
        sink_keys, sink_values = (
            t.masked_fill(hidden_sinks, 0.0) for t in (sink_keys, sink_values)
        )
    return KeyHead(
        keys,
        values,
        tiles.penalty(keys, hidden),
        hidden is not None,
        sink_keys,
        sink_values,
        sink_penalty(tiles, keys, hidden),
    )


def rows_of(head: Tensor, dtype: torch.dtype) -> Tensor:
    """Return one head [length, d] in `dtype`, copied only if its rows are not contiguous."""
    head = head.to(dtype)
    fits = head.stride(-1) == 1 and head.stride(0) >= head.shape[-1]
    return head if fits else head.contiguous()


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: float32 for half precision, else `dtype`."""
    return torch.promote_types(dtype, torch.float32)


def banded_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    key_mask: Tensor | None,
    tiles: Tiles,
    scale: float,
    sinks: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute the output [B, H, Lq, d_v] and the log-sum-exp [B, H, Lq] of every query.

    With scores s of a query in base 2 (s = LOG2E · score), the output is Σ 2^s v / Σ 2^s and the
    log-sum-exp log2 Σ 2^s. The backward pass needs no more of the forward pass than these two.
    """
    dtype = compute_dtype(q.dtype)
    batch, heads, queries, _ = q.shape
    group = heads // max(k.shape[1], 1)
    output = q.new_empty(batch, heads, queries, v.shape[-1])
    lse = q.new_empty(batch, heads, queries, dtype=dtype)
    bias_tiles = tiles.bias_tile(bias, heads if bias is not None else 1, lse)
    query_head = _QueryHeadForward(tiles, scale * LOG2E, scratch_like(tiles, lse, 1)[0])
    room = packed_like(tiles, (k, v), dtype)
    for b in range(batch):
        seen = None if key_mask is None else key_mask[b]
        for kv in range(k.shape[1]):
            head = pack_head(tiles, k[b, kv], v[b, kv], seen, room)
            for h in range(kv * group, (kv + 1) * group):
                tile = bias_tiles[h if bias is not None else 0]
                sink = None if sinks is None else sinks[h].to(dtype) * LOG2E
                query_head.run(rows_of(q[b, h], dtype), head, tile, output[b, h], lse[b, h], sink)
    # A query that sees nothing: the backward pass computes 2^(s - lse), 0 for inf, NaN for -inf.
    return output, lse.masked_fill_(lse == -math.inf, math.inf)


class _QueryHeadForward:
    """Computes one query head at a time, step by step, in the same scratch."""

    def __init__(self, tiles: Tiles, scale: float, scratch: Tensor) -> None:
        self.tiles, self.scale, self.scratch = tiles, scale, scratch
        self.careful = False  # whether to subtract each row's maximum without trying first

    def run(
        self,
        q: Tensor,
        head: KeyHead,
        tile: Tensor,
        output: Tensor,
        lse: Tensor,
        sink: Tensor | None,
    ) -> None:
        """Fill `output` [queries, d_v] and `lse` [queries]; `sink` is a logit in base 2."""
        wide = output if output.dtype == q.dtype else torch.empty_like(output, dtype=q.dtype)
        for step in self.tiles.steps():
            self._step(step, q, head, tile, step.queries(wide), step.queries(lse))
        if self.tiles.band.num_sinks:
            _add_sinks(q, head, self.scale, wide, lse)
        if sink is not None:
            _add_sink_logit(sink, wide, lse)
        if wide is not output:
            output.copy_(wide)

    def _step(
        self, step: Step, q: Tensor, head: KeyHead, tile: Tensor, output: Tensor, lse: Tensor
    ) -> None:
        careful = self.careful or head.masked
        total, top = self._exponentials(step, q, head, tile, careful)
        if not careful:
            least, most = torch.aminmax(total)
            # Not subtracting the row's maximum saves two passes and is safe for usual scores. The
            # comparison is false for NaN, which therefore takes the careful way too.
            if not (least >= SAFE_SUMS[0] and most <= SAFE_SUMS[1]):
                # Rows at the edges may see nothing, whatever the scores: no reason to stay careful.
                self.careful = self.careful or step.inside
                total, top = self._exponentials(step, q, head, tile, True)
        torch.bmm(step.scores(self.scratch), step.keys(head.values), out=output)
        output.div_(total.masked_fill(total == 0, 1.0))  # a row that sees nothing stays 0
        torch.log2(total, out=total)  # log2 Σ 2^s = top + log2 Σ 2^(s - top)
        lse.copy_((total if top is None else total.add_(top)).squeeze(-1))

    def _exponentials(
        self, step: Step, q: Tensor, head: KeyHead, tile: Tensor, careful: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the exponentials in the scratch; return their sums and the subtracted maxima."""
        scores = step.scores(self.scratch)
        if step.inside and not head.masked:
            scores.copy_(tile[: step.rows])
        else:
            torch.add(tile[: step.rows], step.penalties(head.penalty), out=scores)
        keys = step.keys(head.keys).transpose(1, 2)
        scores.baddbmm_(step.queries(q), keys, alpha=self.scale)
        top = None
        if careful:
            # The lower bound is for a row of -inf alone: -inf - (-inf) would be NaN.
            top = scores.amax(-1, keepdim=True).clamp_min_(torch.finfo(scores.dtype).min)
            scores.sub_(top)
        scores.exp2_()
        return scores.sum(-1, keepdim=True), top


def _add_sinks(q: Tensor, head: KeyHead, scale: float, output: Tensor, lse: Tensor) -> None:
    """Let every query see the sinks outside its band as well.

    Two softmaxes over disjoint keys join into one: with the new log-sum-exp
    lse' = log2(2^lse + Σ_sinks 2^s), the old output counts 2^(lse - lse') and each sink's value
    2^(s - lse').
    """
    scores = torch.addmm(head.sink_penalty, q, head.sink_keys.t(), alpha=scale)
    ln2 = 1 / LOG2E  # logsumexp exists in base e only
    sinks = torch.logsumexp(scores * ln2, -1).mul_(LOG2E)
    total = torch.logaddexp2(lse, sinks)
    # Where nothing is seen all three are -inf; subtracting inf instead makes both factors 0.
    finite = total.masked_fill(total == -math.inf, math.inf)
    output.mul_(torch.exp2(lse - finite)[:, None])
    output.addmm_(scores.sub_(finite[:, None]).exp2_(), head.sink_values)
    lse.copy_(total)


def _add_sink_logit(sink: Tensor, output: Tensor, lse: Tensor) -> None:
    """Add 2^sink to every row's sum of exponentials; its value is zero."""
    total = torch.logaddexp2(lse, sink)
    finite = total.masked_fill(total == -math.inf, math.inf)  # as in `_add_sinks`
    output.mul_(torch.exp2(lse - finite)[:, None])
    lse.copy_(total)


def reach_of_rows(flags: Tensor, band: Band, queries: int) -> Tensor:
    """Find the queries that see a flagged key: [..., keys] boolean to [..., queries].

    count[j] is the number of flags before key j, so a difference counts those in a window.
    """
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
