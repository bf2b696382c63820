"""An encoder-decoder whose two sides may differ in width, depth, heads and dropout."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from askew._key_mask import check_key_mask
from askew._plain import is_plain
from askew.attention import KeyValueCache
from askew.transformer._config import EncoderDecoderConfig, StackConfig
from askew.transformer._layers import DecoderLayer, EncoderLayer, LayerCache, Trace
from askew.transformer._stacks import Decoder, Encoder
from askew.transformer._token_encoder import embed_tokens, token_table
from askew.transformer._token_positions import token_positions

_NAME = "AsymmetricEncoderDecoder"


class AsymmetricEncoderDecoder(nn.Module):
    """A Transformer whose encoder and decoder have their own width, depth and heads.

    Every decoder layer projects keys and values directly from the encoder's width, so no
    information is lost between the two, unless `adapter` is "shared". Both sides may read one
    table of tokens; a side of another width reads it through a linear map. The same stack on
    both sides is an ordinary Transformer.

    Args:
        config: Sizes of both sides, and what they share.
        encoder_layer: Makes a layer of the encoder.
        decoder_layer: Makes a layer of the decoder.

    Example:
        >>> import torch
        >>> from askew.transformer import EncoderDecoderConfig, StackConfig
        >>> config = EncoderDecoderConfig(
        ...     source_vocab=11,
        ...     target_vocab=13,
        ...     encoder=StackConfig(d_model=12, num_layers=2, num_heads=3, d_ff=20),
        ...     decoder=StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16),
        ... )
        >>> model = AsymmetricEncoderDecoder(config)
        >>> model(torch.ones(2, 5, dtype=int), torch.ones(2, 3, dtype=int)).shape
        torch.Size([2, 3, 13])

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762.
        Deep Encoder, Shallow Decoder, 2020, arXiv:2006.10369.
        ALBERT, 2019, arXiv:1909.11942, section 3.1 (a table of tokens in two factors).
    """

    def __init__(
        self,
        config: EncoderDecoderConfig,
        *,
        encoder_layer: Callable[..., EncoderLayer] = EncoderLayer,
        decoder_layer: Callable[..., DecoderLayer] = DecoderLayer,
    ) -> None:
        super().__init__()
        encoder, decoder = config.encoder, config.decoder
        self.config = config
        shared = config.tie_embeddings == "all"
        width = config.shared_width if shared else decoder.d_model
        self.target_embedding = token_table(config.target_vocab, width)
        self.source_embedding = (
            None if shared else token_table(config.source_vocab, encoder.d_model)
        )
        self.source_projection = _projection(width, encoder.d_model) if shared else None
        self.target_projection = _projection(width, decoder.d_model)
        self.source_positions = token_positions(encoder)
        self.target_positions = token_positions(decoder)
        self.source_embedding_norm = _embedding_norm(encoder)
        self.target_embedding_norm = _embedding_norm(decoder)
        self.encoder = Encoder(encoder, layer=encoder_layer)
        self.adapter = (
            None if config.adapter == "none" else nn.Linear(encoder.d_model, decoder.d_model)
        )
        self.decoder = Decoder(decoder, config.d_memory, layer=decoder_layer)
        self.output = (
            nn.Linear(decoder.d_model, config.target_vocab, bias=False)
            if config.tie_embeddings == "none"
            else None
        )
        bias = torch.zeros(config.target_vocab) if config.output_bias else None
        self.output_bias = None if bias is None else nn.Parameter(bias)
        self.encoder_dropout = nn.Dropout(encoder.dropout)
        self.decoder_dropout = nn.Dropout(decoder.dropout)

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        *,
        source_mask: Bool[Tensor, "batch source"] | None = None,
        target_mask: Bool[Tensor, "batch target"] | None = None,
    ) -> Float[Tensor, "batch target vocab"]:
        """Compute logits of the token after each target prefix.

        Args:
            source: Source tokens.
            target: Target tokens, a start token first.
            source_mask: True = a real source token.
            target_mask: True = a real target token. Padding at the end needs no mask: no real
                token sees what comes after it.

        Returns:
            Logits of the next token at every target position.
        """
        memory = self.encode(source, source_mask=source_mask)
        return self.decode(target, memory, source_mask=source_mask, target_mask=target_mask)

    def encode(
        self,
        source: Int[Tensor, "batch source"] | Float[Tensor, "batch source width"],
        *,
        source_mask: Bool[Tensor, "batch source"] | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch source d_memory"]:
        """Encode the source.

        Args:
            source: Source tokens, or the rows of their table in their place.
            source_mask: True = a real source token.
            trace: Takes states and weights of the encoder.

        Returns:
            The states that the decoder reads.
        """
        if source_mask is not None:
            check_key_mask(_NAME, "source_mask", source_mask, *source.shape[:2])
        table = self.target_embedding if self.source_embedding is None else self.source_embedding
        x = embed_tokens(
            table,
            self.source_projection,
            source,
            start=0,
            scale=self.config.encoder.embedding_scale,
            positions=self.source_positions,
        )
        x = x if self.source_embedding_norm is None else self.source_embedding_norm(x)
        x = self.encoder(self.encoder_dropout(x), source_mask, trace)
        return x if self.adapter is None else self.adapter(x)

    def decode(
        self,
        target: Int[Tensor, "batch target"] | Float[Tensor, "batch target width"],
        memory: Float[Tensor, "batch source d_memory"],
        *,
        source_mask: Bool[Tensor, "batch source"] | None = None,
        target_mask: Bool[Tensor, "batch keys"] | None = None,
        caches: Sequence[LayerCache] | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch target vocab"]:
        """Compute logits of the token after each target prefix, given the encoder's states.

        Args:
            target: Target tokens, with caches only the new ones, or the rows of their table in
                their place.
            memory: The encoder's states.
            source_mask: True = a real source token.
            target_mask: True = a real target token, cached ones included.
            caches: One per decoder layer, see `new_caches`; filled by this call.
            trace: Takes states and weights of the decoder.

        Returns:
            Logits of the next token at every given target position.
        """
        start = 0 if caches is None else caches[0].self_attention.length
        if source_mask is not None:
            check_key_mask(_NAME, "source_mask", source_mask, *memory.shape[:2])
        if target_mask is not None:
            batch, new = target.shape[:2]
            check_key_mask(_NAME, "target_mask", target_mask, batch, start + new)
        table, projection = self.target_embedding, self.target_projection
        x = embed_tokens(
            table,
            projection,
            target,
            start=start,
            scale=self.config.decoder.embedding_scale,
            positions=self.target_positions,
        )
        x = x if self.target_embedding_norm is None else self.target_embedding_norm(x)
        x = self.decoder(
            self.decoder_dropout(x),
            memory,
            source_mask=source_mask,
            target_mask=target_mask,
            caches=caches,
            trace=trace,
        )
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        """Score every target token by its row of the output layer, or of the table it shares."""
        table, projection = self.target_embedding, self.target_projection
        if self.output is not None:
            logits = self.output(x)
            return logits if self.output_bias is None else logits + self.output_bias
        x = x if projection is None else x @ _map_weight(projection, x, table.weight.shape[1])
        return F.linear(x, _table_weight(table, x), self.output_bias)

    def new_caches(self) -> list[LayerCache]:
        """Make an empty cache for every decoder layer.

        Returns:
            One cache per decoder layer.
        """
        return [LayerCache(KeyValueCache(), KeyValueCache()) for _ in self.decoder.layers]


def _map_weight(projection: nn.Linear, like: Tensor, width: int) -> Tensor:
    """Return the weight [d_model, width] that a call of the map applies."""
    if is_plain(projection, nn.Linear, hooks=False):
        return projection.weight
    return projection(torch.eye(width, dtype=like.dtype, device=like.device)).mT


def _table_weight(table: nn.Embedding, like: Tensor) -> Tensor:
    """Return the rows [vocab, width] that a call of the table yields.

    Hooks do not count: noise that one adds to the input's embeddings is not for the output layer.
    """
    if is_plain(table, nn.Embedding, hooks=False):
        return table.weight
    return table(torch.arange(table.weight.shape[0], device=like.device))


def _embedding_norm(config: StackConfig) -> nn.LayerNorm | None:
    return nn.LayerNorm(config.d_model) if config.embedding_norm else None


def _projection(width: int, d_model: int) -> nn.Linear | None:
    """Make the map from the table of tokens to a side of another width, or None."""
    if width == d_model:
        return None
    projection = nn.Linear(width, d_model, bias=False)
    nn.init.normal_(projection.weight, std=d_model**-0.5)
    return projection
