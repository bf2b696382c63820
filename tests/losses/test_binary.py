import math
import re
import warnings
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from exact_bce import SETTINGS, TOLERANCE, Settings, exact, failures
from loss_laws import LossCase, close, each_law_of

from askew.losses import AsymmetricBCELoss, _binary_chunks, asymmetric_bce_loss

ROUTES = ("composed", "chunked")
ASL = {"gamma_pos": 1.0, "gamma_neg": 4.0, "margin": 0.05}
FIVE = ("plain", "focal", "asl", "asl code", "miss averse")


def example(*shape: int, dtype=torch.double, share=0.3):
    generator = torch.Generator().manual_seed(len(shape) + shape[-1])
    x = 3 * torch.randn(*shape, generator=generator, dtype=torch.double)
    y = torch.rand(*shape, generator=generator) < share
    return x.to(dtype), y.to(dtype)


def with_gradient(loss, x, y, **settings):
    x = x.clone().requires_grad_()
    value = loss(x, y, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


# Both sides alike: the classics.


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_without_settings_it_is_binary_cross_entropy(route, reduction):
    x, y = example(7, 5)
    ours = with_gradient(asymmetric_bce_loss, x, y, reduction=reduction, route=route)
    theirs = with_gradient(F.binary_cross_entropy_with_logits, x, y, reduction=reduction)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


def test_one_by_one_it_is_binary_cross_entropy():
    x, y = example(7, 5)
    ours = asymmetric_bce_loss(x, y, reduction="none")
    close(ours, F.binary_cross_entropy_with_logits(x, y, reduction="none"))


@pytest.mark.parametrize("route", ROUTES)
def test_a_price_per_class_is_pos_weight(route):
    x, y = example(7, 5)
    price = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0], dtype=torch.double)
    ours = with_gradient(asymmetric_bce_loss, x, y, weight_pos=price, route=route)
    theirs = with_gradient(F.binary_cross_entropy_with_logits, x, y, pos_weight=price)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.0, 4.0, 5.0])
@pytest.mark.parametrize("route", ROUTES)
def test_equal_gammas_are_the_focal_loss(gamma, route):
    x, y = example(7, 5)

    def focal(x, y):
        p_t = torch.where(y == 1, x, -x).sigmoid()
        return (-((1 - p_t) ** gamma) * p_t.log()).mean()

    ours = with_gradient(asymmetric_bce_loss, x, y, gamma_pos=gamma, gamma_neg=gamma, route=route)
    for a, b in zip(ours, with_gradient(focal, x, y), strict=True):
        close(a, b)


# The truth, in 60 digits.


def among_negatives(loss):
    """Few positives among many negatives without cost, so that they are looked for one by one."""

    def call(x, y):
        silent = x.new_full((7,), -math.inf)
        return loss(torch.cat([silent, x]), torch.cat([torch.zeros_like(silent), y]))

    return call


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("route", [*ROUTES, "few positives"])
def test_value_and_gradient_are_right_at_every_logit(route, name, dtype):
    few = route == "few positives"
    settings = {**asdict(SETTINGS[name]), "route": "chunked" if few else route}

    def loss(x, y):
        return asymmetric_bce_loss(x, y, **settings, reduction="sum")

    assert not failures(among_negatives(loss) if few else loss, dtype, SETTINGS[name])


@pytest.mark.compiler
@pytest.mark.unhooked
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n != "asl" else []) for n in FIVE]
)
def test_the_kernel_is_right_at_every_logit(name):
    settings = {**asdict(SETTINGS[name]), "route": "compiled", "reduction": "sum"}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        loss = lambda x, y: asymmetric_bce_loss(x, y, **settings)  # noqa: E731
        assert not failures(loss, dtype, SETTINGS[name])


@pytest.mark.compiler
@pytest.mark.slow
@pytest.mark.unhooked
def test_in_a_compiled_program_it_is_right_at_every_logit():
    for settings in SETTINGS.values():
        torch.compiler.reset()
        compiled = torch.compile(asymmetric_bce_loss, fullgraph=True)
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            loss = lambda x, y: compiled(x, y, **asdict(settings), reduction="sum")  # noqa: B023, E731
            assert not failures(loss, dtype, settings)


