"""A cache of transformers as the caches of our decoder layers."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, EncoderDecoderCache

from askew.attention import KeyValueCache
from askew.models._transformers_versions import append_to_cache, cached_length
from askew.transformer import LayerCache


def layer_caches(cache: EncoderDecoderCache, num_layers: int) -> Sequence[LayerCache]:
    """Return one cache per layer that reads and fills `cache`."""
    return [
        LayerCache(
            _SharedCache(cache.self_attention_cache, i),
            _SharedCache(cache.cross_attention_cache, i),
        )
        for i in range(num_layers)
    ]


class _SharedCache(KeyValueCache):
    """One layer of a cache of transformers, as the cache of one attention layer."""

    def __init__(self, cache: Cache, layer: int) -> None:
        self.cache, self.layer = cache, layer

    @property
    def length(self) -> int:
        return cached_length(self.cache, self.layer)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        length, room = self.length + keys.shape[2], self._room()
        if room is not None and length > room:
            raise ValueError(
                "AsymmetricTranslationModel: the cache must have room for every position; "
                f"got {room} positions for {length}. Make it longer"
            )
        keys, values = append_to_cache(self.cache, keys, values, self.layer)
        self._stored(length)
        if keys.shape[2] == length:
            return keys, values
        return keys[:, :, :length], values[:, :, :length]  # the rest of a static cache is empty

    def read(self) -> tuple[Tensor, Tensor]:
        length = self.length
        layer = self._stored(length)
        # A cache that is offloaded keeps on the CPU what it computed on `layer.device`.
        keys, values = (tensor.to(layer.device) for tensor in (layer.keys, layer.values))
        return keys[:, :, :length], values[:, :, :length]

    def reorder(self, rows: Tensor) -> None:
        raise RuntimeError("the cache of transformers reorders all its layers itself")

    def _room(self) -> int | None:
        """Return the positions for which a static cache has memory, or None."""
        made = self.cache.layers[self.layer : self.layer + 1]  # none before the first use
        return getattr(made[0], "max_cache_len", None) if made else None

    def _stored(self, length: int) -> Any:
        """Return the layer of the cache, if it keeps the keys of all positions as they were."""
        layer: Any = self.cache.layers[self.layer]
        kept = layer.keys.shape[2] if layer.keys.dim() == 4 else 0
        if kept < length:
            raise ValueError(
                "AsymmetricTranslationModel: the cache must keep the keys of every position; "
                f"got {type(layer).__name__} with {kept} of {length}. Take a DynamicCache or a "
                "StaticCache"
            )
        return layer
