"""Attention whose two sides may differ in width, heads and length."""

from askew.attention._attend import AttentionOutput, attend, explain_route
from askew.attention._cache import KeyValueCache
from askew.attention._causal import CausalAsymmetricAttention
from askew.attention._latent import LatentAttention
from askew.attention._layers import AsymmetricAttention
from askew.attention._masks import (
    band_mask,
    causal_mask,
    mask_from_torch,
    padding_mask,
    prefix_mask,
)
from askew.attention._positions import sinusoidal_positions
from askew.attention._relative import ALiBi, RelativeBias
from askew.attention._rotary import RotaryPositions

__all__ = [
    "ALiBi",
    "AsymmetricAttention",
    "AttentionOutput",
    "CausalAsymmetricAttention",
    "KeyValueCache",
    "LatentAttention",
    "RelativeBias",
    "RotaryPositions",
    "attend",
    "band_mask",
    "causal_mask",
    "explain_route",
    "mask_from_torch",
    "padding_mask",
    "prefix_mask",
    "sinusoidal_positions",
]
