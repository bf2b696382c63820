import math

import pytest
import torch
from loss_laws import LossCase, close, each_law_of, gradients_are_right
from torch import Tensor

from askew.regularizers import DirectionalRegularizer, _directional_chunks, directional_loss

SIDES = {"lambda_forward": 0.7, "lambda_backward": 0.3}
NORMS = [(2, 2, False), (2, 1, False), (1, 2, False), (1, 1, False), (2, 2, True), (2, 1, True)]

each_norm = pytest.mark.parametrize(("p_forward", "p_backward", "squared"), NORMS)


def states(*shape: int, seed: int = 0, dtype=torch.double) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.double).to(dtype)


def with_gradient(h: Tensor, **settings) -> tuple[Tensor, Tensor]:
    h = h.detach().clone().requires_grad_()
    value = directional_loss(h, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), h)
    return value.detach(), gradient


def composed(h: Tensor, **settings) -> tuple[Tensor, Tensor]:
    """By autograd over the cost of every step."""
    h = h.detach().clone().requires_grad_()
    costs = directional_loss(h, **settings, reduction="none")
    where = settings.get("where")
    count = costs.numel() if where is None else (where[..., 1:] & where[..., :-1]).sum()
    value = costs.sum() / count
    (gradient,) = torch.autograd.grad(value, h)
    return value.detach(), gradient


def naive(h, seen, *, lambda_forward, lambda_backward, p_forward=2, p_backward=2, squared=False):
    """Value, and pull on every state, by loops over batch, time and width."""
    batch, length, width = h.shape
    steps = [
        (b, t)
        for b in range(batch)
        for t in range(length - 1)
        if bool(seen[b, t]) and bool(seen[b, t + 1])
    ]
    value, pull = 0.0, torch.zeros(batch, length, width, dtype=torch.double)
    for b, t in steps:
        d = [float(h[b, t + 1, i]) - float(h[b, t, i]) for i in range(width)]
        for weight, p, moved in (
            (lambda_forward, p_forward, t + 1),
            (lambda_backward, p_backward, t),
        ):
            size = math.sqrt(sum(x * x for x in d)) if p == 2 else sum(abs(x) for x in d)
            value += weight * (size**2 if squared else size) / len(steps)
            for i, x in enumerate(d):
                slope = (x / size if p == 2 else math.copysign(1.0, x)) if x else 0.0
                slope *= 2 * size if squared else 1.0
                sign = 1.0 if moved == t + 1 else -1.0
                pull[b, moved, i] += sign * weight * slope / len(steps)
    return torch.tensor(value, dtype=torch.double), pull


# Both sides alike: the smoothness penalty.


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("squared", [False, True])
def test_equal_sides_have_the_gradient_of_the_smoothness_penalty(p, squared):
    h = states(3, 7, 5).requires_grad_()
    size = torch.linalg.vector_norm(h[:, 1:] - h[:, :-1], p, dim=-1)
    penalty = 0.4 * (size.square() if squared else size).mean()
    (expected,) = torch.autograd.grad(penalty, h)
    equal = {"lambda_forward": 0.4, "lambda_backward": 0.4, "p_forward": p, "p_backward": p}
    value, gradient = with_gradient(h, **equal, squared=squared)
    close(gradient, expected)
    close(value, 2 * penalty)


# A loop that shares nothing.


@each_norm
@pytest.mark.parametrize("route", [with_gradient, composed])
def test_it_is_the_naive_loop(p_forward, p_backward, squared, route):
    h = states(3, 6, 4)
    h[1, 3] = h[1, 2]  # a step of length 0
    settings = {**SIDES, "p_forward": p_forward, "p_backward": p_backward, "squared": squared}
    where = torch.rand(3, 6, generator=torch.Generator().manual_seed(2)) < 0.8
    for seen in (None, where):
        everything = torch.ones(3, 6, dtype=torch.bool)
        expected = naive(h, everything if seen is None else seen, **settings)
        for actual, wanted in zip(route(h, **settings, where=seen), expected, strict=True):
            close(actual, wanted)


