import math

import mpmath
import pytest
import torch
import torch.nn.functional as F
from exact_bce import LOGITS, is_close
from loss_laws import LossCase, close, each_law_of

from askew.losses import AELLoss, AGCELoss, AULLoss, ael_loss, agce_loss, aul_loss

LOSSES = (agce_loss, aul_loss, ael_loss)
HALVES = (torch.float32, torch.bfloat16, torch.float16)


def example(batch=6, classes=4):
    generator = torch.Generator().manual_seed(batch)
    x = 2 * torch.randn(batch, classes, generator=generator, dtype=torch.double)
    return x, torch.arange(batch) % classes


def with_gradient(loss, x, *rest, **settings):
    x = x.clone().requires_grad_()
    value = loss(x, *rest, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def same(ours, theirs, **tolerance):
    for a, b in zip(ours, theirs, strict=True):
        close(a, b, **tolerance)


# The classics.


def half_absolute_error(x, y):
    labels = F.one_hot(y, x.shape[1]).to(x)
    return F.l1_loss(x.softmax(1), labels, reduction="sum") / 2 / len(x)


@pytest.mark.parametrize(
    ("loss", "settings"),
    [(agce_loss, {"a": 0.0}), (agce_loss, {"a": 2.5}), (aul_loss, {"a": 1.7})],
)
def test_with_exponent_one_it_is_half_the_mean_absolute_error(loss, settings):
    x, y = example()
    same(with_gradient(loss, x, y, q=1.0, **settings), with_gradient(half_absolute_error, x, y))


def test_without_a_shift_it_is_generalised_cross_entropy():
    x, y = example()

    def generalised(x, y):
        p = x.softmax(1)[torch.arange(len(x)), y]
        return ((1 - p**0.7) / 0.7).mean()

    same(with_gradient(agce_loss, x, y, a=0.0, q=0.7), with_gradient(generalised, x, y))


def test_without_a_shift_and_with_an_exponent_near_0_it_is_cross_entropy():
    x, y = example()
    ours = with_gradient(agce_loss, x, y, a=0.0, q=1e-9)
    same(ours, with_gradient(F.cross_entropy, x, y), rtol=1e-7, atol=1e-8)


def test_with_a_large_scale_the_exponential_is_the_absolute_error():
    x, y = example()
    value, gradient = with_gradient(ael_loss, x, y, a=1e6)
    wanted, slope = with_gradient(half_absolute_error, x, y)
    close((value - math.exp(-1e-6)) * 1e6, wanted, rtol=1e-4, atol=0.0)
    close(gradient * 1e6, slope, rtol=1e-5, atol=1e-9)


# A plain formula in 60 digits.


def by_hand(kind, a, q):
    def cost(p):
        if kind is agce_loss:
            return ((a + 1) ** q - (a + p) ** q) / q
        return ((a - p) ** q - (a - 1) ** q) / q if kind is aul_loss else mpmath.exp(-p / a)

    return lambda x: cost(1 / (1 + mpmath.exp(-x)))


SETTINGS = [
    (agce_loss, 0.6, 0.6),
    (agce_loss, 4.0, 0.2),
    (agce_loss, 6.0, 1.5),
    (agce_loss, 0.0, 0.3),
    (agce_loss, 0.001, 0.3),
    (aul_loss, 5.5, 3.0),
    (aul_loss, 3.0, 0.1),
    (aul_loss, 1.01, 0.5),
    (ael_loss, 2.5, None),
    (ael_loss, 0.1, None),
]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("loss", "a", "q"), SETTINGS)
def test_it_is_right_at_every_logit(loss, a, q, dtype):
    settings = {"a": a} if q is None else {"a": a, "q": q}
    for x in torch.tensor(LOGITS, dtype=dtype):
        logits = torch.stack([torch.zeros_like(x), x]).unsqueeze(0)
        value, gradient = with_gradient(loss, logits, torch.tensor([1]), **settings)
        with mpmath.workdps(60):
            exact = by_hand(loss, mpmath.mpf(a), q and mpmath.mpf(q))
            at = mpmath.mpf(x.item())
            at = mpmath.sign(at) * 10**9 if mpmath.isinf(at) else at
            right, slope = float(exact(at)), float(mpmath.diff(exact, at))
        # The smallest shift costs three digits of the slope where p is near 0.
        digits = 1e-3 if a == 0.001 else 2e-5
        for ours, wanted in ((value, right), (gradient[0, 1], slope)):
            assert abs(ours.item() - wanted) <= digits or is_close(ours.item(), wanted, dtype), x


