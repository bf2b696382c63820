import math
import re

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of

from askew.losses import AsymmetricFocalLoss, _multiclass, _multiclass_rows, asymmetric_focal_loss

ALPHA = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5], dtype=torch.double)
GAMMA = torch.tensor([0.0, 0.5, 1.0, 2.0, 2.5], dtype=torch.double)
WEIGHT = torch.tensor([1.0, 0.3, 2.0, 0.0, 1.0], dtype=torch.double)


def example(batch: int = 9, classes: int = 5, *rest: int):
    generator = torch.Generator().manual_seed(batch + len(rest))
    x = 2 * torch.randn(batch, classes, *rest, generator=generator, dtype=torch.double)
    return x, torch.randint(0, classes, (batch, *rest), generator=generator)


def with_gradient(loss, x, *others, **settings):
    x = x.clone().requires_grad_()
    value = loss(x, *others, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


@pytest.fixture(params=["composed", "blocks of rows"])
def route(request, monkeypatch):
    """Both ways to the same numbers: autograd, or one pass over small blocks."""
    small = request.param != "composed"
    monkeypatch.setattr(_multiclass, "ONE_PASS_MIN_LOGITS", 0 if small else 1 << 60)
    monkeypatch.setattr(_multiclass_rows, "BLOCK_LOGITS", 17)
    return request.param


# All classes alike: the classics.


@pytest.mark.parametrize("rest", [(), (3,), (2, 4)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_without_settings_it_is_cross_entropy(route, rest, reduction, weighted, label_smoothing):
    x, t = example(7, 5, *rest)
    t.view(-1)[::3] = -100
    settings = {
        "weight": WEIGHT if weighted else None,
        "label_smoothing": label_smoothing,
        "reduction": reduction,
    }
    ours = with_gradient(asymmetric_focal_loss, x, t, **settings)
    theirs = with_gradient(F.cross_entropy, x, t, **settings)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_probabilities_are_targets_as_in_cross_entropy(reduction, label_smoothing):
    x, _ = example()
    y = torch.softmax(example(8)[0][:1].expand(9, 5), 1)
    settings = {
        "weight": WEIGHT,
        "label_smoothing": label_smoothing,
        "reduction": reduction,
    }
    ours = with_gradient(asymmetric_focal_loss, x, y, **settings)
    theirs = with_gradient(F.cross_entropy, x, y, **settings)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


def test_one_hot_probabilities_are_indices():
    x, t = example()
    settings = {"alpha": ALPHA, "gamma": GAMMA, "label_smoothing": 0.1}
    hot = F.one_hot(t, 5).double()
    ours = with_gradient(asymmetric_focal_loss, x, hot, **settings)
    theirs = with_gradient(asymmetric_focal_loss, x, t, **settings)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


# The naive loop.


def naive(x, t, alpha, gamma, weight, label_smoothing, ignore):
    """Numerator and denominator of the mean by plain arithmetic, one row at a time."""
    total, denominator = 0.0, 0.0
    for row, target in zip(x.tolist(), t.tolist(), strict=True):
        if target == ignore:
            continue
        mass = sum(math.exp(v) for v in row)
        p = [math.exp(v) / mass for v in row]
        focal = alpha[target] * (1 - p[target]) ** gamma[target] * -math.log(p[target])
        total += (1 - label_smoothing) * weight[target] * focal
        spread = sum(w * -math.log(q) for w, q in zip(weight, p, strict=True))
        total += label_smoothing / len(row) * spread
        denominator += weight[target]
    return total, denominator


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_it_is_the_naive_loop(route, label_smoothing):
    x, t = example(13)
    t[4] = 7
    settings = {
        "alpha": ALPHA,
        "gamma": GAMMA,
        "weight": WEIGHT,
        "label_smoothing": label_smoothing,
    }
    plain = [s.tolist() if isinstance(s, torch.Tensor) else s for s in settings.values()]
    total, denominator = naive(x, t, *plain, ignore=7)
    for reduction, wanted in (("sum", total), ("mean", total / denominator)):
        value, gradient = with_gradient(
            asymmetric_focal_loss, x, t, **settings, ignore_index=7, reduction=reduction
        )
        assert value.item() == pytest.approx(wanted, rel=1e-12)
        for i, c in ((0, 2), (4, 1), (12, 4)):
            moved = [x.clone(), x.clone()]
            for sign, other in zip((1, -1), moved, strict=True):
                other[i, c] += sign * 1e-5
            up, down = (naive(other, t, *plain, ignore=7)[0] for other in moved)
            scale = 1 if reduction == "sum" else denominator
            assert gradient[i, c].item() == pytest.approx((up - down) / 2e-5 / scale, abs=1e-8)


def test_a_value_by_hand():
    # p = e²/(e² + 2) = .78699, so (1 − p)² · −log p = .045375 · .239545.
    x = torch.tensor([[2.0, 0.0, 0.0]])
    loss = asymmetric_focal_loss(x, torch.tensor([0]), gamma=2.0)
    assert loss.item() == pytest.approx(0.010869, abs=1e-6)


def test_sides_of_classes(route):
    x, t = example()
    by_side = with_gradient(
        asymmetric_focal_loss,
        x,
        t,
        positive_classes=(1, 3),
        alpha_pos=0.25,
        alpha_neg=0.75,
        gamma_pos=2.0,
        gamma_neg=1.0,
    )
    alpha = torch.tensor([0.75, 0.25, 0.75, 0.25, 0.75], dtype=torch.double)
    gamma = torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0], dtype=torch.double)
    by_class = with_gradient(asymmetric_focal_loss, x, t, alpha=alpha, gamma=gamma)
    for a, b in zip(by_side, by_class, strict=True):
        close(a, b)
    half = asymmetric_focal_loss(x, t, gamma=1.0, positive_classes=[1, 3], gamma_pos=2.0)
    close(half, asymmetric_focal_loss(x, t, gamma=gamma))


def test_renaming_the_classes_changes_nothing(route):
    x, t = example()
    order = torch.tensor([3, 0, 4, 1, 2])
    value, gradient = with_gradient(asymmetric_focal_loss, x, t, alpha=ALPHA, gamma=GAMMA)
    moved, turned = with_gradient(
        asymmetric_focal_loss,
        x[:, order],
        order.argsort()[t],
        alpha=ALPHA[order],
        gamma=GAMMA[order],
    )
    close(moved, value)
    close(turned, gradient[:, order])


# Laws.

X, T = example(6, 5)
WHERE = torch.tensor([True, False, True, True, False, True])
PIXELS, LABELS = example(3, 5, 4)
SEEN = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)) < 0.6
ALL = {"alpha": ALPHA, "gamma": GAMMA, "weight": WEIGHT, "label_smoothing": 0.1}


