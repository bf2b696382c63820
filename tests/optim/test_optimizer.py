"""One part is plain AdamW bit for bit; many parts are as many optimizers; states know names."""

import copy
import io
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    describe,
    linear,
    parameter_groups,
    part_rates,
)

BASES = [
    (torch.optim.AdamW, {"betas": (0.8, 0.95), "weight_decay": 0.1}),
    (torch.optim.AdamW, {"amsgrad": True}),
    (torch.optim.Adam, {"eps": 1e-6}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (torch.optim.RMSprop, {"alpha": 0.9}),
    (torch.optim.NAdam, {}),
    (torch.optim.Adagrad, {}),
]
each_base = pytest.mark.parametrize(("base", "settings"), BASES)


def model(seed=0):
    torch.manual_seed(seed)
    made = nn.ModuleDict({"encoder": nn.Linear(5, 7), "decoder": nn.Linear(7, 5)})
    made["head"] = nn.Linear(5, 5)
    return made


def forward(made, x):
    return made["head"](made["decoder"](made["encoder"](x).tanh()).tanh())


def train(made, optimizers, steps=5, start=0):
    for step in range(start, start + steps):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
        loss = forward(made, x).square().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


def equal(one, two):
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def state_of(optimizer):
    return [optimizer.state[p] for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.parametrize("fused", [True, False])
def test_one_part_is_plain_adamw_bit_for_bit(fused):
    ours, theirs = model(), model()
    settings = {"fused": fused}
    one = AsymmetricOptimizer(ours, {"all": {"where": "**"}}, lr=0.01, settings=settings)
    train(ours, [one])
    train(theirs, [torch.optim.AdamW(theirs.parameters(), lr=0.01, fused=fused)])
    assert equal(ours, theirs)
    assert not equal(ours, model())


def test_without_settings_one_part_is_the_fused_adamw():
    ours, theirs = model(), model()
    one = AsymmetricOptimizer(ours, {"**": 0.01})
    train(ours, [one])
    train(theirs, [torch.optim.AdamW(theirs.parameters(), lr=0.01, fused=True)])
    assert equal(ours, theirs)


@each_base
def test_many_parts_are_as_many_optimizers(base, settings):
    ours, theirs = model(), model()
    rates = {"encoder": 1e-3, "decoder": 1e-2, "head": 3e-2}
    one = AsymmetricOptimizer(ours, rates, base=base, settings=settings)
    if one.param_groups[0].get("fused"):
        settings = settings | {"fused": True}
    many = [base(theirs[part].parameters(), lr=lr, **settings) for part, lr in rates.items()]
    train(ours, [one])
    train(theirs, many)
    assert equal(ours, theirs)
    kept = [s for each in many for s in state_of(each)]
    for mine, other in zip(state_of(one), kept, strict=True):
        assert set(mine) == set(other)
        assert all(torch.equal(torch.as_tensor(mine[k]), torch.as_tensor(other[k])) for k in mine)


def test_options_of_a_part_are_those_of_its_own_optimizer():
    ours, theirs = model(), model()
    parts = {"encoder": {"lr": 0.1, "weight_decay": 0.5, "betas": (0.5, 0.6)}, "decoder": 0.01}
    one = AsymmetricOptimizer(ours, {**parts, "head": 0.0}, no_decay="decoder.bias")
    train(ours, [one])
    of = {"fused": True}
    many = [
        torch.optim.AdamW(
            theirs["encoder"].parameters(), lr=0.1, weight_decay=0.5, betas=(0.5, 0.6), **of
        ),
        torch.optim.AdamW([theirs["decoder"].weight], lr=0.01, **of),
        torch.optim.AdamW([theirs["decoder"].bias], lr=0.01, weight_decay=0.0, **of),
    ]
    train(theirs, many)
    assert equal(ours, theirs)
    assert torch.equal(ours["head"].weight, model()["head"].weight)  # a rate of 0 moves nothing


def test_the_first_step_of_adam_is_the_rate_of_the_part():
    made = model()
    before = copy.deepcopy(made)
    rates = {"encoder": 1e-4, "decoder": 1e-3, "head": 1e-2}
    optimizer = AsymmetricOptimizer(made, rates, settings={"weight_decay": 0.0, "eps": 1e-12})
    train(made, [optimizer], steps=1)
    for (name, new), old in zip(made.named_parameters(), before.parameters(), strict=True):
        step = torch.full_like(old, rates[name.partition(".")[0]])
        torch.testing.assert_close((new - old).abs(), step, rtol=1e-2, atol=1e-8)


@each_base
def test_it_is_one_optimizer_of_its_base(base, settings):
    made = model()
    optimizer = AsymmetricOptimizer(made, {"**": 0.1}, base=base, settings=settings)
    assert isinstance(optimizer, AsymmetricOptimizer)
    assert isinstance(optimizer, base)
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert type(optimizer).__name__ == f"Asymmetric{base.__name__}"
    again = AsymmetricOptimizer(made, {"**": 0.1}, base=base, settings=settings)
    assert type(again) is type(optimizer)


def test_fused_where_it_can_be_and_only_there():
    def fused(made, base=torch.optim.AdamW, **settings):
        optimizer = AsymmetricOptimizer(made, {"**": 0.1}, base=base, settings=settings)
        return optimizer.param_groups[0].get("fused")

    assert all(fused(model(), base) for base in (torch.optim.AdamW, torch.optim.Adam))
    assert fused(model(), torch.optim.SGD)
    assert fused(model().bfloat16())
    assert not fused(model(), torch.optim.RMSprop)
    assert fused(model(), fused=False) is False
    assert not fused(model(), foreach=True)
    assert not fused(model(), differentiable=True)
    assert not fused(model().to("meta"))
    assert not fused(nn.Linear(2, 2, dtype=torch.complex64))
    sparse = nn.Embedding(4, 2, sparse=True)
    assert not fused(sparse, torch.optim.SGD)
    frozen = model()
    imaginary = torch.zeros(5, dtype=torch.complex64)
    frozen["head"].bias = nn.Parameter(imaginary, requires_grad=False)
    assert fused(frozen)


def test_sparse_gradients_train_where_the_base_takes_them():
    made = nn.Embedding(4, 2, sparse=True)
    optimizer = AsymmetricOptimizer(made, {"**": 1.0}, base=torch.optim.SGD)
    before = made.weight.detach().clone()
    made(torch.tensor([1])).sum().backward()
    optimizer.step()
    moved = torch.zeros(4, 2)
    moved[1] = 1.0
    assert torch.equal(before - made.weight, moved)


def test_moments_have_the_dtype_of_their_parameter():
    made = model().bfloat16()
    optimizer = AsymmetricOptimizer(made, {"**": 0.1})
    for p in made.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert {s["exp_avg"].dtype for s in state_of(optimizer)} == {torch.bfloat16}


def test_an_empty_part_of_the_rest_trains_nothing_and_breaks_nothing():
    for fused in (True, False):
        ours, theirs = model(), model()
        optimizer = AsymmetricOptimizer(
            ours, {"all": {"where": "**"}}, rest="rest", lr=0.01, settings={"fused": fused}
        )
        train(ours, [optimizer])
        train(theirs, [torch.optim.AdamW(theirs.parameters(), lr=0.01, fused=fused)])
        assert equal(ours, theirs)
        assert part_rates(optimizer) == {"all": 0.01, "rest": 0.01}
        optimizer.load_state_dict(optimizer.state_dict())


def test_rates_of_the_parts_are_told():
    optimizer = AsymmetricOptimizer(
        model(), {"encoder": 0.1, "other": 0.3}, rest="other", no_decay="**.bias"
    )
    assert part_rates(optimizer) == {"encoder": 0.1, "other": 0.3}
    plain = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))]}], lr=0.1)
    with pytest.raises(ValueError, match=re.escape("part_rates: every group of the optimizer mu")):
        part_rates(plain)


