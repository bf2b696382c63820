"""Attention whose two sides may differ in width, heads and length."""

from askew.attention._attend import AttentionOutput, attend
from askew.attention._cache import KeyValueCache
from askew.attention._layers import AsymmetricAttention
from askew.attention._masks import causal_mask, padding_mask
from askew.attention._positions import sinusoidal_positions

__all__ = [
    "AsymmetricAttention",
    "AttentionOutput",
    "KeyValueCache",
    "attend",
    "causal_mask",
    "padding_mask",
    "sinusoidal_positions",
]