def case(inputs, where, **settings):
    return LossCase(
        lambda x, t, **k: asymmetric_focal_loss(x, t, **settings, **k),
        inputs,
        where=where,
        module=AsymmetricFocalLoss(**settings),
        remove=(lambda w, x, t: (x.movedim(1, -1)[w], t[w])),
    )


CASES = {
    "plain": case((X, T), WHERE),
    "focal": case((X, T), WHERE, gamma=2.0),
    "root": case((X, T), WHERE, gamma=0.5),
    "all": case((X, T), WHERE, **ALL),
    "pixels": case((PIXELS, LABELS), SEEN, gamma=GAMMA),
    "sides": case((X, T), WHERE, positive_classes=(1,), gamma_pos=1.0),
}
PROBABILITIES = {
    "probabilities": case((X, torch.softmax(X.flip(0), 1)), WHERE, gamma=GAMMA),
}


@each_law_of(CASES)
def test_laws(law, case, route):
    law(case)


@each_law_of(PROBABILITIES)
def test_laws_with_probabilities_as_targets(law, case):
    law(case)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 2.5])
def test_extreme_logits_teach(route, dtype, gamma):
    x = torch.tensor([[s * big, 0.0] for big in (0, 20, 100, 1e4) for s in (1, -1)], dtype=dtype)
    t = torch.zeros(len(x), dtype=torch.long)
    value, gradient = with_gradient(asymmetric_focal_loss, x, t, gamma=gamma, reduction="sum")
    assert value.isfinite()
    assert gradient.isfinite().all()
    worst = gradient[-1]
    close(worst, torch.tensor([-1.0, 1.0]), rtol=0.0, atol=1e-2)