@each_norm
@pytest.mark.parametrize("chunk", [7, 40, 100_000])
def test_pieces_give_what_the_composition_gives(monkeypatch, chunk, p_forward, p_backward, squared):
    monkeypatch.setattr(_directional_chunks, "CHUNK", chunk)
    settings = {**SIDES, "p_forward": p_forward, "p_backward": p_backward, "squared": squared}
    h = states(5, 9, 4)
    where = torch.arange(9) < torch.tensor([9, 1, 4, 0, 6])[:, None]
    for seen in (None, where):
        chunked = with_gradient(h, **settings, where=seen)
        for a, b in zip(chunked, composed(h, **settings, where=seen), strict=True):
            close(a, b)
        close(directional_loss(h, **settings, where=seen), chunked[0])


def test_the_value_is_that_of_two_plain_norms():
    h = states(4, 8, 6)
    step = h[:, 1:] - h[:, :-1]
    expected = 0.1 * torch.norm(step, p=2, dim=-1).mean() + 0.05 * step.abs().sum(-1).mean()
    close(directional_loss(h, p_backward=1), expected)


def test_a_value_by_hand():
    # One step (3, 4): norm 5 forward, 7 backward.
    h = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    loss = directional_loss(h, lambda_forward=2.0, lambda_backward=10.0, p_backward=1)
    assert loss.item() == 2 * 5 + 10 * 7
    loss.backward()
    close(h.grad, torch.tensor([[-10.0, -10.0], [1.2, 1.6]]))


# What is directional.


@each_norm
def test_reversing_time_swaps_the_sides(p_forward, p_backward, squared):
    h = states(3, 7, 4)
    value, gradient = with_gradient(
        h, **SIDES, p_forward=p_forward, p_backward=p_backward, squared=squared
    )
    swapped, turned = with_gradient(
        h.flip(1),
        lambda_forward=0.3,
        lambda_backward=0.7,
        p_forward=p_backward,
        p_backward=p_forward,
        squared=squared,
    )
    close(swapped, value)
    close(turned.flip(1), gradient)
    assert not torch.allclose(with_gradient(h.flip(1), **SIDES)[1].flip(1), gradient)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_side_alone_leaves_the_states_of_the_other_without_gradient(reduction):
    h = states(2, 2, 3)
    settings = {"reduction": reduction}
    _, forward = with_gradient(h, lambda_forward=1.0, lambda_backward=0.0, **settings)
    assert not forward[:, 0].any()
    assert forward[:, 1].all()
    _, backward = with_gradient(h, lambda_forward=0.0, lambda_backward=1.0, **settings)
    assert not backward[:, 1].any()
    assert backward[:, 0].all()
    long = states(2, 5, 3)
    assert not with_gradient(long, lambda_backward=0.0, **settings)[1][:, 0].any()
    assert not with_gradient(long, lambda_forward=0.0, **settings)[1][:, -1].any()


def test_descent_moves_only_the_later_state_of_a_forward_term():
    h = states(1, 2, 3).requires_grad_()
    first, last = h.detach()[0].clone()
    for _ in range(200):
        (g,) = torch.autograd.grad(
            directional_loss(h, lambda_forward=1.0, lambda_backward=0.0, squared=True), h
        )
        h = (h - 0.05 * g).detach().requires_grad_()
    assert torch.equal(h[0, 0], first)
    close(h[0, 1], first, atol=1e-6, rtol=0.0)
    assert not torch.allclose(first, last)


# Laws. Those that compare with differences of the value do not hold for a stopped gradient.

H = states(4, 6, 3)
TAIL = (torch.arange(6) < 4).expand(4, 6)
ROWS = torch.tensor([[True], [False], [True], [True]]).expand(4, 6)


def case(where, remove, **settings):
    return LossCase(
        lambda h, **k: directional_loss(h, **settings, **k),
        (H,),
        where=where,
        remove=remove,
        module=DirectionalRegularizer(**{"lambda_forward": 0.1, **settings}),
    )


