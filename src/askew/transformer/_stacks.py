"""Stacks of layers, with a final norm or none."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from askew.transformer._config import StackConfig
from askew.transformer._layers import DecoderLayer, EncoderLayer, LayerCache, Trace


class Encoder(nn.Module):
    """A stack of encoder layers.

    Args:
        config: Sizes of its layers.
        layer: Makes a layer.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> Encoder(config)(torch.zeros(1, 5, 8)).shape
        torch.Size([1, 5, 8])
    """

    def __init__(
        self, config: StackConfig, *, layer: Callable[..., EncoderLayer] = EncoderLayer
    ) -> None:
        super().__init__()
        self.layers = _layers(config, partial(layer, config))
        self.shared_every = config.kv_shared_every
        self.norm = nn.LayerNorm(config.d_model) if config.final_norm else None

    def forward(
        self,
        x: Float[Tensor, "batch source d_model"],
        key_mask: Bool[Tensor, "batch source"] | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch source d_model"]:
        """Run all layers.

        Args:
            x: Embedded source.
            key_mask: True = a real position.
            trace: Takes states and weights.

        Returns:
            The states that the decoder reads.
        """
        keys = values = None
        for i, layer in enumerate(self.layers):
            _keep_state(trace, x)
            if self.shared_every == 1:
                x = layer(x, key_mask, trace)
                continue
            given = (keys, values) if i % self.shared_every else (None, None)
            x, keys, values = layer(x, key_mask, trace, *given)
        x = x if self.norm is None else self.norm(x)
        _keep_state(trace, x)
        return x


class Decoder(nn.Module):
    """A stack of decoder layers that read an encoder of any width.

    Args:
        config: Sizes of its layers.
        d_source: Width of the encoder's states.
        layer: Makes a layer.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> decoder = Decoder(config, d_source=12)
        >>> decoder(torch.zeros(1, 3, 8), torch.zeros(1, 5, 12)).shape
        torch.Size([1, 3, 8])
    """

    def __init__(
        self,
        config: StackConfig,
        d_source: int,
        *,
        layer: Callable[..., DecoderLayer] = DecoderLayer,
    ) -> None:
        super().__init__()
        self.layers = _layers(config, partial(layer, config, d_source))
        self.shared_every = config.kv_shared_every
        self.norm = nn.LayerNorm(config.d_model) if config.final_norm else None

    def forward(
        self,
        x: Float[Tensor, "batch target d_model"],
        memory: Float[Tensor, "batch source d_source"],
        *,
        source_mask: Bool[Tensor, "batch source"] | None = None,
        target_mask: Bool[Tensor, "batch keys"] | None = None,
        caches: Sequence[LayerCache] | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch target d_model"]:
        """Run all layers.

        Args:
            x: Embedded target, with caches only its new positions.
            memory: The encoder's states.
            source_mask: True = a real source position.
            target_mask: True = a real target position, cached ones included.
            caches: One per layer; self-attention that reads keys of another layer leaves its own
                empty.
            trace: Takes states and weights.

        Returns:
            The states that the output layer reads.
        """
        call: dict[str, Any] = {"source_mask": source_mask, "target_mask": target_mask}
        call["trace"] = trace
        keys = values = None
        for i, layer in enumerate(self.layers):
            _keep_state(trace, x)
            if self.shared_every == 1:
                x = layer(x, memory, cache=None if caches is None else caches[i], **call)
                continue
            cache = None if caches is None else self._cache_of(caches, i)
            given = (keys, values) if i % self.shared_every else (None, None)
            x, keys, values = layer(x, memory, *given, cache=cache, **call)
        x = x if self.norm is None else self.norm(x)
        _keep_state(trace, x)
        return x

    def _cache_of(self, caches: Sequence[LayerCache], layer: int) -> LayerCache:
        """Return the cache of a layer, with the keys of the one that makes them for it."""
        first = caches[layer - layer % self.shared_every]
        return LayerCache(first.self_attention, caches[layer].cross_attention)


def _layers(config: StackConfig, make: Callable[..., nn.Module]) -> nn.ModuleList:
    """Make all layers, those after the first of each group without keys of their own."""
    reads = {"own_keys": False}
    each = range(config.num_layers)
    return nn.ModuleList(make(**(reads if i % config.kv_shared_every else {})) for i in each)


def _keep_state(trace: Trace | None, x: Tensor) -> None:
    if trace is not None and trace.states is not None:
        trace.states.append(x)
