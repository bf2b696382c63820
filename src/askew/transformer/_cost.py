"""Parameters and floating-point operations of a model, from its configuration alone."""

from typing import NamedTuple

from askew.transformer._config import EncoderDecoderConfig, StackConfig


class ParameterCount(NamedTuple):
    """Numbers of trainable parameters of an encoder-decoder.

    Args:
        total: Of the whole model.
        encoder: Of the encoder's layers.
        decoder: Of the decoder's layers, and of a shared adapter.

    Example:
        >>> ParameterCount(total=300, encoder=200, decoder=60).encoder
        200
    """

    total: int
    encoder: int
    decoder: int


def parameter_count(config: EncoderDecoderConfig) -> ParameterCount:
    """Count the parameters of an encoder-decoder without building it.

    Args:
        config: The model.

    Returns:
        The same numbers as counting the parameters of the built model.

    Example:
        >>> side = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> config = EncoderDecoderConfig(
        ...     source_vocab=9, target_vocab=9, encoder=side, decoder=side
        ... )
        >>> parameter_count(config).encoder
        1216
    """
    encoder, decoder = config.encoder, config.decoder
    decoder_layer = (
        _self_attention(decoder)
        + _attention(decoder, config.d_memory)
        + _feed_forward(decoder)
        + _norms(decoder, 3)
    )
    in_encoder = stack_parameters(encoder)
    in_decoder = decoder.num_layers * decoder_layer + _final_norm(decoder) - _unowned(decoder)
    if config.adapter == "shared":
        in_decoder += (encoder.d_model + 1) * decoder.d_model
    return ParameterCount(in_encoder + in_decoder + _tables(config), in_encoder, in_decoder)


def training_flops(
    config: EncoderDecoderConfig, *, source_length: float, target_length: float
) -> float:
    """Count the floating-point operations of training on one sentence pair.

    Only matrix products count, each multiply-add as two operations; the backward pass costs
    twice the forward pass. Attention counts every pair of positions, since CPU kernels
    compute masked pairs too.

    Args:
        config: The model.
        source_length: Number of source tokens.
        target_length: Number of target tokens.

    Returns:
        Operations of one forward and one backward pass.

    Example:
        >>> side = StackConfig(d_model=2, num_layers=1, num_heads=1, d_ff=3)
        >>> config = EncoderDecoderConfig(
        ...     source_vocab=5, target_vocab=7, encoder=side, decoder=side
        ... )
        >>> training_flops(config, source_length=1, target_length=1)
        588
    """
    encoder, decoder = config.encoder, config.decoder
    s, t = source_length, target_length
    decoder_layer = (
        _self_attention_flops(decoder, t)
        + _attention_flops(decoder, config.d_memory, t, s)
        + _feed_forward_flops(decoder, t)
    )
    forward = stack_flops(encoder, s) + decoder.num_layers * decoder_layer
    forward -= _unowned_flops(decoder, t)
    if config.adapter == "shared":
        forward += 2 * s * encoder.d_model * decoder.d_model
    return 3 * (forward + _token_flops(config, s, t))


def stack_parameters(config: StackConfig) -> int:
    """Count the parameters of an encoder: its layers and its final norm.

    Args:
        config: The stack.

    Returns:
        The number of parameters of the built `Encoder`.

    Example:
        >>> stack_parameters(StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16))
        1216
    """
    layer = _self_attention(config) + _feed_forward(config) + _norms(config, 2)
    return config.num_layers * layer + _final_norm(config) - _unowned(config)


def stack_flops(config: StackConfig, length: float) -> float:
    """Count the floating-point operations of an encoder's layers on one text.

    Args:
        config: The stack.
        length: Number of tokens.

    Returns:
        Operations of one forward pass, counted as in `training_flops`.

    Example:
        >>> stack_flops(StackConfig(d_model=2, num_layers=1, num_heads=1, d_ff=3), 1)
        64
    """
    layer = _self_attention_flops(config, length)
    layers = config.num_layers * (layer + _feed_forward_flops(config, length))
    return layers - _unowned_flops(config, length)


def cache_bytes(config: StackConfig, *, itemsize: int = 4) -> int:
    """Count the bytes that a decoder's self-attention keeps for every target token.

    Keys and values of the source, which do not grow with the target, are not counted.

    Args:
        config: The decoder.
        itemsize: Bytes of a number: 4 of float32, 2 of bfloat16.

    Returns:
        Bytes of all layers.

    Example:
        >>> plain = StackConfig(d_model=64, num_layers=2, num_heads=4, d_ff=128)
        >>> latent = StackConfig(
        ...     d_model=64, num_layers=2, num_heads=4, d_ff=128, d_latent=16, d_rotary=8
        ... )
        >>> cache_bytes(plain), cache_bytes(latent)
        (1024, 192)
    """
    widths = _attention_widths(config)
    kept = widths.key + widths.value
    if config.d_latent is not None:
        kept = config.d_latent + config.d_rotary
    return config.key_layers * kept * itemsize