@pytest.mark.unhooked
def test_settings_do_not_mix_in_a_compiled_program():
    torch.compiler.reset()
    compiled = torch.compile(asymmetric_bce_loss, fullgraph=True, backend="eager")
    x, y = example(9)
    for settings in list(SETTINGS.values())[:6]:
        close(compiled(x, y, **asdict(settings)), asymmetric_bce_loss(x, y, **asdict(settings)))


def test_a_setting_per_class_is_that_setting_in_its_class():
    cases = list(SETTINGS.values())
    x, y = example(40, len(cases))
    x[0], x[1] = math.inf, -math.inf
    settings = {
        key: torch.tensor([asdict(s)[key] for s in cases], dtype=torch.double)
        for key in asdict(Settings())
    }
    for route in ROUTES:
        value, gradient = with_gradient(
            asymmetric_bce_loss, x[2:], y[2:], **settings, route=route, reduction="sum"
        )
        wanted = [
            [exact(a, b, s) for a, b, s in zip(xs, ys, cases, strict=True)]
            for xs, ys in zip(x[2:].tolist(), y[2:].tolist(), strict=True)
        ]
        close(value, torch.tensor(wanted, dtype=torch.double)[..., 0].sum())
        close(gradient, torch.tensor(wanted, dtype=torch.double)[..., 1])
        _, extreme = with_gradient(
            asymmetric_bce_loss, x, y, **settings, route=route, reduction="sum"
        )
        assert extreme.isfinite().all()


def test_a_value_by_hand():
    # softplus(-2) · 2 and softplus(1) · 2, halved: .126928 + 1.313262.
    x, y = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    assert asymmetric_bce_loss(x, y, weight_pos=2.0).item() == pytest.approx(1.440190, abs=1e-6)


def test_a_margin_bounds_the_worst_false_alarm():
    x = torch.tensor([1e4], requires_grad=True)
    loss = asymmetric_bce_loss(x, torch.zeros(1), **ASL)
    assert loss.item() == pytest.approx(-(0.95**4) * math.log(0.05), rel=1e-5)
    loss.backward()
    assert x.grad.item() == 0


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("silent", ["pos", "neg"])
def test_a_side_without_a_price_costs_nothing_at_infinity_either(silent, gamma, route):
    label = float(silent == "pos")
    x = torch.tensor([-math.inf if label else math.inf, *[-2.0] * 8])
    y = torch.tensor([label, *[0.0] * 8])
    settings = {f"weight_{silent}": 0.0, f"gamma_{silent}": gamma, "route": route}
    for some in (x, x[:1]):
        value, gradient = with_gradient(
            asymmetric_bce_loss, some, y[: len(some)], **settings, reduction="sum"
        )
        others = asymmetric_bce_loss(some[1:], y[1 : len(some)], **settings, reduction="sum")
        close(value, others)
        assert gradient[0] == 0


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_an_error_as_large_as_the_margin_has_no_slope(gamma, route):
    x, y = torch.zeros(2, dtype=torch.double), torch.tensor([0.0, 1.0], dtype=torch.double)
    settings = {"margin": 0.5, "margin_pos": 0.5, "gamma_pos": gamma, "gamma_neg": gamma}
    value, gradient = with_gradient(asymmetric_bce_loss, x, y, **settings, route=route)
    assert value.item() == 0
    assert gradient.tolist() == [0, 0]


# Laws.

X, Y = example(6, 4)
SOFT = torch.rand(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double)
WHERE = torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) < 0.6
ROWS = torch.tensor([True, False, True, True, False, True]).unsqueeze(1)
PER_CLASS = {
    "weight_pos": torch.tensor([1.0, 2.0, 0.5, 0.0], dtype=torch.double),
    "gamma_neg": torch.tensor([0.0, 0.5, 1.0, 2.5], dtype=torch.double),
    "margin": torch.tensor([0.0, 0.1, 0.0, 0.05], dtype=torch.double),
}


