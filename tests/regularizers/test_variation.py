import math

import pytest
import torch
from loss_laws import LossCase, close, each_law_of

from askew.regularizers import AsymmetricTotalVariation, asymmetric_total_variation

WEIGHTS = {"weight_rise": 0.7, "weight_fall": 2.5}

each_power = pytest.mark.parametrize("squared", [False, True])


def series(*shape: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.double)


def with_gradient(x, **settings):
    x = x.detach().clone().requires_grad_()
    value = asymmetric_total_variation(x, **settings)
    return value.detach(), *torch.autograd.grad(value.sum(), x)


def naive(x, seen, *, weight_rise, weight_fall, squared):
    """Mean cost and slope of the changes along the last of two axes, by loops."""
    rows, length = x.shape
    changes = [
        (r, t) for r in range(rows) for t in range(length - 1) if seen[r, t] and seen[r, t + 1]
    ]
    value, slope = 0.0, torch.zeros_like(x)
    for r, t in changes:
        change = float(x[r, t + 1]) - float(x[r, t])
        weight = weight_rise if change > 0 else weight_fall
        value += weight * (change**2 if squared else abs(change)) / len(changes)
        push = weight * (2 * change if squared else (change > 0) - (change < 0)) / len(changes)
        slope[r, t + 1] += push
        slope[r, t] -= push
    return torch.tensor(value, dtype=torch.double), slope


# Both sides alike: total variation.


@each_power
def test_equal_weights_are_total_variation(squared):
    x = series(4, 7).requires_grad_()
    change = x[:, 1:] - x[:, :-1]
    plain = 0.6 * (change.square() if squared else change.abs()).mean()
    equal = {"weight_rise": 0.6, "weight_fall": 0.6}
    value, gradient = with_gradient(x, **equal, squared=squared)
    close(value, plain)
    close(gradient, torch.autograd.grad(plain, x)[0])


@each_power
def test_it_is_the_naive_loop(squared):
    x = series(4, 7)
    x[1, 3] = x[1, 2]
    where = torch.rand(4, 7, generator=torch.Generator().manual_seed(1)) < 0.8
    for seen in (torch.ones(4, 7, dtype=torch.bool), where):
        expected = naive(x, seen, **WEIGHTS, squared=squared)
        actual = with_gradient(x, **WEIGHTS, squared=squared, where=seen)
        for a, b in zip(actual, expected, strict=True):
            close(a, b)


def test_values_by_hand():
    x = torch.tensor([0.0, 2.0, 1.0, 1.0])
    costs = asymmetric_total_variation(x, weight_rise=3.0, weight_fall=10.0, reduction="none")
    assert costs.tolist() == [6.0, 10.0, 0.0]
    squares = asymmetric_total_variation(
        2 * x, weight_rise=3.0, weight_fall=10.0, squared=True, reduction="none"
    )
    assert squares.tolist() == [48.0, 40.0, 0.0]
    assert asymmetric_total_variation(x.cumsum(0), weight_rise=0.0) == 0


# What the two prices do.


@each_power
def test_reversing_the_axis_or_the_sign_swaps_the_weights(squared):
    x = series(4, 7)
    value, gradient = with_gradient(x, weight_rise=0.7, weight_fall=2.5, squared=squared)
    for turned, back in ((x.flip(1), lambda g: g.flip(1)), (-x, lambda g: -g)):
        swapped = with_gradient(turned, weight_rise=2.5, weight_fall=0.7, squared=squared)
        close(swapped[0], value)
        close(back(swapped[1]), gradient)


def test_unsquared_the_asymmetry_sees_only_the_ends():
    x = series(4, 7)
    total = asymmetric_total_variation(x, **WEIGHTS, reduction="sum")
    variation = (x[:, 1:] - x[:, :-1]).abs().sum()
    ends = (x[:, -1] - x[:, 0]).sum()
    close(total, (0.7 + 2.5) / 2 * variation + (0.7 - 2.5) / 2 * ends)
    squared = asymmetric_total_variation(x, **WEIGHTS, squared=True, reduction="sum")
    same_ends = x.clone()
    same_ends[:, 1:-1] = x[:, 1:-1].flip(1)
    other = asymmetric_total_variation(same_ends, **WEIGHTS, squared=True, reduction="sum")
    even = [asymmetric_total_variation(t, squared=True, reduction="sum") for t in (x, same_ends)]
    assert not torch.allclose(squared - 1.6 * even[0], other - 1.6 * even[1])