def _tables(config: EncoderDecoderConfig) -> int:
    """Count the parameters of tables, of the maps from a shared one, and of their norms."""
    source, target = config.encoder.d_model, config.decoder.d_model
    others = config.target_vocab if config.output_bias else 0
    others += sum(_embedding_parameters(side) for side in (config.encoder, config.decoder))
    if config.tie_embeddings == "all":
        width = config.shared_width
        maps = sum(width * side for side in (source, target) if side != width)
        return config.target_vocab * width + maps + others
    tables = config.target_vocab * target * (2 if config.tie_embeddings == "none" else 1)
    return tables + config.source_vocab * source + others


def _embedding_parameters(config: StackConfig) -> int:
    """Count the parameters of learned positions and of a norm of embedded tokens."""
    learned = config.d_sinusoids is None
    rows = config.positions.length or 0 if learned and config.positions is not None else 0
    return rows * config.d_model + (_norms(config, 1) if config.embedding_norm else 0)


def _final_norm(config: StackConfig) -> int:
    return _norms(config, 1) if config.final_norm else 0


class _Widths(NamedTuple):
    """Widths of queries, stored keys, stored values, and the values of all heads together."""

    query: int
    key: int
    value: int
    output: int


def _attention_widths(config: StackConfig) -> _Widths:
    d_key, d_value = (
        config.d_model if width is None else width for width in (config.d_key, config.d_value)
    )
    kv_heads = config.num_heads if config.num_kv_heads is None else config.num_kv_heads
    share = kv_heads / config.num_heads
    return _Widths(d_key, round(d_key * share), round(d_value * share), d_value)


def _self_attention(config: StackConfig) -> int:
    sinks = config.num_heads if config.learned_sinks else 0
    gates = _gate_width(config) * (config.d_model + 1)
    maps = _attention(config, config.d_model)
    if config.d_latent is not None:
        widths = _attention_widths(config)
        read = widths.query + config.num_heads * config.d_rotary + config.d_latent + config.d_rotary
        maps = read * (config.d_model + 1) + config.d_latent * (widths.key + widths.value)
        maps += config.d_model * (widths.output + 1)
    return maps + sinks + gates


def _unowned(config: StackConfig) -> int:
    """Count what layers that read the keys of others do without."""
    widths = _attention_widths(config)
    readers = config.num_layers - config.key_layers
    return readers * (config.d_model + 1) * (widths.key + widths.value)


def _unowned_flops(config: StackConfig, length: float) -> float:
    widths = _attention_widths(config)
    readers = config.num_layers - config.key_layers
    return 2 * readers * length * config.d_model * (widths.key + widths.value)


def _gate_width(config: StackConfig) -> int:
    if config.gate is None:
        return 0
    return config.num_heads if config.gate == "head" else _attention_widths(config).output


def _attention(config: StackConfig, d_source: int) -> int:
    widths = _attention_widths(config)
    maps = ((config.d_model, widths.query), (d_source, widths.key), (d_source, widths.value))
    inputs = sum(width * (d_in + 1) for d_in, width in maps)
    output = config.d_model * (widths.output + 1)
    return inputs + output + (config.num_heads if config.qk_norm else 0)


def _feed_forward(config: StackConfig) -> int:
    return 2 * config.d_model * config.d_ff + config.d_ff + config.d_model


def _norms(config: StackConfig, count: int) -> int:
    return 2 * config.d_model * count


def _self_attention_flops(config: StackConfig, length: float) -> float:
    gates = 2 * length * config.d_model * _gate_width(config)
    if config.d_latent is None:
        return _attention_flops(config, config.d_model, length, length) + gates
    widths, heads, latent = _attention_widths(config), config.num_heads, config.d_latent
    rotary = heads * config.d_rotary
    maps = config.d_model * (widths.query + rotary + latent + config.d_rotary + widths.output)
    both = widths.key + widths.value
    pairs = length * (min(both, 2 * heads * latent) + rotary)  # absorbed, if that takes less
    return 2 * length * (maps + latent * both + pairs) + gates


def _attention_flops(config: StackConfig, d_source: int, queries: float, keys: float) -> float:
    widths = _attention_widths(config)
    both = widths.query + widths.output
    projections = queries * config.d_model * both + keys * d_source * (widths.key + widths.value)
    return 2 * (projections + queries * keys * both)


def _token_flops(config: EncoderDecoderConfig, s: float, t: float) -> float:
    """Count the operations of the output layer, and of the maps from and to a shared table."""
    source, target = config.encoder.d_model, config.decoder.d_model
    if config.tie_embeddings != "all":
        return 2 * t * target * config.target_vocab
    width = config.shared_width
    # The source's map is applied once, the target's to its input and, transposed, to its output.
    maps = (s * source if source != width else 0) + (2 * t * target if target != width else 0)
    return 2 * (t * width * config.target_vocab + width * maps)


def _feed_forward_flops(config: StackConfig, length: float) -> float:
    return 4 * length * config.d_model * config.d_ff
