"""Settings of attention layers: what goes together, and the positions that a name stands for."""

from collections.abc import Mapping
from typing import Literal

import torch

from askew._check import require
from askew.attention._relative import ALiBi, RelativeBias
from askew.attention._rotary import RotaryPositions

Position = Literal["relative", "alibi", "rotary"] | RelativeBias | ALiBi | RotaryPositions
"""How a layer knows the positions of its keys."""


def check_widths(layer: str, num_heads: int, widths: Mapping[str, int]) -> None:
    """Refuse widths of all heads together that heads do not divide."""
    for name, width in widths.items():
        require(
            num_heads > 0 and width > 0 and width % num_heads == 0,
            f"{layer}: {name} must be a positive multiple of num_heads; "
            f"got {name} {width}, num_heads {num_heads}",
        )


def check_dropout(layer: str, dropout: float) -> None:
    """Refuse a share that is out of range."""
    require(0.0 <= dropout < 1.0, f"{layer}: dropout must be in [0, 1); got dropout {dropout}")


def check_settings(
    num_heads: int, num_kv_heads: int, causal: bool, window: tuple[int, int] | None, num_sinks: int
) -> None:
    """Refuse key heads, a window and sinks that are out of range."""
    require(
        num_kv_heads > 0 and num_heads % num_kv_heads == 0,
        "AsymmetricAttention: num_kv_heads must divide num_heads; "
        f"got num_kv_heads {num_kv_heads}, num_heads {num_heads}",
    )

    before, after = window or (0, 0)
    require(
        before >= 0 and after >= 0 and not (causal and after),
        "AsymmetricAttention: window must be (before, after), both >= 0, after 0 if causal; "
        f"got window {window}, causal {causal}",
    )
    require(
        num_sinks == 0 or (num_sinks > 0 and window is not None),
        "AsymmetricAttention: num_sinks must be at least 0 and needs a window; "
        f"got num_sinks {num_sinks}, window {window}",
    )


def make_position(
    position: Position | None,
    heads: tuple[int, int, int],
    *,
    window: tuple[int, int] | None,
    causal: bool,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> RelativeBias | ALiBi | RotaryPositions | None:
    """Make the positions that a name stands for, and refuse those that do not fit the heads.

    `heads` are their number and the widths of a query head and of a key head.
    """
    num_heads, head_query, head_key = heads
    if position == "relative":
        position = RelativeBias(num_heads, window=window, causal=causal, device=device, dtype=dtype)
    if position == "alibi":
        position = ALiBi(num_heads, device=device)
    if position == "rotary":
        position = RotaryPositions(head_query)
    require(
        not isinstance(position, str),
        "AsymmetricAttention: position must be 'relative', 'alibi', 'rotary', a module or "
        f"None; got position {position!r}",
    )
    require(
        not isinstance(position, RotaryPositions) or position.width == head_query == head_key,
        "AsymmetricAttention: rotary positions need queries and keys of one width; "
        f"got widths per head {head_query} and {head_key}. Set d_key to d_query",
    )
    if isinstance(position, RelativeBias | ALiBi):
        there = position(torch.zeros(1, dtype=torch.long, device=device)).shape[0]
        require(
            there == num_heads,
            f"AsymmetricAttention: position must have {num_heads} heads; got {there}",
        )
    return position