CASES = {
    "default": case(TAIL, lambda w, h: (h[:, :4],)),
    "rows": case(ROWS, lambda w, h: (h[w[:, 0]],), **SIDES),
    "two norms": case(TAIL, lambda w, h: (h[:, :4],), **SIDES, p_backward=1),
    "squared": case(TAIL, lambda w, h: (h[:, :4],), **SIDES, squared=True),
    "one side": case(TAIL, lambda w, h: (h[:, :4],), lambda_backward=0.0),
}


@each_law_of(CASES, exempt=lambda law, _: law is gradients_are_right)
def test_laws(law, case):
    law(case)


@each_norm
def test_second_derivatives_are_those_of_the_composition(p_forward, p_backward, squared):
    h = states(2, 5, 3).requires_grad_()
    direction = states(2, 5, 3, seed=1)
    settings = {**SIDES, "p_forward": p_forward, "p_backward": p_backward, "squared": squared}
    factor = torch.tensor(1.7, dtype=torch.double, requires_grad=True)

    def curvature(loss):
        (gradient,) = torch.autograd.grad(factor * loss, h, create_graph=True)
        return gradient, *torch.autograd.grad((gradient * direction).sum(), (h, factor))

    def stopped():
        after, before = h[:, 1:], h[:, :-1]
        sizes = (
            torch.linalg.vector_norm(after - before.detach(), p_forward, dim=-1),
            torch.linalg.vector_norm(after.detach() - before, p_backward, dim=-1),
        )
        forward, backward = (s.square() if squared else s for s in sizes)
        return 0.7 * forward.mean() + 0.3 * backward.mean()

    h.grad = None
    for a, b in zip(curvature(directional_loss(h, **settings)), curvature(stopped()), strict=True):
        close(a, b)


def test_the_kept_gradient_survives_being_used():
    h = states(2, 5, 3).requires_grad_()
    loss = directional_loss(h)
    (once,) = torch.autograd.grad(loss, h, retain_graph=True)
    once = once.clone()
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        close(h.grad, times * once)
    for factor in (5, 3):
        (scaled,) = torch.autograd.grad(factor * loss, h, retain_graph=True)
        close(scaled, factor * once)


# Edges.


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(2, 1, 3), (2, 0, 3), (0, 4, 3), (1, 3)])
def test_without_a_step_it_is_a_differentiable_zero(shape, reduction):
    h = torch.ones(shape, requires_grad=True)
    loss = directional_loss(h, reduction=reduction)
    assert not loss.any()
    loss.sum().backward()
    assert torch.equal(h.grad, torch.zeros(shape))


def test_hidden_states_may_be_nan_in_the_middle_too():
    h = states(2, 6, 3)
    where = torch.ones(2, 6, dtype=torch.bool)
    where[0, 2] = where[1, 0] = False
    broken = h.masked_fill(~where[..., None], math.nan)
    for route in (with_gradient, composed):
        value, gradient = route(broken, **SIDES, where=where)
        expected, pull = naive(h, where, **SIDES)
        close(value, expected)
        close(gradient, pull)
        assert not gradient[~where].any()


def test_a_mask_may_broadcast_and_leading_axes_may_be_any():
    h = states(2, 3, 5, 4)
    where = torch.tensor([True, True, True, False, False])
    value, gradient = with_gradient(h, where=where)
    flat, flat_gradient = with_gradient(h.view(6, 5, 4)[:, :3])
    close(value, flat)
    close(gradient.view(6, 5, 4)[:, :3], flat_gradient)
    close(directional_loss(h[0, 0]), directional_loss(h[:1, 0]))


def test_layout_does_not_matter():
    h = states(5, 7, 4)
    value, gradient = with_gradient(h)
    turned = h.transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    assert not turned.is_contiguous()
    loss = directional_loss(turned)
    loss.backward()
    close(loss, value)
    close(turned.grad, gradient)