MARGIN_POS = {"gamma_pos": 0.5, "margin_pos": 0.1, "gamma_neg": 1.0}


def case(inputs, where, module, **settings):
    return LossCase(
        lambda x, y, **k: asymmetric_bce_loss(x, y, **settings, **k),
        inputs,
        where=where,
        module=module,
        **({"remove": lambda w, x, y: (x[w[:, 0]], y[w[:, 0]])} if where is ROWS else {}),
    )


CASES = {
    "plain": case((X, Y), WHERE, AsymmetricBCELoss()),
    "asl": case((X, Y), WHERE, AsymmetricBCELoss(**ASL), **ASL),
    "soft": case((X, SOFT), WHERE, AsymmetricBCELoss(gamma_neg=1.5), gamma_neg=1.5),
    "bool": case((X, Y.bool()), WHERE, AsymmetricBCELoss(**MARGIN_POS), **MARGIN_POS),
    "integer": case((X, Y.long()), WHERE, AsymmetricBCELoss(gamma_neg=2.0), gamma_neg=2.0),
    "per class": case((X, Y), ROWS, AsymmetricBCELoss(**PER_CLASS), **PER_CLASS),
}


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


@pytest.mark.parametrize("route", ROUTES)
def test_swapping_the_sides_changes_nothing(route):
    x, y = example(9, 4)
    one = {"weight_pos": 2.0, "gamma_pos": 1.0, "margin_pos": 0.1}
    other = {"weight_neg": 0.7, "gamma_neg": 3.0, "margin": 0.05}
    mirror = {
        key.replace("_pos", "_neg") if key != "margin_pos" else "margin": v
        for key, v in one.items()
    } | {"weight_pos": 0.7, "gamma_pos": 3.0, "margin_pos": 0.05}
    value, gradient = with_gradient(asymmetric_bce_loss, x, y, **one, **other, route=route)
    swapped, turned = with_gradient(asymmetric_bce_loss, -x, 1 - y, **mirror, route=route)
    close(value, swapped)
    close(gradient, -turned)


# The pass over chunks.


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("settings", [{}, ASL, {"gamma_neg": 1.5}, {**ASL, "detach_weight": True}])
@pytest.mark.parametrize("chunk", [7, 64, 20_000])
def test_chunks_give_what_the_composition_gives(monkeypatch, chunk, settings, share):
    monkeypatch.setattr(_binary_chunks, "CHUNK", (chunk, chunk))
    shape = (150, 131) if chunk > 10_000 else (11, 13)
    x, y = example(*shape, share=share)
    y.view(-1)[-1] = float(share > 0)
    where = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.8
    for hidden in (None, where):
        calls = [
            with_gradient(asymmetric_bce_loss, x, y, **settings, where=hidden, route=route)
            for route in ROUTES
        ]
        for a, b in zip(*calls, strict=True):
            close(a, b)
        value = asymmetric_bce_loss(x, y, **settings, where=hidden, route="chunked")
        close(value, calls[0][0])


def test_chunks_of_rows_take_a_setting_per_class(monkeypatch):
    monkeypatch.setattr(_binary_chunks, "CHUNK", (9, 9))
    calls = [
        with_gradient(asymmetric_bce_loss, X, SOFT, **PER_CLASS, where=ROWS, route=route)
        for route in ROUTES
    ]
    for a, b in zip(*calls, strict=True):
        close(a, b)


def test_layout_does_not_matter():
    x, y = example(6, 4)
    expected = with_gradient(asymmetric_bce_loss, x, y, **ASL)
    value, gradient = with_gradient(asymmetric_bce_loss, x.T, y.T, **ASL)
    close(value, expected[0])
    close(gradient.T, expected[1])


