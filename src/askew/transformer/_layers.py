"""One layer of an encoder and one of a decoder."""

from typing import Any, NamedTuple

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from askew.attention import AsymmetricAttention, KeyValueCache, LatentAttention
from askew.transformer._config import StackConfig

_ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "swish": F.silu}


class LayerCache(NamedTuple):
    """Keys and values that one decoder layer keeps between steps.

    Args:
        self_attention: Those of the tokens generated so far.
        cross_attention: Those of the source.

    Example:
        >>> LayerCache(KeyValueCache(), KeyValueCache()).self_attention.length
        0
    """

    self_attention: KeyValueCache
    cross_attention: KeyValueCache


class Trace(NamedTuple):
    """Lists that stacks and layers fill with what they compute on the way; None = not wanted.

    Args:
        states: The embedded tokens, the stream after every layer but the last, and the result of
            the stack, each [batch, length, d_model].
        attention: The weights of every self-attention, [batch, heads, queries, keys].
        cross_attention: The weights of every attention to the encoder's states.

    Example:
        >>> import torch
        >>> trace = Trace(attention=[])
        >>> layer = EncoderLayer(StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16))
        >>> _ = layer(torch.zeros(1, 5, 8), trace=trace)
        >>> trace.attention[0].shape
        torch.Size([1, 2, 5, 5])
    """

    states: list[Tensor] | None = None
    attention: list[Tensor] | None = None
    cross_attention: list[Tensor] | None = None


class FeedForward(nn.Module):
    r"""Two linear maps with a non-linearity between them, applied to every position by itself.

    .. math:: y = W_2\,\sigma(W_1 x + b_1) + b_2

    Args:
        config: The stack it belongs to.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        >>> FeedForward(config)(torch.zeros(1, 3, 8)).shape
        torch.Size([1, 3, 8])

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.d_model, config.d_ff)
        self.contract = nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.feed_forward_dropout)
        self.activation = _ACTIVATIONS[config.activation]
        for linear in (self.expand, self.contract):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Apply the block to every position.

        Args:
            x: The stream.

        Returns:
            The same shape.
        """
        return self.contract(self.dropout(self.activation(self.expand(x))))


class LayerOutput(NamedTuple):
    """The result of a layer of a stack whose layers share keys and values.

    Args:
        stream: The stream after the layer, [batch, length, d_model].
        keys: What its self-attention has read, [batch, kv_heads, keys, head width].
        values: The same.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16, kv_shared_every=2)
        >>> first, second = EncoderLayer(config), EncoderLayer(config, own_keys=False)
        >>> stream, keys, values = first(torch.zeros(1, 5, 8))
        >>> second(stream, None, None, keys, values).stream.shape
        torch.Size([1, 5, 8])
    """

    stream: Tensor
    keys: Tensor
    values: Tensor


def _self_attention(
    config: StackConfig, *, causal: bool, own_keys: bool
) -> AsymmetricAttention | LatentAttention:
    if config.d_latent is not None:
        return LatentAttention(
            config.d_model,
            d_latent=config.d_latent,
            d_rotary=config.d_rotary,
            d_key=config.d_key,
            d_value=config.d_value,
            num_heads=config.num_heads,
            causal=causal,
            dropout=config.attention_dropout,
            learned_sinks=config.learned_sinks,
            gate=config.gate,
        )
    return AsymmetricAttention(
        config.d_model,
        d_query=config.d_key,
        d_value=config.d_value,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        causal=causal,
        qk_norm=config.qk_norm,
        dropout=config.attention_dropout,
        learned_sinks=config.learned_sinks,
        gate=config.gate,
        own_keys=own_keys,
    )


