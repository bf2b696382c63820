"""Tokens as vectors, with their positions."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from askew.attention import sinusoidal_positions

_KEPT = 512


def token_table(vocab: int, d_model: int) -> nn.Embedding:
    """Make a table of tokens whose rows have length about 1."""
    table = nn.Embedding(vocab, d_model)
    nn.init.normal_(table.weight, std=d_model**-0.5)
    return table


def embed_tokens(
    table: nn.Embedding, projection: nn.Linear | None, tokens: Tensor, *, start: int
) -> Tensor:
    """Look tokens up, bring them to the width of the side, and add where they stand."""
    x = table(tokens)
    x = x if projection is None else projection(x)
    x = x * x.shape[-1] ** 0.5
    length, width = tokens.shape[1], x.shape[-1]
    if length == 1 and start < _KEPT and not torch.is_grad_enabled():  # a step of decoding
        return x + _kept_positions(width, x.device, x.dtype)[start]
    return x + sinusoidal_positions(length, width, start=start, device=x.device, dtype=x.dtype)


@lru_cache(maxsize=8)
def _kept_positions(width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The first rows, computed once: a step needs one of them and little else."""
    with torch.inference_mode(False):
        return sinusoidal_positions(_KEPT, width, device=device, dtype=dtype)