RATES = {"encoder": 1e-3, "decoder": 1e-2, "head": 3e-2}


def saved(optimizer):
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@each_base
@pytest.mark.parametrize("step", [1, 3])
def test_resumed_at_any_step_is_bit_equal(base, settings, step):
    whole = model()
    train(whole, [AsymmetricOptimizer(whole, RATES, base=base, settings=settings)], steps=6)
    first = model()
    optimizer = AsymmetricOptimizer(first, RATES, base=base, settings=settings)
    train(first, [optimizer], steps=step)
    second = model(seed=9)
    second.load_state_dict(first.state_dict())
    again = AsymmetricOptimizer(second, dict.fromkeys(RATES, 1.0), base=base, settings=settings)
    again.load_state_dict(saved(optimizer))
    assert part_rates(again) == RATES
    train(second, [again], steps=6 - step, start=step)
    assert equal(whole, second)


def test_state_tells_parts_and_names():
    state = AsymmetricOptimizer(model(), RATES, no_decay="head.bias").state_dict()
    groups = [(group["part"], group["param_names"]) for group in state["param_groups"]]
    assert groups == [
        ("encoder", ["encoder.weight", "encoder.bias"]),
        ("decoder", ["decoder.weight", "decoder.bias"]),
        ("head", ["head.weight"]),
        ("head", ["head.bias"]),
    ]