def test_the_kept_gradient_survives_being_used():
    x, y = example(6, 4)
    x.requires_grad_()
    loss = asymmetric_bce_loss(x, y, **ASL)
    (once,) = torch.autograd.grad(loss, x, retain_graph=True)
    once = once.clone()
    (scaled,) = torch.autograd.grad(5 * loss, x, retain_graph=True)
    close(scaled, 5 * once)
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        close(x.grad, times * once)


def test_a_mean_over_many_does_not_underflow_in_half_precision():
    # The gradient is 5e-9 in the mean, which float16 lacks; loss scaling brings it back.
    x = torch.zeros(1000, 100, dtype=torch.float16, requires_grad=True)
    with torch.autocast("cpu", torch.float16):
        loss = asymmetric_bce_loss(x, torch.zeros_like(x), weight_neg=1e-3)
    (loss * 2.0**24).backward()
    close(x.grad, torch.full_like(x, 0.5e-3 * 2**24 / 100_000), rtol=1e-2, atol=0.0)


def test_targets_and_settings_may_want_a_gradient():
    x, y = example(6, 4)
    gamma = torch.tensor(1.3, dtype=torch.double, requires_grad=True)
    inputs = (x.requires_grad_(), SOFT.clone().requires_grad_(), gamma)
    assert torch.autograd.gradcheck(
        lambda x, y, g: asymmetric_bce_loss(x, y, gamma_neg=g, weight_pos=2.0), inputs
    )
    y.requires_grad_()
    (ours,) = torch.autograd.grad(asymmetric_bce_loss(x, y), y)
    (theirs,) = torch.autograd.grad(F.binary_cross_entropy_with_logits(x, y), y)
    close(ours, theirs)


@pytest.mark.parametrize("route", ROUTES)
def test_a_detached_weight_is_a_constant_for_the_gradient(route):
    x, y = example(9, 4)
    value, gradient = with_gradient(asymmetric_bce_loss, x, y, **ASL, route=route)
    same, ours = with_gradient(asymmetric_bce_loss, x, y, **ASL, detach_weight=True, route=route)
    p = x.sigmoid()
    p_m = (p - 0.05).clamp_min(0)
    pos = -(1 - p) * (1 - p)
    neg = p_m**4 * p * (1 - p) / (1 - p_m)
    close(same, value)
    close(ours, torch.where(y == 1, pos, neg) / x.numel())
    assert not torch.allclose(ours, gradient)


@pytest.mark.gpu
@pytest.mark.parametrize("route", ["auto", "composed", "compiled"])
def test_on_an_accelerator_the_numbers_are_the_same(route):
    x, y = example(1100, 1000, dtype=torch.float32)
    expected = with_gradient(asymmetric_bce_loss, x, y, **ASL, route="composed")
    actual = with_gradient(asymmetric_bce_loss, x.cuda(), y.cuda(), **ASL, route=route)
    for a, b in zip(actual, expected, strict=True):
        close(a.cpu(), b)


# The module.


def test_published_settings():
    x, y = example(9, 4)
    focal = AsymmetricBCELoss.focal()
    assert (focal.weight_pos, focal.weight_neg, focal.gamma_pos, focal.gamma_neg) == (
        0.25,
        0.75,
        2,
        2,
    )
    asl = AsymmetricBCELoss.asl()
    assert (asl.gamma_pos, asl.gamma_neg, asl.margin) == (0.0, 4.0, 0.05)
    close(asl(x, y), asymmetric_bce_loss(x, y, gamma_neg=4.0, margin=0.05))
    asl.reduction, asl.gamma_pos = "sum", 1.0
    close(asl(x, y), asymmetric_bce_loss(x, y, **ASL, reduction="sum"))
    with pytest.raises(ValueError, match=r"focal: alpha must be in \[0, 1\]; got 2.0"):
        AsymmetricBCELoss.focal(alpha=2.0)


