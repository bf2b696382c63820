import pytest

from askew.transformer import EncoderDecoderConfig, StackConfig

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
    ],
)
def test_stack_refuses(change, message):
    with pytest.raises(ValueError, match=f"StackConfig: {message}"):
        StackConfig(**(SIDE | change))


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