@pytest.mark.parametrize(("loss", "a", "q"), SETTINGS)
def test_it_is_a_plain_loop(loss, a, q):
    x, y = example()
    settings = {"a": a} if q is None else {"a": a, "q": q}
    exact = by_hand(loss, a, q)
    wanted = []
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        others = math.fsum(math.exp(v) for i, v in enumerate(row) if i != label)
        wanted.append(float(exact(row[label] - math.log(others))))
    wanted = torch.tensor(wanted, dtype=torch.double)
    close(loss(x, y, reduction="none", **settings), wanted)
    close(loss(x, y, **settings), wanted.mean())


# Closed forms: what makes these losses tolerate noise.


def simplex(steps=30):
    points = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    return torch.tensor(points, dtype=torch.double) / steps


CONDITIONS = [
    (agce_loss, {"a": 0.6, "q": 0.6}, (1 + 1 / 0.6) ** 0.4),
    (agce_loss, {"a": 6.0, "q": 1.5}, 1.0),
    (aul_loss, {"a": 5.5, "q": 3.0}, (1 + 1 / 4.5) ** 2),
    (aul_loss, {"a": 3.0, "q": 0.1}, 1.0),
    (ael_loss, {"a": 2.5}, math.exp(1 / 2.5)),
]


@pytest.mark.parametrize(("loss", "settings", "odds"), CONDITIONS)
def test_beyond_the_odds_named_the_minimiser_is_that_of_clean_labels(loss, settings, odds):
    p = simplex()
    by_class = torch.stack(
        [loss(p.log(), torch.full((len(p),), c), reduction="none", **settings) for c in range(3)]
    )
    for factor in (1.01, 1.5):
        share = torch.tensor([odds * factor, 1.0, 0.7], dtype=torch.double)
        assert p[(share @ by_class).argmin()].tolist() == [1.0, 0.0, 0.0]


def test_below_the_odds_the_noise_shows():
    p = simplex(100)
    p = p[p[:, 2] == 0]
    for loss, settings, odds in (CONDITIONS[0], CONDITIONS[2], CONDITIONS[4]):
        by_class = torch.stack(
            [loss(p.log(), torch.full((len(p),), c), reduction="none", **settings) for c in (0, 1)]
        )
        share = torch.tensor([1 + (odds - 1) * 0.9, 1.0], dtype=torch.double)
        assert 0 < p[(share @ by_class).argmin()][1] < 0.5


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_rows_and_classes_does_not_matter(loss):
    x, y = example()
    rows, classes = torch.randperm(6), torch.randperm(4)
    value, gradient = with_gradient(loss, x, y)
    renamed = classes.argsort()[y[rows]]
    shuffled = with_gradient(loss, x[rows][:, classes], renamed)
    same((value, gradient[rows][:, classes]), shuffled)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_cost_falls_with_the_probability(loss):
    x = torch.linspace(-6, 6, 40).unsqueeze(1) * torch.tensor([1.0, 0.0])
    costs = loss(x, torch.zeros(40, dtype=torch.long), reduction="none")
    assert (costs.diff() < 0).all()


# Laws.


def cases():
    x, y = example()
    where = torch.tensor([True, False, True, True, False, True])
    made = {
        "AGCE": (agce_loss, AGCELoss, {}),
        "AGCE, no shift": (agce_loss, AGCELoss, {"a": 0.0, "q": 0.4}),
        "AGCE, steep": (agce_loss, AGCELoss, {"a": 6.0, "q": 1.5}),
        "AUL": (aul_loss, AULLoss, {"a": 3.0, "q": 0.1}),
        "AEL": (ael_loss, AELLoss, {"a": 0.7}),
    }
    return {
        name: LossCase(
            lambda *t, loss=loss, given=given, **s: loss(*t, **given, **s),
            (x, y),
            where=where,
            module=module(**given),
        )
        for name, (loss, module, given) in made.items()
    }


CASES = cases()


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


