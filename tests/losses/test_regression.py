import math

import mpmath
import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of

from askew.losses import (
    AsymmetricHuberLoss,
    ExpectileLoss,
    LinExLoss,
    PinballLoss,
    asymmetric_huber_loss,
    expectile_loss,
    linex_loss,
    pinball_loss,
)

HALVES = (torch.float32, torch.bfloat16, torch.float16)
LEVELS = (
    (pinball_loss, "quantile"),
    (expectile_loss, "expectile"),
    (asymmetric_huber_loss, "quantile"),
)
SEVERAL = torch.tensor([0.1, 0.5, 0.85], dtype=torch.double)


def example(*shape):
    generator = torch.Generator().manual_seed(len(shape))
    return tuple(2 * torch.randn(*shape, generator=generator, dtype=torch.double) for _ in "ab")


def with_gradients(loss, *inputs, **settings):
    inputs = [t.clone().requires_grad_() for t in inputs]
    value = loss(*inputs, **settings)
    return value.detach(), *torch.autograd.grad(value.sum(), inputs)


def same(ours, theirs, **tolerance):
    for a, b in zip(ours, theirs, strict=True):
        close(a, b, **tolerance)


# Both sides alike: half of the classics.


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("loss", "classic", "settings"),
    [
        (pinball_loss, F.l1_loss, {}),
        (expectile_loss, F.mse_loss, {}),
        (asymmetric_huber_loss, F.huber_loss, {"delta": 0.7}),
    ],
)
def test_with_equal_sides_it_is_half_of_the_classic(loss, classic, settings, reduction):
    inputs = example(5, 3)
    ours = with_gradients(loss, *inputs, reduction=reduction, **settings)
    half = lambda *t: classic(*t, reduction=reduction, **settings) / 2  # noqa: E731
    same(ours, with_gradients(half, *inputs))


@pytest.mark.parametrize("a", [1e-3, -1e-3, 1e-9])
def test_with_little_steepness_linex_is_the_squared_error(a):
    inputs = example(5, 3)
    ours = with_gradients(linex_loss, *inputs, a=a, b=2 / a**2)
    same(ours, with_gradients(F.mse_loss, *inputs), rtol=max(10 * abs(a), 1e-7), atol=0)


def test_huber_lies_between_pinball_and_expectile():
    inputs = example(5, 3)
    large = with_gradients(asymmetric_huber_loss, *inputs, quantile=0.2, delta=1e4)
    same(large, [t / 2 for t in with_gradients(expectile_loss, *inputs, expectile=0.2)])
    small = with_gradients(asymmetric_huber_loss, *inputs, quantile=0.2, delta=1e-7)
    pinball = with_gradients(pinball_loss, *inputs, quantile=0.2)
    same([t / 1e-7 for t in small], pinball, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("loss", "level"), LEVELS)
def test_turning_signs_and_sides_changes_nothing(loss, level):
    prediction, target = example(5, 3)
    ours, *slopes = with_gradients(loss, prediction, target, **{level: 0.3})
    theirs = with_gradients(loss, -prediction, -target, **{level: 0.7})
    same((ours, *(-s for s in slopes)), theirs)
    same(
        (ours, *slopes), with_gradients(lambda p, y: loss(y, p, **{level: 0.7}), prediction, target)
    )


def test_turning_signs_and_steepness_changes_nothing():
    prediction, target = example(5, 3)
    ours, *slopes = with_gradients(linex_loss, prediction, target, a=0.8, b=1.5)
    theirs = with_gradients(linex_loss, -prediction, -target, a=-0.8, b=1.5)
    same((ours, *(-s for s in slopes)), theirs)


# Plain loops.


def by_hand(name, u, level):
    """The cost of target minus prediction, from its definition."""
    price = level if u >= 0 else 1 - level
    if name == "pinball_loss":
        return price * abs(u)
    if name == "expectile_loss":
        return price * u**2
    return price * (u**2 / 2 if abs(u) <= 1 else abs(u) - 0.5)


@pytest.mark.parametrize(("loss", "level"), LEVELS)
def test_it_is_a_plain_loop(loss, level):
    prediction, target = example(6, 3)
    for given in (0.3, torch.tensor(0.3), SEVERAL):
        costs = torch.tensor(
            [
                [
                    by_hand(loss.__name__, float(y - p), float(tau))
                    for y, p, tau in zip(ys, ps, torch.as_tensor(given).expand(3), strict=True)
                ]
                for ys, ps in zip(target, prediction, strict=True)
            ]
        ).double()
        close(
            loss(prediction, target, reduction="none", **{level: given}),
            costs,
            rtol=1e-6,
            atol=1e-7,
        )


