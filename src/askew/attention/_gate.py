"""Gates that close the outputs of heads before they are projected."""

from typing import Literal

import torch
from torch import Tensor, nn

from askew._check import require

Gate = Literal["head", "element"]
"""Whether a gate is a number for each head, or for each feature of each head."""


def make_gate(
    kind: Gate | None,
    d_model: int,
    num_heads: int,
    d_value: int,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    name: str = "AsymmetricAttention",
) -> nn.Linear | None:
    """Make the map from the stream to the logits of the gates, if there are gates."""
    require(
        kind in (None, "head", "element"),
        f"{name}: gate must be 'head', 'element' or None; got gate {kind!r}",
    )
    if kind is None:
        return None
    width = num_heads if kind == "head" else d_value
    return nn.Linear(d_model, width, device=device, dtype=dtype)


def join_heads(heads: Tensor, gate: nn.Linear | None, x: Tensor) -> Tensor:
    """Join the outputs [batch, heads, queries, width] of heads, each times its gate.

    Args:
        heads: The outputs.
        gate: Computes logits [batch, queries, heads or heads * width].
        x: What it computes them from.

    Returns:
        [batch, queries, heads * width].
    """
    heads = heads.transpose(1, 2)
    if gate is not None:
        heads = heads * gate(x).sigmoid().unflatten(-1, (heads.shape[2], -1))
    return heads.flatten(2)