def twins():
    return nn.ModuleDict({"encoder": nn.Linear(3, 3), "decoder": nn.Linear(3, 3)})


def refuses(optimizer, state, message):
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=re.escape(f"load_state_dict: the state must {message}")):
        optimizer.load_state_dict(state)
    assert str(optimizer.state_dict()) == str(before)


def test_a_state_with_two_equal_shaped_parts_swapped_is_refused():
    here = AsymmetricOptimizer(twins(), {"encoder": 1e-3, "decoder": 1e-2})
    there = AsymmetricOptimizer(twins(), {"decoder": 1e-2, "encoder": 1e-3})
    torch.optim.AdamW.load_state_dict(here, here.state_dict())
    refuses(
        here,
        there.state_dict(),
        "have the same parameters in the same parts and order; got decoder.weight where here is "
        "encoder.weight, decoder.bias where here is encoder.bias, encoder.weight where here is "
        "decoder.weight, encoder.bias where here is decoder.bias",
    )
    renamed = copy.deepcopy(here.state_dict())
    one, two = renamed["param_groups"]
    one["part"], two["part"] = two["part"], one["part"]
    refuses(here, renamed, "have the same parameters in the same parts and order; got "
            "encoder.weight of part 'decoder', here 'encoder', ")  # fmt: skip


def test_missing_unknown_and_nameless_parameters_are_told():
    here = AsymmetricOptimizer(twins(), {"encoder": 1e-3, "decoder": 1e-2})
    other = nn.ModuleDict({"encoder": nn.Linear(3, 3), "head": nn.Linear(3, 3)})
    there = AsymmetricOptimizer(other, {"encoder": 1e-3, "head": 1e-2}).state_dict()
    refuses(here, there, "have the same parameters in the same parts and order; got "
            "decoder.weight missing, decoder.bias missing, head.weight unknown here, "
            "head.bias unknown here")  # fmt: skip
    plain = torch.optim.AdamW(twins().parameters()).state_dict()
    refuses(here, plain, "name its parts and parameters; got one without names")
    split = AsymmetricOptimizer(
        twins(), {"encoder": 1e-3, "decoder": 1e-2}, no_decay="encoder.bias"
    )
    refuses(here, split.state_dict(), "have the same parameters in the same parts and order; got "
            "another split into decayed and not decayed")  # fmt: skip
    many = AsymmetricOptimizer(nn.ModuleList(nn.Linear(2, 2) for _ in range(9)), {"**": 0.1})
    with pytest.raises(ValueError, match=r"0\.weight unknown here, 0\.bias unknown here and 16 mo"):
        here.load_state_dict(many.state_dict())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_alike_and_still_compare_names(copied):
    made = model()
    optimizer = AsymmetricOptimizer(made, RATES)
    train(made, [optimizer], steps=2)
    other_model, other = copied((made, optimizer))
    assert type(other) is type(optimizer)
    train(made, [optimizer], start=2)
    train(other_model, [other], start=2)
    assert equal(made, other_model)
    assert not equal(made, model())
    with pytest.raises(ValueError, match="name its parts"):
        other.load_state_dict(torch.optim.AdamW(made.parameters()).state_dict())


