"""Self-attention whose keys and values are made of one narrow latent, which alone is cached."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from askew._check import require
from askew._key_mask import check_key_mask
from askew._plain import is_plain
from askew.attention._attend import AttentionOutput, attend
from askew.attention._cache import KeyValueCache
from askew.attention._gate import Gate, join_heads, make_gate
from askew.attention._layer_settings import check_dropout, check_widths
from askew.attention._rotary import RotaryPositions

_NAME = "LatentAttention"


class LatentAttention(nn.Module):
    r"""Self-attention whose heads read their keys and values from one latent per position.

    With R the rotation by the position of a token, head h computes

    .. math::
        c = \mathrm{norm}(W_c x),\quad r = R\,W_r x,\qquad
        k_h = [W_{k,h}\,c;\ r],\quad v_h = W_{v,h}\,c,\quad
        q_h = [W_{q,h}\,x;\ R\,W_{s,h}\,x],

    and :math:`\mathrm{softmax}(q_h^\top k_h / \sqrt{d_k / H + d_r})\,v_h` as usual. The rotated
    part r is one for all heads, and apart from the latent, because a rotation between them would
    keep :math:`W_k` from being moved. A cache holds c and r alone:
    [batch, 1, length, d_latent + d_rotary].

    Since :math:`q^\top W_k c = (W_k^\top q)^\top c`, and the sum of :math:`W_v c_j` is
    :math:`W_v` times the sum of the c_j, queries can also attend to the latents themselves, as
    heads that share one key head. This absorbed form makes no keys and values of the past. Of both
    forms, a call takes the one with fewer multiplications; they differ by rounding alone.

    If :math:`W_c` has full rank, without norm and rotary part, this is `AsymmetricAttention` with
    keys and values :math:`W_k W_c x` and :math:`W_v W_c x`.

    Args:
        d_model: Width of the stream.
        d_latent: Width of the latent.
        d_rotary: Width of the rotated part of a head's keys and queries, even; 0 = none.
        d_key: Width of all key heads together without it, `d_model` by default.
        d_value: Width of all value heads together, `d_model` by default.
        num_heads: Number of heads; divides the two widths above.
        causal: Hide the future.
        latent_norm: Divide each latent by its root mean square.
        dropout: Share of attention weights dropped in training, in [0, 1).
        learned_sinks: Learn a logit per head, as in `AsymmetricAttention`.
        gate: "head", "element" or None, as there.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a width is not positive or not divisible by `num_heads`, or a setting is out
            of range.

    Example:
        >>> layer = LatentAttention(16, d_latent=6, d_rotary=2, num_heads=4, causal=True)
        >>> cache = layer.new_cache()
        >>> layer(torch.zeros(1, 5, 16), cache=cache).output.shape
        torch.Size([1, 5, 16])
        >>> cache.keys.shape, cache.values.numel()
        (torch.Size([1, 1, 5, 8]), 0)

    References:
        DeepSeek-V2, 2024, arXiv:2405.04434, section 2.1. There queries are made of a latent too,
        if the model is large; here they are made of the stream.
    """

    def __init__(
        self,
        d_model: int,
        *,
        d_latent: int,
        d_rotary: int = 0,
        d_key: int | None = None,
        d_value: int | None = None,
        num_heads: int = 8,
        causal: bool = False,
        latent_norm: bool = True,
        dropout: float = 0.0,
        learned_sinks: bool = False,
        gate: Gate | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        d_key = d_model if d_key is None else d_key
        d_value = d_model if d_value is None else d_value
        check_widths(_NAME, num_heads, {"d_key": d_key, "d_value": d_value})
        check_dropout(_NAME, dropout)
        _check_latent(d_latent, d_rotary)
        self.num_heads = num_heads
        self.d_latent, self.d_rotary = d_latent, d_rotary
        self.head_key, self.head_value = d_key // num_heads, d_value // num_heads
        self.causal = causal
        self.latent_norm = latent_norm
        self.dropout = dropout

        place = {"device": device, "dtype": dtype}
        self.query = nn.Linear(d_model, d_key + num_heads * d_rotary, **place)
        self.latent = nn.Linear(d_model, d_latent + d_rotary, **place)
        # Without biases: they would not pass the sum over keys if weights add up to less than 1.
        self.key = nn.Linear(d_latent, d_key, bias=False, **place)
        self.value = nn.Linear(d_latent, d_value, bias=False, **place)
        self.output = nn.Linear(d_value, d_model, **place)
        self.sinks = nn.Parameter(torch.zeros(num_heads, **place)) if learned_sinks else None
        self.gate = make_gate(gate, d_model, num_heads, d_value, name=_NAME, **place)
        self.position = RotaryPositions(d_rotary) if d_rotary else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise again: Glorot uniform weights, zero biases and sinks."""
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(
        self,
        x: Float[Tensor, "batch queries d_model"],
        *,
        attn_mask: Bool[Tensor, "..."] | None = None,
        key_mask: Bool[Tensor, "batch keys"] | None = None,
        cache: KeyValueCache | None = None,
        return_weights: bool = False,
    ) -> AttentionOutput:
        """Attend from every position of `x` to `x`, and to what the cache holds.

        Args:
            x: The stream.
            attn_mask: True = may attend; broadcasts to [batch, heads, queries, keys].
            key_mask: True = a real key; with a cache, of all positions so far.
            cache: Latents of earlier positions, to which those of `x` are appended.
            return_weights: Also return the attention weights.

        Returns:
            Output [batch, queries, d_model] and weights [batch, heads, queries, keys] or None.

        Raises:
            ValueError: If shapes do not fit.
            TypeError: If a mask is not boolean.
        """
        start = 0 if cache is None else cache.length
        q, stored = self._queries(x, start), self._latents(x, start)
        if cache is not None:
            stored, _ = cache.append(stored, stored[..., :0])
        if key_mask is not None:
            check_key_mask(_NAME, "key_mask", key_mask, x.shape[0], stored.shape[2])
            key_mask = key_mask[:, None, None, :]
            attn_mask = key_mask if attn_mask is None else attn_mask & key_mask
        absorbed = self._is_absorbed(q.shape[2], stored.shape[2], cache)
        q, k, v = (self._absorbed if absorbed else self._expanded)(q, stored)
        heads, weights = attend(
            q,
            k,
            v,
            attn_mask=attn_mask,
            sinks=self.sinks,
            causal=self.causal,
            scale=(self.head_key + self.d_rotary) ** -0.5,
            dropout_p=self.dropout if self.training else 0.0,
            return_weights=return_weights,
        )
        if absorbed:
            heads = torch.einsum("bhql,hvl->bhqv", heads, self._by_head(self.value))
        return AttentionOutput(self.output(join_heads(heads, self.gate, x)), weights)

    def new_cache(self) -> KeyValueCache:
        """Make an empty cache for decoding; its keys are latents, its values have no width.

        Returns:
            The cache.

        Raises:
            ValueError: If the layer is not causal.
        """
        require(self.causal, f"{_NAME}.new_cache: decoding needs causal attention")
        return KeyValueCache()

    def _queries(self, x: Tensor, start: int) -> Tensor:
        q = self.query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        return self._rotated(q, self.head_key, start)

    def _latents(self, x: Tensor, start: int) -> Tensor:
        """Compute what is cached, [batch, 1, keys, d_latent + d_rotary]."""
        stored = self.latent(x).unsqueeze(1)
        if self.latent_norm:
            latent, rest = stored.split([self.d_latent, self.d_rotary], -1)
            stored = torch.cat([F.rms_norm(latent, (self.d_latent,)), rest], -1)
        return self._rotated(stored, self.d_latent, start)

    def _rotated(self, x: Tensor, first: int, start: int) -> Tensor:
        """Rotate the features from `first` on."""
        if self.position is None:
            return x
        rest = self.position(x[..., first:], start=start)
        return torch.cat([x[..., :first], rest], -1)

    def _is_absorbed(self, queries: int, keys: int, cache: KeyValueCache | None) -> bool:
        """Whether queries attend to latents: if it takes fewer multiplications."""
        # The other form needs the layers' own results, and only of plain ones they are products.
        if not (is_plain(self.key, nn.Linear) and is_plain(self.value, nn.Linear)):
            return False
        if torch.compiler.is_compiling():  # else the graph would be for some lengths only
            return cache is not None
        both = self.head_key + self.head_value
        absorbed = queries * self.d_latent * both + queries * keys * 2 * self.d_latent
        return absorbed < keys * self.d_latent * both + queries * keys * both

    def _absorbed(self, q: Tensor, stored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries of the latents, and the latents as the one head of keys and values."""
        plain, rest = q.split([self.head_key, self.d_rotary], -1)
        # Not `@`, which would copy the weights for every row of the batch.
        plain = torch.einsum("bhqk,hkl->bhql", plain, self._by_head(self.key))
        q = torch.cat([plain, rest], -1)
        return q, stored, stored[..., : self.d_latent]

    def _expanded(self, q: Tensor, stored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of every head."""
        latent, rest = stored.squeeze(1).split([self.d_latent, self.d_rotary], -1)
        k, v = (
            layer(latent).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.key, self.value)
        )
        rest = rest.unsqueeze(1).expand(-1, self.num_heads, -1, -1)
        return q, torch.cat([k, rest], -1), v

    def _by_head(self, layer: nn.Linear) -> Tensor:
        return layer.weight.unflatten(0, (self.num_heads, -1))  # [heads, width, d_latent]

    def extra_repr(self) -> str:
        """Return the settings that the sub-modules do not show."""
        return (
            f"d_latent={self.d_latent}, d_rotary={self.d_rotary}, num_heads={self.num_heads}, "
            f"causal={self.causal}, latent_norm={self.latent_norm}, dropout={self.dropout}"
        )


def _check_latent(d_latent: int, d_rotary: int) -> None:
    require(d_latent > 0, f"{_NAME}: d_latent must be positive; got d_latent {d_latent}")
    require(
        d_rotary >= 0 and d_rotary % 2 == 0,
        f"{_NAME}: d_rotary must be even and at least 0; got d_rotary {d_rotary}",
    )
