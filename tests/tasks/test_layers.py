"""Layers are measured, and a knapsack over both sides chooses those that are kept."""

import itertools
import math

import hypothesis
import pytest
import torch
from families import small_model
from hypothesis import strategies as st
from rules import first_every_day
from saved_model import saved

from askew.models import choose_layers
from askew.tasks._layers import (
    Layer,
    LayerTable,
    best_cut,
    cut_within,
    layer_table,
    measured_removals,
    order_of,
)
from askew.tasks._limited import FixedAnswers, Limited, limit_layers

pytestmark = pytest.mark.usefixtures("few_rounds")

NUMBERS = st.integers(0, 6)


def table(encoder, decoder, loss=4, base=3):
    layers = [
        Layer(side, place, float(one), float(time))
        for side, rows in (("encoder", encoder), ("decoder", decoder))
        for place, (one, time) in enumerate(rows)
    ]
    return LayerTable(float(loss), base + sum(layer.milliseconds for layer in layers), layers)


def subsets(layers):
    numbers = [layer.layer for layer in layers]
    return [
        kept
        for count in range(1, len(numbers) + 1)
        for kept in itertools.combinations(numbers, count)
    ]


def brute_force(given, limit, fits):
    """Try every cut, and order them as the docstring says."""
    found = []
    sides = {s: [one for one in given.layers if one.side == s] for s in ("encoder", "decoder")}
    for encoder, decoder in itertools.product(*map(subsets, sides.values())):
        if not fits(len(encoder), len(decoder)):
            continue
        kept = {"encoder": encoder, "decoder": decoder}
        gone = [one for one in given.layers if one.layer not in kept[one.side]]
        took = given.latency_ms - sum(one.milliseconds for one in gone)
        harm = sum(max(0.0, one.loss - given.loss) for one in gone)
        if took <= limit:
            found.append((harm, -len(encoder) - len(decoder), took))
    return min(found, default=None)


@hypothesis.given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4),
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4),
    st.integers(0, 40),
    st.sampled_from(
        [lambda e, d: True, lambda e, d: e == d, lambda e, d: e != d, lambda e, d: d <= e]
    ),
)
def test_it_is_what_trying_every_cut_finds(encoder, decoder, limit, fits):
    given = table(encoder, decoder)
    expected = brute_force(given, limit, fits)
    kept = best_cut(given, limit, fits=fits)
    if expected is None:
        assert kept is None
        return
    gone = [one for one in given.layers if one.layer not in kept[one.side]]
    harm = sum(max(0.0, one.loss - given.loss) for one in gone)
    took = given.latency_ms - sum(one.milliseconds for one in gone)
    assert (harm, -sum(map(len, kept.values())), took) == expected


@hypothesis.given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=9),
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=9),
)
def test_without_a_limit_all_layers_stay(encoder, decoder):
    kept = best_cut(table(encoder, decoder), math.inf)
    assert kept == {"encoder": [*range(len(encoder))], "decoder": [*range(len(decoder))]}


def test_many_layers_are_no_matter():
    generator = torch.Generator().manual_seed(0)
    sides = torch.rand(2, 32, 2, generator=generator).tolist()
    given = table(*sides, loss=0, base=0)
    kept = best_cut(given, given.latency_ms / 2)
    left = [one.milliseconds for one in given.layers if one.layer in kept[one.side]]
    assert 0.9 < sum(left) / (given.latency_ms / 2) <= 1


def test_a_cut_that_is_slower_than_its_layers_say_is_cut_again():
    given = table([(9, 1)] * 4, [(9, 2)] * 3, base=0)
    asked = []

    def measure(kept):
        asked.append(kept)
        return 1.2 * (len(kept["encoder"]) + 2 * len(kept["decoder"]))

    kept, took = cut_within(given, 6.0, measure, caller="shrink")
    assert took <= 6.0
    assert len(asked) > 1
    assert sum(map(len, kept.values())) < sum(map(len, asked[0].values()))
    with pytest.raises(ValueError, match=r"shrink: a cut must meet latency_ms 2; got 3 ms at the "):
        cut_within(given, 2.0, measure, caller="shrink")
    with pytest.raises(ValueError, match=r"must meet latency_ms 3; got 3\.6 ms at the"):
        cut_within(given, 3.0, measure, caller="shrink")


def test_layers_of_a_model_are_measured_alone(tmp_path, monkeypatch):
    model = saved(tmp_path / "model")
    cuts = []

    def loss(cut):
        cuts.append((cut.config.encoder_layers, cut.config.decoder_layers))
        return float(len(cuts))

    removals = measured_removals(model, loss, to_one=False)
    assert cuts == [(2, 2)] * 3 + [(3, 1)] * 2
    seconds = {(3, 2): 10.0, (2, 2): 9.0, (3, 1): 6.0}
    clock = [0.0]
    monkeypatch.setattr("askew.tasks._layers.time.perf_counter", lambda: clock[0])

    def answer(cut):
        clock[0] += 2 * seconds[cut.config.encoder_layers, cut.config.decoder_layers]
        return 2

    measured = layer_table(model, removals, 0.5, answer)
    assert measured.latency_ms == 10_000
    assert [one.milliseconds for one in measured.layers] == [1000.0] * 3 + [4000.0] * 2
    assert [one.loss for one in measured.layers] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert LayerTable.of(measured.plain()) == measured
    assert measured.lines()[1].split() == ["encoder", "0", "1.0000", "1000.000"]


def test_the_order_is_that_of_keep_measured(tmp_path):
    model = saved(tmp_path / "model")
    losses = iter([3.0, 1.0, 2.0, 7.0, 6.0, 1.0, 0.5])
    removals = measured_removals(model, lambda cut: next(losses), to_one=True)
    assert order_of(removals, "encoder", 3) == [0, 2, 1]
    assert order_of(removals, "decoder", 2) == [0, 1]
    again = iter([3.0, 1.0, 2.0, 7.0, 6.0])
    kept = choose_layers(
        model, encoder_layers=1, keep={"encoder": "measured"}, loss=lambda cut: next(again)
    )
    assert kept["encoder"] == [0]


@pytest.mark.parametrize("name", first_every_day("Marian", "Whisper"))
def test_models_of_transformers_are_measured(name):
    class Reader:
        def inputs(self, rows):
            return rows[0]

    model = small_model(name)
    ids = {"input_ids": torch.tensor([[5, 6, 7]])}
    sound = {"input_features": torch.randn(1, 8, 20)}
    answer = FixedAnswers(Reader(), [sound if name == "Whisper" else ids], tokens=3)
    limited = limit_layers(model, math.inf, lambda cut: 1.0, answer)
    assert limited.kept == choose_layers(model)
    assert Limited.of(limited.plain()) == limited
    assert limited.latency_ms > 0