@pytest.mark.parametrize("route", [with_gradient, composed])
@pytest.mark.parametrize("size", [1e-40, 1e-30, 1e-20, 1e20, 1e38])
def test_steps_whose_square_leaves_the_range_are_right(route, size):
    h = torch.zeros(1, 4, 2)
    h[0, 1:3] = size * torch.tensor([0.6, 0.8])
    h[0, 3] = h[0, 2] + torch.tensor([0.0, 1.0]) * (size < 1)
    value, gradient = route(h, lambda_forward=1.0, lambda_backward=0.0)
    steps = (size + (size < 1)) / 3
    close(value, torch.tensor(steps), rtol=1e-4, atol=0.0)
    close(gradient[0, 1], torch.tensor([0.2, 0.2667]), rtol=1e-3, atol=0.0)
    assert not gradient[0, 2].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_underflows(dtype):
    # Steps of norm 22,627, whose squares float16 lacks; a gradient of 4e-9, which loss scaling
    # brings back.
    h = torch.zeros(500, 41, 512, dtype=dtype)
    h[:, 1::2] = 1000.0
    value, _ = with_gradient(h, lambda_forward=1.0, lambda_backward=0.0)
    close(value, torch.tensor(1000 * 512**0.5), rtol=1e-2, atol=0.0)
    h.requires_grad_()
    with torch.autocast("cpu", dtype):
        loss = directional_loss(h, lambda_forward=1.0, lambda_backward=0.0)
    (loss * 2.0**16).backward()
    expected = 2**16 * 512**-0.5 / 20_000
    close(h.grad[0, 1], torch.full((512,), expected), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_states_in_half_precision_are_subtracted_in_single(reduction):
    h = torch.tensor([[60000.0, 0.0], [-60000.0, 0.0]]).half()  # their difference float16 lacks
    loss = directional_loss(h, lambda_backward=0.0, reduction=reduction)
    close(loss.reshape(()), torch.tensor(12000.0), rtol=1e-3, atol=0.0)


@pytest.mark.compiler
@pytest.mark.slow
@pytest.mark.unhooked
def test_compiled_it_is_the_same():
    torch.compiler.reset()
    compiled = torch.compile(directional_loss, fullgraph=True)
    h = states(3, 6, 4, dtype=torch.float32).requires_grad_()
    where = TAIL[:3]
    loss = compiled(h, where=where, p_backward=1)
    value, gradient = with_gradient(h, where=where, p_backward=1)
    close(loss, value)
    close(torch.autograd.grad(loss, h)[0], gradient)


# Errors.


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lambda_forward": -1.0}, "lambda_forward must be finite and >= 0; got lambda_forward -1"),
        ({"lambda_backward": math.inf}, "lambda_backward must be finite and >= 0; got .* inf"),
        ({"lambda_forward": math.nan}, "lambda_forward must be finite and >= 0; got .* nan"),
        ({"p_forward": 3}, "p_forward must be 1 or 2; got p_forward 3"),
        ({"p_backward": 0}, "p_backward must be 1 or 2; got p_backward 0"),
        ({"reduction": "max"}, "reduction must be .*; got reduction 'max'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"directional_loss: {message}"):
        directional_loss(H, **settings)
    with pytest.raises(ValueError, match=f"DirectionalRegularizer: {message}"):
        DirectionalRegularizer(**settings)


@pytest.mark.unhooked
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"got hidden_states \(3,\)"):
        directional_loss(torch.ones(3))
    with pytest.raises(TypeError, match=r"hidden_states must be floating point; got dtype .*int64"):
        directional_loss(torch.ones(2, 3, 4, dtype=torch.long))
    with pytest.raises(TypeError, match=r"where must be boolean, True = counts; got dtype .*float"):
        directional_loss(H, where=torch.ones(4, 6))
    with pytest.raises(ValueError, match=r"got where \(4, 5\), \[\*batch, length\] \(4, 6\)"):
        directional_loss(H, where=torch.ones(4, 5, dtype=torch.bool))


def test_the_module_shows_its_settings():
    assert "lambda_forward=0.1, lambda_backward=0.05" in repr(DirectionalRegularizer())
    close(DirectionalRegularizer()(H, reduction="sum"), directional_loss(H, reduction="sum"))
