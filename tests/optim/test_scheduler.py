"""Every part follows its own schedule, in any loop, and resumes exactly where it stopped."""

import io
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    constant,
    cosine,
    describe,
    freeze_until,
    join,
    linear,
    parameter_groups,
    part_rates,
    preview,
    step_decay,
    warmup,
)

RATES = {"encoder": 1e-3, "decoder": 1e-2, "head": 3e-2}


def model(seed=0):
    torch.manual_seed(seed)
    made = nn.ModuleDict({"encoder": nn.Linear(5, 7), "decoder": nn.Linear(7, 5)})
    made["head"] = nn.Linear(5, 5)
    return made


def schedules():
    return {
        "encoder": freeze_until(3, warmup(2, cosine(10))),
        "decoder": join(constant(), step_decay(2, factor=0.5), at=[4]),
        "head": linear(9),
    }


def train(made, optimizer, scheduler, steps, start=0):
    rates = []
    for step in range(start, start + steps):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        made["head"](made["decoder"](made["encoder"](x).tanh()).tanh()).square().mean().backward()
        rates.append(part_rates(optimizer))
        optimizer.step()
        scheduler.step()
    return rates


def equal(one, two):
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def make(made, **settings):
    optimizer = AsymmetricOptimizer(made, RATES, **settings)
    return optimizer, AsymmetricScheduler(optimizer, schedules())


@pytest.mark.parametrize(("ours", "theirs"), [
    (constant(), lambda o: lr_scheduler.LambdaLR(o, lambda _: 1.0)),
    (cosine(12), lambda o: lr_scheduler.CosineAnnealingLR(o, 12)),
    (step_decay(3, factor=0.5), lambda o: lr_scheduler.StepLR(o, 3, gamma=0.5)),
    (linear(8), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=8)),
])  # fmt: skip
def test_one_part_is_the_scheduler_of_pytorch(ours, theirs):
    one, two = model(), model()
    optimizer = AsymmetricOptimizer(one, {"**": 0.01})
    scheduler = AsymmetricScheduler(optimizer, {"**": ours})
    plain = torch.optim.AdamW(two.parameters(), lr=0.01, fused=True)
    plain_scheduler = theirs(plain)
    for step in range(12):
        assert scheduler.get_last_lr() == pytest.approx(plain_scheduler.get_last_lr(), rel=1e-12)
        train(one, optimizer, scheduler, 1, step)
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
        plain.zero_grad()
        two["head"](two["decoder"](two["encoder"](x).tanh()).tanh()).square().mean().backward()
        plain.step()
        plain_scheduler.step()
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)
    if isinstance(plain_scheduler, lr_scheduler.LambdaLR):
        assert equal(one, two)


def test_every_part_follows_its_own_schedule():
    made = model()
    optimizer, scheduler = make(made, no_decay="**.bias")
    rates = train(made, optimizer, scheduler, 14)
    for step, recorded in enumerate(rates):
        assert recorded == {part: RATES[part] * schedules()[part](step) for part in RATES}
    assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]


def test_a_frozen_part_does_not_move_by_a_bit_until_its_step():
    made, before = model(), model()
    optimizer, scheduler = make(made, settings={"weight_decay": 0.5})
    train(made, optimizer, scheduler, 4)  # the fourth is the first of the rise, at rate 0
    assert equal(made["encoder"], before["encoder"])
    assert not equal(made["decoder"], before["decoder"])
    train(made, optimizer, scheduler, 1, 4)
    assert not equal(made["encoder"], before["encoder"])


def saved(*parts):
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("step", range(0, 12))
@pytest.mark.parametrize(
    "order", ["made first", "optimizer loaded first", "scheduler loaded first"]
)
def test_resumed_at_any_step_is_bit_equal(step, order):
    whole = model()
    expected = train(whole, *make(whole), 12)
    first = model()
    optimizer, scheduler = make(first)
    train(first, optimizer, scheduler, step)
    weights, (one, two) = first.state_dict(), saved(optimizer, scheduler)
    second = model(seed=7)
    second.load_state_dict(weights)
    optimizer = AsymmetricOptimizer(second, dict.fromkeys(RATES, 5.0))
    if order == "optimizer loaded first":
        optimizer.load_state_dict(one)
    scheduler = AsymmetricScheduler(optimizer, schedules())
    if order == "scheduler loaded first":
        scheduler.load_state_dict(two)
    if order != "optimizer loaded first":
        optimizer.load_state_dict(one)
    if order != "scheduler loaded first":
        scheduler.load_state_dict(two)
    assert train(second, optimizer, scheduler, 12 - step, step) == expected[step:]
    assert equal(whole, second)


