"""Multi-head attention with every width its own."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from askew._check import require
from askew.attention._attend import AttentionOutput, attend
from askew.attention._cache import KeyValueCache


class AsymmetricAttention(nn.Module):
    r"""Attention of one stream to itself or to another, with every width independent.

    With x the stream that is updated and z the one that is read (x itself for self-attention),
    head h computes

    .. math::
        q = W_q x,\quad k = W_k z,\quad v = W_v z,\qquad
        s_{ij} = e^{\theta_h}\,q_i^\top B\,k_j / \sqrt{d},

    and the heads' outputs are joined and projected. The bridge B exists only where queries
    and keys differ in width; its rank is that of the narrower side, so the wider one buys
    nothing by itself. d is the width of a key head. All widths equal, norms off: this is
    `torch.nn.MultiheadAttention`.

    Separate temperatures of queries and keys would act only as a product; here is one
    :math:`\theta_h` per head, present with `qk_norm`, whose scale nothing else can absorb.

    Args:
        d_model: Width of the stream that is updated.
        d_source: Width of the stream that is read, `d_model` by default.
        d_query: Width of all query heads together, `d_model` by default.
        d_key: Width of `num_heads` key heads together, `d_query` by default.
        d_value: Width of `num_heads` value heads together, `d_model` by default.
        num_heads: Number of query heads; divides the three widths above.
        num_kv_heads: Number of key and value heads kept, a divisor of `num_heads`; fewer
            of them are shared by consecutive query heads.
        causal: Hide the future. Only for self-attention.
        qk_norm: Bring every query and key head to root mean square 1 and learn a temperature.
        dropout: Share of attention weights dropped in training, in [0, 1).
        d_output: Width of the result, `d_model` by default.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a width is not divisible by `num_heads`, or a setting is out of range.

    Example:
        >>> layer = AsymmetricAttention(12, d_source=20, d_query=8, d_key=4, num_heads=2)
        >>> layer(torch.zeros(1, 3, 12), torch.zeros(1, 5, 20)).output.shape
        torch.Size([1, 3, 12])

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762, section 3.2.
        Query-Key Normalization for Transformers, 2020, arXiv:2010.04245.
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
        qk_norm: bool = True,
        dropout: float = 0.0,
        d_output: int | None = None,
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
        self.qk_norm = qk_norm
        self.dropout = dropout
        self._check_settings(d_query=d_query, d_key=d_key, d_value=d_value)

        self.head_query, self.head_key = d_query // num_heads, d_key // num_heads
        kv_share = self.num_kv_heads / num_heads
        d_source = d_model if d_source is None else d_source
        place = {"device": device, "dtype": dtype}
        self.query = nn.Linear(d_model, d_query, **place)
        self.key = nn.Linear(d_source, round(d_key * kv_share), **place)
        self.value = nn.Linear(d_source, round(d_value * kv_share), **place)
        self.output = nn.Linear(d_value, d_model if d_output is None else d_output, **place)
        bridged = self.head_query != self.head_key
        self.bridge = (
            nn.Linear(self.head_query, self.head_key, bias=False, **place) if bridged else None
        )
        self.log_temperature = nn.Parameter(torch.zeros(num_heads, **place)) if qk_norm else None
        self.reset_parameters()

    def _check_settings(self, **widths: int) -> None:
        for name, width in widths.items():
            require(
                self.num_heads > 0 and width > 0 and width % self.num_heads == 0,
                f"AsymmetricAttention: {name} must be a positive multiple of num_heads; "
                f"got {name} {width}, num_heads {self.num_heads}",
            )
        require(
            self.num_kv_heads > 0 and self.num_heads % self.num_kv_heads == 0,
            "AsymmetricAttention: num_kv_heads must divide num_heads; "
            f"got num_kv_heads {self.num_kv_heads}, num_heads {self.num_heads}",
        )
        require(
            0.0 <= self.dropout < 1.0,
            f"AsymmetricAttention: dropout must be in [0, 1); got dropout {self.dropout}",
        )

    def reset_parameters(self) -> None:
        """Draw the weights afresh: Glorot uniform, zero biases, temperature 1."""
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(
        self,
        x: Float[Tensor, "batch queries d_model"],
        source: Float[Tensor, "batch keys d_source"] | None = None,
        *,
        attn_mask: Bool[Tensor, "..."] | None = None,
        key_mask: Bool[Tensor, "batch keys"] | None = None,
        cache: KeyValueCache | None = None,
        return_weights: bool = False,
    ) -> AttentionOutput:
        """Let every position of `x` look at `source`, or at `x` itself.

        Args:
            x: The stream that is updated.
            source: The stream that is read; None means self-attention.
            attn_mask: True = may attend; broadcasts to [batch, heads, queries, keys].
            key_mask: True = a real key.
            cache: Self-attention appends to it. Cross-attention fills it once and then reads
                it without looking at `source` again.
            return_weights: Also return the attention weights.

        Returns:
            Output [batch, queries, d_output] and weights [batch, heads, queries, keys] or None.

        Raises:
            ValueError: If `causal` is set and a `source` is given, or shapes do not fit.
        """
        require(
            source is None or not self.causal,
            "AsymmetricAttention: causal attention reads its own stream; got a source",
        )
        if key_mask is not None:
            key_mask = key_mask[:, None, None, :]
            attn_mask = key_mask if attn_mask is None else attn_mask & key_mask
        q = self._queries(x)
        k, v = self._keys_values(x, source, cache)
        q, k = self._bridge(q, k)
        output, weights = attend(
            q,
            k,
            v,
            attn_mask=attn_mask,
            causal=self.causal,
            scale=self.head_key**-0.5,
            dropout_p=self.dropout if self.training else 0.0,
            return_weights=return_weights,
        )
        return AttentionOutput(self.output(output.transpose(1, 2).flatten(2)), weights)

    def _queries(self, x: Tensor) -> Tensor:
        q = self.query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        if self.log_temperature is None:
            return q
        temperature = self.log_temperature.exp().to(q.dtype)[:, None, None]
        return F.rms_norm(q, (q.shape[-1],)) * temperature

    def _keys_values(
        self, x: Tensor, source: Tensor | None, cache: KeyValueCache | None
    ) -> tuple[Tensor, Tensor]:
        if source is not None and cache is not None and cache.length > 0:
            return cache.read()
        read = x if source is None else source
        k = self.key(read).unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2)
        v = self.value(read).unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2)
        if self.qk_norm:
            k = F.rms_norm(k, (k.shape[-1],))
        return (k, v) if cache is None else cache.append(k, v)

    def _bridge(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Bring q and k to one width on the side that costs fewer multiplications."""
        if self.bridge is None:
            return q, k
        queries, keys = q.shape[2] * self.num_heads, k.shape[2]
        area, both = self.head_query * self.head_key, queries * keys
        if queries * area + both * self.head_key <= (
            keys * self.num_kv_heads * area + both * self.head_query
        ):
            return self.bridge(q), k
        return q, k @ self.bridge.weight

    def extra_repr(self) -> str:
        """Name the settings that the sub-modules do not show."""
        return (
            f"num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}, "
            f"causal={self.causal}, qk_norm={self.qk_norm}, dropout={self.dropout}"
        )
