"""The configuration of the translation model, as transformers saves and loads it.

The fields are called `encoder_stack` and `decoder_stack` because transformers expects a
`PreTrainedConfig` in a field called `encoder` or `decoder`.
"""

from typing import Any

from askew._check import require
from askew._config import load_config, to_dict
from askew.models._foreign_sizes import derived_size, refuse_foreign_sizes
from askew.models._transformers_versions import CACHE, ModelConfig
from askew.transformer import EncoderDecoderConfig, StackConfig

_STACKS = "encoder_stack, decoder_stack"


def _stack_size(side: str, name: str) -> property:
    """Make a property that reads a number of one stack."""
    return derived_size(_STACKS, lambda config: (getattr(config, f"{side}_stack") or {}).get(name))


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


class AsymmetricTranslationConfig(ModelConfig):
    """An `EncoderDecoderConfig` in the form of transformers.

    Attributes:
        source_vocab: Number of source tokens.
        vocab_size: Number of target tokens.
        encoder_stack: The fields of a `StackConfig`.
        decoder_stack: The fields of a `StackConfig`.
        tie_embeddings: As in `EncoderDecoderConfig`.
        d_embedding: As in `EncoderDecoderConfig`.
        adapter: As in `EncoderDecoderConfig`.
        output_bias: As in `EncoderDecoderConfig`.
        encoder_layers: Depth of the encoder, derived from `encoder_stack`.
        decoder_layers: Depth of the decoder, derived from `decoder_stack`; sizes the key/value
            cache.
        hidden_size: Width of the decoder, which cannot be set; so are `encoder_attention_heads`,
            `decoder_attention_heads` and `num_attention_heads` (of the decoder).

    Raises:
        ValueError: If is_encoder_decoder is not True, tie_word_embeddings is True with
            tie_embeddings "none", a depth is not that of its stack, a token is no
            number, or a size has a name that this class does not know, or is set under one
            that can only be read.

    Example:
        >>> from askew.transformer import EncoderDecoderConfig, StackConfig
        >>> side = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> plain = EncoderDecoderConfig(source_vocab=9, target_vocab=9, encoder=side, decoder=side)
        >>> AsymmetricTranslationConfig.from_plain(plain).to_plain() == plain
        True
    """

    model_type = "askew-translation"
    keys_to_ignore_at_inference = [CACHE]  # noqa: RUF012  (read by transformers)
    attribute_map = {"num_hidden_layers": "decoder_layers"}  # noqa: RUF012

    source_vocab: int = 4
    vocab_size: int = 4
    encoder_stack: dict | None = None
    decoder_stack: dict | None = None
    tie_embeddings: str = "output"
    d_embedding: int | None = None
    adapter: str = "none"
    output_bias: bool = False
    encoder_layers: int | None = None
    decoder_layers: int | None = None
    is_encoder_decoder: bool = True
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 1
    tie_word_embeddings: bool = False

    hidden_size = _stack_size("decoder", "d_model")
    num_attention_heads = _stack_size("decoder", "num_heads")
    encoder_attention_heads = _stack_size("encoder", "num_heads")
    decoder_attention_heads = _stack_size("decoder", "num_heads")

    def __post_init__(self, **kwargs: object) -> None:
        """Fill in both stacks, derive the depths, and pass the rest to transformers."""
        require(
            self.is_encoder_decoder is True,
            "AsymmetricTranslationConfig: is_encoder_decoder must be True; "
            f"got is_encoder_decoder {self.is_encoder_decoder!r}",
        )
        refuse_foreign_sizes("AsymmetricTranslationConfig", kwargs, _STACKS)
        tiny = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        self.encoder_stack = dict(self.encoder_stack or to_dict(tiny))
        self.decoder_stack = dict(self.decoder_stack or to_dict(tiny))
        super().__post_init__(**kwargs)  # sets decoder_layers too, under its other name
        for side in ("encoder", "decoder"):
            if getattr(self, f"{side}_layers") is None:
                setattr(self, f"{side}_layers", getattr(self, f"{side}_stack").get("num_layers"))
        self._check_derived()

    def _check_derived(self) -> None:
        """Refuse what says something else than the fields from which the model is built."""
        for side in ("encoder", "decoder"):
            depth = (getattr(self, f"{side}_stack") or {}).get("num_layers")
            layers = getattr(self, f"{side}_layers")
            require(
                layers == depth,
                f"AsymmetricTranslationConfig: {side}_layers must be num_layers of {side}_stack; "
                f"got {side}_layers {layers!r}, num_layers {depth!r}. Set num_layers",
            )
        for name in ("bos_token_id", "eos_token_id", "decoder_start_token_id"):
            given = getattr(self, name)
            tokens = given if name == "eos_token_id" and isinstance(given, list) else [given]
            require(
                given is None or all(map(_is_token, tokens)),
                f"AsymmetricTranslationConfig: {name} must be a token; got {name} {given!r}",
            )
        tied = self.tie_embeddings != "none"
        require(
            self.tie_word_embeddings is False or (self.tie_word_embeddings is True and tied),
            "AsymmetricTranslationConfig: tie_word_embeddings must be False, or True where "
            f"tie_embeddings says so; got tie_word_embeddings {self.tie_word_embeddings!r}, "
            f"tie_embeddings {self.tie_embeddings!r}. Set tie_embeddings",
        )

    def get_text_config(
        self, decoder: bool | None = None, encoder: bool | None = None
    ) -> "AsymmetricTranslationConfig":
        """Return this config: its sides have the names of no other model.

        Args:
            decoder: Ignored.
            encoder: Ignored.

        Returns:
            The same object.
        """
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as transformers stores them, without an `output_bias` that is False.

        Returns:
            Values by name.
        """
        values = super().to_dict()
        if not self.output_bias:  # files of earlier versions do not have it
            values.pop("output_bias", None)
        return values

    @classmethod
    def from_plain(cls, config: EncoderDecoderConfig) -> "AsymmetricTranslationConfig":
        """Wrap the configuration of the plain module.

        Args:
            config: What the plain module is built from.

        Returns:
            The same numbers in the form of transformers.
        """
        return cls(
            source_vocab=config.source_vocab,
            vocab_size=config.target_vocab,
            encoder_stack=to_dict(config.encoder),
            decoder_stack=to_dict(config.decoder),
            tie_embeddings=config.tie_embeddings,
            d_embedding=config.d_embedding,
            adapter=config.adapter,
            output_bias=config.output_bias,
            pad_token_id=config.padding_token,
        )

    def to_plain(self) -> EncoderDecoderConfig:
        """Return the configuration of the plain module.

        Returns:
            What the plain module is built from.

        Raises:
            ValueError: If a saved configuration holds unknown or unfit values.
        """
        self._check_derived()
        return load_config(
            EncoderDecoderConfig,
            {
                "source_vocab": self.source_vocab,
                "target_vocab": self.vocab_size,
                "encoder": self.encoder_stack or {},
                "decoder": self.decoder_stack or {},
                "tie_embeddings": self.tie_embeddings,
                "d_embedding": self.d_embedding,
                "adapter": self.adapter,
                "output_bias": self.output_bias,
                "padding_token": self.pad_token_id,
            },
        )
