"""Laws that hold for all numbers: losses, masks, schedules and regularizers drawn at random."""

import pytest
import torch
from drawn import FEW
from hypothesis import given
from hypothesis import strategies as st

from askew import losses, optim
from askew.attention import attend, band_mask, causal_mask, padding_mask, prefix_mask
from askew.regularizers import asymmetric_dropout, asymmetric_total_variation, directional_loss

LOGITS = st.lists(st.floats(-1e4, 1e4, allow_nan=False, width=32), min_size=4, max_size=4).map(
    lambda row: torch.tensor([row, row[::-1]])
)
LABELS = {
    "asymmetric_bce_loss": {"gamma_neg": 4.0, "margin": 0.05},
    "hill_loss": {},
    "splc_loss": {},
    "two_way_loss": {},
}
CLASSES = {
    "asymmetric_focal_loss": {"gamma": 2.0},
    "agce_loss": {},
    "aul_loss": {},
    "ael_loss": {},
    "logit_adjusted_cross_entropy": {"class_counts": torch.tensor([9, 4, 2, 1])},
    "ldam_loss": {"class_counts": torch.tensor([9, 4, 2, 1])},
}
REGRESSION = ("pinball_loss", "expectile_loss", "asymmetric_huber_loss", "linex_loss")


def checked(loss, inputs, targets, **given_settings):
    """Value of a loss and its slope, both finite, with its reductions in agreement."""
    x = inputs.clone().requires_grad_()
    value = loss(x, targets, **given_settings)
    (slope,) = torch.autograd.grad(value, x)
    assert value.isfinite()
    assert slope.isfinite().all()
    each = loss(inputs, targets, reduction="none", **given_settings)
    total = loss(inputs, targets, reduction="sum", **given_settings)
    torch.testing.assert_close(each.sum(), total, rtol=1e-4, atol=1e-4)
    return value, slope


@pytest.mark.parametrize("name", LABELS)
@FEW
@given(x=LOGITS, flip=st.booleans())
def test_losses_of_labels_are_finite_and_do_not_mind_the_order_of_rows(name, x, flip):
    loss = getattr(losses, name)
    y = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    y = 1 - y if flip else y
    value, slope = checked(loss, x, y, **LABELS[name])
    turned, other = checked(loss, x.flip(0), y.flip(0), **LABELS[name])
    torch.testing.assert_close(turned, value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.flip(0), slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
@FEW
@given(x=LOGITS, label=st.integers(0, 3))
def test_losses_of_classes_are_finite_and_fall_with_the_score_of_the_label(name, x, label):
    loss, target = getattr(losses, name), torch.tensor([label, 3 - label])
    x = x.clamp(-1, 1) if name == "ldam_loss" else x  # cosines
    value, slope = checked(loss, x, target, **CLASSES[name])
    assert value >= -1e-6
    assert (slope.gather(1, target[:, None]) <= 1e-6).all()


@pytest.mark.parametrize("name", REGRESSION)
@FEW
@given(u=st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=3))
def test_losses_of_regression_are_least_where_nothing_is_missed(name, u):
    loss, x = getattr(losses, name), torch.tensor(u)
    value, _ = checked(loss, x, torch.zeros(3))
    assert value >= 0 == loss(x, x).item()
    assert value > 0 or x.abs().max() < 0.1


@FEW
@given(st.integers(1, 7), st.integers(0, 5), st.integers(0, 4), st.integers(0, 4))
def test_masks_agree_with_their_words(queries, more, before, after):
    keys = queries + more
    band = band_mask(queries, keys, before, after)
    for i in range(queries):
        place = i + more
        seen = [place - before <= j <= place + after for j in range(keys)]
        assert band[i].tolist() == seen
    assert causal_mask(queries, keys).equal(band_mask(queries, keys, keys, 0))
    assert prefix_mask(queries, prefix=0).equal(causal_mask(queries))
    tokens = torch.tensor([[5] * queries + [0] * more])
    assert padding_mask(tokens, 0).sum() == queries


@FEW
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_attention_stays_within_its_values_and_does_not_see_the_hidden(queries, keys, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, 2, n, 4, generator=generator) for n in (queries, keys, keys))
    seen = torch.rand(queries, keys, generator=generator) < 0.6
    out = attend(q, k, v, attn_mask=seen).output
    low, high = v.amin(2, keepdim=True), v.amax(2, keepdim=True)
    shown = seen.any(-1)
    assert (out[:, :, shown] >= low - 1e-5).all()
    assert (out[:, :, shown] <= high + 1e-5).all()
    assert (out[:, :, ~shown] == 0).all()
    hidden = ~seen.any(0)
    other = v.clone()
    other[:, :, hidden] = 1e9
    assert attend(q, k, other, attn_mask=seen).output.equal(out)


@FEW
@given(st.integers(1, 50), st.integers(1, 50), st.floats(0, 1))
def test_schedules_rise_then_fall_and_end_where_they_say(rise, fall, end):
    schedule = optim.warmup(rise, optim.cosine(fall, end=end))
    values = [schedule(step) for step in range(rise + fall + 3)]
    assert all(0 <= value <= 1 for value in values)
    assert values[: rise + 1] == sorted(values[: rise + 1])
    assert values[rise:] == sorted(values[rise:], reverse=True)
    assert values[-1] == pytest.approx(end)


@FEW
@given(x=LOGITS, swapped=st.booleans())
def test_regularizers_are_not_negative_and_still_for_what_is_still(x, swapped):
    sides = (0.3, 0.1) if swapped else (0.1, 0.3)
    sequence = x.unsqueeze(0)
    value = directional_loss(sequence, lambda_forward=sides[0], lambda_backward=sides[1])
    assert value >= 0
    assert directional_loss(torch.ones(1, 3, 2)) == 0
    rise = asymmetric_total_variation(x, weight_rise=sides[0], weight_fall=sides[1])
    fall = asymmetric_total_variation(x.flip(-1), weight_rise=sides[1], weight_fall=sides[0])
    torch.testing.assert_close(rise, fall)
    kept = asymmetric_dropout(x, p=sides, generator=torch.Generator().manual_seed(0))
    halves = kept[:, :2] * (1 - sides[0]), kept[:, 2:] * (1 - sides[1])
    restored = torch.cat(halves, -1)
    near = torch.isclose(restored, x, rtol=1e-3, atol=1e-3)
    assert ((restored == 0) | near).all()
