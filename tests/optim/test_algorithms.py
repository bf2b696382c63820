"""Several algorithms in one optimizer are as many optimizers, wherever an optimizer is used."""

import copy
import io
import pickle
import re

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from askew.optim import (
    ALGORITHMS,
    AsymmetricOptimizer,
    AsymmetricScheduler,
    constant,
    describe,
    hidden_matrices,
    linear,
    parameter_groups,
    part_rates,
)

MUON = {"where": hidden_matrices, "base": torch.optim.Muon, "lr": 0.02}
PARTS = {"matrices": MUON, "rest": {"lr": 3e-3}}


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Embedding(9, 6), nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 7), nn.LayerNorm(7),
        nn.Linear(7, 5),
    )  # fmt: skip


def forward(made, step=0):
    tokens = torch.randint(0, 9, (4, 3), generator=torch.Generator().manual_seed(step))
    return made(tokens.to(made[0].weight.device)).square().mean()


def train(made, optimizers, steps=5, start=0):
    for step in range(start, start + steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        forward(made, step).backward()
        for optimizer in optimizers:
            optimizer.step()


def equal(one, two):
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def optimizer_of(made, **changes):
    parts = {part: {**settings, **changes.get(part, {})} for part, settings in PARTS.items()}
    return AsymmetricOptimizer(made, parts, rest="rest")


def two_optimizers(made, **muon):
    matrices = [made[1].weight, made[3].weight]
    held = set(matrices)
    return [
        torch.optim.Muon(matrices, **{"lr": 0.02, **muon}),
        torch.optim.AdamW([p for p in made.parameters() if p not in held], lr=3e-3, fused=True),
    ]


def test_two_algorithms_are_two_optimizers_bit_for_bit(device):
    ours, theirs = model().to(device), model().to(device)
    one = optimizer_of(ours)
    assert one.param_groups[1]["fused"]
    train(ours, [one])
    train(theirs, two_optimizers(theirs))
    assert equal(ours, theirs) or device != "cpu"
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    assert not equal(ours, model().to(device))
    assert [group["base"] for group in one.param_groups] == ["Muon", "AdamW"]
    assert isinstance(one, torch.optim.Optimizer)
    assert isinstance(one, AsymmetricOptimizer)


def test_five_algorithms_are_five_optimizers_bit_for_bit():
    ours, theirs = model(), model()
    bases = {
        "0": (torch.optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.2}),
        "1": (torch.optim.SGD, {"lr": 0.3, "momentum": 0.9, "nesterov": True}),
        "3": (torch.optim.RMSprop, {"lr": 1e-2, "alpha": 0.9}),
        "4": (torch.optim.NAdam, {"lr": 4e-2, "betas": (0.7, 0.8)}),
        "5": (torch.optim.Adam, {"lr": 5e-2, "eps": 1e-6}),
    }
    parts = {part: {"base": base, **options} for part, (base, options) in bases.items()}
    one = AsymmetricOptimizer(ours, parts)
    fused = (torch.optim.SGD, torch.optim.Adam)
    many = [
        base(
            theirs[int(part)].parameters(), **options, **({"fused": True} if base in fused else {})
        )
        for part, (base, options) in bases.items()
    ]
    train(ours, [one])
    train(theirs, many)
    assert equal(ours, theirs)
    one.load_state_dict(one.state_dict())
    copy.deepcopy(one)
    train(ours, [one], start=5)
    train(theirs, many, start=5)
    assert equal(ours, theirs)


@pytest.mark.parametrize("named", [{"base": torch.optim.AdamW}, {}])
def test_the_same_algorithm_for_all_parts_is_an_optimizer_of_that_class(named):
    ours, theirs = model(), model()
    parts = {"table": {"where": "0", "lr": 0.1, **named}, "rest": {"lr": 0.01, **named}}
    one = AsymmetricOptimizer(ours, parts, rest="rest", settings={"betas": (0.8, 0.9)})
    assert isinstance(one, torch.optim.AdamW)
    assert not any("base" in group for group in one.param_groups)
    plain = parameter_groups(
        theirs, {"table": {"where": "0", "lr": 0.1}, "rest": 0.01}, rest="rest"
    )
    train(ours, [one])
    train(theirs, [torch.optim.AdamW(plain, betas=(0.8, 0.9), fused=True)])
    assert equal(ours, theirs)


def test_muon_alone_is_muon():
    ours, theirs = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    one = AsymmetricOptimizer(
        ours, {"weight": {"base": torch.optim.Muon, "lr": 0.1, "ns_steps": 3}}
    )
    assert isinstance(one, torch.optim.Muon)
    assert one.defaults["ns_steps"] == 3
    plain = torch.optim.Muon(theirs.parameters(), lr=0.1, ns_steps=3)
    for made, optimizer in ((ours, one), (theirs, plain)):
        made.weight.grad = torch.arange(12.0).view(3, 4)
        optimizer.step()
    assert torch.equal(ours.weight, theirs.weight)


