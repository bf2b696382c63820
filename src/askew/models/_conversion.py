"""An encoder-decoder of transformers as ours, and ours as one of transformers."""

import copy
import re
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from askew._check import require
from askew.models._configuration import AsymmetricTranslationConfig
from askew.models._forms import FORMS, NAMES, Form
from askew.transformer import EncoderDecoderConfig, PositionConfig, StackConfig

FROM, TO = (
    f"AsymmetricTranslationModel.{name}" for name in ("from_transformers", "to_transformers")
)
_ACTIVATIONS: dict[str, Literal["relu", "gelu", "swish"]] = {
    "relu": "relu",
    "gelu": "gelu",
    "silu": "swish",
    "swish": "swish",
}
_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
_SHARED = ("dropout", "attention_dropout", "feed_forward_dropout", "activation")
"""Settings that transformers has once for both sides."""
_SIDES = {"encoder": "source", "decoder": "target"}
_IN_LAYERS = {
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.out_proj": "attention.output",
    "self_attn_layer_norm": "attention_norm",
    "encoder_attn.q_proj": "cross_attention.query",
    "encoder_attn.k_proj": "cross_attention.key",
    "encoder_attn.v_proj": "cross_attention.value",
    "encoder_attn.out_proj": "cross_attention.output",
    "encoder_attn_layer_norm": "cross_attention_norm",
    "fc1": "feed_forward.expand",
    "fc2": "feed_forward.contract",
    "final_layer_norm": "feed_forward_norm",
}
_LAYER = re.compile(r"model\.((?:encoder|decoder)\.layers\.\d+)\.(.+)\.(weight|bias)")
_BESIDE = re.compile(r"model\.(encoder|decoder)\.(\w+)\.(weight|bias)")


def converted_config(model: PreTrainedModel) -> AsymmetricTranslationConfig:
    """Describe the model of ours that computes what one of transformers does.

    Raises:
        ValueError: If there is none.
    """
    form = next((form for form in FORMS if type(model) is form.model_class), None)
    if form is None:
        raise ValueError(
            f"{FROM}: the model must be a {NAMES}; got {type(model).__name__}, whose layers are "
            "others"
        )
    theirs: Any = model.config
    activation = theirs.activation_function
    require(
        activation in _ACTIVATIONS,
        f"{FROM}: the activation must be one of {', '.join(_ACTIVATIONS)}; got {activation!r}",
    )
    require(
        theirs.pad_token_id is not None,
        f"{FROM}: the model must have a padding token; got pad_token_id None. Set it in the config",
    )
    source, target, output = _tables(model)
    plain = EncoderDecoderConfig(
        source_vocab=len(source),
        target_vocab=len(target),
        encoder=_stack(model, form, "encoder"),
        decoder=_stack(model, form, "decoder"),
        tie_embeddings=_tied(source, target, output),
        padding_token=theirs.pad_token_id,
        output_bias=bool(getattr(model, "final_logits_bias", torch.zeros(1)).any()),
    )
    config = AsymmetricTranslationConfig.from_plain(plain)
    for name in _TOKENS:
        setattr(config, name, getattr(theirs, name, None))
    return config


def copy_from_transformers(ours: Any, theirs: Any) -> None:
    """Fill our model with the weights, settings of generation, type and mode of theirs."""
    form = _form_of(theirs)
    given, known = theirs.state_dict(), ours.state_dict().keys()
    named = {_own_name(name, form): weight for name, weight in given.items()}
    named |= _own_tables(theirs)
    weights = {name: weight for name, weight in named.items() if name in known}
    if ours.config.output_bias:
        weights["model.output_bias"] = given["final_logits_bias"].flatten()
    ours.to(theirs.dtype).load_state_dict(weights)
    _check_positions(ours, theirs, form)
    ours.generation_config = copy.deepcopy(theirs.generation_config)
    ours.to(theirs.device).train(theirs.training)


def to_transformers(ours: Any) -> PreTrainedModel:
    """Build the model of transformers that computes what ours does.

    Raises:
        ValueError: If there is none; the message says why.
    """
    plain = ours.config.to_plain()
    form = _form_for(plain)
    make: Any = form.model_class
    theirs = make(make.config_class(**_their_settings(ours, plain, form)))
    own, weights = ours.state_dict(), theirs.state_dict()
    tables = _their_tables(ours)
    for name in weights:
        source = tables.get(name, own.get(_own_name(name, form) or ""))
        if source is not None:
            weights[name] = source
    if "final_logits_bias" in weights and plain.output_bias:
        weights["final_logits_bias"] = own["model.output_bias"][None]
    theirs.to(ours.dtype).load_state_dict(weights)
    theirs.tie_weights()
    theirs.generation_config = copy.deepcopy(ours.generation_config)
    return theirs.to(ours.device).train(ours.training)


