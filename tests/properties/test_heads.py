"""Laws of masks, routes, positions and of what is told of heads."""

import itertools
import math

import pytest
import torch
from drawn import FEW, SEEDS, normal
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from askew.attention import (
    AsymmetricAttention,
    attend,
    explain_route,
    mask_from_torch,
    sinusoidal_positions,
)
from askew.inspection import (
    attention_entropy,
    directionality_score,
    effective_rank,
    inspect_model,
    query_key_maps,
    record_attention,
    symmetry_score,
)
from askew.regularizers import ordered_dropout
from askew.tradeoffs import count_flops, count_parameters

WIDTHS = st.integers(1, 6)


@FEW
@given(SEEDS, WIDTHS, st.integers(2, 12), st.floats(0.01, 100))
def test_scores_of_a_head_turn_with_its_sides(seed, d_head, d_model, size):
    query, key = normal(seed, 2, d_head, d_model)
    pairs = [(query, key), (key, query), (size * query, key)]
    symmetry = [float(symmetry_score(q, k)) for q, k in pairs]
    assert -1 - 1e-9 <= symmetry[0] <= 1 + 1e-9
    assert symmetry == pytest.approx([symmetry[0]] * 3)
    assert float(symmetry_score(query, query)) == pytest.approx(1)
    direction = [float(directionality_score(q, k)) for q, k in pairs]
    assert -1 - 1e-9 <= direction[0] <= 1 + 1e-9
    assert direction == pytest.approx([direction[0], -direction[0], direction[0]], abs=1e-9)
    spiked = key.clone()
    spiked[:, 0] *= 1e4  # one feature of the keys stands out
    assert d_model < 6 or float(directionality_score(query, spiked)) > 0
    rank = [float(effective_rank(q, k)) for q, k in pairs]
    assert 1 - 1e-9 <= rank[0] <= min(d_head, d_model) + 1e-9
    assert rank == pytest.approx([rank[0]] * 3)


@FEW
@given(SEEDS, st.integers(1, 5), st.integers(2, 6))
def test_entropy_lies_between_one_key_and_all(seed, queries, keys):
    weights = normal(seed, 2, queries, keys).softmax(-1)
    entropy = attention_entropy(weights)
    assert ((entropy >= 0) & (entropy <= 1 + 1e-9)).all()
    torch.testing.assert_close(attention_entropy(weights.flip(-1)), entropy)
    alike = torch.full_like(weights, 1 / keys)
    torch.testing.assert_close(attention_entropy(alike), torch.ones_like(entropy))
    one = torch.zeros_like(weights)
    one[..., 0] = 1
    assert (attention_entropy(one) == 0).all()


@FEW
@given(SEEDS, st.sampled_from([(1, 1), (2, 2), (4, 2), (4, 1)]))
def test_maps_of_a_layer_give_its_own_weights(seed, heads):
    torch.manual_seed(seed)
    layer = AsymmetricAttention(
        8, num_heads=heads[0], num_kv_heads=heads[1], qk_norm=False, dtype=torch.double
    )
    for projection in (layer.query, layer.key):
        projection.bias.data.zero_()
    x = normal(seed, 1, 3, 8)
    (found,) = query_key_maps(layer)
    scores = torch.einsum("hem,qm,hen,kn->hqk", found.query, x[0], found.key, x[0])
    with record_attention(layer) as seen:
        layer(x)
    torch.testing.assert_close(seen[""][0], (scores / (8 / heads[0]) ** 0.5).softmax(-1))
    told = inspect_model(layer).attention[0]
    assert list(told.symmetry) == pytest.approx(
        symmetry_score(found.query, found.key).tolist(), abs=1e-5
    )


@FEW
@given(SEEDS, st.integers(1, 40), st.integers(0, 6), st.integers(0, 6))
def test_every_route_that_is_told_gives_the_same(seed, length, before, after):
    q, k, v = normal(seed, 3, 1, 2, length, 4)
    window = {"window": (before, after)}
    told = explain_route(q, k, v, **window)
    assert told.route in ("dense", "padded", "banded", "flex")
    assert told.reason
    found = attend(q, k, v, **window).output
    for route in {told.route, "dense", "padded", "banded"}:
        own = attend(q, k, v, route=route, **window).output
        torch.testing.assert_close(own, found)


@FEW
@given(SEEDS, st.integers(1, 5), st.integers(1, 5))
def test_a_mask_of_torch_is_turned_and_turned_back(seed, queries, keys):
    hidden = normal(seed, queries, keys) > 0
    assert mask_from_torch(hidden).equal(~hidden)
    assert mask_from_torch(mask_from_torch(hidden)).equal(hidden)


@FEW
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 50))
def test_positions_depend_on_distance_alone(length, half, start):
    positions = sinusoidal_positions(length, 2 * half, start=start, dtype=torch.double)
    assert positions.shape == (length, 2 * half)
    whole = sinusoidal_positions(start + length, 2 * half, dtype=torch.double)
    torch.testing.assert_close(positions, whole[start:])
    place, feature = start + length - 1, half - 1
    angle = place / 10_000 ** (2 * feature / (2 * half))
    assert positions[-1, feature] == pytest.approx(math.sin(angle), abs=1e-9)
    assert positions[-1, half + feature] == pytest.approx(math.cos(angle), abs=1e-9)
    products = positions @ positions.T
    for offset in range(length):
        line = products.diagonal(offset)
        torch.testing.assert_close(line, line[:1].expand_as(line))
    torch.testing.assert_close(products[0, 0], torch.tensor(float(half), dtype=torch.double))


@FEW
@given(SEEDS, st.integers(1, 6), st.floats(0, 1))
def test_ordered_dropout_keeps_a_beginning(seed, features, p):
    x = normal(seed, 4, features).abs() + 1
    kept = ordered_dropout(x, p=p, generator=torch.Generator().manual_seed(seed))
    there = kept != 0
    assert there[:, 0].all()
    assert (there[:, 1:] <= there[:, :-1]).all()
    assert kept[there].equal(x[there])
    assert ordered_dropout(x, p=p, training=False).equal(x)
    assert (ordered_dropout(x, p=1.0) != 0).sum(-1).tolist() == [1] * 4
    half = ordered_dropout(x, widths=(0.5,))
    assert (half != 0).sum(-1).tolist() == [math.ceil(features / 2)] * 4


@FEW
@given(st.lists(WIDTHS, min_size=2, max_size=5), st.integers(1, 4))
def test_operations_and_parameters_are_those_of_the_layers(widths, rows):
    layers = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(widths)))
    products = sum(a * b for a, b in itertools.pairwise(widths))
    assert count_flops(lambda: layers(torch.ones(rows, widths[0]))) == 2 * rows * products
    assert count_parameters(layers) == products + sum(widths[1:])
