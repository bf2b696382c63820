"""Groups have name, rate and decay of their part, and work with any optimizer."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from askew.optim import layerwise_parts, parameter_groups


def model():
    made = nn.ModuleDict({"encoder": nn.Linear(3, 4), "decoder": nn.Linear(4, 2)})
    made["norm"] = nn.LayerNorm(2)
    return made


def brief(groups):
    return [(g["part"], g["lr"], g.get("weight_decay"), g["param_names"]) for g in groups]


def test_one_part_is_the_list_of_all_parameters():
    made = model()
    (group,) = parameter_groups(made, {"all": {"where": "**", "lr": 0.1}})
    assert all(one is two for one, two in zip(group["params"], made.parameters(), strict=True))
    assert set(group) == {"params", "param_names", "part", "lr"}


def test_a_group_a_part_in_their_order_with_their_own_options():
    groups = parameter_groups(
        model(),
        {
            "decoder": {"lr": 0.2, "weight_decay": 0.5, "betas": (0.8, 0.9)},
            "front": {"where": "encoder.**", "multiplier": 3},
            "others": {},
        },
        rest="others",
        lr=0.1,
    )
    assert brief(groups) == [
        ("decoder", 0.2, 0.5, ["decoder.weight", "decoder.bias"]),
        ("front", pytest.approx(0.3), None, ["encoder.weight", "encoder.bias"]),
        ("others", 0.1, None, ["norm.weight", "norm.bias"]),
    ]
    assert groups[0]["betas"] == (0.8, 0.9)


def test_rest_needs_no_entry_of_its_own_and_is_the_last_part():
    groups = parameter_groups(model(), {"encoder": 1e-3}, rest="others", lr=0.1)
    assert [(g["part"], g["lr"]) for g in groups] == [("encoder", 1e-3), ("others", 0.1)]
    groups = parameter_groups(model(), {"others": 0.5, "encoder": 1e-3}, rest="others")
    assert [(g["part"], g["lr"]) for g in groups] == [("encoder", 1e-3), ("others", 0.5)]


def test_no_decay_splits_a_part_in_two_and_only_where_there_is_something_to_split():
    parts = {"encoder": {"lr": 0.1, "weight_decay": 0.3}, "decoder": 0.1, "norm": 0.2}
    groups = parameter_groups(model(), parts, no_decay=["norm", "encoder.bias"])
    assert brief(groups) == [
        ("encoder", 0.1, 0.3, ["encoder.weight"]),
        ("encoder", 0.1, 0.0, ["encoder.bias"]),
        ("decoder", 0.1, None, ["decoder.weight", "decoder.bias"]),
        ("norm", 0.2, 0.0, ["norm.weight", "norm.bias"]),
    ]


def test_other_names_of_a_tied_parameter_are_kept():
    made = nn.ModuleDict({"table": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    made["head"].weight = made["table"].weight
    (group,) = parameter_groups(made, {"head": 0.1})
    assert group["param_names"] == ["table.weight"]
    assert group["aliases"] == {"table.weight": ["head.weight"]}


@pytest.mark.parametrize("base", [
    torch.optim.SGD, torch.optim.Adam, torch.optim.NAdam, torch.optim.RMSprop,
    torch.optim.Adagrad, torch.optim.Adafactor,
])  # fmt: skip
def test_any_optimizer_takes_them(base):
    made = model()
    optimizer = base(parameter_groups(made, {"encoder": 0.0, "decoder": 0.1}, rest="r", lr=0.2))
    before = [p.detach().clone() for p in made.parameters()]
    for p in made.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    moved = [not torch.equal(p, q) for p, q in zip(made.parameters(), before, strict=True)]
    assert moved == [False, False, True, True, True, True]
    assert optimizer.state_dict()["param_groups"][1]["param_names"] == made_names(made, "decoder")


def made_names(made, part):
    return [name for name, _ in made.named_parameters() if name.startswith(part)]


def test_low_rank_factors_have_their_ratio():
    made = nn.ModuleDict({"lora_A": nn.Linear(4, 2, bias=False), "lora_B": nn.Linear(2, 4)})
    parts = {
        "second": {"where": ["**.lora_B.**", "**.bias"], "multiplier": 16},
        "first": {"where": "**.lora_A.**"},
    }
    rates = {g["part"]: g["lr"] for g in parameter_groups(made, parts, lr=1e-4)}
    assert rates == {"second": pytest.approx(16e-4), "first": 1e-4}


def test_layerwise_rates_fall_by_the_distance_from_the_output():
    made = nn.ModuleDict({"embed": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    made["layers"] = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    parts = layerwise_parts(made["layers"], decay=0.5, below="embed", above=made["head"], name="b")
    groups = parameter_groups(made, parts, lr=8.0)
    assert {g["part"]: g["lr"] for g in groups} == {
        "b.below": 0.5,  # 8 / 2 ** 4: three layers above it and the head
        "b.0": 1.0,
        "b.1": 2.0,
        "b.2": 4.0,
        "b.above": 8.0,
    }
    assert groups[2]["param_names"] == ["layers.1.weight", "layers.1.bias"]
    equal_rates = layerwise_parts(made["layers"], decay=1.0, below="embed", above="head")
    assert {g["lr"] for g in parameter_groups(made, equal_rates, lr=0.3)} == {0.3}


def test_two_stacks_are_decayed_side_by_side():
    made = nn.ModuleDict({"a": nn.ModuleList([nn.Linear(2, 2)]), "b": nn.ModuleList([nn.ReLU()])})
    made["b"].append(nn.Linear(2, 2))
    parts = {
        **layerwise_parts(made["a"], decay=0.5, name="a"),
        **layerwise_parts(made["b"][1:], decay=0.25, name="b"),
    }
    assert {g["part"]: g["lr"] for g in parameter_groups(made, parts, lr=1.0)} == {
        "a.0": 0.5,
        "b.0": 0.25,
    }


@pytest.mark.parametrize(("parts", "settings", "message"), [
    ({"encoder": {}}, {}, "every part needs a rate; got 'encoder' with none"),
    ({"encoder": 0.1}, {"rest": "r"}, "every part needs a rate; got 'r' with none"),
    ({"encoder": {"lr": 1, "multiplier": 2}}, {}, "lr or multiplier, not both; got 'encoder'"),
    ({"encoder": -1.0}, {}, "lr must be finite and >= 0; got encoder lr -1.0"),
    ({"encoder": float("nan")}, {}, "lr must be finite and >= 0; got encoder lr nan"),
    ({"encoder": {"multiplier": -2}}, {"lr": 1}, "multiplier must be finite and >= 0; got enc"),
    ({"encoder": {}}, {"lr": -0.5}, "lr must be finite and >= 0; got base lr -0.5"),
    ({"r": {"where": "norm"}}, {"rest": "r"}, "rest takes what is left, so it has no rule"),
    ({"**": 0.1}, {"no_decay": "**.scale"}, "no_decay must match a trainable parameter; got "
     "'**.scale'"),
    ({"encoder": 0.1}, {}, "4 have none: decoder.weight, decoder.bias, norm.weight, norm.bias"),
])  # fmt: skip
def test_bad_values_are_refused(parts, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parameter_groups(model(), parts, **settings)


@pytest.mark.parametrize(("parts", "settings", "message"), [
    ({"encoder": "fast"}, {}, "a rate or a mapping of settings; got 'encoder' str"),
    ({"encoder": True}, {}, "a rate or a mapping of settings; got 'encoder' bool"),
    ({"encoder": {"lr": "1e-4"}}, {}, "lr must be a number; got encoder lr str"),
    ({"encoder": {}}, {"lr": "1"}, "lr must be a number; got base lr str"),
    (["encoder"], {}, "parts must map names to settings; got list"),
])  # fmt: skip
def test_wrong_kinds_are_refused(parts, settings, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        parameter_groups(model(), parts, **settings)


def test_layerwise_parts_refuses_no_layer_and_no_decay():
    with pytest.raises(ValueError, match="there must be a layer; got layers of length 0"):
        layerwise_parts([], decay=0.5)
    for decay in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError, match=f"decay must be positive; got decay {decay}"):
            layerwise_parts([nn.Linear(1, 1)], decay=decay)


def test_rates_may_be_numbers_of_numpy_and_tensors():
    for kind in (np.float64, np.float32, torch.tensor):
        parts = {"encoder": kind(0.5), "decoder": {"multiplier": kind(2.0)}}
        groups = parameter_groups(model(), parts, rest="others", lr=kind(0.25))
        assert [group["lr"] for group in groups] == [0.5, 0.5, 0.25]
        assert {isinstance(group["lr"], torch.Tensor) for group in groups} == {kind is torch.tensor}
    groups = parameter_groups(model(), {"**": np.int64(1)})
    assert isinstance(groups[0]["lr"], float)
    (group,) = parameter_groups(model(), {"**": torch.tensor(1)})
    assert isinstance(group["lr"], float)  # a schedule could not write 0.5 into an integer


def test_no_two_groups_share_a_rate_that_is_a_tensor():
    rate = torch.tensor(0.5)
    parts = {"encoder": rate, "decoder": rate, "norm": {}}
    groups = parameter_groups(model(), parts, lr=rate, no_decay="**.bias")
    assert len({id(group["lr"]) for group in groups} | {id(rate)}) == 7
    groups[0]["lr"].fill_(0.0)
    assert [float(group["lr"]) for group in groups] == [0.0, *[0.5] * 5]


@pytest.mark.parametrize(("rate", "error"), [
    (torch.tensor(-1.0), "lr must be finite and >= 0; got encoder lr -1.0"),
    (torch.tensor(float("nan")), "lr must be finite and >= 0; got encoder lr nan"),
    (np.float32(-1), "lr must be finite and >= 0; got encoder lr -1.0"),
    (torch.ones(2), "lr must be a number; got encoder lr Tensor"),
    (torch.tensor(True), "lr must be a number; got encoder lr Tensor"),
    (np.ones(2), "a part must be a rate or a mapping of settings; got 'encoder' ndarray"),
    (1j, "a part must be a rate or a mapping of settings; got 'encoder' complex"),
])  # fmt: skip
def test_bad_rates_of_numpy_and_pytorch_are_refused(rate, error):
    with pytest.raises((TypeError, ValueError), match=re.escape(error)):
        parameter_groups(model(), {"encoder": rate}, rest="others", lr=1.0)
