"""Laws of losses over pairs, triplets, two towers and regions, for numbers drawn at random."""

import pytest
import torch
from drawn import FEW, SEEDS, normal
from hypothesis import given
from hypothesis import strategies as st

from askew.losses import (
    asymmetric_contrastive_loss,
    asymmetric_pair_loss,
    asymmetric_ranking_loss,
    asymmetric_tversky_loss,
    asymmetric_unified_focal_loss,
    ranking_violations,
)

SCALES = st.floats(0, 4)


def is_finite_with_slope(loss, x):
    x = x.clone().requires_grad_()
    value = loss(x)
    (slope,) = torch.autograd.grad(value, x)
    assert value.isfinite()
    assert slope.isfinite().all()
    return value.detach()


@FEW
@given(SEEDS, st.floats(0.01, 1e3), SCALES, SCALES)
def test_a_triplet_costs_nothing_only_where_no_margin_is_broken(seed, size, near, more):
    anchor, positive, negative = normal(seed, 3, 5, 4, size=size)
    margins = {"margin_pos": near, "margin_neg": near + more}
    value = is_finite_with_slope(
        lambda x: asymmetric_ranking_loss(x, positive, negative, **margins), anchor
    )
    broken = ranking_violations(anchor, positive, negative, **margins)
    assert all(0 <= float(share) <= 1 for share in broken)
    assert (value > 0) == bool(broken.positive + broken.negative > 0)
    distances = [(anchor - other).norm(dim=-1) for other in (positive, negative)]
    assert broken.order == (distances[0] >= distances[1]).double().mean()


@FEW
@given(SEEDS, st.floats(0.01, 1e3), SCALES)
def test_a_relative_margin_is_of_the_difference_of_distances(seed, size, margin):
    anchor, positive, negative = normal(seed, 3, 5, 4, size=size)
    value = asymmetric_ranking_loss(
        anchor, positive, negative, scale_pos=0.0, scale_neg=0.0, relative_margin=margin
    )
    near, far = ((anchor - other).norm(dim=-1) for other in (positive, negative))
    torch.testing.assert_close(value, (near - far + margin).clamp_min(0).mean())


@FEW
@given(SEEDS, st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 4), st.floats(0.1, 4))
def test_swapped_sides_of_a_triplet_mirror_the_cosine_distance(seed, low, more, near, far):
    anchor, positive, negative = normal(seed, 3, 5, 4)
    call = {"distance": "cosine", "margin_pos": low, "margin_neg": low + more}
    call |= {"scale_pos": near, "scale_neg": far}
    turned = {"distance": "cosine", "margin_pos": 2 - low - more, "margin_neg": 2 - low}
    turned |= {"scale_pos": far, "scale_neg": near}
    one = asymmetric_ranking_loss(anchor, positive, negative, **call)
    other = asymmetric_ranking_loss(-anchor, negative, positive, **turned)
    torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:.*the negative is nearer:UserWarning")
@FEW
@given(SEEDS, st.floats(0.01, 1e3), st.floats(0.1, 4), st.floats(0.1, 4))
def test_pairs_do_not_mind_their_order_and_sides_add_up(seed, size, near, far):
    x, labels = normal(seed, 6, 3, size=size), torch.tensor([0, 0, 1, 1, 2, 2])
    sides = {"scale_pos": near, "scale_neg": far}
    value = is_finite_with_slope(lambda x: asymmetric_pair_loss(x, labels, **sides), x)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(asymmetric_pair_loss(x[order], labels[order], **sides), value)
    halves = [
        asymmetric_pair_loss(x, labels, scale_pos=near, scale_neg=0.0),
        asymmetric_pair_loss(x, labels, scale_pos=0.0, scale_neg=far),
    ]
    torch.testing.assert_close(sum(halves), value)


@FEW
@given(SEEDS, st.floats(0.01, 1e3), st.floats(0, 1), st.floats(0.01, 1))
def test_swapped_towers_and_weights_leave_the_contrastive_loss(seed, size, weight, temperature):
    queries, documents = normal(seed, 2, 5, 4, size=size)
    weights = {"weight_queries": weight, "weight_documents": 1 - weight}
    value = is_finite_with_slope(
        lambda x: asymmetric_contrastive_loss(x, documents, temperature=temperature, **weights),
        queries,
    )
    assert value >= 0
    turned = {"weight_queries": 1 - weight, "weight_documents": weight}
    other = asymmetric_contrastive_loss(documents, queries, temperature=temperature, **turned)
    torch.testing.assert_close(other, value)


@FEW
@given(SEEDS, st.floats(0.01, 1e3), st.floats(0.1, 2), st.floats(0.1, 2))
def test_regions_cost_what_their_mirror_costs(seed, size, fn, fp):
    logits = normal(seed, 2, 1, 4, 4, size=size)
    target = (normal(seed + 1, 2, 1, 4, 4) > 0).double()
    call = {"weight_fn": fn, "weight_fp": fp}
    value = is_finite_with_slope(lambda x: asymmetric_tversky_loss(x, target, **call), logits)
    assert 0 <= value < 1
    found = logits.sigmoid()
    turned = asymmetric_tversky_loss(
        torch.logit(target.clamp(1e-12, 1 - 1e-12)), found, weight_fn=fp, weight_fp=fn
    )
    torch.testing.assert_close(turned, value, rtol=1e-6, atol=1e-9)


@FEW
@given(SEEDS, st.floats(0.01, 1e3), st.floats(0.05, 0.95))
def test_a_region_found_costs_less_than_its_opposite(seed, size, delta):
    target = (normal(seed, 2, 3, 3) > 0).long()
    target[:, 0, 0], target[:, 0, 1] = 0, 1
    right = torch.nn.functional.one_hot(target, 2).movedim(-1, 1).double() * 2 - 1
    good, bad = (
        is_finite_with_slope(
            lambda x: asymmetric_unified_focal_loss(x, target, delta=delta), sign * size * right
        )
        for sign in (1, -1)
    )
    assert 0 <= good < bad


@pytest.mark.parametrize("distance", ["euclidean", "squared", "cosine"])
@FEW
@given(rows=st.integers(1, 5))
def test_equal_points_have_a_finite_slope(distance, rows):
    same = torch.ones(rows, 3, dtype=torch.double)
    is_finite_with_slope(lambda x: asymmetric_ranking_loss(x, same, same, distance=distance), same)
    labels = torch.arange(rows) % 2
    is_finite_with_slope(lambda x: asymmetric_pair_loss(x, labels, distance=distance), same)