def test_a_loss_scaler_and_a_closure_work_as_with_the_base():
    ours, theirs = model(), model()
    one = AsymmetricOptimizer(ours, {"**": 0.01})
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.01, fused=True)
    for made, optimizer in ((ours, one), (theirs, plain)):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        scaler.scale(forward(made, torch.ones(2, 5)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert optimizer.step(lambda: 3.0) == 3.0
    assert equal(ours, theirs)


def test_unknown_options_are_refused():
    for settings, message in (
        ({"beta": 1}, "settings must be options of AdamW; got 'beta'. Did you mean 'betas'?"),
        ({"zzz": 1}, "settings must be options of AdamW; got 'zzz'. It takes amsgrad, betas, "),
        ({"lr": 0.1}, "settings must be options of AdamW; got 'lr'."),
    ):
        with pytest.raises(ValueError, match=re.escape(f"AsymmetricOptimizer: {message}")):
            AsymmetricOptimizer(model(), {"**": 0.1}, settings=settings)
    parts = {"all": {"where": "**", "lr": 0.1, "momentum": 0.9}}
    with pytest.raises(ValueError, match="part 'all' must be options of AdamW; got 'momentum'"):
        AsymmetricOptimizer(model(), parts)
    assert AsymmetricOptimizer(model(), parts, base=torch.optim.SGD).param_groups
    with pytest.raises(ValueError, match="part '\\*\\*' must be options of Rprop; got 'weight_dec"):
        AsymmetricOptimizer(model(), {"**": 0.1}, base=torch.optim.Rprop, no_decay="**.bias")


def test_a_base_of_unknown_options_takes_them_all():
    class Free(torch.optim.SGD):
        def __init__(self, params, **options):
            self.given = options.pop("anything")
            super().__init__(params, **options)

    optimizer = AsymmetricOptimizer(model(), {"**": 0.1}, base=Free, settings={"anything": 3})
    assert optimizer.given == 3


def test_a_base_that_is_no_optimizer_is_refused():
    for base in (nn.Linear, torch.optim.AdamW([nn.Parameter(torch.ones(1))]), "adamw"):
        with pytest.raises(TypeError, match="base must be a class of optimizer; got"):
            AsymmetricOptimizer(model(), {"**": 0.1}, base=base)


def test_groups_and_optimizer_agree():
    made = model()
    groups = parameter_groups(made, RATES)
    for ours, theirs in zip(AsymmetricOptimizer(made, RATES).param_groups, groups, strict=True):
        assert {name: ours[name] for name in theirs} == theirs


class NeedsRate(torch.optim.SGD):
    def __init__(self, params, lr, momentum=0.0):
        super().__init__(params, lr=lr, momentum=momentum)


def test_a_base_whose_rate_has_no_default_gets_one():
    for lr, default in ((None, 3e-2), (0.5, 0.5)):
        made, before = model(), model()
        optimizer = AsymmetricOptimizer(made, RATES, base=NeedsRate, lr=lr)
        assert part_rates(optimizer) == RATES
        assert optimizer.defaults["lr"] == default
        for p in made.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        for part, rate in RATES.items():
            moved = before[part].weight - made[part].weight
            torch.testing.assert_close(moved, torch.full_like(moved, rate), rtol=1e-4, atol=1e-7)


def test_a_base_that_computes_its_own_rate_is_refused():
    adafactor = pytest.importorskip("transformers.optimization").Adafactor
    message = (
        "AsymmetricOptimizer: base must use the rate of each part; got Adafactor with "
        "relative_step True, which computes a rate of its own. "
        "Pass settings={'relative_step': False}"
    )
    manual = {"relative_step": False, "scale_parameter": False}
    one_part = {**RATES, "head": {"lr": 0.1, "relative_step": True}}
    for parts, settings in ((RATES, {}), (RATES, {"relative_step": True}), (one_part, manual)):
        with pytest.raises(ValueError, match=re.escape(message)):
            AsymmetricOptimizer(model(), parts, base=adafactor, settings=settings)
    made, before = model(), model()
    optimizer = AsymmetricOptimizer(made, RATES, base=adafactor, settings=manual)
    for p in made.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for part, rate in RATES.items():
        moved = (made[part].weight - before[part].weight).abs().mean().item()
        assert moved == pytest.approx(rate, rel=1e-3)


def test_a_rate_in_the_settings_is_refused_with_the_place_where_it_belongs():
    for base in (torch.optim.SGD, NeedsRate):
        with pytest.raises(ValueError, match=re.escape("got 'lr'. Pass the rate as lr=, or in pa")):
            AsymmetricOptimizer(model(), RATES, base=base, settings={"lr": 0.1})


class Counting(AsymmetricOptimizer):
    """A subclass of a user, with a method, a step and a constructor of its own."""

    def __init__(self, made, **options):
        self.steps = 0
        super().__init__(made, RATES, **options)
        self.done = True

    def step(self, closure=None):
        self.steps += 1
        return super().step(closure)

    def load_state_dict(self, state_dict):
        self.steps = 0
        super().load_state_dict(state_dict)


class NamesItsBase(AsymmetricOptimizer, torch.optim.SGD):
    """A subclass that names its base itself."""


@pytest.mark.parametrize("base", [torch.optim.AdamW, torch.optim.RMSprop])
def test_a_subclass_stays_what_it_is(base):
    ours, theirs = model(), model()
    optimizer = Counting(ours, base=base)
    plain = AsymmetricOptimizer(theirs, RATES, base=base)
    train(ours, [optimizer], steps=3)
    train(theirs, [plain], steps=3)
    assert equal(ours, theirs)
    assert isinstance(optimizer, Counting)
    assert isinstance(optimizer, base)
    assert (optimizer.steps, optimizer.done, type(optimizer).__name__) == (3, True, "Counting")
    assert repr(optimizer).startswith("Counting (")
    assert not isinstance(plain, Counting)
    assert type(optimizer) is type(Counting(model(), base=base))
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert type(copied) is type(optimizer)
        copied.load_state_dict(optimizer.state_dict())
        assert copied.steps == 0


def test_a_subclass_may_inherit_from_its_base():
    ours, theirs = model(), model()
    optimizer = NamesItsBase(ours, RATES, base=torch.optim.SGD)
    assert isinstance(optimizer, NamesItsBase)
    assert type(copy.deepcopy(optimizer)) is type(optimizer)
    train(ours, [optimizer])
    train(theirs, [AsymmetricOptimizer(theirs, RATES, base=torch.optim.SGD)])
    assert equal(ours, theirs)


def half_frozen():
    made = model()
    made["encoder"].requires_grad_(False)
    return made, AsymmetricOptimizer(made, {"decoder": 1e-2, "head": 3e-2})


def test_unfrozen_parameters_can_be_added_without_names():
    made, optimizer = half_frozen()
    twin = model()
    twin["encoder"].requires_grad_(False)
    plain = torch.optim.AdamW(
        [{"params": twin[part].parameters(), "lr": RATES[part]} for part in ("decoder", "head")],
        fused=True,
    )
    train(made, [optimizer], steps=2)
    train(twin, [plain], steps=2)
    for one, of in ((made, optimizer), (twin, plain)):
        one["encoder"].requires_grad_(True)
        of.add_param_group({"params": one["encoder"].parameters(), "lr": 1e-3})
    train(made, [optimizer], start=2)
    train(twin, [plain], start=2)
    assert equal(made, twin)
    assert part_rates(optimizer) == {"decoder": 1e-2, "head": 3e-2, "group 2": 1e-3}
    assert optimizer.param_groups[2]["param_names"] == ["group 2.0", "group 2.1"]
    optimizer.load_state_dict(optimizer.state_dict())
    fresh, again = half_frozen()
    with pytest.raises(ValueError, match=r"got group 2\.0 unknown here, group 2\.1 unknown here"):
        again.load_state_dict(optimizer.state_dict())
    fresh.load_state_dict(made.state_dict())
    fresh["encoder"].requires_grad_(True)
    again.add_param_group({"params": list(fresh["encoder"].parameters())})
    again.load_state_dict(saved(optimizer))
    train(made, [optimizer], start=7)
    train(fresh, [again], start=7)
    assert equal(made, fresh)


def test_an_added_group_has_the_names_and_the_part_that_it_is_given():
    made, optimizer = half_frozen()
    made["encoder"].requires_grad_(True)
    optimizer.add_param_group({"params": made["encoder"].weight, "part": "head"})
    named = [("encoder.bias", made["encoder"].bias)]
    optimizer.add_param_group({"params": named, "part": "encoder", "lr": 0.5})
    one, two = optimizer.param_groups[2:]
    assert (one["part"], one["param_names"], one["lr"]) == ("head", ["group 2.0"], 3e-2)
    assert (two["part"], two["param_names"], two["lr"]) == ("encoder", ["encoder.bias"], 0.5)
    assert part_rates(optimizer) == {"decoder": 1e-2, "head": 3e-2, "encoder": 0.5}
    with pytest.raises(ValueError, match="appear in more than one parameter group"):
        optimizer.add_param_group({"params": made["head"].parameters()})
    with pytest.raises(TypeError, match="ordered collections"):
        optimizer.add_param_group({"params": {nn.Parameter(torch.ones(1))}})
    with pytest.raises(TypeError, match="must be a dict"):
        optimizer.add_param_group([nn.Parameter(torch.ones(1))])


def test_an_added_group_that_no_fused_kernel_takes_trains_as_with_the_base():
    _, optimizer = half_frozen()
    ours, theirs = (nn.Parameter(torch.ones(3, dtype=torch.complex64)) for _ in range(2))
    optimizer.add_param_group({"params": ours, "lr": 0.1})
    plain = torch.optim.AdamW([theirs], lr=0.1)
    for parameter in (ours, theirs):
        parameter.grad = torch.full((3,), 1 + 2j, dtype=torch.complex64)
    optimizer.step()
    plain.step()
    assert torch.equal(ours, theirs)


def test_hooks_of_loading_may_adapt_a_state_before_names_are_compared():
    made = model()
    optimizer = AsymmetricOptimizer(made, RATES)
    train(made, [optimizer], steps=2)
    old = optimizer.state_dict()
    for group in old["param_groups"]:
        group["param_names"] = [f"module.{name}" for name in group["param_names"]]
    again = AsymmetricOptimizer(made, RATES)
    refuses(again, old, "have the same parameters in the same parts and order")

    def adapt(_, state):
        groups = [
            {**group, "param_names": [n.removeprefix("module.") for n in group["param_names"]]}
            for group in state["param_groups"]
        ]
        return {**state, "param_groups": groups}

    again.register_load_state_dict_pre_hook(adapt)
    again.load_state_dict(old)
    assert len(again._optimizer_load_state_dict_pre_hooks) == 1
    assert len(again.state) == 6


@pytest.mark.parametrize(("base", "settings"), [
    (torch.optim.AdamW, {}), (torch.optim.AdamW, {"fused": False}), (torch.optim.SGD, {}),
    (torch.optim.SGD, {"momentum": 0.9, "fused": False}), (torch.optim.NAdam, {}),
])  # fmt: skip
def test_a_rate_may_be_a_tensor(base, settings):
    ours, theirs = model(), model()
    rates = {part: torch.tensor(rate) for part, rate in RATES.items()}
    one = AsymmetricOptimizer(ours, rates, base=base, settings=settings)
    scheduler = AsymmetricScheduler(one, dict.fromkeys(RATES, linear(4)))
    two = AsymmetricOptimizer(theirs, RATES, base=base, settings=settings)
    other = AsymmetricScheduler(two, dict.fromkeys(RATES, linear(4)))
    for step in range(3):
        train(ours, [one], steps=1, start=step)
        train(theirs, [two], steps=1, start=step)
        scheduler.step()
        other.step()
        assert part_rates(one) == pytest.approx(part_rates(two))
        assert all(isinstance(group["lr"], torch.Tensor) for group in one.param_groups)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)
    one.load_state_dict(saved(one))
    copy.deepcopy(one)
    assert [row.lr for row in describe(one).rows] == list(part_rates(one).values())


def test_what_has_no_names_is_refused_with_the_way_to_pass_the_model():
    for wrong in (model().parameters(), list(model().parameters()), [{"params": []}]):
        message = f"model must be a module; got {type(wrong).__name__}. Rules select by name, so"
        with pytest.raises(TypeError, match=re.escape(message)):
            AsymmetricOptimizer(wrong, RATES)


def test_the_trainer_makes_it_from_class_and_keywords(tmp_path):
    transformers = pytest.importorskip("transformers")
    arguments = transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    for named in (True, False):
        made = model()
        keywords = {"model": made, "parts": RATES} if named else {"parts": RATES}
        trainer = transformers.Trainer(
            made, arguments, optimizer_cls_and_kwargs=(AsymmetricOptimizer, keywords)
        )
        if named:
            assert part_rates(trainer.create_optimizer()) == RATES
        else:
            with pytest.raises(TypeError, match=r"got list\. Rules select by name"):
                trainer.create_optimizer()


def test_a_base_that_calls_its_rate_otherwise_is_refused():
    class Other(torch.optim.Optimizer):
        def __init__(self, params, speed=0.1, decay=0.0):
            super().__init__(params, {"speed": speed, "decay": decay})

        def step(self, closure=None):
            """Move every parameter by its speed, whatever `lr` its group has."""

    message = "base must read the rate of a part as lr; got Other, whose groups have speed, decay"
    with pytest.raises(ValueError, match=re.escape(message)):
        AsymmetricOptimizer(model(), RATES, base=Other)


def test_a_base_that_fixes_its_rate_or_wraps_another_is_taken():
    class Fixed(torch.optim.SGD):
        def __init__(self, params):
            super().__init__(params, lr=7.0)

    class Wraps(torch.optim.Optimizer):
        def __init__(self, params, inner, **options):
            super().__init__(params, options)
            self.inner = inner(self.param_groups, **options)

        def step(self, closure=None):
            return self.inner.step(closure)

    for base, settings in ((Fixed, {}), (Wraps, {"inner": torch.optim.SGD})):
        ours, theirs = model(), model()
        train(ours, [AsymmetricOptimizer(ours, RATES, base=base, settings=settings)])
        train(theirs, [AsymmetricOptimizer(theirs, RATES, base=torch.optim.SGD)])
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


NUMPY = {
    "betas": (np.float32(0.8), np.float64(0.95)),
    "eps": np.float32(1e-6),
    "weight_decay": np.float32(0.3),
    "amsgrad": np.True_,
}
PLAIN = {
    "betas": (float(np.float32(0.8)), 0.95),
    "eps": float(np.float32(1e-6)),
    "weight_decay": float(np.float32(0.3)),
    "amsgrad": True,
}


@pytest.mark.parametrize("place", ["settings", "part", "added"])
@pytest.mark.parametrize(
    "betas", [NUMPY["betas"], np.array(PLAIN["betas"])], ids=["tuple", "array"]
)
def test_options_of_numpy_are_plain_numbers(tmp_path, place, betas):
    """Those of single precision would round the decay, and their states could not be loaded."""
    runs = []
    for options in (NUMPY | {"betas": betas}, PLAIN):
        made = model()
        made["head"].requires_grad_(place != "added")
        settings = options if place == "settings" else None
        part = options if place == "part" else {}
        parts = {"encoder": {"lr": 1e-4, **part}, "decoder": {"lr": 1e-3, **part}}
        parts |= {} if place == "added" else {"head": {"lr": 1e-2, **part}}
        optimizer = AsymmetricOptimizer(made, parts, settings=settings)
        if place == "added":
            head = made["head"].requires_grad_(True)
            optimizer.add_param_group({"params": head.parameters(), "lr": 1e-2, **options})
        train(made, [optimizer])
        torch.save(optimizer.state_dict(), tmp_path / "state.pt")
        optimizer.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        runs.append((made, optimizer.state_dict()["param_groups"]))
    (one, groups), (two, expected) = runs
    assert equal(one, two)
    assert groups == expected


@pytest.mark.parametrize("place", ["settings", "part"])
@pytest.mark.parametrize("name", ["betas", "weight_decay", "eps"])
def test_options_may_be_tensors_where_pytorch_takes_them(place, name):
    options = {"betas": (torch.tensor(0.8), torch.tensor(0.95))}
    options |= {"weight_decay": torch.tensor(0.3), "eps": torch.tensor(1e-6)}
    given = {name: options[name]}
    one, two = model(), model()
    parts = {"**": {"lr": 1e-2, **({} if place == "settings" else given)}}
    ours = AsymmetricOptimizer(one, parts, settings=given if place == "settings" else None)
    theirs = torch.optim.AdamW(two.parameters(), lr=1e-2, **given)
    for made, optimizer in ((one, ours), (two, theirs)):
        train(made, [optimizer])
    assert equal(one, two)
