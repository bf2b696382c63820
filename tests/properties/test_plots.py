"""Laws of pictures: what is drawn is what was given."""

from functools import partial

import pytest
import torch
from drawn import FEW, SEEDS, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import nn

from askew.attention import RelativeBias
from askew.inspection import (
    bias_data,
    loss_sides_data,
    plot_bias,
    plot_loss_sides,
    plot_mask,
    plot_parts,
    plot_schedule,
)
from askew.losses import asymmetric_bce_loss
from askew.optim import RatesTable, parts_table

FIGURES = settings(FEW, max_examples=8)  # drawing one takes long
LENGTHS = st.integers(1, 60)
RATES = st.floats(0, 10)


@FIGURES
@given(SEEDS, LENGTHS, LENGTHS)
def test_a_mask_is_drawn_cell_by_cell(seed, queries, keys):
    mask = normal(seed, queries, keys) > 0
    (image,) = plot_mask(mask, Figure().subplots()).images
    assert image.get_array().tolist() == mask.float().tolist()


@FIGURES
@given(SEEDS, st.integers(1, 12), st.integers(0, 20), st.integers(0, 20))
def test_a_bias_is_its_table_from_the_oldest_key_on(seed, heads, before, after):
    bias = RelativeBias(heads, window=(before, after)).double()
    with torch.no_grad():
        bias.table.copy_(normal(seed, heads, before + after + 1))
    assert torch.equal(bias_data(bias).values, bias.table)
    wider = bias_data(bias, reach=(before + 2, after + 1))
    assert not wider.values[:, [0, 1, -1]].any()
    _, *lines = plot_bias(bias, Figure().subplots()).lines
    assert [list(line.get_ydata()) for line in lines] == bias.table.tolist()


@FIGURES
@given(st.floats(0.1, 9), st.floats(0.1, 9), st.floats(0, 4), st.floats(0, 4), st.floats(0.5, 20))
def test_swapped_prices_are_mirrored_curves(weight_pos, weight_neg, gamma_pos, gamma_neg, limit):
    prices = (weight_pos, weight_neg), (gamma_pos, gamma_neg)
    one, two = (
        partial(
            asymmetric_bce_loss, weight_pos=w[0], weight_neg=w[1], gamma_pos=g[0], gamma_neg=g[1]
        )
        for w, g in (prices, [pair[::-1] for pair in prices])
    )
    sides, swapped = (loss_sides_data(loss, limit=limit, points=9) for loss in (one, two))
    torch.testing.assert_close(sides.loss_pos, swapped.loss_neg.flip(0))
    torch.testing.assert_close(sides.gradient_neg, -swapped.gradient_pos.flip(0))
    assert bool((sides.loss_pos.diff() <= 0).all())
    assert bool((sides.loss_neg.diff() >= 0).all())
    positive, negative = plot_loss_sides(one, Figure().subplots(), limit=limit).lines
    assert list(positive.get_ydata()[::15]) == pytest.approx(sides.loss_pos.tolist())
    assert list(negative.get_ydata()[::15]) == pytest.approx(sides.loss_neg.tolist())


@FIGURES
@given(st.dictionaries(st.sampled_from("abcdefghij"), st.tuples(RATES, RATES, RATES), min_size=1))
def test_every_part_has_its_curve(rates):
    lines = plot_schedule(RatesTable((0, 5, 7), rates), Figure().subplots()).lines
    assert {line.get_label(): tuple(line.get_ydata()) for line in lines} == rates
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(rates)


@FIGURES
@given(st.lists(st.tuples(st.integers(1, 50), RATES), min_size=1, max_size=6))
def test_every_part_has_its_bar(sizes_and_rates):
    model = nn.ModuleList(nn.Linear(size, 1, bias=False) for size, _ in sizes_and_rates)
    rates = {str(number): rate for number, (_, rate) in enumerate(sizes_and_rates)}
    ax = plot_parts(parts_table(model, {part: part for part in rates}, rates), Figure().subplots())
    assert [bar.get_width() for bar in ax.patches] == [size for size, _ in sizes_and_rates]
    assert [label.get_text().split("\n")[0] for label in ax.get_yticklabels()] == list(rates)