def _form_of(model: PreTrainedModel) -> Form:
    return next(form for form in FORMS if type(model) is form.model_class)


def _stack(model: Any, form: Form, side: str) -> StackConfig:
    theirs = model.config
    offset = form.first_position(theirs.pad_token_id)
    return StackConfig(
        d_model=theirs.d_model,
        num_layers=getattr(theirs, f"{side}_layers"),
        num_heads=getattr(theirs, f"{side}_attention_heads"),
        d_ff=getattr(theirs, f"{side}_ffn_dim"),
        dropout=float(theirs.dropout),
        attention_dropout=float(theirs.attention_dropout),
        feed_forward_dropout=float(theirs.activation_dropout),
        activation=_ACTIVATIONS[theirs.activation_function],
        norm=form.norm,
        final_norm=form.final_norm,
        embedding_norm=form.embedding_norm,
        embedding_scale=None if theirs.scale_embedding else 1.0,
        positions=PositionConfig(
            kind=form.positions,
            offset=offset,
            length=theirs.max_position_embeddings + offset,
        ),
    )


def _tables(model: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tables of source and target tokens, and the weights of the output layer."""
    core = model.model
    return (
        core.encoder.embed_tokens.weight,
        core.decoder.embed_tokens.weight,
        model.lm_head.weight,
    )


def _tied(source: Tensor, target: Tensor, output: Tensor) -> Any:
    same = (source is target, target is output, source is output)
    kinds = {(True, True, True): "all", (False, True, False): "output", (False,) * 3: "none"}
    require(
        same in kinds,
        f"{FROM}: one table must be that of both sides and the output, or of the target and the "
        "output, or each must have its own; got source = target "
        f"{same[0]}, target = output {same[1]}, source = output {same[2]}",
    )
    return kinds[same]


def _own_tables(theirs: Any) -> dict[str | None, Tensor]:
    source, target, output = _tables(theirs)
    named = {"target_embedding": target, "source_embedding": source, "output": output}
    return {f"model.{name}.weight": weight for name, weight in named.items()}


def _their_tables(ours: Any) -> dict[str, Tensor]:
    core = ours.model
    target = core.target_embedding.weight
    source = target if core.source_embedding is None else core.source_embedding.weight
    return {
        "model.shared.weight": source,
        "model.encoder.embed_tokens.weight": source,
        "model.decoder.embed_tokens.weight": target,
        "lm_head.weight": target if core.output is None else core.output.weight,
    }


def _own_name(name: str, form: Form) -> str | None:
    """Return what our model calls a weight of theirs; None if tables and biases of logits."""
    if layer := _LAYER.fullmatch(name):
        return f"model.{layer[1]}.{_IN_LAYERS[layer[2]]}.{layer[3]}"
    beside = _BESIDE.fullmatch(name)
    if beside is None:
        return None
    side, module, kind = beside.groups()
    if module == "layer_norm":
        return f"model.{side}.norm.{kind}"
    if module == "layernorm_embedding":
        return f"model.{_SIDES[side]}_embedding_norm.{kind}"
    if module == "embed_positions" and form.positions == "learned":
        return f"model.{_SIDES[side]}_positions.table.{kind}"
    return None


@torch.no_grad()
def _check_positions(ours: Any, theirs: Any, form: Form) -> None:
    """Refuse sinusoids that are others than those of the class."""
    if form.positions != "sinusoidal":
        return
    for side, own in _SIDES.items():
        given = getattr(theirs.model, side).embed_positions.weight
        positions = getattr(ours.model, f"{own}_positions")
        right = positions(len(given), start=0, like=given)
        require(
            torch.equal(right, given.to(right.device)),
            f"{FROM}: positions must be the sinusoids of {type(theirs).__name__}; got others in "
            f"the {side}",
        )


def _form_for(plain: EncoderDecoderConfig) -> Form:
    """Find the class that computes what a model of ours does.

    Raises:
        ValueError: If there is none; the message says what stands in the way.
    """
    one, other = plain.encoder, plain.decoder
    obstacles = [*_obstacles(plain)]
    require(not obstacles, f"{TO}: {'; '.join(obstacles)}")
    padding = plain.padding_token
    for form in FORMS:
        if not (form.fits(one, padding) and form.fits(other, padding)):
            continue
        tied = plain.tie_embeddings
        alike = plain.source_vocab == plain.target_vocab
        name = form.model_class.__name__
        require(
            form.output_bias or not plain.output_bias,
            f"{TO}: {name} has no bias of logits; got output_bias True",
        )
        require(
            form.two_tables or (tied != "output" and alike),
            f"{TO}: {name} has one table for both sides, or three of one size; got "
            f"tie_embeddings {tied!r}, vocabularies {(plain.source_vocab, plain.target_vocab)}",
        )
        return form
    stacks = [
        f"norm {side.norm!r}, final_norm {side.final_norm}, embedding_norm "
        f"{side.embedding_norm}, positions {side.positions}"
        for side in (one, other)
    ]
    raise ValueError(f"{TO}: no class of {NAMES} has these layers; got {' and '.join(stacks)}")


def _obstacles(plain: EncoderDecoderConfig) -> list[str]:
    one, other = plain.encoder, plain.decoder
    found = []
    if one.d_model != other.d_model:
        found.append(f"both sides must be as wide; got d_model {one.d_model} and {other.d_model}")
    if plain.adapter != "none" or plain.d_embedding not in (None, one.d_model):
        found.append(
            "there must be no map between the sides, their widths or the table; got adapter "
            f"{plain.adapter!r}, d_embedding {plain.d_embedding}"
        )
    for name in (*_SHARED, "embedding_scale"):
        values = getattr(one, name), getattr(other, name)
        if values[0] != values[1]:
            found.append(f"{name} must be the same on both sides; got {values[0]} and {values[1]}")
    for side, stack in (("encoder", one), ("decoder", other)):
        found += [f"{side}: {words}" for words in _own_shapes(stack)]
    return found


def _own_shapes(stack: StackConfig) -> list[str]:
    found = []
    usual = (None, stack.d_model)
    if stack.d_key not in usual or stack.d_value not in usual or stack.d_model % stack.num_heads:
        found.append(
            "heads must be d_model / num_heads wide; got d_model "
            f"{stack.d_model}, num_heads {stack.num_heads}, d_key {stack.d_key}, d_value "
            f"{stack.d_value}"
        )
    if stack.qk_norm or stack.num_kv_heads not in (None, stack.num_heads):
        found.append(
            "every head must have its own keys, not normalised; got num_kv_heads "
            f"{stack.num_kv_heads}, qk_norm {stack.qk_norm}"
        )
    if stack.d_latent is not None:
        found.append(f"keys must be made of the stream; got d_latent {stack.d_latent}")
    if stack.kv_shared_every > 1:
        found.append(
            f"every layer must make its own keys; got kv_shared_every {stack.kv_shared_every}"
        )
    if stack.learned_sinks or stack.gate is not None:
        found.append(
            "a query must look at its keys alone, without a gate; got learned_sinks "
            f"{stack.learned_sinks}, gate {stack.gate!r}"
        )
    if stack.embedding_scale not in (None, 1.0, stack.d_model**0.5):
        found.append(
            "embedding_scale must be 1 or the root of d_model; got embedding_scale "
            f"{stack.embedding_scale}"
        )
    if stack.positions is not None and stack.positions.width not in (None, stack.d_model):
        found.append(
            "sinusoids must be as wide as the stream; got width of positions "
            f"{stack.positions.width}, d_model {stack.d_model}"
        )
    return found


def _their_settings(ours: Any, plain: EncoderDecoderConfig, form: Form) -> dict:
    both = plain.encoder
    settings: dict[str, Any] = {
        "vocab_size": plain.source_vocab,
        "d_model": both.d_model,
        "activation_function": both.activation,
        "dropout": both.dropout,
        "attention_dropout": both.attention_dropout,
        "activation_dropout": both.feed_forward_dropout,
        "scale_embedding": both.embedding_scale != 1.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "tie_word_embeddings": plain.tie_embeddings != "none",
    }
    for side in _SIDES:
        stack = getattr(plain, side)
        settings[f"{side}_layers"] = stack.num_layers
        settings[f"{side}_attention_heads"] = stack.num_heads
        settings[f"{side}_ffn_dim"] = stack.d_ff
    lengths = [
        side.positions.length - side.positions.offset
        for side in (plain.encoder, plain.decoder)
        if side.positions is not None and side.positions.length is not None
    ]
    if lengths:
        settings["max_position_embeddings"] = min(lengths)
    if form.two_tables:
        settings["decoder_vocab_size"] = plain.target_vocab
        settings["share_encoder_decoder_embeddings"] = plain.tie_embeddings == "all"
    settings |= {name: getattr(ours.config, name) for name in _TOKENS}
    return settings