class _Layer(nn.Module):
    """What layers of both sides share: self-attention, feed-forward, and where the norms stand."""

    attention_norm: nn.LayerNorm
    attention: AsymmetricAttention | LatentAttention
    feed_forward_norm: nn.LayerNorm
    feed_forward: FeedForward

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.shares_keys = config.kv_shared_every > 1
        self.pre_norm = config.norm == "pre"
        self.dropout = nn.Dropout(config.dropout)

    def _read(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        """Return what a block reads of the stream."""
        return norm(x) if self.pre_norm else x

    def _add(self, norm: nn.LayerNorm, x: Tensor, update: Tensor) -> Tensor:
        """Return the stream with what a block has computed."""
        x = x + self.dropout(update)
        return x if self.pre_norm else norm(x)

    def _attend_to_itself(
        self,
        x: Tensor,
        key_mask: Tensor | None,
        cache: KeyValueCache | None,
        weights: list[Tensor] | None,
        given: tuple[Tensor | None, Tensor | None],
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Update the stream, and return also the keys and values that other layers read."""
        read = self._read(self.attention_norm, x)
        keys, values = given
        call: dict[str, Any] = {}
        if keys is None and self.shares_keys and isinstance(self.attention, AsymmetricAttention):
            keys, values = self.attention.keys_values(read, cache=cache)
        if keys is not None:
            call["keys_values"] = keys, values
        attended = self.attention(
            read, key_mask=key_mask, cache=cache, return_weights=weights is not None, **call
        )
        if weights is not None:
            weights.append(attended.weights)
        return self._add(self.attention_norm, x, attended.output), keys, values

    def _feed(self, x: Tensor) -> Tensor:
        """Update the stream by the feed-forward block."""
        read = self._read(self.feed_forward_norm, x)
        return self._add(self.feed_forward_norm, x, self.feed_forward(read))


class EncoderLayer(_Layer):
    r"""Self-attention and feed-forward, each added to the stream, with the norms before them.

    .. math:: x \leftarrow x + A(\mathrm{LN}(x)),\qquad x \leftarrow x + F(\mathrm{LN}(x))

    With `norm` "post" :math:`x \leftarrow \mathrm{LN}(x + A(x))`, and so on.

    Args:
        config: The stack it belongs to.
        own_keys: Make keys and values; else those of another layer are read. Only stacks with
            `kv_shared_every` above 1 have layers without.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> EncoderLayer(config)(torch.zeros(1, 5, 8)).shape
        torch.Size([1, 5, 8])

    References:
        On Layer Normalization in the Transformer Architecture, 2020, arXiv:2002.04745.
    """

    def __init__(self, config: StackConfig, *, own_keys: bool = True) -> None:
        super().__init__(config)
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.attention = _self_attention(config, causal=False, own_keys=own_keys)
        self.feed_forward_norm = nn.LayerNorm(config.d_model)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        x: Float[Tensor, "batch source d_model"],
        key_mask: Bool[Tensor, "batch source"] | None = None,
        trace: Trace | None = None,
        keys: Float[Tensor, "batch kv_heads source d_k"] | None = None,
        values: Float[Tensor, "batch kv_heads source d_v"] | None = None,
    ) -> Float[Tensor, "batch source d_model"] | LayerOutput:
        """Update the stream.

        Args:
            x: The stream.
            key_mask: True = a real position.
            trace: Takes the attention's weights.
            keys: Those of another layer, for one without keys of its own.
            values: The same.

        Returns:
            The stream after this layer; in a stack that shares keys a `LayerOutput`.
        """
        weights = None if trace is None else trace.attention
        x, keys, values = self._attend_to_itself(x, key_mask, None, weights, (keys, values))
        x = self._feed(x)
        return x if keys is None or values is None else LayerOutput(x, keys, values)


class DecoderLayer(_Layer):
    r"""Causal self-attention, attention to the encoder's states, and feed-forward.

    .. math::
        x \leftarrow x + A(\mathrm{LN}(x)),\qquad x \leftarrow x + C(\mathrm{LN}(x), s),\qquad
        x \leftarrow x + F(\mathrm{LN}(x))

    With `norm` "post" the norms stand after the sums, as in `EncoderLayer`.

    Args:
        config: The stack it belongs to.
        d_source: Width of the encoder's states, read without an adapter.
        own_keys: As of an `EncoderLayer`.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> decoder = DecoderLayer(config, d_source=12)
        >>> decoder(torch.zeros(1, 3, 8), torch.zeros(1, 5, 12)).shape
        torch.Size([1, 3, 8])

    References:
        On Layer Normalization in the Transformer Architecture, 2020, arXiv:2002.04745.
    """

    def __init__(self, config: StackConfig, d_source: int, *, own_keys: bool = True) -> None:
        super().__init__(config)
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.attention = _self_attention(config, causal=True, own_keys=own_keys)
        self.cross_attention_norm = nn.LayerNorm(config.d_model)
        self.cross_attention = AsymmetricAttention(
            config.d_model,
            d_source=d_source,
            d_query=config.d_key,
            d_value=config.d_value,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            qk_norm=config.qk_norm,
            dropout=config.attention_dropout,
        )
        self.feed_forward_norm = nn.LayerNorm(config.d_model)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        x: Float[Tensor, "batch target d_model"],
        memory: Float[Tensor, "batch source d_source"],
        keys: Float[Tensor, "batch kv_heads keys d_k"] | None = None,
        values: Float[Tensor, "batch kv_heads keys d_v"] | None = None,
        *,
        source_mask: Bool[Tensor, "batch source"] | None = None,
        target_mask: Bool[Tensor, "batch keys"] | None = None,
        cache: LayerCache | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch target d_model"] | LayerOutput:
        """Update the stream.

        Args:
            x: The stream, with a cache only its new positions.
            memory: The encoder's states.
            keys: Those of another layer's self-attention, for one without keys of its own, whose
                `cache` then holds the self-attention's cache of that layer.
            values: The same.
            source_mask: True = a real source position.
            target_mask: True = a real target position, cached ones included.
            cache: Keys and values of earlier steps.
            trace: Takes the weights of both attentions.

        Returns:
            The stream after this layer; in a stack that shares keys a `LayerOutput`.
        """
        past, source = (None, None) if cache is None else cache
        weights, cross_weights = (None, None) if trace is None else trace[1:]
        x, keys, values = self._attend_to_itself(x, target_mask, past, weights, (keys, values))
        attended = self.cross_attention(
            self._read(self.cross_attention_norm, x),
            memory,
            key_mask=source_mask,
            cache=source,
            return_weights=cross_weights is not None,
        )
        if cross_weights is not None:
            cross_weights.append(attended.weights)
        x = self._feed(self._add(self.cross_attention_norm, x, attended.output))
        return x if keys is None or values is None else LayerOutput(x, keys, values)