@pytest.mark.parametrize("a", [1.0, -1.0, 0.3, 2.5])
@pytest.mark.parametrize("dtype", [torch.double, torch.float32])
def test_linex_is_its_formula_in_60_digits(a, dtype):
    sizes = [0.0, *(s * 10.0**k for k in range(-9, 2) for s in (0.99, -0.99, 2.9, -2.9))]
    u = torch.tensor([size for size in sizes if a * size < 30], dtype=dtype)
    value, slope, _ = with_gradients(
        linex_loss, u, torch.zeros_like(u), a=a, b=1.5, reduction="none"
    )
    with mpmath.workdps(60):
        v = [mpmath.mpf(a) * mpmath.mpf(t) for t in u.tolist()]
        wanted = [float(1.5 * (mpmath.exp(t) - t - 1)) for t in v]
        slopes = [float(1.5 * a * (mpmath.exp(t) - 1)) for t in v]
    # Below .1 the series, above it a difference that loses a digit.
    close(
        value.double(),
        torch.tensor(wanted, dtype=torch.double),
        rtol=200 * torch.finfo(dtype).eps,
        atol=0,
    )
    close(
        slope.double(),
        torch.tensor(slopes, dtype=torch.double),
        rtol=200 * torch.finfo(dtype).eps,
        atol=0,
    )


# Closed forms: the minimisers.


def sample(size=401):
    generator = torch.Generator().manual_seed(7)
    y = torch.randn(size, generator=generator, dtype=torch.double)
    return y + 0.5 * y**2


def minimiser(loss, y, **settings):
    """Where the slope of a constant prediction changes its sign."""
    low, high = y.min().item(), y.max().item()
    for _ in range(80):
        middle = (low + high) / 2
        _, slope, _ = with_gradients(loss, torch.full_like(y, middle), y, **settings)
        low, high = (middle, high) if slope.sum() < 0 else (low, middle)
    return torch.tensor((low + high) / 2, dtype=torch.double)


@pytest.mark.parametrize("quantile", [0.07, 0.5, 0.9])
def test_the_minimiser_of_pinball_is_the_quantile_and_covers_it(quantile):
    y = sample()
    minimum = minimiser(pinball_loss, y, quantile=quantile)
    at = y.sort().values[math.ceil(401 * quantile) - 1]
    close(minimum, at, atol=1e-9, rtol=0)
    assert (y < at).double().mean() <= quantile <= (y <= at).double().mean()


def test_the_quantile_covers_unseen_targets():
    tau, fresh = 0.9, 20_000
    generator = torch.Generator().manual_seed(3)
    y = torch.randn(2 * fresh, generator=generator, dtype=torch.double)
    minimum = minimiser(pinball_loss, y[:fresh], quantile=tau)
    coverage = (y[fresh:] <= minimum).double().mean()
    assert abs(coverage - tau) < 4 * math.sqrt(2 * tau * (1 - tau) / fresh)


