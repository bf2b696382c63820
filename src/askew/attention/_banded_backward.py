"""Gradients of banded attention, from scores that are computed again tile by tile."""

from typing import NamedTuple

import torch
from torch import Tensor

from askew.attention._banded_forward import KeyHead, compute_dtype, pack_head, packed_like, rows_of
from askew.attention._banded_tiles import LOG2E, Step, Tiles, scratch_like


class Gradients(NamedTuple):
    """Gradients with respect to queries, keys, values, relative bias and sinks."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor
    sinks: Tensor


class QueryHead(NamedTuple):
    """One query head: its rows, the gradient of its output, and per row lse and -δ."""

    q: Tensor
    grad: Tensor
    lse: Tensor
    minus_delta: Tensor


class KeyGradients(NamedTuple):
    """Sums of the gradients of one key head over its queries: packed rows, and sinks apart."""

    keys: Tensor
    values: Tensor
    sink_keys: Tensor
    sink_values: Tensor


def banded_backward(
    grad: Tensor,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None],
    output: Tensor,
    lse: Tensor,
    tiles: Tiles,
    scale: float,
) -> Gradients:
    """Compute the gradients of q, k, v, bias and sinks; `inputs` are q, k, v, bias, mask, sinks.

    With probabilities p_ij = 2^(s_ij - lse_i), the output o_i = Σ_j p_ij v_j, and its gradient g_i,

        dv_j  = Σ_i p_ij g_i
        ds_ij = p_ij (g_i·v_j - δ_i),   δ_i = Σ_j p_ij g_i·v_j = g_i·o_i
        dq_i  = scale Σ_j ds_ij k_j,    dk_j = scale Σ_i ds_ij q_i,    dr_(j-i) = Σ ds_ij

    where ds is the gradient of the score in base e, scale · q·k + r. A sink z is a score with the
    value 0, so dz = -Σ_i 2^(z - lse_i) δ_i with z in base 2. As δ needs the output alone,
    one pass over the tiles is enough (FlashAttention, 2022, arXiv:2205.14135).
    """
    q, k, v, bias, key_mask, sinks = inputs
    dtype = compute_dtype(q.dtype)
    heads, group = q.shape[1], q.shape[1] // max(k.shape[1], 1)
    dq, dk, dv = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v))
    bias_tiles = tiles.bias_tile(bias, heads if bias is not None else 1, lse)
    dbias = torch.zeros_like(bias_tiles) if bias is not None else None
    dsinks = lse.new_zeros(0 if sinks is None else heads)
    query_head = _QueryHeadBackward(tiles, scale, scratch_like(tiles, lse, 2))
    room, packed_sums = (packed_like(tiles, (k, v), dtype) for _ in range(2))
    for b in range(q.shape[0]):
        seen = None if key_mask is None else key_mask[b]
        for kv in range(k.shape[1]):
            head = pack_head(tiles, k[b, kv], v[b, kv], seen, room)
            first = (torch.zeros_like(t) for t in (head.sink_keys, head.sink_values))
            sums = KeyGradients(*(t.zero_() for t in packed_sums), *first)
            for h in range(kv * group, (kv + 1) * group):
                rows = _query_head(q[b, h], grad[b, h], output[b, h], lse[b, h])
                tile = bias_tiles[h if bias is not None else 0]
                dtile = None if dbias is None else dbias[h]
                query_head.run(rows, head, tile, dq[b, h], sums, dtile)
                if sinks is not None:
                    share = torch.exp2(sinks[h].to(dtype) * LOG2E - rows.lse)
                    dsinks[h] += share @ rows.minus_delta
            _unpack(tiles, sums, dk[b, kv], dv[b, kv], seen)
    if dbias is None:
        return Gradients(dq, dk, dv, q.new_empty(0), dsinks)
    # Every row of a tile has the same offsets on its part of the band: add the rows up.
    return Gradients(dq, dk, dv, tiles.diagonals(dbias).sum(1), dsinks)


def _query_head(q: Tensor, grad: Tensor, output: Tensor, lse: Tensor) -> QueryHead:
    grad = rows_of(grad, lse.dtype)
    minus_delta = torch.linalg.vecdot(grad, output.to(lse.dtype)).neg_()
    return QueryHead(rows_of(q, lse.dtype), grad, lse, minus_delta)


def _unpack(tiles: Tiles, sums: KeyGradients, dk: Tensor, dv: Tensor, seen: Tensor | None) -> None:
    """Write the sums of one key head to its gradients, zero for keys that no query sees."""
    keys, place = tiles.span()
    sinks = tiles.band.num_sinks
    both = ((dk, sums.keys, sums.sink_keys), (dv, sums.values, sums.sink_values))
    for gradient, packed, sink in both:
        gradient[: keys.start].zero_()
        gradient[keys.stop :].zero_()
        gradient[keys] = packed[place]
        if sinks:
            gradient[:sinks] += sink
        if seen is not None:
            # 0 · NaN is NaN: a broken query or upstream gradient must not reach hidden keys.
            gradient.masked_fill_(~seen[:, None], 0.0)


class _QueryHeadBackward:
    """Differentiates one query head at a time, step by step, in the same scratch."""

    def __init__(self, tiles: Tiles, scale: float, scratch: list[Tensor]) -> None:
        self.tiles, self.scale, self.scratch = tiles, scale, scratch

    def run(
        self,
        rows: QueryHead,
        head: KeyHead,
        tile: Tensor,
        dq: Tensor,
        sums: KeyGradients,
        dtile: Tensor | None,
    ) -> None:
        """Fill `dq` [queries, d_qk]; add to the gradients of keys, values and the bias's tile."""
        wide = dq if dq.dtype == rows.q.dtype else torch.empty_like(dq, dtype=rows.q.dtype)
        for step in self.tiles.steps():
            probs, dscores = self._score_gradients(step, rows, head, tile)
            if dtile is not None:
                dtile[: step.rows] += dscores.sum(0)
            target = step.queries(wide)
            keys = step.keys(head.keys)
            # `target` is not read (beta=0): bmm has no factor, and a second pass would cost time.
            torch.baddbmm(target, dscores, keys, beta=0, alpha=self.scale, out=target)
            self._add_to_keys(step, rows, probs, dscores, sums)
        if self.tiles.band.num_sinks:
            self._add_sinks(rows, head, wide, sums)
        if wide is not dq:
            dq.copy_(wide)

    def _score_gradients(
        self, step: Step, rows: QueryHead, head: KeyHead, tile: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the probabilities p, and the gradient ds of the scores, in the scratch."""
        probs, dscores = (step.scores(s) for s in self.scratch)
        # The lse goes in first, so that the exponential is a probability and cannot overflow.
        torch.sub(tile[: step.rows], step.queries(rows.lse)[..., None], out=probs)
        if head.masked or not step.inside:
            probs.add_(step.penalties(head.penalty))
        keys, values = (step.keys(t).transpose(1, 2) for t in (head.keys, head.values))
        probs.baddbmm_(step.queries(rows.q), keys, alpha=self.scale * LOG2E).exp2_()
        dscores.copy_(step.queries(rows.minus_delta)[..., None])
        dscores.baddbmm_(step.queries(rows.grad), values).mul_(probs)
        return probs, dscores

    def _add_to_keys(
        self, step: Step, rows: QueryHead, probs: Tensor, dscores: Tensor, sums: KeyGradients
    ) -> None:
        q, grad = step.queries(rows.q), step.queries(rows.grad)
        for keys, blocks in step.apart(sums.keys):
            keys.baddbmm_(dscores[blocks].transpose(1, 2), q[blocks], alpha=self.scale)
        for values, blocks in step.apart(sums.values):
            values.baddbmm_(probs[blocks].transpose(1, 2), grad[blocks])

    def _add_sinks(self, rows: QueryHead, head: KeyHead, dq: Tensor, sums: KeyGradients) -> None:
        """Add what the sinks outside the band contribute: the same formulas, without tiles."""
        scores = torch.addmm(
            head.sink_penalty, rows.q, head.sink_keys.t(), alpha=self.scale * LOG2E
        )
        probs = scores.sub_(rows.lse[:, None]).exp2_()
        dprobs = torch.addmm(rows.minus_delta[:, None], rows.grad, head.sink_values.t())
        dscores = dprobs.mul_(probs)
        dq.addmm_(dscores, head.sink_keys, alpha=self.scale)
        sums.sink_keys.addmm_(dscores.t(), rows.q, alpha=self.scale)
        sums.sink_values.addmm_(probs.t(), rows.grad)