def test_the_state_is_that_of_pytorch_and_the_names():
    made = model()
    optimizer, scheduler = make(made)
    train(made, optimizer, scheduler, 2)
    plain = lr_scheduler.LambdaLR(optimizer, list(scheduler.lr_lambdas))
    assert set(scheduler.state_dict()) == {*plain.state_dict(), "parts"}


def test_last_epoch_goes_on_from_the_optimizer_alone():
    first = model()
    optimizer, scheduler = make(first)
    train(first, optimizer, scheduler, 5)
    again = AsymmetricOptimizer(model(), RATES)
    again.load_state_dict(optimizer.state_dict())
    AsymmetricScheduler(again, schedules(), last_epoch=4)
    assert part_rates(again) == part_rates(optimizer)


def test_a_rate_that_is_a_tensor_stays_one():
    made = nn.Linear(2, 1)
    groups = parameter_groups(made, {"weight": 0.5, "bias": 0.25})
    for group in groups:
        group["lr"] = torch.tensor(group["lr"])
    optimizer = torch.optim.SGD(groups)
    rate = optimizer.param_groups[0]["lr"]
    scheduler = AsymmetricScheduler(optimizer, {"weight": linear(4), "bias": constant()})
    state = scheduler.state_dict()
    optimizer.step()
    scheduler.step()
    assert part_rates(optimizer) == {"weight": 0.375, "bias": 0.25}
    scheduler.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] is rate
    assert part_rates(optimizer) == {"weight": 0.5, "bias": 0.25}


def test_it_is_a_scheduler_of_pytorch_for_any_optimizer_with_named_groups():
    optimizer = torch.optim.SGD(parameter_groups(model(), RATES))
    scheduler = AsymmetricScheduler(optimizer, schedules())
    assert isinstance(scheduler, lr_scheduler.LRScheduler)
    assert list(scheduler.schedules) == list(RATES)
    optimizer.step()
    scheduler.step()
    assert part_rates(optimizer)["head"] == pytest.approx(3e-2 * 8 / 9)


def test_alone_every_call_is_a_step_as_in_pytorch():
    made = model()
    optimizer, scheduler = make(made)
    train(made, optimizer, scheduler, 1)
    scheduler.step()
    scheduler.step()
    assert scheduler.last_epoch == 3


