"""One layer of an encoder and one of a decoder."""

from typing import NamedTuple

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


def _attend(
    layer: AsymmetricAttention | LatentAttention,
    x: Tensor,
    source: Tensor | None,
    key_mask: Tensor | None,
    cache: KeyValueCache | None,
    weights: list[Tensor] | None,
) -> Tensor:
    """Call a layer of attention; it computes its weights only for a list to put them into."""
    wanted = weights is not None
    streams = (x,) if source is None else (x, source)
    attended = layer(*streams, key_mask=key_mask, cache=cache, return_weights=wanted)
    if wanted:
        weights.append(attended.weights)
    return attended.output


def _self_attention(config: StackConfig, *, causal: bool) -> AsymmetricAttention | LatentAttention:
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
    )


class _Layer(nn.Module):
    """What layers of both sides share: where the norms stand."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.dropout = nn.Dropout(config.dropout)

    def _read(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        """Return what a block reads of the stream."""
        return norm(x) if self.pre_norm else x

    def _add(self, norm: nn.LayerNorm, x: Tensor, update: Tensor) -> Tensor:
        """Return the stream with what a block has computed."""
        x = x + self.dropout(update)
        return x if self.pre_norm else norm(x)


class EncoderLayer(_Layer):
    r"""Self-attention and feed-forward, each added to the stream, with the norms before them.

    .. math:: x \leftarrow x + A(\mathrm{LN}(x)),\qquad x \leftarrow x + F(\mathrm{LN}(x))

    With `norm` "post" :math:`x \leftarrow \mathrm{LN}(x + A(x))`, and so on.

    Args:
        config: The stack it belongs to.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> EncoderLayer(config)(torch.zeros(1, 5, 8)).shape
        torch.Size([1, 5, 8])

    References:
        On Layer Normalization in the Transformer Architecture, 2020, arXiv:2002.04745.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__(config)
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.attention = _self_attention(config, causal=False)
        self.feed_forward_norm = nn.LayerNorm(config.d_model)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        x: Float[Tensor, "batch source d_model"],
        key_mask: Bool[Tensor, "batch source"] | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch source d_model"]:
        """Update the stream.

        Args:
            x: The stream.
            key_mask: True = a real position.
            trace: Takes the attention's weights.

        Returns:
            The stream after this layer.
        """
        weights = None if trace is None else trace.attention
        read = self._read(self.attention_norm, x)
        attended = _attend(self.attention, read, None, key_mask, None, weights)
        x = self._add(self.attention_norm, x, attended)
        read = self._read(self.feed_forward_norm, x)
        return self._add(self.feed_forward_norm, x, self.feed_forward(read))


class DecoderLayer(_Layer):
    r"""Causal self-attention, attention to the encoder's states, and feed-forward.

    .. math::
        x \leftarrow x + A(\mathrm{LN}(x)),\qquad x \leftarrow x + C(\mathrm{LN}(x), s),\qquad
        x \leftarrow x + F(\mathrm{LN}(x))

    With `norm` "post" the norms stand after the sums, as in `EncoderLayer`.

    Args:
        config: The stack it belongs to.
        d_source: Width of the encoder's states, read without an adapter.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> decoder = DecoderLayer(config, d_source=12)
        >>> decoder(torch.zeros(1, 3, 8), torch.zeros(1, 5, 12)).shape
        torch.Size([1, 3, 8])

    References:
        On Layer Normalization in the Transformer Architecture, 2020, arXiv:2002.04745.
    """

    def __init__(self, config: StackConfig, d_source: int) -> None:
        super().__init__(config)
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.attention = _self_attention(config, causal=True)
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
        *,
        source_mask: Bool[Tensor, "batch source"] | None = None,
        target_mask: Bool[Tensor, "batch keys"] | None = None,
        cache: LayerCache | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch target d_model"]:
        """Update the stream.

        Args:
            x: The stream, with a cache only its new positions.
            memory: The encoder's states.
            source_mask: True = a real source position.
            target_mask: True = a real target position, cached ones included.
            cache: Keys and values of earlier steps.
            trace: Takes the weights of both attentions.

        Returns:
            The stream after this layer.
        """
        past, source = (None, None) if cache is None else cache
        weights, cross_weights = (None, None) if trace is None else trace[1:]
        read = self._read(self.attention_norm, x)
        attended = _attend(self.attention, read, None, target_mask, past, weights)
        x = self._add(self.attention_norm, x, attended)
        read = self._read(self.cross_attention_norm, x)
        attended = _attend(self.cross_attention, read, memory, source_mask, source, cross_weights)
        x = self._add(self.cross_attention_norm, x, attended)
        read = self._read(self.feed_forward_norm, x)
        return self._add(self.feed_forward_norm, x, self.feed_forward(read))
