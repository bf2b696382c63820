import time
from dataclasses import replace

import pytest
from stub_task import StubTask, line_config

from askew.tradeoffs import Twin, measured_twin, symmetric_twin
from askew.transformer import (
    EncoderDecoderConfig,
    ParameterCount,
    StackConfig,
    parameter_count,
    training_flops,
)

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
    assert isinstance(twin, Twin)
    assert twin.match == "parameters"
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
    with pytest.raises(ValueError, match="match must be 'parameters' or 'flops'; got 'luck'"):
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


def flops(config):
    return training_flops(config, source_length=9, target_length=7)


def test_operations_are_matched_instead():
    asymmetric = config(decoder=replace(THIN, num_layers=1))
    twin = symmetric_twin(asymmetric, count=flops, match="flops")
    assert twin.match == "flops"
    assert abs(twin.residual) <= 0.01
    assert flops(twin.config) / flops(asymmetric) == pytest.approx(1 + twin.residual)
    other = symmetric_twin(asymmetric).config
    assert abs(flops(other) / flops(asymmetric) - 1) > 0.01, "parameters would not do"


def timed(monkeypatch, cost):
    def ratio(task, config, other):
        measured.append(config)
        return cost(config) / cost(other)

    measured = []
    for name in ("latency_ratio", "time_ratio"):
        monkeypatch.setattr(f"askew.tradeoffs._measured_twin.{name}", ratio)
    return measured


SIDES = ("encoder", "decoder")


@pytest.mark.parametrize("match", ["latency", "time"])
def test_a_measured_twin_takes_as_long(monkeypatch, match):
    def cost(config):
        return sum(s.num_layers * (20 + s.d_model) for s in (config.encoder, config.decoder))

    measured = timed(monkeypatch, cost)
    asymmetric = config()
    twin = measured_twin(StubTask(), asymmetric, sides=SIDES, match=match)
    assert twin.config.encoder == twin.config.decoder
    assert twin.match == match
    assert twin.config.encoder.num_layers == 3
    assert cost(twin.config) / cost(asymmetric) == pytest.approx(1 + twin.residual)
    assert abs(twin.residual) <= 0.03
    assert len(measured) <= 6


@pytest.mark.parametrize(("side", "depth"), [("decoder", 2), ("encoder", 6)])
def test_the_depth_gives_way_where_no_width_will_do(monkeypatch, side, depth):
    def cost(config):  # of the layers of one side alone, as latency is of the decoder's
        stack = getattr(config, side)
        return stack.num_layers * (1 + stack.d_model / 10_000)

    timed(monkeypatch, cost)
    deep = config(encoder=replace(DEEP, num_layers=6), decoder=replace(THIN, num_layers=2))
    twin = measured_twin(StubTask(), deep, sides=SIDES, match="latency")
    assert twin.config.encoder == twin.config.decoder
    assert twin.config.decoder.num_layers == depth


def test_measured_twins_refuse(monkeypatch):
    timed(monkeypatch, lambda config: 1.0 if config == config_of_test else 2.0)
    config_of_test = config()
    with pytest.raises(ValueError, match=r"comes within 10% of the time; .* takes 2\.00 times"):
        measured_twin(StubTask(), config_of_test, sides=SIDES, match="time")
    with pytest.raises(ValueError, match="match must be 'latency' or 'time'; got 'luck'"):
        measured_twin(StubTask(), config_of_test, sides=SIDES, match="luck")
    with pytest.raises(ValueError, match="tolerance must be positive; got 0"):
        measured_twin(StubTask(), config_of_test, sides=SIDES, match="time", tolerance=0)
    symmetric = config(decoder=DEEP)
    same = measured_twin(StubTask(), symmetric, sides=SIDES, match="time")
    assert same == Twin(symmetric, 0.0, "time")


@pytest.mark.parametrize("match", ["latency", "time"])
def test_a_clock_is_read(match, monkeypatch):
    from askew.tradeoffs._measured_twin import latency_ratio, time_ratio

    now = [0.0]  # a clock that no other process of the machine delays
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Slow(StubTask):
        def predict(self, model, *, items, batch_size):
            now[0] += 0.002 * model.in_features

        def train(self, model, **settings):
            records = super().train(model, **settings)
            return [r | {"train_seconds": r["step"] * model.in_features} for r in records]

    ratio = (latency_ratio if match == "latency" else time_ratio)(
        Slow(), line_config(6), line_config(2)
    )
    assert ratio == pytest.approx(3)