def test_fading_out_the_positives_warns():
    with pytest.warns(UserWarning, match="gamma_pos 2.0 above gamma_neg 1.0"):
        loss = AsymmetricBCELoss.miss_averse()
    assert (loss.weight_pos, loss.weight_neg) == (2.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AsymmetricBCELoss(gamma_pos=1.0, gamma_neg=torch.tensor([1.0, 2.0]))


def test_tensors_are_buffers():
    loss = AsymmetricBCELoss(weight_pos=torch.ones(3))
    assert set(loss.state_dict()) == {"weight_pos"}
    assert loss.double().weight_pos.dtype == torch.float  # settings have a precision of their own
    assert loss.to("meta").weight_pos.device.type == "meta"
    assert "margin=0.0" in repr(loss)


# Errors.

BAD = {
    "targets must have the shape of logits; got targets (3,), logits (2, 3)": {
        "targets": torch.zeros(3)
    },
    "targets must be in [0, 1]; got targets from 0 to 2": {
        "targets": torch.tensor([[0.0, 1, 2], [0, 0, 0]])
    },
    "weight_pos must be finite and at least 0; got weight_pos -1.0": {"weight_pos": -1.0},
    "weight_neg must be finite and at least 0; got weight_neg inf": {"weight_neg": math.inf},
    "gamma_pos must be finite and at least 0; got gamma_pos nan": {"gamma_pos": math.nan},
    "gamma_neg must be finite and at least 0; got gamma_neg tensor": {
        "gamma_neg": torch.tensor([1.0, -1.0, 0.0])
    },
    "margin must be 0 or in [0.001, 1); got margin 1.0": {"margin": 1.0},
    "margin_pos must be 0 or in [0.001, 1); got margin_pos 1e-05": {"margin_pos": 1e-5},
    "a setting per class must have the length of the last axis; got setting (2,)": {
        "gamma_neg": torch.ones(2)
    },
    'reduction must be "mean", "sum" or "none"; got reduction \'average\'': {
        "reduction": "average"
    },
    "where must broadcast to the shape of the loss; got where (2,), loss (2, 3)": {
        "where": torch.ones(2, dtype=torch.bool)
    },
    "route must be one of auto, composed, chunked, compiled; got route 'fast'": {"route": "fast"},
    "route 'chunked' cannot serve; got reduction \"none\"": {
        "route": "chunked",
        "reduction": "none",
    },
}


@pytest.mark.unhooked
@pytest.mark.parametrize(("message", "change"), BAD.items(), ids=BAD.keys())
def test_bad_input_is_refused(message, change):
    settings = {"targets": torch.zeros(2, 3), **change}
    targets = settings.pop("targets")
    with pytest.raises(ValueError, match=f"^asymmetric_bce_loss: {re.escape(message)}"):
        asymmetric_bce_loss(torch.zeros(2, 3), targets, **settings)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_bad_target_is_found(route, bad, share):
    y = torch.full((40,), share)
    y[17] = bad
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\]"):
        asymmetric_bce_loss(torch.zeros(40), y, route=route, reduction="sum")


@pytest.mark.unhooked
def test_wrong_kinds_are_refused():
    with pytest.raises(TypeError, match="logits must be floating point; got dtype"):
        asymmetric_bce_loss(torch.zeros(3, dtype=torch.long), torch.zeros(3))
    with pytest.raises(TypeError, match="where must be boolean, True = counts; got dtype"):
        asymmetric_bce_loss(torch.zeros(3), torch.zeros(3), where=torch.ones(3))
    with pytest.raises(ValueError, match="AsymmetricBCELoss: gamma_neg must be finite"):
        AsymmetricBCELoss(gamma_neg=-1.0)


def test_nothing_at_all_costs_nothing():
    for route in ROUTES:
        x = torch.zeros(0, 3, requires_grad=True)
        loss = asymmetric_bce_loss(x, torch.zeros(0, 3), route=route)
        loss.backward()
        assert loss == 0
        assert x.grad.shape == (0, 3)


def test_the_module_is_built_where_nothing_has_a_value():
    with torch.device("meta"):
        loss = AsymmetricBCELoss(gamma_neg=torch.ones(3), margin=0.05)
        value = loss(torch.randn(2, 3), torch.ones(2, 3))
    assert value.device == loss.gamma_neg.device
