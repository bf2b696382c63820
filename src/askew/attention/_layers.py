"""Multi-head attention in which every width can be set by itself."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from askew._check import require
from askew._key_mask import check_key_mask
from askew._plain import is_plain
from askew.attention._attend import AttentionOutput, attend
from askew.attention._cache import KeyValueCache
from askew.attention._from_torch import copy_torch_weights, settings_of_torch
from askew.attention._gate import Gate, join_heads, make_gate
from askew.attention._layer_settings import (
    Position,
    check_dropout,
    check_settings,
    check_widths,
    make_position,
)
from askew.attention._relative import ALiBi, RelativeBias, spread_offsets, window_offsets
from askew.attention._rotary import RotaryPositions


class AsymmetricAttention(nn.Module):
    r"""Attention of one stream to itself or to another, with every width independent.

    With x the stream that is updated and z the one that is read (x itself for self-attention),
    head h computes

    .. math::
        q = W_q x,\quad k = W_k z,\quad v = W_v z,\qquad
        s_{ij} = e^{\theta_h}\,q_i^\top B\,k_j / \sqrt{d},

    and the heads' outputs are joined and projected. d is the width of a key head. The bridge B
    exists only where queries and keys differ in width. Its rank is at most the smaller width, so
    the larger one gains nothing by itself. With all widths equal and norms off this is
    `torch.nn.MultiheadAttention`.

    Separate temperatures of queries and keys would act only as a product. So there is one
    :math:`\theta_h` per head, and only with `qk_norm`: without the norm the weights could take
    over its scale.

    Args:
        d_model: Width of the stream that is updated.
        d_source: Width of the stream that is read, `d_model` by default.
        d_query: Width of all query heads together, `d_model` by default.
        d_key: Width of `num_heads` key heads together, `d_query` by default.
        d_value: Width of `num_heads` value heads together, `d_model` by default.
        num_heads: Number of query heads; divides the three widths above.
        num_kv_heads: Number of key and value heads, a divisor of `num_heads`. If it is smaller,
            consecutive query heads share a key head.
        causal: Hide the future. Only for self-attention.
        window: (before, after), both >= 0: keys a query sees before its position and after it.
            None shows all. Causal attention needs `after` 0. Only for self-attention.
        num_sinks: First keys that stay visible outside the window, >= 0.
        position: "relative" (a learned bias per head and offset: each offset of a window its own,
            else buckets), "alibi" (a fixed slope per head), "rotary" (needs `d_query` and `d_key`
            equal), a module of one of these classes, or None. Only for self-attention.
        qk_norm: Normalise every query and key head to root mean square 1, learn a temperature.
        dropout: Share of attention weights dropped in training, in [0, 1).
        d_output: Width of the result, `d_model` by default.
        learned_sinks: Learn a logit per head, zero at first, by which a query may look at nothing:
            `sinks` of `attend`. They are no tokens, unlike the `num_sinks` first keys.
        gate: Multiply the heads' outputs by :math:`\sigma(W_g x + b_g)` before they are projected:
            "head", a number for each head; "element", one for each of its features. None = no gate.
        own_keys: Have maps of keys and values. A layer without them reads the `keys_values` of
            another one, which each call of it then needs.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a width is not divisible by `num_heads`, or a setting is out of range or does
            not go with another.

    Example:
        >>> layer = AsymmetricAttention(12, d_source=20, d_query=8, d_key=4, num_heads=2)
        >>> layer(torch.zeros(1, 3, 12), torch.zeros(1, 5, 20)).output.shape
        torch.Size([1, 3, 12])

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762, section 3.2.
        Query-Key Normalization for Transformers, 2020, arXiv:2010.04245.
        Gated Attention for Large Language Models, 2025, arXiv:2505.06708 (`gate`).
        Reducing Transformer Key-Value Cache Size with Cross-Layer Attention, 2024,
        arXiv:2405.12981 (`own_keys`).
    """

    def __init__(
        self,
        d_model: int,
        *,
        d_source: int | None = None,
        d_query: int | None = None,
        d_key: int | None = None,
        d_value: int | None = None,
        num_heads: int = 8,
        num_kv_heads: int | None = None,
        causal: bool = False,
        window: tuple[int, int] | None = None,
        num_sinks: int = 0,
        position: Position | None = None,
        qk_norm: bool = True,
        dropout: float = 0.0,
        d_output: int | None = None,
        learned_sinks: bool = False,
        gate: Gate | None = None,
        own_keys: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        d_query = d_model if d_query is None else d_query
        d_key = d_query if d_key is None else d_key
        d_value = d_model if d_value is None else d_value
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.causal = causal
        self.window = window
        self.num_sinks = num_sinks
        self.qk_norm = qk_norm
        self.dropout = dropout
        widths = {"d_query": d_query, "d_key": d_key, "d_value": d_value}
        check_widths("AsymmetricAttention", num_heads, widths)
        check_dropout("AsymmetricAttention", dropout)
        check_settings(num_heads, self.num_kv_heads, causal, window, num_sinks)

        self.head_query, self.head_key = d_query // num_heads, d_key // num_heads
        self.head_value = d_value // num_heads
        kv_share = self.num_kv_heads / num_heads
        d_source = d_model if d_source is None else d_source
        place = {"device": device, "dtype": dtype}
        self.query = nn.Linear(d_model, d_query, **place)
        self.key = self.value = None
        if own_keys:
            self.key = nn.Linear(d_source, round(d_key * kv_share), **place)
            self.value = nn.Linear(d_source, round(d_value * kv_share), **place)
        self.output = nn.Linear(d_value, d_model if d_output is None else d_output, **place)
        bridged = self.head_query != self.head_key
        self.bridge = (
            nn.Linear(self.head_query, self.head_key, bias=False, **place) if bridged else None
        )
        self.log_temperature = nn.Parameter(torch.zeros(num_heads, **place)) if qk_norm else None
        self.sinks = nn.Parameter(torch.zeros(num_heads, **place)) if learned_sinks else None
        self.gate = make_gate(gate, d_model, num_heads, d_value, **place)
        self._draw_weights()
        heads = num_heads, self.head_query, self.head_key
        self.position = make_position(position, heads, window=window, causal=causal, **place)

    def reset_parameters(self) -> None:
        """Initialise again: Glorot uniform weights, zero biases, temperature 1, new positions."""
        self._draw_weights()
        if isinstance(self.position, RelativeBias | ALiBi):
            self.position.reset_parameters()

    def _draw_weights(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter)
            elif not name.startswith("position."):
                nn.init.zeros_(parameter)

    def _load_from_state_dict(self, state_dict: dict, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, *args, **kwargs)
        if isinstance(self.position, ALiBi):  # whose own state is empty and names no device
            self.position.restore(next((t.device for t in state_dict.values()), None))

    @classmethod
    def from_torch(cls, theirs: nn.MultiheadAttention) -> "AsymmetricAttention":
        """Make the same attention with a copy of the weights of torch's layer.

        It is batch-first, whatever `theirs` is, and its masks have the opposite meaning: True = may
        attend. `mask_from_torch` inverts them.

        Args:
            theirs: A layer without `add_bias_kv` and `add_zero_attn` whose keys and values have
                one width.

        Returns:
            A layer of the same widths, heads, dropout, mode, dtype and device.

        Raises:
            ValueError: If `theirs` has a setting that this layer does not.

        Example:
            >>> AsymmetricAttention.from_torch(torch.nn.MultiheadAttention(8, 2)).num_heads
            2
        """
        settings = settings_of_torch(theirs)
        ours = cls(theirs.embed_dim, **settings).train(theirs.training)
        copy_torch_weights(ours, theirs)
        return ours

    def forward(
        self,
        x: Float[Tensor, "batch queries d_model"],
        source: Float[Tensor, "batch keys d_source"] | None = None,
        *,
        attn_mask: Bool[Tensor, "..."] | None = None,
        key_mask: Bool[Tensor, "batch keys"] | None = None,
        cache: KeyValueCache | None = None,
        keys_values: tuple[Tensor, Tensor] | None = None,
        return_weights: bool = False,
    ) -> AttentionOutput:
        """Attend from every position of `x` to `source`, or to `x` itself.

        Args:
            x: The stream that is updated.
            source: The stream that is read; None means self-attention.
            attn_mask: True = may attend; broadcasts to [batch, heads, queries, keys].
            key_mask: True = a real key; with a cache, of all positions so far.
            cache: Self-attention appends to it; `new_cache` makes one that fits. Cross-attention
                fills it once and then reads it without looking at `source` again.
            keys_values: What the method `keys_values` has returned, of this layer or of another
                with the same settings, to be read in place of a `source`. The cache is then the one
                that it has appended to; this call does not change it.
            return_weights: Also return the attention weights.

        Returns:
            Output [batch, queries, d_output] and weights [batch, heads, queries, keys] or None.

        Raises:
            ValueError: If `causal`, a window or positions are set and a `source` is given, a layer
                without keys of its own is given none, or shapes do not fit.
            TypeError: If a mask is not boolean.
        """
        needs_self = self.causal or self.window is not None or self.position is not None
        require(
            source is None or not needs_self,
            "AsymmetricAttention: attention that is causal, has a window or positions reads its "
            "own stream; got a source",
        )
        if keys_values is None:
            keys_values = self.keys_values(x, source, cache=cache)
        else:
            self._check_keys(keys_values, source)
        k, v = keys_values
        growing = cache is not None and source is None
        q = self._queries(x, cache.length - x.shape[1] if growing else 0)
        if key_mask is not None:
            positions = cache.length if growing else k.shape[2]
            check_key_mask("AsymmetricAttention", "key_mask", key_mask, x.shape[0], positions)
            if growing:
                key_mask = cache.visible_mask(key_mask, k.shape[2])
            key_mask = key_mask[:, None, None, :]
            attn_mask = key_mask if attn_mask is None else attn_mask & key_mask
        bias, relative_bias = self._biases(q.shape[2], k.shape[2], q.device)
        q, k = self._bridge(q, k)
        output, weights = attend(
            q,
            k,
            v,
            attn_mask=attn_mask,
            bias=bias,
            relative_bias=relative_bias,
            sinks=self.sinks,
            causal=self.causal,
            window=self.window,
            num_sinks=self.num_sinks,
            scale=self.head_key**-0.5,
            dropout_p=self.dropout if self.training else 0.0,
            return_weights=return_weights,
        )
        return AttentionOutput(self.output(join_heads(output, self.gate, x)), weights)

    def keys_values(
        self,
        x: Float[Tensor, "batch keys d_model"],
        source: Float[Tensor, "batch keys d_source"] | None = None,
        *,
        cache: KeyValueCache | None = None,
    ) -> tuple[Float[Tensor, "batch kv_heads keys d_k"], Float[Tensor, "batch kv_heads keys d_v"]]:
        """Compute the keys and values that `forward` attends to, for this layer and others.

        Args:
            x: The stream that is updated.
            source: The stream that is read; None means `x` itself.
            cache: As in `forward`, which must then not be given `x` again without `keys_values`.

        Returns:
            All keys and all values, those that the cache has held before included.

        Raises:
            ValueError: If the layer has no maps of keys and values.

        Example:
            >>> first = AsymmetricAttention(8, num_heads=2)
            >>> second = AsymmetricAttention(8, num_heads=2, own_keys=False)
            >>> x = torch.zeros(1, 3, 8)
            >>> keys_values = first.keys_values(x)
            >>> x = x + first(x, keys_values=keys_values).output
            >>> second(x, keys_values=keys_values).output.shape
            torch.Size([1, 3, 8])
        """
        if source is not None and cache is not None and cache.length > 0:
            return cache.read()
        if self.key is None or self.value is None:
            raise ValueError(
                "AsymmetricAttention: a layer without keys of its own reads those of another; got "
                "keys_values None. Pass what its method keys_values returns"
            )
        read = x if source is None else source
        k = self.key(read).unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2)
        v = self.value(read).unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2)
        if self.qk_norm:
            k = F.rms_norm(k, (k.shape[-1],))
        if isinstance(self.position, RotaryPositions):
            k = self.position(k, start=0 if cache is None else cache.length)
        return (k, v) if cache is None else cache.append(k, v)

    def new_cache(self) -> KeyValueCache:
        """Make an empty cache for decoding that keeps no more than this layer's window shows.

        Returns:
            The cache.

        Raises:
            ValueError: If the layer is not causal.
        """
        require(self.causal, "AsymmetricAttention.new_cache: decoding needs causal attention")
        if self.window is None:
            return KeyValueCache()
        return KeyValueCache(before=self.window[0], num_sinks=self.num_sinks)

    def _biases(
        self, queries: int, keys: int, device: torch.device
    ) -> tuple[Tensor | None, Tensor | None]:
        """Compute the bias of all pairs, and that of a window; at most one of them exists."""
        if not isinstance(self.position, (RelativeBias, ALiBi)):
            return None, None
        if self.window is None:
            return spread_offsets(self.position, queries, keys, device), None
        return None, window_offsets(self.position, self.window, device)

    def _queries(self, x: Tensor, start: int) -> Tensor:
        q = self.query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        if self.log_temperature is not None:
            temperature = self.log_temperature.exp().to(q.dtype)[:, None, None]
            q = F.rms_norm(q, (q.shape[-1],)) * temperature
        return self.position(q, start=start) if isinstance(self.position, RotaryPositions) else q

    def _check_keys(self, keys_values: tuple[Tensor, Tensor], source: Tensor | None) -> None:
        k, v = keys_values
        wanted = [(self.num_kv_heads, width) for width in (self.head_key, self.head_value)]
        require(
            source is None and [(t.shape[1], t.shape[-1]) for t in (k, v)] == wanted,
            lambda: (
                "AsymmetricAttention: keys_values must be those of a layer of the same heads, in "
                f"place of a source; got shapes {tuple(k.shape)} and {tuple(v.shape)} for heads "
                f"and widths {wanted}, source {None if source is None else tuple(source.shape)}"
            ),
        )

    def _bridge(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Map q or k to the width of the other, whichever takes fewer multiplications."""
        if self.bridge is None:
            return q, k
        # Mapping queries costs area per query, then the scores head_key each; mapping keys costs
        # area per stored key, then the scores head_query each.
        queries, keys = q.shape[2] * self.num_heads, k.shape[2]
        area, both = self.head_query * self.head_key, queries * keys
        cheaper = self.head_key <= self.head_query
        if not torch.compiler.is_compiling():  # else the graph would be for some lengths only
            cheaper = queries * area + both * self.head_key <= (
                keys * self.num_kv_heads * area + both * self.head_query
            )
        # The other side needs the transpose of the map, and only a plain one is its weight.
        if cheaper or not is_plain(self.bridge, nn.Linear):
            return self.bridge(q), k
        return q, k @ self.bridge.weight

    def extra_repr(self) -> str:
        """Return the settings that the sub-modules do not show."""
        return (
            f"num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}, "
            f"causal={self.causal}, window={self.window}, num_sinks={self.num_sinks}, "
            f"qk_norm={self.qk_norm}, dropout={self.dropout}"
        )