def test_among_several_processes_calls_without_a_step_in_between_are_one(monkeypatch):
    """Accelerate calls once for every process; whole runs of that are in test_processes."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    made = model()
    optimizer, scheduler = make(made)
    for step in range(1, 4):
        train(made, optimizer, scheduler, 1)
        scheduler.step()
        scheduler.step()
        assert scheduler.last_epoch == step
    again = AsymmetricScheduler(optimizer, schedules())
    again.load_state_dict(saved(scheduler)[0])
    train(made, optimizer, again, 1)
    again.step()
    assert again.last_epoch == 4


def test_a_compiled_step_is_seen_as_a_step(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda *_: 0)
    made = nn.Linear(2, 1)
    optimizer = AsymmetricOptimizer(made, {"**": 0.1}, settings={"fused": False})
    scheduler = AsymmetricScheduler(optimizer, {"**": linear(9)})
    step = torch.compile(optimizer.step, backend="eager")
    for done in range(1, 5):
        made.weight.grad, made.bias.grad = torch.ones(1, 2), torch.ones(1)
        step()
        scheduler.step()
        scheduler.step()
        assert scheduler.last_epoch == done


def test_before_the_first_step_of_the_optimizer_pytorch_warns():
    _, scheduler = make(model())
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before"):
        scheduler.step()


def test_two_schedulers_do_not_disturb_each_other_and_a_dropped_one_is_forgotten():
    made = model()
    optimizer, scheduler = make(made)
    del scheduler
    again = AsymmetricScheduler(optimizer, dict.fromkeys(RATES, linear(4)))
    train(made, optimizer, again, 2)
    assert part_rates(optimizer) == {part: rate * 0.5 for part, rate in RATES.items()}


def test_missing_and_unknown_parts_are_refused():
    optimizer = AsymmetricOptimizer(model(), RATES)
    for given, message in (
        ({"encoder": constant()}, "every part needs a schedule; got none for decoder, head. A part "
         "that keeps its rate has constant()"),
        (dict.fromkeys([*RATES, "hed"], constant()), "every schedule needs a part; got hed, the "
         "optimizer has encoder, decoder, head"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(f"AsymmetricScheduler: {message}")):
            AsymmetricScheduler(optimizer, given)
    with pytest.raises(TypeError, match=re.escape("to a multiplier; got 'encoder' 0.5")):
        AsymmetricScheduler(optimizer, {**schedules(), "encoder": 0.5})
    plain = torch.optim.SGD(model().parameters(), lr=0.1)
    message = "AsymmetricScheduler: every group of the optimizer must name its part; got groups [0]"
    with pytest.raises(ValueError, match=re.escape(message)):
        AsymmetricScheduler(plain, schedules())


def test_a_state_of_other_parts_is_refused():
    _, scheduler = make(model())
    swapped = AsymmetricOptimizer(model(), {part: RATES[part] for part in reversed(RATES)})
    other = AsymmetricScheduler(swapped, schedules()).state_dict()
    message = "the state must have the same parts in the same order; got ['head', 'decoder', "
    with pytest.raises(ValueError, match=re.escape(message)):
        scheduler.load_state_dict(other)
    with pytest.raises(ValueError, match="in the same order; got None, here"):
        scheduler.load_state_dict({"last_epoch": 3})
    assert scheduler.last_epoch == 0


def test_a_group_that_is_added_follows_its_part_or_keeps_its_rate():
    made = model()
    made["encoder"].requires_grad_(False)
    optimizer = AsymmetricOptimizer(made, {"decoder": 1e-2, "head": 3e-2})
    scheduler = AsymmetricScheduler(optimizer, {"decoder": constant(), "head": linear(4)})
    train(made, optimizer, scheduler, 1)
    made["encoder"].requires_grad_(True)
    optimizer.add_param_group({"params": made["encoder"].weight, "part": "head"})
    optimizer.add_param_group({"params": made["encoder"].bias, "lr": 0.5})
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 2.25e-2, 2.25e-2, 0.5]
    state = saved(optimizer, scheduler)
    train(made, optimizer, scheduler, 1, 1)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 1.5e-2, 1.5e-2, 0.5]
    assert preview(scheduler, 3).rates == {
        "decoder": (1e-2,) * 3,
        "head": (3e-2, 2.25e-2, 1.5e-2),
        "group 3": (0.5,) * 3,
    }
    again = AsymmetricOptimizer(made, {"decoder": 1.0, "head": 1.0}, rest="group 3", lr=1.0)
    other = AsymmetricScheduler(again, dict.fromkeys(["decoder", "head", "group 3"], constant()))
    with pytest.raises(ValueError, match="must have the same parts"):
        other.load_state_dict(state[1])
    scheduler.load_state_dict(state[1])
    optimizer.load_state_dict(state[0])
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 2.25e-2, 2.25e-2, 0.5]


def test_a_scheduler_that_accelerate_prepared_is_described_and_previewed():
    accelerate = pytest.importorskip("accelerate")
    optimizer, scheduler = make(model())
    accelerator = accelerate.Accelerator(cpu=True)
    prepared, prepared_scheduler = accelerator.prepare(optimizer, scheduler)
    assert type(prepared_scheduler) is not AsymmetricScheduler
    assert describe(prepared, prepared_scheduler) == describe(optimizer, scheduler)
    assert preview(prepared_scheduler, 9) == preview(scheduler, 9)


@pytest.mark.parametrize("kind", [np.float64, np.float32, torch.tensor])
def test_a_schedule_may_compute_with_numpy_or_tensors(kind):
    made = model()
    optimizer = AsymmetricOptimizer(made, RATES)
    scheduler = AsymmetricScheduler(
        optimizer, dict.fromkeys(RATES, lambda step: kind(1.0 / (step + 1)))
    )
    train(made, optimizer, scheduler, 2)
    assert part_rates(optimizer) == pytest.approx({p: rate / 3 for p, rate in RATES.items()})
    assert {type(group["lr"]) for group in optimizer.param_groups} == {float}
    assert {type(rate) for row in preview(scheduler, 3).rates.values() for rate in row} == {float}
    state, _ = saved(optimizer, scheduler)
    optimizer.load_state_dict(state)


def test_one_schedule_in_place_of_a_mapping_and_a_class_are_refused():
    optimizer = AsymmetricOptimizer(torch.nn.Linear(2, 1), {"weight": 0.1, "bias": 0.2})
    with pytest.raises(TypeError, match=r"schedules must map every part .* has weight, bias"):
        AsymmetricScheduler(optimizer, cosine(10))
    with pytest.raises(TypeError, match=r"a schedule must be a function .* got 'weight'"):
        AsymmetricScheduler(
            optimizer,
            {"weight": torch.optim.lr_scheduler.CosineAnnealingLR, "bias": cosine(10)},
        )


def test_a_bare_schedule_has_no_preview():
    with pytest.raises(TypeError, match=r"^preview: scheduler must be an AsymmetricScheduler"):
        preview(cosine(10), 10)
