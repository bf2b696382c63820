"""Tables of the parts and of their rates, now and over time."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    PartRow,
    PartsTable,
    RatesTable,
    constant,
    cosine,
    describe,
    freeze_until,
    join,
    linear,
    part_rates,
    parts_table,
    preview,
    warmup,
)


def model():
    made = nn.ModuleDict({"encoder": nn.Linear(3, 40), "head": nn.Linear(40, 3, bias=False)})
    made["table"] = nn.Embedding(3, 40)
    made["head"].weight = made["table"].weight
    return made


def test_rows_hold_what_the_optimizer_holds():
    optimizer = AsymmetricOptimizer(
        model(), {"encoder": 1e-4, "other": {"lr": 0.5, "weight_decay": 0.2}}, rest="other",
        no_decay="encoder.bias",
    )  # fmt: skip
    table = describe(optimizer)
    assert isinstance(table, PartsTable)
    assert table.rows == (
        PartRow("encoder", 1, 120, 1e-4, 0.01, "", (("encoder.weight",),), "AdamW"),
        PartRow("encoder", 1, 40, 1e-4, 0.0, "", (("encoder.bias",),), "AdamW"),
        PartRow("other", 1, 120, 0.5, 0.2, "", (("head.weight", "table.weight"),), "AdamW"),
    )
    assert str(table).splitlines() == [
        "part     algorithm  tensors  parameters    rate  decay  schedule",
        "encoder  AdamW            1         120  0.0001   0.01",
        "encoder  AdamW            1          40  0.0001      0",
        "other    AdamW            1         120     0.5    0.2",
        "total                     3         280",
    ]


def test_schedules_are_written_with_their_numbers():
    optimizer = AsymmetricOptimizer(model(), {"encoder": 1e-4, "head": 1.0})

    def mine(step):
        return 1.0

    one = join(warmup(5, linear(9), start=0.25), freeze_until(7), at=[20])
    scheduler = AsymmetricScheduler(optimizer, {"encoder": one, "head": mine})
    assert [row.schedule for row in describe(optimizer, scheduler).rows] == [
        "join(schedules=[warmup(steps=5, then=linear(steps=9, end=0), start=0.25), "
        "freeze_until(until=7, then=constant(multiplier=1))], starts=[0, 20])",
        "mine",
    ]


def test_the_rate_described_is_the_one_of_now():
    optimizer = AsymmetricOptimizer(model(), {"encoder": 1.0, "head": 1.0})
    scheduler = AsymmetricScheduler(optimizer, {"encoder": linear(4), "head": constant()})
    optimizer.step()
    scheduler.step()
    assert [row.lr for row in describe(optimizer, scheduler).rows] == [0.75, 1.0]


def test_preview_tells_what_a_run_then_does_and_touches_nothing():
    optimizer = AsymmetricOptimizer(model(), {"encoder": 0.3, "head": 0.7}, no_decay="**.bias")
    chosen = {"encoder": freeze_until(4, cosine(9)), "head": warmup(3, linear(11))}
    scheduler = AsymmetricScheduler(optimizer, chosen)
    before = str(optimizer.state_dict()), str(scheduler.state_dict())
    table = preview(scheduler, 20)
    assert (str(optimizer.state_dict()), str(scheduler.state_dict())) == before
    for step in range(20):
        assert part_rates(optimizer) == {part: row[step] for part, row in table.rates.items()}
        optimizer.step()
        scheduler.step()
    assert preview(scheduler, 20) == table  # in the middle of a run still from its start
    some = preview(scheduler, [3, 19])
    assert isinstance(some, RatesTable)
    assert some.steps == (3, 19)
    assert some.rates == {part: (row[3], row[19]) for part, row in table.rates.items()}


def test_preview_draws_a_curve():
    optimizer = AsymmetricOptimizer(model(), {"encoder": 0.3, "head": 0.7})
    chosen = {"encoder": freeze_until(400, linear(400)), "head": constant(0.0)}
    table = str(preview(AsymmetricScheduler(optimizer, chosen), 800))
    assert table.splitlines() == [
        "part     first  highest     last  steps 0 to 799",
        "encoder      0      0.3  0.00075  " + 20 * "·" + "███▇▇▆▆▆▅▅▄▄▄▃▃▂▂▂▁▁",
        "head         0        0        0  " + 40 * "·",
    ]


def test_parts_table_says_what_the_optimizer_would_hold():
    rules, rates = {"front": "encoder.**"}, {"front": 0.1, "others": 0.2}
    with torch.device("meta"):
        table = parts_table(model(), rules, rates, rest="others")
    parts = {"front": {"where": "encoder.**", "lr": 0.1}, "others": 0.2}
    real = describe(AsymmetricOptimizer(model(), parts, rest="others"))
    assert table.rows == tuple(row._replace(weight_decay=None, algorithm="") for row in real.rows)
    assert str(table).startswith("part    tensors  parameters  rate  decay  schedule\nfront ")


@pytest.mark.parametrize(("rules", "rates", "rest", "message"), [
    ({"a": "encoder"}, {"a": 1.0, "b": 2.0}, None, "every rate needs a rule; got rates of b with"),
    ({"a": "encoder"}, {"a": 1.0}, None, "1 have none: head.weight"),
    ({"a": "encoder"}, {"a": 1.0}, "b", "every part needs a rate; got 'b' with none"),
    ({"a": "encoder"}, {"b": 1.0}, "b", "every part needs a rate; got 'a' with none"),
])  # fmt: skip
def test_parts_table_refuses_what_does_not_fit(rules, rates, rest, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parts_table(model(), rules, rates, rest=rest)


def test_parts_table_tells_algorithms_and_refuses_those_that_do_not_fit():
    rules, rates = {"front": "encoder.weight"}, {"front": 0.1, "others": 0.2}
    bases = {"front": torch.optim.Muon}
    table = parts_table(model(), rules, rates, rest="others", bases=bases)
    assert [row.algorithm for row in table.rows] == ["Muon", "AdamW"]
    with pytest.raises(ValueError, match="Muon trains matrices alone; got part 'others' with enc"):
        parts_table(model(), rules, rates, rest="others", bases={"others": torch.optim.Muon})
    with pytest.raises(ValueError, match="every algorithm needs a rule; got algorithms of b with"):
        parts_table(model(), rules, rates, rest="others", bases={"b": torch.optim.SGD})


def test_describe_and_preview_refuse_what_has_no_parts_or_steps():
    plain = torch.optim.SGD(model().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="describe: every group of the optimizer must name its"):
        describe(plain)
    optimizer = AsymmetricOptimizer(model(), {"**": 1.0})
    scheduler = AsymmetricScheduler(optimizer, {"**": constant()})
    for steps in (0, []):
        with pytest.raises(ValueError, match=re.escape(f"must be a step; got steps {steps}")):
            preview(scheduler, steps)


def test_steps_to_preview_may_be_integers_of_numpy():
    optimizer = AsymmetricOptimizer(model(), {"encoder": 1.0, "head": 1.0})
    scheduler = AsymmetricScheduler(optimizer, {"encoder": linear(4), "head": constant()})
    for steps in (np.int64(3), np.arange(3), torch.arange(3)):
        assert preview(scheduler, steps) == preview(scheduler, 3)