@pytest.mark.parametrize("expectile", [0.07, 0.5, 0.9])
def test_the_minimiser_of_the_expectile_balances_both_sides(expectile):
    y = sample()
    u = y - minimiser(expectile_loss, y, expectile=expectile)
    close(expectile * u.clamp_min(0).mean(), (1 - expectile) * (-u).clamp_min(0).mean())
    if expectile == 0.5:
        close(u.mean(), torch.tensor(0.0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("a", [0.7, -0.7, 2.0])
def test_the_minimiser_of_linex_is_known(a):
    y = sample()
    close(minimiser(linex_loss, y, a=a), -torch.exp(-a * y).mean().log() / a, atol=1e-9, rtol=0)


def test_for_normal_targets_linex_moves_the_mean_by_half_the_variance():
    generator = torch.Generator().manual_seed(5)
    y = 1 + 0.5 * torch.randn(50_000, generator=generator, dtype=torch.double)
    close(minimiser(linex_loss, y, a=1.5), torch.tensor(1 - 1.5 * 0.25 / 2), atol=0.01, rtol=0)


@pytest.mark.parametrize("quantile", [0.2, 0.9])
def test_the_minimiser_of_huber_balances_clipped_sides(quantile):
    y = sample()
    u = y - minimiser(asymmetric_huber_loss, y, quantile=quantile, delta=0.4)
    low, high = (-u).clamp(0, 0.4).mean(), u.clamp(0, 0.4).mean()
    close(quantile * high, (1 - quantile) * low)


def test_beyond_the_knee_linex_goes_on_as_a_tangent():
    u = torch.tensor([29.999, 30.0, 30.001, 31.0, 1e4], dtype=torch.double)
    value, slope, _ = with_gradients(linex_loss, u, torch.zeros_like(u), reduction="none")
    rise = math.expm1(30)
    wanted = [math.expm1(29.999), rise, rise, rise, rise]
    close(slope, torch.tensor(wanted, dtype=torch.double), rtol=1e-9, atol=0)
    start = math.exp(30) - 31
    close(value[1:], start + rise * (u[1:] - 30), rtol=1e-12, atol=0)


# Several levels at once.


@pytest.mark.parametrize(("loss", "level"), LEVELS)
def test_several_levels_are_each_level_alone(loss, level):
    prediction, target = example(6, 3)
    target = target[:, 0]
    together = with_gradients(loss, prediction, target, **{level: SEVERAL})
    alone = [
        with_gradients(loss, prediction[:, i], target, **{level: tau.item()})
        for i, tau in enumerate(SEVERAL)
    ]
    close(together[0], sum(value for value, *_ in alone) / 3)
    close(together[1], torch.stack([slope for _, slope, _ in alone], 1) / 3)
    close(together[2], sum(slope for *_, slope in alone) / 3)


def test_a_level_may_be_trained():
    prediction, target = example(6, 3)
    tau = SEVERAL.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: pinball_loss(prediction, target, quantile=t), tau)


# Laws.


def cases():
    prediction, target = example(4, 3)
    where = torch.rand(4, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    rows = torch.tensor([[True], [False], [True], [True]])
    made = {
        "pinball": (pinball_loss, PinballLoss, {"quantile": 0.8}),
        "expectile": (expectile_loss, ExpectileLoss, {"expectile": 0.2}),
        "huber": (asymmetric_huber_loss, AsymmetricHuberLoss, {"quantile": 0.8, "delta": 1.3}),
        "linex": (linex_loss, LinExLoss, {"a": -0.6, "b": 1.5}),
        "pinballs": (pinball_loss, PinballLoss, {"quantile": SEVERAL}),
        "expectiles": (expectile_loss, ExpectileLoss, {"expectile": SEVERAL}),
        "hubers": (asymmetric_huber_loss, AsymmetricHuberLoss, {"quantile": SEVERAL}),
    }
    return {
        name: LossCase(
            lambda *t, loss=loss, given=given, **s: loss(*t, **given, **s),
            (prediction, target),
            wrt=(0, 1),
            where=rows if name.endswith("s") else where,
            remove=(lambda where, *t: tuple(a[where[:, 0]] for a in t))
            if name.endswith("s")
            else (lambda where, *t: tuple(a[where] for a in t)),
            module=module(**given),
        )
        for name, (loss, module, given) in made.items()
    }


CASES = cases()


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


@pytest.mark.parametrize(
    "module", [PinballLoss(), ExpectileLoss(), AsymmetricHuberLoss(), LinExLoss()]
)
@pytest.mark.parametrize("dtype", HALVES)
def test_large_errors_leave_the_gradient_finite(module, dtype):
    prediction = torch.tensor([1e4, -1e4, 0.0, 300.0], dtype=dtype)
    value, *slopes = with_gradients(module, prediction, torch.zeros_like(prediction))
    assert not value.isnan()
    assert dtype == torch.float16 or value.isfinite()
    for slope in slopes:
        assert slope.isfinite().all()
        assert slope[:2].all()
        assert not slope[2]


@pytest.mark.parametrize(
    "module", [PinballLoss(quantile=0.2), AsymmetricHuberLoss(), LinExLoss(a=-1.0)]
)
def test_at_infinite_predictions_the_limit_is_taken(module):
    prediction = torch.tensor([math.inf, -math.inf])
    module.reduction = "none"
    value, slope, _ = with_gradients(module, prediction, torch.zeros(2))
    assert value.tolist() == [math.inf, math.inf]
    assert slope[0] > 0 > slope[1]
    assert slope.isfinite().all()


def test_a_perfect_prediction_is_left_alone():
    y = torch.ones(3)
    for loss in (pinball_loss, expectile_loss, asymmetric_huber_loss, linex_loss):
        value, *slopes = with_gradients(loss, y, y)
        assert value == 0
        assert not any(s.any() for s in slopes)


# Errors.


@pytest.mark.unhooked
@pytest.mark.parametrize("loss", [*(loss for loss, _ in LEVELS), linex_loss])
def test_bad_input_is_refused(loss):
    x = torch.zeros(2, 3)
    name = loss.__name__
    message = rf"{name}: target must have the shape of prediction; got target \(2,\), prediction"
    with pytest.raises(ValueError, match=message):
        loss(x, x[:, 0])
    with pytest.raises(ValueError, match=r"got target \(2, 1\), prediction \(2, 3\)"):
        loss(x, x[:, :1])
    with pytest.raises(TypeError, match=rf"{name}: prediction must be floating point"):
        loss(x.long(), x)
    with pytest.raises(TypeError, match=rf"{name}: target must be floating point"):
        loss(x, x.long())
    with pytest.raises(TypeError, match=rf"{name}: where must be boolean"):
        loss(x, x, where=x)
    with pytest.raises(ValueError, match=rf"{name}: where must broadcast"):
        loss(x, x, where=x[:, 0] == 0)
    with pytest.raises(ValueError, match=rf"{name}: reduction must be"):
        loss(x, x, reduction="average")


@pytest.mark.parametrize("bad", [0.0, 1.0, math.nan, torch.tensor([0.2, 1.5]), torch.tensor(0.0)])
@pytest.mark.parametrize("module", [PinballLoss, ExpectileLoss, AsymmetricHuberLoss])
def test_levels_out_of_range_are_refused(module, bad):
    (loss, level) = LEVELS[[PinballLoss, ExpectileLoss, AsymmetricHuberLoss].index(module)]
    x = torch.zeros(3, 2)
    message = rf": {level} must be in \(0, 1\); got {level} "
    with pytest.raises(ValueError, match=module.__name__ + message):
        module(**{level: bad})
    with pytest.raises(ValueError, match=loss.__name__ + message):
        loss(x, x, **{level: bad})


@pytest.mark.unhooked
@pytest.mark.parametrize(("loss", "level"), LEVELS)
def test_levels_of_a_wrong_shape_are_refused(loss, level):
    x = torch.zeros(4, 2)
    with pytest.raises(
        ValueError, match=r"one entry for each level; got levels \(3,\), prediction"
    ):
        loss(x, x, **{level: SEVERAL})
    with pytest.raises(
        ValueError, match=rf"{level} must be a number or a vector; got {level} \(1, 3"
    ):
        loss(x, x, **{level: SEVERAL[None]})


BAD = [
    (AsymmetricHuberLoss, asymmetric_huber_loss, "delta", 0.0, "delta must be finite and above 0"),
    (AsymmetricHuberLoss, asymmetric_huber_loss, "delta", math.inf, "delta must be finite and"),
    (LinExLoss, linex_loss, "a", 0.0, "a must be finite and not 0"),
    (LinExLoss, linex_loss, "a", math.nan, "a must be finite and not 0"),
    (LinExLoss, linex_loss, "b", 0.0, "b must be finite and above 0"),
]


@pytest.mark.parametrize(("module", "loss", "setting", "value", "message"), BAD)
def test_settings_out_of_range_are_refused(module, loss, setting, value, message):
    ending = rf": {message}.*; got {setting} {value}"
    with pytest.raises(ValueError, match=module.__name__ + ending):
        module(**{setting: value})
    with pytest.raises(ValueError, match=loss.__name__ + ending):
        loss(torch.zeros(1), torch.zeros(1), **{setting: value})


def test_linex_without_steepness_names_the_squared_error():
    with pytest.raises(ValueError, match=r"the limit is the squared error: use .*mse_loss"):
        LinExLoss(a=0.0)


@pytest.mark.unhooked
@pytest.mark.parametrize("module", [PinballLoss, ExpectileLoss, AsymmetricHuberLoss, LinExLoss])
def test_a_wrong_reduction_is_refused_at_once(module):
    with pytest.raises(ValueError, match=rf"{module.__name__}: reduction must be"):
        module(reduction="average")


# Edges.


@pytest.mark.parametrize("loss", [*(loss for loss, _ in LEVELS), linex_loss])
def test_no_elements_give_a_differentiable_zero(loss):
    value, *slopes = with_gradients(loss, torch.zeros(0, 3), torch.zeros(0, 3))
    assert value == 0
    assert slopes[0].shape == (0, 3)


def test_levels_given_as_a_tensor_are_saved_with_the_module():
    module = PinballLoss(quantile=SEVERAL)
    assert list(module.state_dict()) == ["quantile"]
    assert not PinballLoss(quantile=0.3).state_dict()


def test_the_settings_are_shown():
    assert repr(PinballLoss(quantile=0.9)) == "PinballLoss(quantile=0.9, reduction='mean')"
    assert repr(ExpectileLoss()) == "ExpectileLoss(expectile=0.5, reduction='mean')"
    assert "quantile=0.5, delta=2.0" in repr(AsymmetricHuberLoss(delta=2.0))
    assert repr(LinExLoss(a=-2.0)) == "LinExLoss(a=-2.0, b=1.0, reduction='mean')"
