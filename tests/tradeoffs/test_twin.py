from dataclasses import replace

import pytest

from askew.tradeoffs import ParameterCount, Twin, parameter_count, symmetric_twin
from askew.transformer import EncoderDecoderConfig, StackConfig

DEEP = StackConfig(d_model=128, num_layers=4, num_heads=4, d_ff=512, dropout=0.2)
THIN = StackConfig(d_model=96, num_layers=2, num_heads=3, d_ff=384, dropout=0.1)


def config(**changes):
    plain = EncoderDecoderConfig(source_vocab=2000, target_vocab=2000, encoder=DEEP, decoder=THIN)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    "asymmetric",
    [
        config(),
        config(encoder=replace(DEEP, num_layers=6), decoder=replace(THIN, num_layers=1)),
        config(decoder=replace(THIN, d_model=48, d_ff=100)),
        config(source_vocab=300, target_vocab=9000),
        config(tie_embeddings="none"),
        config(encoder=replace(DEEP, d_key=64), decoder=DEEP),
        config(encoder=replace(DEEP, num_kv_heads=2, qk_norm=True)),
        config(encoder=THIN, decoder=DEEP),
    ],
)
def test_a_twin_is_symmetric_and_within_one_percent(asymmetric):
    twin = symmetric_twin(asymmetric)
    assert isinstance(twin, Twin) and twin.match == "parameters"
    assert twin.config.encoder == twin.config.decoder
    ratio = parameter_count(twin.config).total / parameter_count(asymmetric).total
    assert twin.residual == pytest.approx(ratio - 1)
    assert abs(twin.residual) <= 0.01
    wide = max(asymmetric.encoder, asymmetric.decoder, key=lambda side: side.d_model)
    assert (
        0.5
        < (twin.config.encoder.d_ff / twin.config.encoder.d_model) / (wide.d_ff / wide.d_model)
        < 2
    )


def test_a_symmetric_model_is_its_own_twin():
    symmetric = config(decoder=DEEP)
    assert symmetric_twin(symmetric) == Twin(symmetric, 0.0, "parameters")


def test_a_narrower_tolerance_is_kept():
    assert abs(symmetric_twin(config(), tolerance=0.001).residual) <= 0.001


def test_refuses_what_it_cannot_match():
    with pytest.raises(ValueError, match="symmetric_twin: match must be 'parameters'; got 'luck'"):
        symmetric_twin(config(), match="luck")
    with pytest.raises(ValueError, match="tolerance must be positive; got 0"):
        symmetric_twin(config(), tolerance=0)
    small = StackConfig(d_model=2, num_layers=1, num_heads=1, d_ff=1)
    asymmetric = config(
        source_vocab=3, target_vocab=3, encoder=small, decoder=replace(small, d_ff=2)
    )
    with pytest.raises(ValueError, match=r"no symmetric model comes within 0\.1% .*; got \d+ to"):
        symmetric_twin(asymmetric, tolerance=0.001)


def test_refuses_what_has_no_sides_and_what_does_not_count_them():
    with pytest.raises(ValueError, match=r"sides must be two fields that hold a StackConfig; got"):
        symmetric_twin(config(), sides=("encoder", "source_vocab"))
    with pytest.raises(ValueError, match=r"got sides \('question', 'context'\), EncoderDecoderC"):
        symmetric_twin(config(), sides=("question", "context"))
    with pytest.raises(ValueError, match=r"count must grow with d_ff; got 7 for d_ff 8 and 7 for"):
        symmetric_twin(config(), count=lambda c: ParameterCount(7, 7, 7))
