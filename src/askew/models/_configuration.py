"""The configuration of the translation model, as transformers saves and loads it.

The fields are called `encoder_stack` and `decoder_stack` because transformers expects a
`PreTrainedConfig` in a field called `encoder` or `decoder`.
"""

from transformers import PreTrainedConfig

from askew._check import require
from askew._config import load_config, to_dict
from askew.transformer import EncoderDecoderConfig, StackConfig


class AsymmetricTranslationConfig(PreTrainedConfig):
    """An `EncoderDecoderConfig` in the form of transformers.

    Attributes:
        source_vocab: Number of source tokens.
        vocab_size: Number of target tokens.
        encoder_stack: The fields of a `StackConfig`.
        decoder_stack: The fields of a `StackConfig`.
        tie_embeddings: As in `EncoderDecoderConfig`.
        d_embedding: As in `EncoderDecoderConfig`.
        adapter: As in `EncoderDecoderConfig`.
        encoder_layers: Depth of the encoder, derived.
        decoder_layers: Depth of the decoder, derived; sizes the key/value cache.

    Raises:
        ValueError: If is_encoder_decoder is not True.

    Example:
        >>> from askew.transformer import EncoderDecoderConfig, StackConfig
        >>> side = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> plain = EncoderDecoderConfig(source_vocab=9, target_vocab=9, encoder=side, decoder=side)
        >>> AsymmetricTranslationConfig.from_plain(plain).to_plain() == plain
        True
    """

    model_type = "askew-translation"
    keys_to_ignore_at_inference = ["cache"]  # noqa: RUF012  (read by transformers)
    attribute_map = {"num_hidden_layers": "decoder_layers"}  # noqa: RUF012

    source_vocab: int = 4
    vocab_size: int = 4
    encoder_stack: dict | None = None
    decoder_stack: dict | None = None
    tie_embeddings: str = "output"
    d_embedding: int | None = None
    adapter: str = "none"
    encoder_layers: int = 1
    decoder_layers: int = 1
    is_encoder_decoder: bool = True
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 1
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: object) -> None:
        """Fill in both stacks, derive the depths, and pass the rest to transformers."""
        require(
            self.is_encoder_decoder is True,
            "AsymmetricTranslationConfig: is_encoder_decoder must be True; "
            f"got is_encoder_decoder {self.is_encoder_decoder!r}",
        )
        tiny = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        self.encoder_stack = dict(self.encoder_stack or to_dict(tiny))
        self.decoder_stack = dict(self.decoder_stack or to_dict(tiny))
        self.encoder_layers = self.encoder_stack["num_layers"]
        self.decoder_layers = self.decoder_stack["num_layers"]
        super().__post_init__(**kwargs)

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
            pad_token_id=config.padding_token,
        )

    def to_plain(self) -> EncoderDecoderConfig:
        """Return the configuration of the plain module.

        Returns:
            What the plain module is built from.

        Raises:
            ValueError: If a saved configuration holds unknown or unfit values.
        """
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
                "padding_token": self.pad_token_id,
            },
        )