@pytest.mark.parametrize("loss", [AGCELoss(), AGCELoss(a=0.0, q=0.01), AULLoss(), AELLoss()])
@pytest.mark.parametrize("dtype", HALVES)
def test_large_and_infinite_logits_leave_everything_finite(loss, dtype):
    for size in (1e4, math.inf):
        x = torch.tensor(
            [[size, 0.0, -size], [size, size, -1.0], [-size, -size, -size]], dtype=dtype
        )
        for label in range(3):
            value, gradient = with_gradient(loss, x, torch.full((3,), label))
            assert value.isfinite()
            assert gradient.isfinite().all()


# Errors.


@pytest.mark.unhooked
@pytest.mark.parametrize("loss", LOSSES)
def test_bad_input_is_refused(loss):
    x, y = example(4, 3)
    name = loss.__name__
    shapes = (
        rf"{name}: logits must be \[batch, classes, \*rest\] and targets \[batch, \*rest\]; got "
    )
    with pytest.raises(ValueError, match=shapes + r"logits \(4, 3\), targets \(3,\)"):
        loss(x, y[:3])
    with pytest.raises(ValueError, match=shapes + r"logits \(3,\), targets \(4,\)"):
        loss(x[0], y)
    with pytest.raises(TypeError, match=rf"{name}: logits must be floating point"):
        loss(x.long(), y)
    for bad in (y.double(), y > 0):
        with pytest.raises(TypeError, match=rf"{name}: targets must be class indices; got dtype"):
            loss(x, bad)
    classes = rf"{name}: targets must be in \[0, 3\) or ignore_index -5; got targets from "
    with pytest.raises(ValueError, match=classes + "0 to 3"):
        loss(x, torch.tensor([0, 1, 2, 3]), ignore_index=-5)
    with pytest.raises(ValueError, match=classes + "-100 to 2"):
        loss(x, torch.tensor([0, 1, 2, -100]), ignore_index=-5)
    with pytest.raises(TypeError, match=rf"{name}: where must be boolean"):
        loss(x, y, where=y)
    with pytest.raises(ValueError, match=rf"{name}: where must broadcast .* where \(4, 3\)"):
        loss(x, y, where=x > 0)
    with pytest.raises(ValueError, match=rf"{name}: reduction must be"):
        loss(x, y, reduction="average")


BAD = [
    (AGCELoss, agce_loss, "a", -0.1, "a must be 0, or finite and at least 0.001"),
    (AGCELoss, agce_loss, "a", 1e-4, "a must be 0, or finite and at least 0.001"),
    (AGCELoss, agce_loss, "q", 0.0, "q must be finite and above 0"),
    (AULLoss, aul_loss, "a", 1.0, "a must be finite and at least 1.001"),
    (AULLoss, aul_loss, "q", math.inf, "q must be finite and above 0"),
    (AELLoss, ael_loss, "a", 0.0, "a must be finite and at least 0.001"),
]


@pytest.mark.parametrize(("module", "loss", "setting", "value", "message"), BAD)
def test_settings_out_of_range_are_refused(module, loss, setting, value, message):
    ending = rf": {message}; got {setting} {value}"
    with pytest.raises(ValueError, match=module.__name__ + ending):
        module(**{setting: value})
    with pytest.raises(ValueError, match=loss.__name__ + ending):
        loss(*example(), **{setting: value})


@pytest.mark.unhooked
@pytest.mark.parametrize("module", [AGCELoss, AULLoss, AELLoss])
def test_a_wrong_reduction_is_refused_at_once(module):
    with pytest.raises(ValueError, match=rf"{module.__name__}: reduction must be"):
        module(reduction="average")


# Edges.


@pytest.mark.parametrize("loss", LOSSES)
def test_no_rows_give_a_differentiable_zero(loss):
    value, gradient = with_gradient(loss, torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    assert value == 0
    assert gradient.shape == (0, 3)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_any_integer_names_a_class(loss, dtype):
    x, y = example()
    close(loss(x, y.to(dtype)), loss(x, y))


def test_the_settings_are_shown():
    assert (
        repr(AGCELoss(a=4.0, q=0.2))
        == "AGCELoss(a=4.0, q=0.2, ignore_index=-100, reduction='mean')"
    )
    assert (
        repr(AULLoss(reduction="sum"))
        == "AULLoss(a=5.5, q=3.0, ignore_index=-100, reduction='sum')"
    )
    assert repr(AELLoss(a=3.5)) == "AELLoss(a=3.5, ignore_index=-100, reduction='mean')"