def test_an_ignored_row_may_be_broken(route):
    x, t = example()
    t[2] = -100
    broken = x.clone()
    broken[2] = math.nan
    for a, b in zip(
        with_gradient(asymmetric_focal_loss, broken, t, gamma=2.0),
        with_gradient(asymmetric_focal_loss, x, t, gamma=2.0),
        strict=True,
    ):
        close(a, b)
    value, gradient = with_gradient(asymmetric_focal_loss, x, torch.full_like(t, -100))
    assert value == 0
    assert not gradient.any()


def test_settings_may_want_a_gradient(route):
    x, t = example(4)
    inputs = (x.requires_grad_(), ALPHA.clone().requires_grad_(), (GAMMA + 1).requires_grad_())
    assert torch.autograd.gradcheck(
        lambda x, a, g: asymmetric_focal_loss(x, t, alpha=a, gamma=g), inputs
    )


def test_the_kept_gradient_survives_being_used(route):
    x, t = example()
    x.requires_grad_()
    loss = asymmetric_focal_loss(x, t, gamma=2.0)
    (once,) = torch.autograd.grad(loss, x, retain_graph=True)
    once = once.clone()
    (scaled,) = torch.autograd.grad(5 * loss, x, retain_graph=True)
    close(scaled, 5 * once)
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        close(x.grad, times * once)


def test_a_mean_over_many_does_not_underflow_in_half_precision(route):
    x = torch.zeros(20_000, 2, dtype=torch.float16, requires_grad=True)
    with torch.autocast("cpu", torch.float16):
        loss = asymmetric_focal_loss(x, torch.zeros(20_000, dtype=torch.long), alpha=1e-4)
    (loss * 2.0**24).backward()
    expected = 0.5 * 1e-4 / 20_000 * 2**24
    close(x.grad[:, 1], torch.full((20_000,), expected), rtol=1e-2, atol=0.0)


BAD = {
    "targets must be in [0, 5) or ignore_index -100; got targets from 0 to 5": {
        "targets": torch.tensor([0, 5])
    },
    "targets must be in [0, 5) or ignore_index -100; got targets from -1 to 0": {
        "targets": torch.tensor([0, -1])
    },
    "targets that are class indices must be (2,); got targets (3,), logits (2, 5)": {
        "targets": torch.zeros(3, dtype=torch.long)
    },
    "targets that are probabilities must be (2, 5); got targets (2,), logits (2, 5)": {
        "targets": torch.zeros(2)
    },
    "logits must be [batch, classes, …]; got logits (5,)": {"logits": torch.zeros(5)},
    "alpha must be a number or one per class; got alpha (4,), logits (2, 5)": {
        "alpha": torch.ones(4)
    },
    "gamma must be at least 0; got gamma -1.0": {"gamma": -1.0},
    "weight must be at least 0; got weight tensor": {"weight": torch.tensor([1.0, 1, 1, 1, -1])},
    "label_smoothing must be in [0, 1]; got label_smoothing 1.1": {"label_smoothing": 1.1},
    'reduction must be "mean", "sum" or "none"; got reduction \'total\'': {"reduction": "total"},
    "positive_classes must be in [0, 5); got positive_classes [1, 5]": {"positive_classes": (1, 5)},
    "settings of a side need to know which classes are positive; got alpha_pos": {"gamma_neg": 1.0},
    "where must broadcast to the shape of the loss; got where (3,), loss (2,)": {
        "where": torch.ones(3, dtype=torch.bool)
    },
}


@pytest.mark.unhooked
@pytest.mark.parametrize(("message", "change"), BAD.items(), ids=BAD.keys())
def test_bad_input_is_refused(message, change):
    settings = {"logits": torch.zeros(2, 5), "targets": torch.tensor([0, 1]), **change}
    with pytest.raises(ValueError, match=f"^asymmetric_focal_loss: {re.escape(message)}"):
        asymmetric_focal_loss(settings.pop("logits"), settings.pop("targets"), **settings)


@pytest.mark.unhooked
def test_integer_logits_are_refused():
    with pytest.raises(TypeError, match="logits must be floating point; got dtype"):
        asymmetric_focal_loss(torch.zeros(2, 5, dtype=torch.long), torch.tensor([0, 1]))


def test_the_module_shows_what_it_was_given():
    loss = AsymmetricFocalLoss(alpha=ALPHA, positive_classes=(1,), gamma_pos=2.0)
    assert set(loss.state_dict()) == {"alpha"}
    assert "positive_classes=(1,)" in repr(loss)
    assert "gamma_neg" not in repr(loss)