def test_pricing_falls_alone_draws_a_series_to_one_that_never_falls():
    # The nearest non-falling series pools neighbours that fall: (3, 1) and (5, 4) to their means.
    y = torch.tensor([0.0, 3.0, 1.0, 5.0, 4.0, 6.0], dtype=torch.double)
    x = y.clone().requires_grad_()
    step = torch.optim.LBFGS([x], max_iter=2000, tolerance_grad=1e-9, tolerance_change=1e-14)

    def closure():
        step.zero_grad()
        price = asymmetric_total_variation(
            x, weight_rise=0.0, weight_fall=1e5, squared=True, reduction="sum"
        )
        value = (x - y).square().sum() + price
        value.backward()
        return value

    for _ in range(5):
        step.step(closure)
    expected = torch.tensor([0.0, 2.0, 2.0, 4.5, 4.5, 6.0], dtype=torch.double)
    close(x.detach(), expected, atol=1e-4, rtol=0.0)


# Laws.

X = series(4, 6, 3)
TAIL = (torch.arange(6) < 4)[:, None].expand(4, 6, 3)


def case(**settings):
    return LossCase(
        lambda x, **k: asymmetric_total_variation(x, **settings, **k),
        (X,),
        where=TAIL,
        remove=lambda w, x: (x[:, :4],),
        module=AsymmetricTotalVariation(**settings),
    )


CASES = {
    "equal": case(dim=1),
    "two prices": case(**WEIGHTS, dim=-2),
    "squared": case(**WEIGHTS, squared=True, dim=1),
    "one side": case(weight_rise=0.0, dim=1),
}


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_any_axis_will_do(dim):
    costs = asymmetric_total_variation(X, **WEIGHTS, dim=dim, reduction="none")
    moved = asymmetric_total_variation(X.movedim(dim, -1), **WEIGHTS, reduction="none")
    close(costs, moved.movedim(-1, dim))
    close(
        asymmetric_total_variation(X, **WEIGHTS, dim=dim),
        asymmetric_total_variation(X.movedim(dim, -1).contiguous(), **WEIGHTS),
    )


def test_hidden_values_may_be_nan_in_the_middle_too():
    where = torch.tensor([True, True, False, True, True])
    x = torch.tensor([0.0, 1.0, math.nan, 7.0, 5.0])
    value, gradient = with_gradient(x, where=where, weight_fall=3.0)
    assert value == (1 + 3 * 2) / 2
    assert gradient.tolist() == [-0.5, 0.5, 0.0, 1.5, -1.5]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(1,), (0,), (3, 1), (0, 4)])
def test_without_a_change_it_is_a_differentiable_zero(shape, reduction):
    x = torch.ones(shape, requires_grad=True)
    value = asymmetric_total_variation(x, reduction=reduction)
    assert not value.any()
    value.sum().backward()
    assert torch.equal(x.grad, torch.zeros(shape))


def test_values_in_half_precision_are_subtracted_in_single():
    x = torch.tensor([60000.0, -60000.0, -59968.0]).half()
    value = asymmetric_total_variation(x, weight_fall=0.125, weight_rise=0.0, reduction="sum")
    assert value == 15_000


# Errors.


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight_rise": -1.0}, "weight_rise must be finite and >= 0; got weight_rise -1.0"),
        ({"weight_fall": math.inf}, "weight_fall must be finite and >= 0; got weight_fall inf"),
        ({"reduction": "max"}, "reduction must be .*; got reduction 'max'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"asymmetric_total_variation: {message}"):
        asymmetric_total_variation(X, **settings)
    with pytest.raises(ValueError, match=f"AsymmetricTotalVariation: {message}"):
        AsymmetricTotalVariation(**settings)


@pytest.mark.unhooked
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"dim must be an axis of x; got dim 3, x \(4, 6, 3\)"):
        asymmetric_total_variation(X, dim=3)
    with pytest.raises(TypeError, match=r"x must be floating point; got dtype .*int64"):
        asymmetric_total_variation(torch.ones(3, dtype=torch.long))
    with pytest.raises(TypeError, match=r"where must be boolean, True = counts; got dtype .*int64"):
        asymmetric_total_variation(X, where=torch.ones(4, 6, 3, dtype=torch.long))
    with pytest.raises(
        ValueError, match=r"where must broadcast to x; got where \(4, 5\), x \(4, 6"
    ):
        asymmetric_total_variation(X, where=torch.ones(4, 5, dtype=torch.bool))