def test_rates_that_match_adamw_have_its_size_of_step():
    made, before = model(), model()
    optimizer = optimizer_of(
        made, matrices={"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.0}
    )
    train(made, [optimizer], steps=1)
    for layer in (1, 3):
        moved = made[layer].weight - before[layer].weight
        # An orthogonal a × b matrix has the root mean square 1 / √max(a, b).
        size = moved.square().mean().sqrt()
        assert 0.6 * 0.2 * 0.02 < size < 1.3 * 0.2 * 0.02


def test_options_of_a_part_go_to_its_own_class():
    ours, theirs = model(), model()
    muon = {"momentum": 0.8, "nesterov": False, "weight_decay": 0.3, "ns_steps": 4}
    one = optimizer_of(ours, matrices=muon)
    train(ours, [one])
    train(theirs, two_optimizers(theirs, **muon))
    assert equal(ours, theirs)


def test_no_decay_holds_for_every_algorithm():
    made = model()
    optimizer = AsymmetricOptimizer(made, PARTS, rest="rest", no_decay=["1", "**.bias"])
    held = {
        (group["part"], name): group["weight_decay"]
        for group in optimizer.param_groups
        for name in group["param_names"]
    }
    assert held["matrices", "1.weight"] == held["rest", "5.bias"] == 0.0
    assert held["matrices", "3.weight"] == 0.1
    assert held["rest", "5.weight"] == 0.01


@pytest.mark.parametrize(("parts", "kind", "message"), [
    ({"matrices": {**MUON, "betas": (0.1, 0.2)}}, ValueError,
     "part 'matrices' must be options of Muon; got 'betas'. It takes adjust_lr_fn, eps,"),
    ({"matrices": {**MUON, "momentun": 0.1}}, ValueError,
     "part 'matrices' must be options of Muon; got 'momentun'. Did you mean 'momentum'?"),
    ({"matrices": {**MUON, "momentum": -1.0}}, ValueError, "momentum should be >= 0 but is: -1.0"),
    ({"matrices": {**MUON, "adjust_lr_fn": "mine"}}, ValueError, "function mine is not supported"),
    ({"1": {"base": torch.optim.Muon, "lr": 0.1}}, ValueError,
     "Muon trains matrices alone; got part '1' with 1.bias [10]. Select them by hidden_matrices"),
    ({"1": {"base": "muon", "lr": 0.1}}, TypeError,
     "base of part '1' must be a class of optimizer; got 'muon'"),
    ({"1": {"base": torch.optim.LBFGS, "lr": 0.1}}, ValueError,
     "an algorithm beside others must step without a closure; got LBFGS"),
    ({"matrices": {**MUON, "lr": -0.1}}, ValueError, "lr must be finite and >= 0; got matrices lr"),
])  # fmt: skip
def test_bad_algorithms_are_refused_by_name(parts, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        AsymmetricOptimizer(model(), {**parts, "rest": 1e-3}, rest="rest")


def test_settings_of_an_algorithm_that_no_part_has_are_refused():
    parts = {"all": {"where": "**", "base": torch.optim.SGD, "lr": 0.1}}
    message = "settings are options of base; got eps for AdamW, which no part has. Put them into"
    with pytest.raises(ValueError, match=re.escape(message)):
        AsymmetricOptimizer(model(), parts, settings={"eps": 1e-6})
    with pytest.raises(ValueError, match="groups have no algorithm of their own; got part 'all'"):
        parameter_groups(model(), parts)


def saved(optimizer):
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("step", [1, 3])
def test_resumed_at_any_step_is_bit_equal(step):
    whole, first, second = model(), model(), model(seed=9)
    train(whole, [optimizer_of(whole)], steps=6)
    optimizer = optimizer_of(first)
    train(first, [optimizer], steps=step)
    second.load_state_dict(first.state_dict())
    again = optimizer_of(second, matrices={"lr": 1.0})
    again.load_state_dict(saved(optimizer))
    assert part_rates(again) == {"matrices": 0.02, "rest": 3e-3}
    train(second, [again], steps=6 - step, start=step)
    assert equal(whole, second)


def test_a_state_of_another_algorithm_is_refused():
    made = model()
    mixed = optimizer_of(made)
    before = str(mixed.state_dict())
    other = optimizer_of(made, matrices={"base": torch.optim.SGD})
    with pytest.raises(ValueError, match="got part 'matrices' by SGD, here by Muon"):
        mixed.load_state_dict(other.state_dict())
    plain = {"matrices": {"where": hidden_matrices, "lr": 0.1}, "rest": 0.1}
    one = AsymmetricOptimizer(made, plain, rest="rest")
    with pytest.raises(ValueError, match="by the only one of the state, here by Muon"):
        mixed.load_state_dict(one.state_dict())
    with pytest.raises(ValueError, match="by Muon, here by the only one"):
        one.load_state_dict(mixed.state_dict())
    assert str(mixed.state_dict()) == before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_alike(copied):
    made = model()
    optimizer = optimizer_of(made)
    train(made, [optimizer], steps=2)
    other_model, other = copied((made, optimizer))
    assert type(other) is type(optimizer)
    train(made, [optimizer], start=2)
    train(other_model, [other], start=2)
    assert equal(made, other_model)
    other.load_state_dict(saved(optimizer))
    train(made, [optimizer], start=7)
    train(other_model, [other], start=7)
    assert equal(made, other_model)


def test_every_part_has_its_schedule():
    ours, theirs = model(), model()
    one, many = optimizer_of(ours), two_optimizers(theirs)
    scheduler = AsymmetricScheduler(one, {"matrices": linear(4), "rest": constant()})
    other = torch.optim.lr_scheduler.LambdaLR(many[0], lambda step: 1 - step / 4)
    for step in range(4):
        train(ours, [one], steps=1, start=step)
        train(theirs, many, steps=1, start=step)
        scheduler.step()
        other.step()
    assert equal(ours, theirs)
    assert part_rates(one) == {"matrices": 0.0, "rest": 3e-3}


def test_a_loss_scaler_clips_and_skips_all_algorithms_together():
    ours, theirs = model(), model()
    one, many = optimizer_of(ours), two_optimizers(theirs)
    scalers = [torch.amp.GradScaler("cpu", init_scale=2.0**10) for _ in range(2)]
    for step, poison in enumerate((1.0, float("inf"), 1.0)):
        for made, optimizers, scaler in ((ours, [one], scalers[0]), (theirs, many, scalers[1])):
            for optimizer in optimizers:
                optimizer.zero_grad()
            scaler.scale(forward(made, step)).backward()
            made[1].weight.grad.mul_(poison)
            made[5].weight.grad.mul_(poison)
            for optimizer in optimizers:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(made.parameters(), 0.1)
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
    assert equal(ours, theirs)
    assert all(torch.isfinite(p).all() for p in ours.parameters())


def test_a_closure_is_called_once_for_all():
    made, calls = model(), []
    optimizer = optimizer_of(made)

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = forward(made)
        loss.backward()
        return loss

    before = copy.deepcopy(made)
    loss = optimizer.step(closure)
    assert calls == [True]
    assert loss.item() == forward(before).item()
    assert not any(
        torch.equal(p, q) for p, q in zip(made.parameters(), before.parameters(), strict=True)
    )


def test_hooks_see_one_step():
    made, calls = model(), []
    optimizer = optimizer_of(made)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    train(made, [optimizer], steps=2)
    assert calls == ["before", "after"] * 2


def test_the_state_of_distributed_checkpoints_goes_round():
    made, other = model(), model()
    one, two = optimizer_of(made), optimizer_of(other)
    train(made, [one], steps=3)
    other.load_state_dict(made.state_dict())
    # Values of tensors are shared, so take a copy.
    state = copy.deepcopy(get_optimizer_state_dict(made, one))
    two.param_groups[0]["lr"] = 9.0
    set_optimizer_state_dict(other, two, state)
    assert part_rates(two) == part_rates(one)
    train(made, [one], start=3)
    train(other, [two], start=3)
    assert equal(made, other)


def test_added_groups_have_the_algorithm_of_their_part_or_their_own():
    made = model()
    made[0].requires_grad_(False)
    made[3].requires_grad_(False)
    optimizer = optimizer_of(made)
    named = [("0.weight", made[0].requires_grad_(True).weight)]
    optimizer.add_param_group({"params": named, "part": "table", "lr": 0.5})
    made[3].requires_grad_(True)
    optimizer.add_param_group({"params": [("3.weight", made[3].weight)], "part": "matrices"})
    optimizer.add_param_group({"params": [made[3].bias], "base": torch.optim.AdamW, "lr": 0.1})
    assert [(g["part"], g["base"], g["lr"]) for g in optimizer.param_groups[2:]] == [
        ("table", "AdamW", 0.5), ("matrices", "Muon", 0.02), ("group 4", "AdamW", 0.1),
    ]  # fmt: skip
    before = copy.deepcopy(made)
    train(made, [optimizer], steps=2)
    assert not any(
        torch.equal(p, q) for p, q in zip(made.parameters(), before.parameters(), strict=True)
    )
    optimizer.load_state_dict(saved(optimizer))
    extra = nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="the algorithm of part 'new' must be Muon or AdamW, with"):
        optimizer.add_param_group({"params": extra, "part": "new", "base": torch.optim.SGD})
    with pytest.raises(ValueError, match="the algorithm of part 'rest' must be AdamW, with which"):
        optimizer.add_param_group({"params": extra, "part": "rest", "base": torch.optim.Muon})
    with pytest.raises(ValueError, match="Muon trains matrices alone; got part 'matrices' with"):
        optimizer.add_param_group({"params": extra, "part": "matrices"})
    with pytest.raises(ValueError, match="appear in more than one parameter group"):
        optimizer.add_param_group({"params": made[5].weight, "part": "matrices"})
    assert len(optimizer.param_groups) == 5
    train(made, [optimizer], start=2)
    plain = AsymmetricOptimizer(model(), {"**": 0.1})
    message = "the algorithm of an added group must be that of the optimizer, AdamW; got base"
    with pytest.raises(ValueError, match=message):
        plain.add_param_group({"params": extra, "base": torch.optim.SGD})
    plain.add_param_group({"params": extra, "base": torch.optim.AdamW})
    assert "base" not in plain.param_groups[-1]


def test_a_sparse_table_has_its_own_algorithm_and_the_rest_is_fused():
    made = nn.ModuleDict({"table": nn.Embedding(9, 4, sparse=True), "head": nn.Linear(4, 2)})
    parts = {"table": {"base": torch.optim.SparseAdam, "lr": 0.1}, "head": 0.01}
    optimizer = AsymmetricOptimizer(made, parts)
    before = copy.deepcopy(made)
    made["head"](made["table"](torch.tensor([1]))).sum().backward()
    optimizer.step()
    rows = (made["table"].weight != before["table"].weight).any(1)
    assert rows.tolist() == [False, True] + [False] * 7
    assert optimizer.param_groups[1]["fused"]
    assert not torch.equal(made["head"].weight, before["head"].weight)


def test_classes_of_one_name_are_told_apart():
    class AdamW(torch.optim.SGD):
        pass

    made = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    optimizer = AsymmetricOptimizer(made, {"a": {"base": AdamW, "lr": 0.1}, "b": 0.1})
    names = [group["base"] for group in optimizer.param_groups]
    assert names[0].endswith("<locals>.AdamW")
    assert names[1] == "torch.optim.adamw.AdamW"


class Counting(AsymmetricOptimizer):
    """A subclass of a user."""

    def __init__(self, made):
        self.steps = 0
        super().__init__(made, PARTS, rest="rest")

    def step(self, closure=None):
        self.steps += 1
        return super().step(closure)


def test_a_subclass_stays_what_it_is():
    ours, theirs = model(), model()
    optimizer = Counting(ours)
    train(ours, [optimizer], steps=3)
    train(theirs, [optimizer_of(theirs)], steps=3)
    assert equal(ours, theirs)
    assert (optimizer.steps, type(optimizer).__name__) == (3, "Counting")
    assert type(copy.deepcopy(optimizer)) is type(optimizer)


@pytest.mark.slow
def test_a_step_can_be_compiled():
    ours, theirs = model(), model()
    one, two = optimizer_of(ours), optimizer_of(theirs)
    step = torch.compile(one.step, backend="eager")
    for number in range(2):
        for made, optimizer, go in ((ours, one, step), (theirs, two, two.step)):
            optimizer.zero_grad()
            forward(made, number).backward()
            go()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_the_table_tells_the_algorithms():
    table = describe(optimizer_of(model()))
    assert [(row.part, row.algorithm) for row in table.rows] == [
        ("matrices", "Muon"), ("rest", "AdamW"),
    ]  # fmt: skip
    assert str(table).splitlines()[:2] == [
        "part      algorithm  tensors  parameters   rate  decay  schedule",
        "matrices  Muon             2         130   0.02    0.1",
    ]


def test_named_algorithms_are_those_of_pytorch():
    assert ALGORITHMS["muon"] is torch.optim.Muon
    for name, base in ALGORITHMS.items():
        assert base.__name__.lower() == name
        matrix = nn.Linear(3, 2, bias=False)
        optimizer = AsymmetricOptimizer(matrix, {"all": {"where": "**", "base": base}}, lr=0.1)
        matrix.weight.grad = torch.ones(2, 3)
        before = matrix.weight.detach().clone()
        optimizer.step()
        assert not torch.equal(before, matrix.weight)
