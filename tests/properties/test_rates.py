"""Laws of schedules and of parts, for any steps and rates."""

import itertools
import math

import pytest
import torch
from drawn import FEW
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    constant,
    cosine,
    describe,
    embeddings,
    freeze_until,
    heads,
    hidden_matrices,
    inverse_sqrt,
    join,
    layerwise_parts,
    linear,
    norms_and_biases,
    parameter_groups,
    part_rates,
    partition_parameters,
    parts_table,
    preview,
    step_decay,
    warmup,
)

STEPS = st.integers(1, 40)
SHARES = st.floats(0, 1)
RATES = st.floats(1e-6, 10)


def first(schedule, count):
    return [schedule(step) for step in range(count)]


@FEW
@given(STEPS, SHARES)
def test_what_falls_falls_from_one_to_its_end(steps, end):
    for schedule in (linear(steps, end=end), cosine(steps, end=end)):
        values = first(schedule, steps + 3)
        assert values[0] == 1
        assert values == sorted(values, reverse=True)
        assert values[steps:] == pytest.approx([end] * 3)
        middle = schedule(steps / 2)
        assert middle == pytest.approx((1 + end) / 2)


@FEW
@given(STEPS, st.integers(0, 200))
def test_the_root_of_time_halves_in_four_times(timescale, step):
    schedule = inverse_sqrt(timescale)
    assert schedule(0) == 1
    assert schedule(timescale + step) <= 1
    ratio = schedule(4 * (step + timescale) - timescale) / schedule(step)
    assert ratio == pytest.approx(0.5)


@FEW
@given(STEPS, st.floats(0.01, 1), st.integers(0, 100))
def test_steps_multiply(every, factor, step):
    schedule = step_decay(every, factor=factor)
    assert schedule(step + every) == pytest.approx(factor * schedule(step))
    assert schedule(step) == pytest.approx(factor ** (step // every))


@FEW
@given(st.lists(SHARES, min_size=2, max_size=4), st.data())
def test_joined_schedules_follow_each_other(levels, data):
    gaps = [data.draw(STEPS) for _ in levels[1:]]
    at = list(itertools.accumulate(gaps))
    schedules = [linear(20, end=level) for level in levels]
    joined = join(*schedules, at=at)
    for step in range(at[-1] + 25):
        place = sum(step >= edge for edge in at)
        begin = at[place - 1] if place else 0
        assert joined(step) == schedules[place](step - begin)


@FEW
@given(STEPS, STEPS, st.floats(0, 0.9))
def test_frozen_then_warm_then_as_what_follows(frozen, rise, start):
    then = cosine(30)
    held, warm = freeze_until(frozen, then), warmup(rise, then, start=start)
    assert not any(first(held, frozen))
    assert (held(frozen), held(frozen + 7)) == (then(0), then(7))
    assert warm(0) == pytest.approx(start)
    assert warm(rise + 7) == then(7)
    assert first(warm, rise + 1) == sorted(first(warm, rise + 1))
    assert first(constant(start), 3) == [start] * 3


def tower(depth):
    return nn.ModuleDict(
        {
            "embedding": nn.Embedding(3, 2),
            "layers": nn.ModuleList(nn.Linear(2, 2) for _ in range(depth)),
            "head": nn.Linear(2, 1),
        }
    )


@FEW
@given(st.integers(1, 5), st.floats(0.1, 2), RATES)
def test_layers_have_rates_that_multiply(depth, decay, lr):
    model = tower(depth)
    parts = layerwise_parts(
        model["layers"], decay=decay, below=model["embedding"], above=model["head"]
    )
    optimizer = AsymmetricOptimizer(model, parts, lr=lr)
    rates = list(part_rates(optimizer).values())
    assert len(rates) == depth + 2
    assert max(rates[-1], rates[0]) == pytest.approx(lr * max(1, decay ** (depth + 1)))
    for below, above in itertools.pairwise(rates):
        assert below == pytest.approx(decay * above)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, model.parameters()))


@FEW
@given(st.integers(1, 4), st.lists(RATES, min_size=3, max_size=3), st.integers(1, 12))
def test_tables_and_groups_tell_the_rates_that_train(depth, rates, steps):
    model = tower(depth)
    named = dict(zip(("embedding", "layers", "rest"), rates, strict=True))
    rules = {"embedding": "embedding", "layers": "layers"}
    parts = partition_parameters(model, rules, rest="rest")
    assert sum(len(members) for members in parts.values()) == len(list(model.parameters()))
    groups = parameter_groups(model, named, rest="rest", no_decay="**.bias")
    assert all(
        ("bias" in name) == (group.get("weight_decay") == 0)
        for group in groups
        for name in group["param_names"]
    )
    optimizer = torch.optim.SGD(parameter_groups(model, named, rest="rest"))
    scheduler = AsymmetricScheduler(
        optimizer, {"embedding": constant(), "layers": linear(9), "rest": freeze_until(4)}
    )
    told = preview(scheduler, steps).rates
    table = {row.part: row for row in parts_table(model, rules, named, rest="rest").rows}
    assert {part: row.lr for part, row in table.items()} == named
    own = {row.part: row for row in describe(optimizer, scheduler).rows}
    assert {part: row.parameters for part, row in own.items()} == {
        part: row.parameters for part, row in table.items()
    }
    for step in range(steps):
        for part, rate in part_rates(optimizer).items():
            assert math.isclose(told[part][step], rate, abs_tol=1e-12)
        optimizer.step()
        scheduler.step()


WIDTHS = st.lists(st.integers(2, 9), min_size=3, max_size=5, unique=True)


@FEW
@given(WIDTHS, st.booleans())
def test_every_parameter_of_a_chain_has_one_role(widths, table):
    """Widths are distinct, so that only the order of layers says which is the last."""
    first_layer = nn.Embedding(11, widths[0]) if table else nn.Conv1d(10, widths[0], 3)
    linears = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(
        first_layer, *linears, nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], 12)
    )
    assert embeddings(model) == [first_layer.weight]
    assert hidden_matrices(model) == [linear.weight for linear in linears]
    assert heads(model) == [model[-1].weight]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    assert norms_and_biases(model) == vectors


BASES = (torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad)


@FEW
@given(st.lists(st.tuples(st.sampled_from(BASES), RATES), min_size=1, max_size=5))
def test_any_algorithms_of_parts_are_as_many_optimizers(chosen):
    layers = [nn.Linear(3, 2) for _ in chosen]
    ours = nn.ModuleList(layers)
    theirs = nn.ModuleList(nn.Linear(3, 2) for _ in chosen)
    theirs.load_state_dict(ours.state_dict())
    parts = {str(i): {"base": base, "lr": lr} for i, (base, lr) in enumerate(chosen)}
    many = []
    for layer, (base, lr) in zip(theirs, chosen, strict=True):
        fused = {"fused": True} if base in BASES[:2] else {}
        many.append(base(layer.parameters(), lr=lr, **fused))
    one = AsymmetricOptimizer(ours, parts)
    for step in range(3):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.grad = torch.full_like(p, step - 1.5)
            q.grad = p.grad.clone()
        for optimizer in (one, *many):
            optimizer.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p, q)
