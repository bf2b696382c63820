"""Other ways to attend in a causal window with a learned bias, made to take the same call.

Each takes q, k, v [batch, heads, length, width] and a bias [heads, window], oldest key first, and
returns the output. Those that cannot train the bias say so.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def dense_bias(bias: Tensor, length: int) -> Tensor:
    """The bias at every pair, [heads, length, length], -inf outside the window."""
    window = bias.shape[1]
    offset = torch.arange(length) - torch.arange(length)[:, None] + window - 1
    seen = (offset >= 0) & (offset < window)
    return torch.where(seen, bias[:, offset.clamp(0, window - 1)], float("-inf"))


def sdpa_learned(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """SDPA whose dense mask holds the bias, built and trained in every call."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=dense_bias(bias, q.shape[2]))


@lru_cache(maxsize=1)
def _cached(heads: int, window: int, length: int) -> Tensor:
    return dense_bias(torch.zeros(heads, window), length)


def sdpa_cached(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """SDPA with a mask that is built once; the bias is not trained."""
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=_cached(q.shape[1], bias.shape[1], q.shape[2])
    )


def sdpa_strided(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """SDPA with a mask of 2 · length numbers per head, seen as a square; not trained.

    The mask at (i, j) depends on j − i. Strides cannot be negative, so queries come in reverse.
    """
    heads, window = bias.shape
    length = q.shape[2]
    line = torch.full((heads, 2 * length - 1), float("-inf"))
    line[:, length - window : length] = bias.detach()
    mask = line.as_strided((heads, length, length), (2 * length - 1, 1, 1))
    return F.scaled_dot_product_attention(q.flip(2), k, v, attn_mask=mask).flip(2)


def unfolded(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Blocks of queries against copies of what they see, by batched products and autograd."""
    window = bias.shape[1]
    block, length = window, q.shape[2]
    blocks = q.unflatten(2, (-1, block))
    keys, values = (
        F.pad(t, (0, 0, block, 0)).unfold(2, 2 * block, block).transpose(-2, -1) for t in (k, v)
    )
    row, column = torch.arange(block)[:, None], torch.arange(2 * block)
    offset = column - row - 1
    seen = (offset >= 0) & (offset < window)
    tile = torch.where(seen, bias[:, offset.clamp(0, window - 1)], float("-inf"))
    scores = blocks @ keys.transpose(-2, -1) * q.shape[-1] ** -0.5 + tile[:, None]
    first = (column < block) & (torch.arange(length // block)[:, None, None] == 0)
    scores = scores.masked_fill(first, float("-inf"))
    return (scores.softmax(-1) @ values).flatten(2, 3)


def sketch(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """A loop that builds the mask row by row, a bias for every pair, a softmax by hand."""
    length, window = q.shape[2], bias.shape[1]
    mask = torch.zeros(length, length)
    for i in range(length):
        mask[i, max(0, i - window + 1) : i + 1] = 1
    offset = torch.arange(length) - torch.arange(length)[:, None] + window - 1
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    scores = scores + bias[:, offset.clamp(0, window - 1)]
    return scores.masked_fill(mask == 0, float("-inf")).softmax(-1) @ v


def installed() -> dict[str, Attend]:
    """What of the packages that do the like is there."""
    found: dict[str, Attend] = {}
    try:
        from local_attention import LocalAttention
    except ImportError:
        print("local-attention is not installed: left out")
    else:

        def local(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
            layer = LocalAttention(
                window_size=bias.shape[1],
                causal=True,
                look_backward=1,
                exact_windowsize=True,
                use_rotary_pos_emb=False,
                autopad=True,
            )
            return layer(q, k, v)

        found["local-attention"] = local
    try:
        from x_transformers.attend import Attend as XAttend
    except ImportError:
        print("x-transformers is not installed: left out")
    else:

        def x_attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
            dense = dense_bias(bias, q.shape[2])
            return XAttend(causal=True)(q, k, v, attn_bias=dense)[0]

        found["x-transformers"] = x_attend
    return found
