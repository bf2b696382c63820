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


def naive_parameter_count(modules: list[torch.nn.Module]) -> int:
    """Numbers of all parameters, a shared one once."""
    seen = {id(p): p.numel() for module in modules for p in module.parameters()}
    return sum(seen.values())
