"""Ready-made sizes and shapes of translation models."""

from askew._check import hint, require
from askew.tasks._arm_names import SHAPES
from askew.transformer import EncoderDecoderConfig, StackConfig

SIZES = {"tiny": (64, 0.0), "small": (128, 0.0), "base": (256, 0.1)}
"""Width and dropout of each size."""


def translation_preset(
    shape: str, size: str, *, vocab_size: int | tuple[int, int]
) -> EncoderDecoderConfig:
    """Return the config of a named shape in a named size.

    Args:
        shape: "deep-shallow" (4 encoder layers, 2 narrower decoder layers),
            "narrow-decoder" (3 layers each, a decoder of half the width), "shared-bridge" (the
            same, with one linear map from the encoder's width to the decoder's) or "symmetric"
            (3 layers each, one width).
        size: "tiny", "small" or "base": the widest side is 64, 128 or 256 wide. Dropout is 0,
            which suits budgets of minutes, or 0.1 for "base".
        vocab_size: Tokens of the joint vocabulary, or of source and target.

    Returns:
        The config.

    Raises:
        ValueError: If a name is unknown.

    Example:
        >>> translation_preset("deep-shallow", "small", vocab_size=2000).decoder.d_model
        96
    """
    require(
        size in SIZES, f"translation_preset: size must be one of {', '.join(SIZES)}; got {size!r}"
    )
    require(
        shape in SHAPES,
        f"translation_preset: shape must be one of {', '.join(SHAPES)}; got {shape!r}"
        f"{hint(shape, SHAPES)}",
    )
    width, dropout = SIZES[size]
    depths, narrow = {
        "deep-shallow": ((4, 2), 3 * width // 4),
        "narrow-decoder": ((3, 3), width // 2),
        "shared-bridge": ((3, 3), width // 2),
        "symmetric": ((3, 3), width),
    }[shape]
    encoder, decoder = (
        StackConfig(
            d_model=d_model,
            num_layers=num_layers,
            num_heads=max(2, d_model // 32),
            d_ff=4 * d_model,
            dropout=dropout,
        )
        for d_model, num_layers in zip((width, narrow), depths, strict=True)
    )
    source_vocab, target_vocab = (
        (vocab_size, vocab_size) if isinstance(vocab_size, int) else vocab_size
    )
    return EncoderDecoderConfig(
        source_vocab=source_vocab,
        target_vocab=target_vocab,
        encoder=encoder,
        decoder=decoder,
        adapter="shared" if shape == "shared-bridge" else "none",
    )
