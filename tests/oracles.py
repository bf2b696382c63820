"""Naive float64 loops that share no code with the library."""

import math

import torch
from torch import Tensor


def naive_attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor, *, scale: float, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention by loops over batch, head and query; `visible` is [B, H, Lq, Lk]."""
    q, k, v = (t.detach().double() for t in (q, k, v))
    batch, heads, queries, _ = q.shape
    group = heads // k.shape[1]
    output = torch.zeros(batch, heads, queries, v.shape[-1], dtype=torch.double)
    weights = torch.zeros(batch, heads, queries, k.shape[2], dtype=torch.double)
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                seen = [j for j in range(k.shape[2]) if visible[b, h, i, j]]
                scores = []
                for j in seen:
                    score = scale * float(q[b, h, i] @ k[b, h // group, j])
                    scores.append(score + (0.0 if bias is None else float(bias[b, h, i, j])))
                top = max(scores, default=0.0)
                total = sum(math.exp(s - top) for s in scores)
                for j, s in zip(seen, scores, strict=True):
                    weights[b, h, i, j] = math.exp(s - top) / total
                    output[b, h, i] += weights[b, h, i, j] * v[b, h // group, j]
    return output, weights


def naive_attention_gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visible: Tensor,
    upstream: Tensor,
    *,
    scale: float,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Output, and gradients of q, k, v and of the bias of every pair, row by row by hand."""
    q, k, v, upstream = (t.detach().double() for t in (q, k, v, upstream))
    batch, heads, queries, _ = q.shape
    group = heads // k.shape[1]
    output = torch.zeros(batch, heads, queries, v.shape[-1], dtype=torch.double)
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    dbias = torch.zeros(visible.shape, dtype=torch.double)
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                seen = visible[b, h, i].nonzero().flatten()
                if len(seen) == 0:
                    continue
                keys, values = k[b, h // group, seen], v[b, h // group, seen]
                scores = scale * (keys @ q[b, h, i])
                if bias is not None:
                    scores = scores + bias[b, h, i, seen].detach().double()
                p = (scores - scores.max()).exp()
                p = p / p.sum()
                output[b, h, i] = p @ values
                pull = values @ upstream[b, h, i]
                slope = p * (pull - p @ pull)
                dbias[b, h, i, seen] = slope
                dq[b, h, i] = scale * (slope @ keys)
                dk[b, h // group, seen] += scale * slope[:, None] * q[b, h, i]
                dv[b, h // group, seen] += p[:, None] * upstream[b, h, i]
    return output, dq, dk, dv, dbias


def naive_window(
    queries: int, keys: int, window: tuple[int, int] | None, *, causal: bool, num_sinks: int = 0
) -> tuple[Tensor, Tensor]:
    """Which keys each query sees, and the index of their relative bias, -1 where there is none."""
    visible = torch.zeros(queries, keys, dtype=torch.bool)
    index = torch.full((queries, keys), -1)
    for i in range(queries):
        position = i + keys - queries
        for j in range(keys):
            if window is None:
                visible[i, j] = not causal or j <= position
                continue
            before, after = window
            inside = position - before <= j <= position + after
            sink = j < num_sinks and (after > 0 or j <= position)
            visible[i, j] = inside or sink
            if inside:
                index[i, j] = j - position + before
    return visible, index


def naive_parameter_count(modules: list[torch.nn.Module]) -> int:
    """Count all parameters, a shared one once."""
    seen = {id(p): p.numel() for module in modules for p in module.parameters()}
    return sum(seen.values())
