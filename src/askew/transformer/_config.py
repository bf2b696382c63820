"""Configurations of an encoder-decoder: one class of stack, used for both sides."""

from dataclasses import dataclass, field
from typing import Literal

from askew._check import refuse_quoted, require
from askew._config import ADDED, short_repr


@dataclass(frozen=True, kw_only=True, slots=True)
class PositionConfig:
    """How the positions of tokens become vectors, in models that others have trained.

    Attributes:
        kind: "sinusoidal": sines in the first half of the channels and cosines in the second, of
            rates 10000^(-2k/d). "tensor2tensor": the same of rates 10000^(-k/(d/2 - 1)).
            "learned": a table with a trained row for every position.
        offset: Number of the first position.
        length: Number of rows of the table, those before `offset` included. A learned table ends
            there; sinusoids go on.
        width: Channels d of the sinusoids, of which the model has some; by default its width.

    Raises:
        ValueError: If a learned table has no length or a width, or a number is out of range.

    Example:
        >>> PositionConfig(kind="learned", offset=2, length=1026).width is None
        True

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762, section 3.5.
        Tensor2Tensor for Neural Machine Translation, 2018, arXiv:1803.07416.
    """

    kind: Literal["sinusoidal", "tensor2tensor", "learned"] = "sinusoidal"
    offset: int = 0
    length: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        require(
            self.kind in ("sinusoidal", "tensor2tensor", "learned"),
            "PositionConfig: kind must be sinusoidal, tensor2tensor or learned; "
            f"got kind {self.kind!r}",
        )
        learned = self.kind == "learned"
        require(
            self.offset >= 0
            and (self.length is not None or not learned)
            and (self.length is None or self.length > self.offset),
            "PositionConfig: offset must be at least 0 and length above it, which a learned table "
            f"needs; got kind {self.kind!r}, offset {self.offset}, length {self.length}",
        )
        require(
            self.width is None or (not learned and self.width > 2 and self.width % 2 == 0),
            "PositionConfig: width must be even, above 2, and of sinusoids; "
            f"got kind {self.kind!r}, width {self.width}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StackConfig:
    """One stack of Transformer layers. The same configuration twice makes a symmetric model.

    Attributes:
        d_model: Width of the stream.
        num_layers: Number of layers.
        num_heads: Number of query heads.
        d_ff: Width inside the feed-forward blocks.
        num_kv_heads: Number of key and value heads, as many as query heads by default.
        d_key: Width of all query (and key) heads together, `d_model` by default.
        dropout: Share dropped from embeddings and from each block's output, in [0, 1).
        attention_dropout: Share of attention weights dropped, in [0, 1).
        feed_forward_dropout: Share dropped inside the feed-forward blocks, in [0, 1).
        activation: The feed-forward non-linearity.
        qk_norm: Normalise queries and keys per head and learn one temperature a head.
        d_value: Width of all values of `num_heads` heads together, `d_model` by default.
        norm: Where the norms of layers stand: "pre", before each block, or "post", after each sum.
        final_norm: Whether a norm follows the last layer.
        embedding_norm: Whether a norm follows the embedded tokens with their positions.
        embedding_scale: What the rows of the table of tokens are multiplied by, the square root of
            `d_model` by default.
        positions: How positions become vectors, by default sinusoids for any length.
        learned_sinks: Learn a logit per head of self-attention, by which a query may look at
            nothing.
        gate: Multiply the outputs of self-attention by sigmoid gates computed from the stream:
            "head", a gate for each head; "element", one for each of its features; None, no gate.
        d_latent: Width of the latent from which self-attention makes its keys and values, and
            which alone is cached; None, keys and values of the stream itself.
        d_rotary: Width of the rotated part of queries and keys beside a latent, even; 0 = none.
        kv_shared_every: Layers in a row that share the keys and values of self-attention: the
            first makes and caches them, the others have no maps of their own and read them. The
            last group may be smaller. 1 = each layer its own. Keys and values that decoder layers
            make of the encoder's states stay their own.

    Raises:
        ValueError: If the model has no layer or no width, or heads of unequal width.

    Example:
        >>> StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16).dropout
        0.1

    References:
        Reducing Transformer Key-Value Cache Size with Cross-Layer Attention, 2024,
        arXiv:2405.12981 (`kv_shared_every`; 2 is its CLA2).
    """

    d_model: int
    num_layers: int
    num_heads: int
    d_ff: int
    num_kv_heads: int | None = None
    d_key: int | None = None
    dropout: float = 0.1
    attention_dropout: float = 0.0
    feed_forward_dropout: float = 0.0
    activation: Literal["relu", "gelu", "swish"] = "relu"
    qk_norm: bool = False
    d_value: int | None = field(default=None, metadata=ADDED)
    norm: Literal["pre", "post"] = field(default="pre", metadata=ADDED)
    final_norm: bool = field(default=True, metadata=ADDED)
    embedding_norm: bool = field(default=False, metadata=ADDED)
    embedding_scale: float | None = field(default=None, metadata=ADDED)
    positions: PositionConfig | None = field(default=None, metadata=ADDED)
    learned_sinks: bool = field(default=False, metadata=ADDED)
    gate: Literal["head", "element"] | None = field(default=None, metadata=ADDED)
    d_latent: int | None = field(default=None, metadata=ADDED)
    d_rotary: int = field(default=0, metadata=ADDED)
    kv_shared_every: int = field(default=1, metadata=ADDED)

    def __repr__(self) -> str:
        return short_repr(self)

    def __post_init__(self) -> None:
        refuse_quoted(self)
        for name in ("d_model", "num_layers", "num_heads", "d_ff"):
            value = getattr(self, name)
            require(value > 0, f"StackConfig: {name} must be positive; got {name} {value}")
        for name in ("dropout", "attention_dropout", "feed_forward_dropout"):
            value = getattr(self, name)
            require(
                0.0 <= value < 1.0, f"StackConfig: {name} must be in [0, 1); got {name} {value}"
            )
        explicit = self.d_key is not None and self.d_value is not None
        for name in ("d_key", "d_value") if explicit else ("d_model", "d_key", "d_value"):
            value = getattr(self, name)
            require(
                value is None or (value > 0 and value % self.num_heads == 0),
                f"StackConfig: {name} must be a multiple of num_heads; "
                f"got {name} {value}, num_heads {self.num_heads}",
            )
        kv_heads = self.num_kv_heads
        require(
            kv_heads is None or (kv_heads > 0 and self.num_heads % kv_heads == 0),
            "StackConfig: num_kv_heads must divide num_heads; "
            f"got num_kv_heads {kv_heads}, num_heads {self.num_heads}",
        )
        require(
            self.activation in ("relu", "gelu", "swish"),
            "StackConfig: activation must be relu, gelu or swish; "
            f"got activation {self.activation!r}",
        )
        require(
            self.norm in ("pre", "post"),
            f"StackConfig: norm must be pre or post; got norm {self.norm!r}",
        )
        require(
            self.gate in (None, "head", "element"),
            f"StackConfig: gate must be head, element or None; got gate {self.gate!r}",
        )
        self._check_latent()
        require(
            self.kv_shared_every == 1 or (self.kv_shared_every > 1 and self.d_latent is None),
            "StackConfig: kv_shared_every must be at least 1, and 1 with a latent; "
            f"got kv_shared_every {self.kv_shared_every}, d_latent {self.d_latent}",
        )
        self._check_positions()

    def _check_latent(self) -> None:
        latent, rotary = self.d_latent, self.d_rotary
        require(
            latent is None or latent > 0,
            f"StackConfig: d_latent must be positive; got d_latent {latent}",
        )
        require(
            rotary == 0 or (rotary > 0 and rotary % 2 == 0 and latent is not None),
            "StackConfig: d_rotary must be even, at least 0, and needs d_latent; "
            f"got d_rotary {rotary}, d_latent {latent}",
        )
        require(
            latent is None or (not self.qk_norm and self.num_kv_heads in (None, self.num_heads)),
            "StackConfig: heads that read a latent must each have their own keys, not normalised; "
            f"got d_latent {latent}, num_kv_heads {self.num_kv_heads}, qk_norm {self.qk_norm}",
        )

    def _check_positions(self) -> None:
        scale, positions = self.embedding_scale, self.positions
        require(
            scale is None or scale > 0,
            f"StackConfig: embedding_scale must be positive; got embedding_scale {scale}",
        )
        width = self.d_model if positions is None else positions.width or self.d_model
        require(
            positions is None or positions.kind == "learned" or width >= self.d_model,
            "StackConfig: sinusoids must be as wide as the stream; "
            f"got width of positions {width}, d_model {self.d_model}",
        )

    @property
    def key_layers(self) -> int:
        """Layers that make and cache keys and values of self-attention."""
        return -(-self.num_layers // self.kv_shared_every)

    @property
    def d_sinusoids(self) -> int | None:
        """Channels of the sinusoidal positions, of which the stream has some; None = learned."""
        if self.positions is None:
            return self.d_model
        if self.positions.kind == "learned":
            return None
        return self.positions.width or self.d_model


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderDecoderConfig:
    """An encoder-decoder: two vocabularies, two stacks, and what the sides share.

    Attributes:
        source_vocab: Number of source tokens.
        target_vocab: Number of target tokens.
        encoder: The stack that reads the source.
        decoder: The stack that writes the target.
        tie_embeddings: "none": three tables. "output": the output layer shares the target's
            table. "all": the source shares it too, which needs one vocabulary for both sides.
        d_embedding: Width of the one table of "all", by default that of the narrower side.
            A side of another width reads it through its own linear map, and the output layer
            of the decoder uses the transpose of the decoder's map.
        adapter: "none": every decoder layer reads states of the encoder's width. "shared": one
            linear map for all layers first brings them to the decoder's width.
        padding_token: The token number that stands for padding on both sides.
        output_bias: Whether every target token has a bias of its own, added to its logits.

    Raises:
        ValueError: If "all" is set with different vocabularies, `d_embedding` without "all",
            or a width is odd.

    Example:
        >>> side = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> EncoderDecoderConfig(source_vocab=9, target_vocab=9, encoder=side, decoder=side)
        ... # doctest: +ELLIPSIS
        EncoderDecoderConfig(source_vocab=9, ...)
    """

    source_vocab: int
    target_vocab: int
    encoder: StackConfig
    decoder: StackConfig
    tie_embeddings: Literal["none", "output", "all"] = "output"
    d_embedding: int | None = None
    adapter: Literal["none", "shared"] = "none"
    padding_token: int = 0
    output_bias: bool = field(default=False, metadata=ADDED)

    def __repr__(self) -> str:
        return short_repr(self)

    def __post_init__(self) -> None:
        vocabs = self.source_vocab, self.target_vocab
        widths = self.encoder.d_sinusoids or 0, self.decoder.d_sinusoids or 0
        require(
            min(vocabs) > 0,
            f"EncoderDecoderConfig: vocabularies must be positive; got {vocabs}",
        )
        require(
            widths[0] % 2 == 0 and widths[1] % 2 == 0,
            "EncoderDecoderConfig: sinusoidal positions need even widths; got d_model "
            f"{(self.encoder.d_model, self.decoder.d_model)}",
        )
        require(
            self.tie_embeddings in ("none", "output", "all"),
            "EncoderDecoderConfig: tie_embeddings must be none, output or all; "
            f"got tie_embeddings {self.tie_embeddings!r}",
        )
        require(
            self.tie_embeddings != "all" or len(set(vocabs)) == 1,
            "EncoderDecoderConfig: tie_embeddings 'all' needs one vocabulary; "
            f"got vocabularies {vocabs}. Use 'output'",
        )
        require(
            self.d_embedding is None or (self.d_embedding > 0 and self.tie_embeddings == "all"),
            "EncoderDecoderConfig: d_embedding must be positive and needs tie_embeddings 'all'; "
            f"got d_embedding {self.d_embedding}, tie_embeddings {self.tie_embeddings!r}",
        )
        require(
            self.adapter in ("none", "shared"),
            f"EncoderDecoderConfig: adapter must be none or shared; got adapter {self.adapter!r}",
        )

    @property
    def shared_width(self) -> int:
        """Width of the table of tokens that both sides read if `tie_embeddings` is "all"."""
        narrower = min(self.encoder.d_model, self.decoder.d_model)
        return narrower if self.d_embedding is None else self.d_embedding

    @property
    def d_memory(self) -> int:
        """Width of the states that the decoder reads."""
        return self.encoder.d_model if self.adapter == "none" else self.decoder.d_model
