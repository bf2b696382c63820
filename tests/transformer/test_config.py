from dataclasses import replace

import pytest

from askew._config import load_config, to_dict
from askew.models import AsymmetricTranslationConfig
from askew.transformer import EncoderDecoderConfig, PositionConfig, StackConfig

SIDE = {"d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16}


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": 0}, "num_layers must be positive; got num_layers 0"),
        ({"d_ff": -3}, "d_ff must be positive; got d_ff -3"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\); got dropout 1.0"),
        ({"num_heads": 3}, "d_model must be a multiple of num_heads; got d_model 8, num_heads 3"),
        ({"d_key": 5}, "d_key must be a multiple of num_heads; got d_key 5, num_heads 2"),
        ({"num_kv_heads": 4}, "num_kv_heads must divide num_heads; got num_kv_heads 4"),
        ({"activation": "tanh"}, "activation must be relu, gelu or swish; got activation 'tanh'"),
        ({"d_value": 5}, "d_value must be a multiple of num_heads; got d_value 5, num_heads 2"),
        ({"gate": "row"}, "gate must be head, element or None; got gate 'row'"),
        ({"d_latent": 0}, "d_latent must be positive; got d_latent 0"),
        ({"d_rotary": 2}, ".* needs d_latent; got d_rotary 2, d_latent None"),
        ({"d_rotary": 3, "d_latent": 4}, "d_rotary must be even, .*; got d_rotary 3, d_latent 4"),
        ({"d_latent": 4, "num_kv_heads": 1}, ".* their own keys.* d_latent 4, num_kv_heads 1"),
        ({"d_latent": 4, "qk_norm": True}, ".* not normalised; .*, qk_norm True"),
        ({"norm": "both"}, "norm must be pre or post; got norm 'both'"),
        ({"embedding_scale": 0.0}, "embedding_scale must be positive; got embedding_scale 0.0"),
        (
            {"positions": PositionConfig(width=6)},
            "sinusoids must be as wide as the stream; got width of positions 6, d_model 8",
        ),
    ],
)
def test_stack_refuses(change, message):
    with pytest.raises(ValueError, match=f"StackConfig: {message}"):
        StackConfig(**(SIDE | change))


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"kind": "rotary"},
            "kind must be sinusoidal, tensor2tensor or learned; got kind 'rotary'",
        ),
        ({"kind": "learned"}, "which a learned table needs; got kind 'learned', .* length None"),
        ({"offset": 2, "length": 2}, "length above it.* offset 2, length 2"),
        ({"offset": -1}, "offset must be at least 0 .* offset -1"),
        ({"width": 7}, "width must be even, above 2, .* width 7"),
        ({"kind": "learned", "length": 4, "width": 8}, "of sinusoids; got kind 'learned', width 8"),
    ],
)
def test_positions_refuse(values, message):
    with pytest.raises(ValueError, match=f"PositionConfig: .*{message}"):
        PositionConfig(**values)


def test_settings_that_were_added_are_stored_only_where_they_differ():
    """What was stored before they were there, such as a config.json, stays as it was."""
    stack = StackConfig(**SIDE)
    before = {**SIDE, "num_kv_heads": None, "d_key": None, "dropout": 0.1, "qk_norm": False}
    before |= {"attention_dropout": 0.0, "feed_forward_dropout": 0.0, "activation": "relu"}
    assert to_dict(stack) == before
    assert load_config(StackConfig, before) == stack
    positions = PositionConfig(kind="learned", offset=2, length=9)
    other = replace(stack, norm="post", final_norm=False, positions=positions)
    added = {"norm": "post", "final_norm": False, "positions": to_dict(positions)}
    assert to_dict(other) == before | added
    assert load_config(StackConfig, to_dict(other)) == other
    both = EncoderDecoderConfig(source_vocab=9, target_vocab=9, encoder=stack, decoder=stack)
    assert "output_bias" not in to_dict(both)
    assert "output_bias" not in AsymmetricTranslationConfig.from_plain(both).to_dict()
    biased = replace(both, output_bias=True)
    assert AsymmetricTranslationConfig.from_plain(biased).to_dict()["output_bias"] is True
    assert AsymmetricTranslationConfig.from_plain(biased).to_plain() == biased


def test_only_sinusoids_need_an_even_width():
    learned = PositionConfig(kind="learned", length=9)
    odd = StackConfig(d_model=9, num_layers=1, num_heads=3, d_ff=4, positions=learned)
    cut = replace(odd, positions=PositionConfig(width=12))
    both = EncoderDecoderConfig(source_vocab=9, target_vocab=9, encoder=odd, decoder=cut)
    assert (both.encoder.d_sinusoids, both.decoder.d_sinusoids) == (None, 12)


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_vocab": 0}, r"vocabularies must be positive; got \(0, 9\)"),
        (
            {"encoder": StackConfig(d_model=9, num_layers=1, num_heads=3, d_ff=4)},
            r"positions need even widths; got d_model \(9, 8\)",
        ),
        ({"tie_embeddings": "both"}, "must be none, output or all; got tie_embeddings 'both'"),
        (
            {"tie_embeddings": "all", "source_vocab": 7},
            r"'all' needs one vocabulary; got vocabularies \(7, 9\)\. Use 'output'",
        ),
        ({"d_embedding": 4}, "positive and needs tie_embeddings 'all'; got d_embedding 4"),
        ({"d_embedding": 0, "tie_embeddings": "all"}, "must be positive .*; got d_embedding 0"),
        ({"adapter": "own"}, "adapter must be none or shared; got adapter 'own'"),
    ],
)
def test_encoder_decoder_refuses(change, message):
    side = StackConfig(**SIDE)
    values = {"source_vocab": 9, "target_vocab": 9, "encoder": side, "decoder": side}
    with pytest.raises(ValueError, match=f"EncoderDecoderConfig: .*{message}"):
        EncoderDecoderConfig(**(values | change))
