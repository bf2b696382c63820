"""Laws of losses of policies, preferences and towers, for numbers drawn at random."""

import torch
from drawn import FEW, SEEDS, normal
from hypothesis import given
from hypothesis import strategies as st

from askew.losses import (
    asymmetric_policy_loss,
    clipped_policy_loss,
    kto_loss,
    preference_loss,
    siglip_loss,
    token_log_probs,
)

SIZES = st.floats(0.01, 1e3)


def slope(loss, x):
    x = x.clone().requires_grad_()
    value = loss(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    return value.detach(), gradient


@FEW
@given(SEEDS, SIZES, st.floats(0.1, 10))
def test_log_probabilities_are_of_a_distribution(seed, size, temperature):
    logits = normal(seed, 3, 5, size=size)
    each = [token_log_probs(logits, torch.full((3,), t), temperature=temperature) for t in range(5)]
    torch.testing.assert_close(sum(log_p.exp() for log_p in each), torch.ones(3).double())
    _, gradient = slope(lambda x: token_log_probs(x, torch.tensor([0, 1, 4])), logits)
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(3).double(), atol=1e-9, rtol=0)


@FEW
@given(SEEDS, SIZES, st.floats(0, 1), st.floats(0, 3), st.floats(1.01, 9))
def test_a_clip_only_ever_takes_a_gradient_away(seed, size, low, high, dual):
    x, advantage = normal(seed, 2, 4, 5)
    x = size * x
    call = {"clip_low": low, "clip_high": high, "reduction": "sum"}
    loss, clipped = slope(lambda x: clipped_policy_loss(x, advantage, **call), x)
    free, whole = slope(
        lambda x: clipped_policy_loss(
            x, advantage, clip_low=1.0, clip_high=float("inf"), reduction="sum"
        ),
        x,
    )
    assert ((clipped == 0) | torch.isclose(clipped, whole)).all()
    assert loss >= free - 1e-9 * free.abs()  # a pessimistic bound of the gain
    bounded, _ = slope(lambda x: clipped_policy_loss(x, advantage, dual_clip=dual, **call), x)
    assert bounded <= loss + 1e-9 * loss.abs()


@FEW
@given(SEEDS, SIZES, st.floats(0, 1), st.floats(0, 3), st.floats(0, 1), st.floats(0, 3))
def test_samples_weigh_what_their_side_allows(seed, size, a, more, b, further):
    x, advantage = normal(seed, 2, 4, 5, size=size)
    pos, neg = (a, a + more), (b, b + further)
    _, gradient = slope(
        lambda x: asymmetric_policy_loss(
            x, advantage, weights_pos=pos, weights_neg=neg, reduction="sum"
        ),
        x,
    )
    weight = -gradient / advantage
    low, high = (torch.where(advantage >= 0, p, n) for p, n in zip(pos, neg, strict=True))
    assert (weight >= low - 1e-6).all()
    assert (weight <= high + 1e-6).all()


@FEW
@given(SEEDS, SIZES, st.floats(0.01, 2), st.floats(0, 0.45))
def test_preferences_push_apart(seed, size, beta, smoothing):
    chosen, rejected = normal(seed, 2, 6, size=size)
    for kind in ("dpo", "robust", "apo_zero"):
        call = {"kind": kind, "beta": beta, "reduction": "sum"}
        if kind == "robust":
            call["label_smoothing"] = smoothing
        _, up = slope(lambda x: preference_loss(x, rejected, **call), chosen)  # noqa: B023
        _, down = slope(lambda x: preference_loss(chosen, x, **call), rejected)  # noqa: B023
        assert (up <= 0).all()
        assert (down >= 0).all()


@FEW
@given(SEEDS, SIZES, st.floats(0.01, 2), st.floats(0, 4), st.floats(0, 4), st.floats(0, 9))
def test_an_answer_costs_at_most_the_weight_of_its_kind(seed, size, beta, good, bad, point):
    x, kinds = normal(seed, 2, 6, size=size)
    desirable = kinds > 0
    call = {"beta": beta, "weight_desirable": good, "weight_undesirable": bad}
    value, gradient = slope(lambda x: kto_loss(x, desirable, point, reduction="none", **call), x)
    most = torch.tensor([bad, good], dtype=x.dtype)[desirable.long()]
    assert ((value >= 0) & (value <= most)).all()
    assert (torch.where(desirable, -gradient, gradient) >= 0).all()


@FEW
@given(SEEDS, SIZES, st.floats(0.02, 2), st.floats(-20, 20), st.floats(0, 3), st.floats(0, 3))
def test_pairs_of_two_towers_add_up(seed, size, temperature, bias, pos, neg):
    queries, documents = normal(seed, 2, 5, 4, size=size)
    call = {"temperature": temperature, "bias": bias, "reduction": "none"}
    sides = [(pos, neg), (pos, 0.0), (0.0, neg)]
    whole, *parts = (
        slope(
            lambda q: siglip_loss(q, documents, weight_pos=p, weight_neg=n, **call),  # noqa: B023
            queries,
        )
        for p, n in sides
    )
    assert (whole[0] >= 0).all()
    for a, b, c in zip(whole, *parts, strict=True):
        torch.testing.assert_close(a, b + c)
