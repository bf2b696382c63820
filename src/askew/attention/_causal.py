"""Causal attention, over all the past or a window of it."""

import torch

from askew._check import require
from askew.attention._gate import Gate
from askew.attention._layers import AsymmetricAttention, Position


class CausalAsymmetricAttention(AsymmetricAttention):
    r"""`AsymmetricAttention` of a stream to its own past, for any length.

    With ``window_size=w`` a query sees w keys, its own position among them; with None all of the
    past. Positions are learnt as a bias per head and offset that starts at zero. With a window the
    cost is linear in the length. Without window and positions it is ordinary causal attention.

    Args:
        d_model: Width of the stream.
        window_size: Number of keys a query sees, itself included, >= 1; None for all.
        num_sinks: First keys that stay visible outside the window, >= 0.
        position: As in `AsymmetricAttention`.
        d_query: Width of all query heads together, `d_model` by default.
        d_key: Width of all key heads together, `d_query` by default.
        d_value: Width of all value heads together, `d_model` by default.
        num_heads: Number of query heads.
        num_kv_heads: Number of key and value heads kept.
        qk_norm: Normalise query and key heads and learn a temperature.
        dropout: Share of attention weights dropped in training, in [0, 1).
        learned_sinks: Learn a logit per head, as in `AsymmetricAttention`.
        gate: "head", "element" or None, as there.
        own_keys: Have maps of keys and values, as there.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> layer = CausalAsymmetricAttention(8, window_size=3, num_heads=2)
        >>> layer.window, layer(torch.zeros(1, 5, 8)).output.shape
        ((2, 0), torch.Size([1, 5, 8]))
    """

    def __init__(
        self,
        d_model: int,
        *,
        window_size: int | None = None,
        num_sinks: int = 0,
        position: Position | None = "relative",
        d_query: int | None = None,
        d_key: int | None = None,
        d_value: int | None = None,
        num_heads: int = 8,
        num_kv_heads: int | None = None,
        qk_norm: bool = True,
        dropout: float = 0.0,
        learned_sinks: bool = False,
        gate: Gate | None = None,
        own_keys: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        require(
            window_size is None or window_size >= 1,
            "CausalAsymmetricAttention: window_size must be at least 1; "
            f"got window_size {window_size}",
        )
        super().__init__(
            d_model,
            d_query=d_query,
            d_key=d_key,
            d_value=d_value,
            num_heads=num_heads,
            num_kv_heads=num_kv_heads,
            causal=True,
            window=None if window_size is None else (window_size - 1, 0),
            num_sinks=num_sinks,
            position=position,
            qk_norm=qk_norm,
            dropout=dropout,
            learned_sinks=learned_sinks,
            gate=gate,
            own_keys=own_keys,
            device=device,
            dtype=dtype,
        )
