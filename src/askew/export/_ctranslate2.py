"""Export to a folder of CTranslate2; each side keeps its own width, depth and heads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from askew._check import require, requires_extra
from askew._ctranslate2_engine import model_files
from askew._files import file_sha256, write_json
from askew._plain import is_plain
from askew.attention import AsymmetricAttention, sinusoidal_positions
from askew.export._files import MARK, check_replaceable, replacing_folder
from askew.models import (
    AsymmetricTranslationModel,
    CTranslate2Engine,
    DecodingConfig,
    load_translation_model,
)
from askew.text import Tokenizers, load_tokenizers, save_tokenizers
from askew.transformer import (
    AsymmetricEncoderDecoder,
    DecoderLayer,
    EncoderDecoderConfig,
    EncoderLayer,
    StackConfig,
)

QUANTIZATIONS = ("float32", "float16", "bfloat16", "int16", "int8", "int8_float32", "int8_float16")
"""How CTranslate2 can store weights, the most exact first."""
_POSITIONS = 2048
_SIDES = {"encoder": "source", "decoder": "target"}
_Map = tuple[Tensor, Tensor]


def export_ctranslate2(
    folder: str | Path, out: str | Path | None = None, *, quantization: str = "float32"
) -> Path:
    """Write a trained model for CTranslate2.

    An embedding that both sides share through linear maps becomes one table for each side, and a
    shared adapter is multiplied into the keys and values that read it. Both are linear, so the
    model is the same up to rounding. Keys and values of grouped heads are repeated for each head.

    Args:
        folder: A model folder.
        out: The folder to write, by default the sub-folder "ctranslate2"; an earlier export is
            replaced.
        quantization: How weights are stored: "float32", "int8" (about four times smaller,
            fastest on a CPU) or another of `QUANTIZATIONS`.

    Returns:
        The folder written: model.bin, vocabularies, tokenizers, and askew.json with the SHA-256 of
        the weights and of every file.

    Raises:
        ValueError: If the model has what CTranslate2 cannot compute (normalised queries and
            keys, keys and values of different width or of a latent, learned sinks, gates, a final
            norm after norms that stand after blocks), a layer does not apply its weights as they
            are, the quantization is unknown, or `out` holds something else.
        ModuleNotFoundError: If ctranslate2 is not installed.

    Example:
        >>> export_ctranslate2("/nowhere")
        Traceback (most recent call last):
        ValueError: load_translation_model: a model folder holds config.json; got folder /n...
    """
    with requires_extra("export_ctranslate2", "serve"):
        import ctranslate2  # noqa: F401  (a missing package is reported before any work)

    folder = Path(folder)
    out = folder / "ctranslate2" if out is None else Path(out)
    check_replaceable(out, caller="export_ctranslate2")
    require(
        quantization in QUANTIZATIONS,
        f"export_ctranslate2: quantization must be one of {', '.join(QUANTIZATIONS)}; "
        f"got {quantization!r}",
    )
    model, tokenizers = load_translation_model(folder), load_tokenizers(folder)
    config = model.config.to_plain()
    for name, side in (("encoder", config.encoder), ("decoder", config.decoder)):
        _check_side(name, side)
    files = model_files(folder)
    with replacing_folder(out) as partial:
        _specification(model, config, tokenizers, quantization).save(str(partial))
        save_tokenizers(tokenizers, partial)
        manifest = {
            "version": 1,
            "engine": "ctranslate2",
            "quantization": quantization,
            "max_length": min(len(_positions(model.model, side)) for side in _SIDES),
            "fingerprint": files["model.safetensors"],
            "made_of": files,
            "sha256": file_sha256(partial / "model.bin"),
            "files": {path.name: file_sha256(path) for path in sorted(partial.iterdir())},
        }
        write_json(partial / MARK, manifest)
        CTranslate2Engine(partial).decode([[3]], [1], DecodingConfig())  # it loads and runs
    return out


def _check_side(name: str, side: StackConfig) -> None:
    d_key, d_value = side.d_key or side.d_model, side.d_value or side.d_model
    require(
        not side.qk_norm and d_key == d_value,
        "export_ctranslate2: CTranslate2 computes plain attention with keys as wide as values; "
        f"got {name} qk_norm {side.qk_norm}, d_key {d_key}, d_value {d_value}",
    )
    require(
        not side.learned_sinks and side.gate is None,
        "export_ctranslate2: CTranslate2 has no logits beside those of keys, and no gates; "
        f"got {name} learned_sinks {side.learned_sinks}, gate {side.gate!r}",
    )
    require(
        side.d_latent is None,
        "export_ctranslate2: CTranslate2 makes keys and values of the stream, not of a latent; "
        f"got {name} d_latent {side.d_latent}",
    )
    require(
        side.kv_shared_every == 1,
        "export_ctranslate2: CTranslate2 makes keys and values in every layer; "
        f"got {name} kv_shared_every {side.kv_shared_every}",
    )
    require(
        side.norm == "pre" or not side.final_norm,
        "export_ctranslate2: CTranslate2 has no final norm after norms that stand after blocks; "
        f"got {name} norm {side.norm!r}, final_norm {side.final_norm}",
    )


def _specification(
    model: AsymmetricTranslationModel,
    config: EncoderDecoderConfig,
    tokenizers: Tokenizers,
    quantization: str,
):
    from ctranslate2.specs import transformer_spec

    encoder, decoder = config.encoder, config.decoder
    spec = transformer_spec.TransformerSpec(
        transformer_spec.TransformerEncoderSpec(**_shape(encoder)),
        transformer_spec.TransformerDecoderSpec(**_shape(decoder)),
    )
    core = model.model
    _check_plain(core)
    source, target, output = _tables(core)
    _write_stack(spec.encoder, core, "encoder")
    _write_stack(spec.decoder, core, "decoder")
    spec.encoder.embeddings[0].weight = _array(source)
    spec.decoder.embeddings.weight = _array(target)
    spec.decoder.projection.weight = _array(output)
    if core.output_bias is not None:
        projection: Any = spec.decoder.projection
        projection.bias = _array(core.output_bias)
    for written, layer in zip(spec.encoder.layer, core.encoder.layers, strict=True):
        _write_self(written.self_attention, layer)
        _write_feed_forward(written.ffn, layer)
    for written, layer in zip(spec.decoder.layer, core.decoder.layers, strict=True):
        _write_self(written.self_attention, layer)
        _write_cross(written.attention, layer, core.adapter)
        _write_feed_forward(written.ffn, layer)
    settings: Any = spec.config  # declared as None, filled in by the base class
    settings.add_source_eos = True
    settings.bos_token = settings.decoder_start_token = "<s>"
    settings.eos_token, settings.unk_token = "</s>", "<pad>"
    settings.layer_norm_epsilon = core.encoder.layers[0].attention_norm.eps
    registers = spec.register_source_vocabulary, spec.register_target_vocabulary
    for register, tokenizer in zip(registers, tokenizers, strict=True):
        numbers = tokenizer.get_vocab()
        register(sorted(numbers, key=numbers.__getitem__))
    spec.validate()
    spec.optimize(quantization=quantization)
    return spec


def _check_plain(core: AsymmetricEncoderDecoder) -> None:
    """Refuse what the weights do not say: adapters, quantized layers, hooks."""
    for name, module in core.named_modules():
        if ".parametrizations" in name:  # they make the weight that is read
            continue
        known = type(module).__module__.startswith(("torch.nn.", "askew."))
        require(
            known and is_plain(module, type(module)),
            "export_ctranslate2: every layer must apply its weights as they are; "
            f"got {name} ({type(module).__name__}) with an adapter, quantized or with a hook. "
            "Merge or remove it first",
        )


def _tables(core: AsymmetricEncoderDecoder) -> tuple[Tensor, Tensor, Tensor]:
    """Return the source and target tables, with their maps applied, and the output layer."""
    target = _mapped(core.target_embedding.weight, core.target_projection)
    if core.source_embedding is None:
        source = _mapped(core.target_embedding.weight, core.source_projection)
    else:
        source = core.source_embedding.weight
    return source, target, target if core.output is None else core.output.weight


def _mapped(table: Tensor, projection: nn.Linear | None) -> Tensor:
    return table if projection is None else table @ projection.weight.T


def _shape(side: StackConfig) -> dict[str, Any]:
    """Return what the specification of a stack is built from."""
    from ctranslate2.specs import common_spec

    kinds = common_spec.Activation
    activations = {"relu": kinds.RELU, "gelu": kinds.GELU, "swish": kinds.SWISH}
    return {
        "num_layers": side.num_layers,
        "num_heads": side.num_heads,
        "pre_norm": side.norm == "pre",
        "no_final_norm": not side.final_norm,
        "activation": activations[side.activation],
        "layernorm_embedding": side.embedding_norm,
    }


def _positions(core: AsymmetricEncoderDecoder, side: str) -> Tensor:
    """Return the vectors of the first positions."""
    positions = getattr(core, f"{_SIDES[side]}_positions")
    if positions is None:
        return sinusoidal_positions(_POSITIONS, getattr(core.config, side).d_model)
    with torch.no_grad():
        return positions(positions.most or _POSITIONS, start=0, like=core.target_embedding.weight)


def _write_stack(written, core: AsymmetricEncoderDecoder, side: str) -> None:
    config, stack = getattr(core.config, side), getattr(core, side)
    written.scale_embeddings = np.float32(config.embedding_scale or config.d_model**0.5)
    written.position_encodings.encodings = _array(_positions(core, side))
    if config.final_norm:
        _write_norm(written.layer_norm, stack.norm)
    if config.embedding_norm:
        norm = getattr(core, f"{_SIDES[side]}_embedding_norm")
        _write_norm(written.layernorm_embedding, norm)


def _write_norm(written, norm: nn.LayerNorm) -> None:
    written.gamma, written.beta = _array(norm.weight), _array(norm.bias)


def _write_linear(written, maps: Sequence[_Map]) -> None:
    written.weight = _array(torch.cat([weight for weight, _ in maps]))
    written.bias = _array(torch.cat([bias for _, bias in maps]))


def _write_self(written, layer: EncoderLayer | DecoderLayer) -> None:
    attention = layer.attention
    assert isinstance(attention, AsymmetricAttention)  # one of latents was refused
    _write_head_width(written, attention)
    _write_norm(written.layer_norm, layer.attention_norm)
    maps = [_map(attention.query), *(_repeat_heads(m, attention) for m in _keys_values(attention))]
    _write_linear(written.linear[0], maps)
    _write_linear(written.linear[1], [_map(attention.output)])


def _write_head_width(written, attention: AsymmetricAttention) -> None:
    """Say how wide heads are, if not as wide as the stream has room for."""
    if attention.head_key * attention.num_heads != attention.query.in_features:
        vars(written)["head_dim"] = np.int32(attention.head_key)  # no argument of every version


def _write_cross(written, layer: DecoderLayer, adapter: nn.Linear | None) -> None:
    attention = layer.cross_attention
    _write_head_width(written, attention)
    _write_norm(written.layer_norm, layer.cross_attention_norm)
    _write_linear(written.linear[0], [_map(attention.query)])
    keys_values = [_repeat_heads(m, attention) for m in _keys_values(attention)]
    _write_linear(written.linear[1], [_compose(m, adapter) for m in keys_values])
    _write_linear(written.linear[2], [_map(attention.output)])


def _write_feed_forward(written, layer: EncoderLayer | DecoderLayer) -> None:
    _write_norm(written.layer_norm, layer.feed_forward_norm)
    _write_linear(written.linear_0, [_map(layer.feed_forward.expand)])
    _write_linear(written.linear_1, [_map(layer.feed_forward.contract)])


def _map(linear: nn.Linear) -> _Map:
    return linear.weight, linear.bias


def _keys_values(attention: AsymmetricAttention) -> tuple[_Map, _Map]:
    key, value = attention.key, attention.value
    assert key is not None  # `_check_side` has refused keys of other layers
    assert value is not None
    return _map(key), _map(value)


def _repeat_heads(grouped: _Map, attention: AsymmetricAttention) -> _Map:
    """Repeat the keys or values of grouped heads for every head that reads them."""
    times = attention.num_heads // attention.num_kv_heads
    weight, bias = (
        tensor.unflatten(0, (attention.num_kv_heads, -1)).repeat_interleave(times, 0).flatten(0, 1)
        for tensor in grouped
    )
    return weight, bias


def _compose(linear: _Map, adapter: nn.Linear | None) -> _Map:
    """Multiply the adapter into the map that follows it."""
    if adapter is None:
        return linear
    weight, bias = linear
    return weight @ adapter.weight, weight @ adapter.bias + bias


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy().copy()
