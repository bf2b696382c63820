"""Gradients of banded attention: scores are computed again, tile by tile."""

from typing import NamedTuple

import torch
from torch import Tensor

from askew.attention._banded_forward import Head, compute_dtype, pack_head, packed_like, rows_of
from askew.attention._banded_tiles import LOG2E, Step, Tiles, scratch_like


class Slopes(NamedTuple):
    """Gradients with respect to queries, keys, values and relative bias."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor


class Queries(NamedTuple):
    """Of one query head: its rows, the gradient of its output, and two numbers per row."""

    q: Tensor
    grad: Tensor
    lse: Tensor
    minus_delta: Tensor


class KeySlopes(NamedTuple):
    """Where the gradients of one key head gather: packed rows, and sinks apart."""

    keys: Tensor
    values: Tensor
    sink_keys: Tensor
    sink_values: Tensor


def banded_backward(
    grad: Tensor,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None],
    output: Tensor,
    lse: Tensor,
    tiles: Tiles,
    scale: float,
) -> Slopes:
    """Gradients of q, k, v and of the tile's bias; `inputs` are q, k, v, bias and key mask."""
    q, k, v, bias, key_mask = inputs
    dtype = compute_dtype(q.dtype)
    heads, group = q.shape[1], q.shape[1] // max(k.shape[1], 1)
    dq, dk, dv = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v))
    bias_tiles = tiles.bias_tile(bias, heads if bias is not None else 1, lse)
    dbias = torch.zeros_like(bias_tiles) if bias is not None else None
    walk = _Walk(tiles, scale, scratch_like(tiles, lse, 2))
    room, slopes = (packed_like(tiles, (k, v), dtype) for _ in range(2))
    for b in range(q.shape[0]):
        seen = None if key_mask is None else key_mask[b]
        for kv in range(k.shape[1]):
            head = pack_head(tiles, k[b, kv], v[b, kv], seen, room)
            sinks = (torch.zeros_like(t) for t in (head.sink_keys, head.sink_values))
            gathered = KeySlopes(*(t.zero_() for t in slopes), *sinks)
            for h in range(kv * group, (kv + 1) * group):
                rows = _queries(q[b, h], grad[b, h], output[b, h], lse[b, h])
                tile = bias_tiles[h if bias is not None else 0]
                walk.run(rows, head, tile, dq[b, h], gathered, None if dbias is None else dbias[h])
            _unpack(tiles, gathered, dk[b, kv], dv[b, kv], seen)
    if dbias is None:
        return Slopes(dq, dk, dv, q.new_empty(0))
    return Slopes(dq, dk, dv, tiles.diagonals(dbias).sum(1))


def _queries(q: Tensor, grad: Tensor, output: Tensor, lse: Tensor) -> Queries:
    grad = rows_of(grad, lse.dtype)
    minus_delta = torch.linalg.vecdot(grad, output.to(lse.dtype)).neg_()
    return Queries(rows_of(q, lse.dtype), grad, lse, minus_delta)


def _unpack(tiles: Tiles, gathered: KeySlopes, dk: Tensor, dv: Tensor, seen: Tensor | None) -> None:
    keys, place = tiles.span()
    sinks = tiles.band.num_sinks
    both = ((dk, gathered.keys, gathered.sink_keys), (dv, gathered.values, gathered.sink_values))
    for slope, packed, sink in both:
        slope[: keys.start].zero_()
        slope[keys.stop :].zero_()
        slope[keys] = packed[place]
        if sinks:
            slope[:sinks] += sink
        if seen is not None:
            slope.masked_fill_(~seen[:, None], 0.0)


class _Walk:
    """The walk over the steps of one head, with its scratch."""

    def __init__(self, tiles: Tiles, scale: float, scratch: list[Tensor]) -> None:
        self.tiles, self.scale, self.scratch = tiles, scale, scratch

    def run(
        self,
        rows: Queries,
        head: Head,
        tile: Tensor,
        dq: Tensor,
        gathered: KeySlopes,
        dbias: Tensor | None,
    ) -> None:
        """Fill `dq` [queries, d_qk]; add to the gradients of keys, values and bias."""
        wide = dq if dq.dtype == rows.q.dtype else torch.empty_like(dq, dtype=rows.q.dtype)
        for step in self.tiles.steps():
            probs, slope = self._slopes(step, rows, head, tile)
            if dbias is not None:
                dbias[: step.rows] += slope.sum(0)
            target = step.queries(wide)
            keys = step.keys(head.keys)
            torch.baddbmm(target, slope, keys, beta=0, alpha=self.scale, out=target)
            self._gather(step, rows, probs, slope, gathered)
        if self.tiles.band.num_sinks:
            self._sinks(rows, head, wide, gathered)
        if wide is not dq:
            dq.copy_(wide)

    def _slopes(self, step: Step, rows: Queries, head: Head, tile: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities, and the gradient of the scores."""
        probs, slope = (step.scores(s) for s in self.scratch)
        torch.sub(tile[: step.rows], step.queries(rows.lse)[..., None], out=probs)
        if head.masked or not step.inside:
            probs.add_(step.penalties(head.penalty))
        keys, values = (step.keys(t).transpose(1, 2) for t in (head.keys, head.values))
        probs.baddbmm_(step.queries(rows.q), keys, alpha=self.scale * LOG2E).exp2_()
        slope.copy_(step.queries(rows.minus_delta)[..., None])
        slope.baddbmm_(step.queries(rows.grad), values).mul_(probs)
        return probs, slope

    def _gather(
        self, step: Step, rows: Queries, probs: Tensor, slope: Tensor, gathered: KeySlopes
    ) -> None:
        q, grad = step.queries(rows.q), step.queries(rows.grad)
        for keys, blocks in step.apart(gathered.keys):
            keys.baddbmm_(slope[blocks].transpose(1, 2), q[blocks], alpha=self.scale)
        for values, blocks in step.apart(gathered.values):
            values.baddbmm_(probs[blocks].transpose(1, 2), grad[blocks])

    def _sinks(self, rows: Queries, head: Head, dq: Tensor, gathered: KeySlopes) -> None:
        scores = torch.addmm(
            head.sink_penalty, rows.q, head.sink_keys.t(), alpha=self.scale * LOG2E
        )
        probs = scores.sub_(rows.lse[:, None]).exp2_()
        slope = torch.addmm(rows.minus_delta[:, None], rows.grad, head.sink_values.t()).mul_(probs)
        dq.addmm_(slope, head.sink_keys, alpha=self.scale)
        gathered.sink_keys.addmm_(slope.t(), rows.q, alpha=self.scale)
        gathered.sink_values.addmm_(probs.t(), rows.grad)
