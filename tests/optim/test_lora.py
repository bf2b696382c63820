"""The factors of peft's adapters are found by its structure, and LoRA+ trains as peft's own."""

import re
import warnings

import pytest
import torch
from optim.test_families import build
from torch import nn

from askew.optim import AsymmetricOptimizer, lora_a, lora_b, part_rates, partition_parameters

peft = pytest.importorskip("peft")
# What peft asks of transformers under a name that will go.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


def adapted(targets=("q_proj", "v_proj", "down_proj"), **settings):
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=list(targets), **settings)
    return peft.get_peft_model(build("Llama"), config)


def step(model, optimizer, number):
    tokens = torch.randint(3, 40, (2, 6), generator=torch.Generator().manual_seed(number))
    optimizer.zero_grad()
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()


def test_lora_plus_is_that_of_peft_bit_for_bit():
    from peft.optimizers import create_loraplus_optimizer

    ours, theirs = adapted(), adapted()
    parts = {"A": {"where": lora_a}, "B": {"where": lora_b, "multiplier": 16}}
    one = AsymmetricOptimizer(ours, parts, lr=1e-3, settings={"weight_decay": 0.0})
    two = create_loraplus_optimizer(
        theirs, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16, fused=True
    )
    assert part_rates(one) == {"A": 1e-3, "B": 16e-3}
    for number in range(5):
        step(ours, one, number)
        step(theirs, two, number)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_factors_are_those_of_every_adapter_and_a_part_of_nothing_else():
    model = adapted()
    model.add_adapter("second", peft.LoraConfig(r=3, target_modules=["o_proj"]))
    model.set_adapter("second")
    model.base_model.set_adapter(["default", "second"])
    parts = partition_parameters(model, {"A": lora_a, "B": lora_b})
    shapes = [[tuple(p.shape) for _, p in parts[part]] for part in "AB"]
    assert {shape[0] for shape in shapes[0]} == {shape[1] for shape in shapes[1]} == {2, 3}
    assert len(shapes[0]) == len(shapes[1]) == 8


def test_factors_of_tables_are_left_to_another_rule():
    model = adapted(targets=("q_proj", "embed_tokens"))
    with pytest.raises(ValueError, match=r"2 have none: .*lora_embedding_A\.default"):
        partition_parameters(model, {"A": lora_a, "B": lora_b})
    parts = partition_parameters(model, {"A": lora_a, "B": lora_b}, rest="tables")
    assert [p.shape for _, p in parts["tables"]] == [(2, 40), (16, 2)]


def test_biases_of_the_second_factor_go_with_it():
    with warnings.catch_warnings():  # it cannot be merged into these layers, which have no bias
        warnings.simplefilter("ignore")
        model = adapted(targets=("q_proj",), lora_bias=True)
    assert sorted(p.ndim for p in lora_b(model)) == [1, 1, 2, 2]


@pytest.mark.parametrize("rule", [lora_a, lora_b])
def test_a_model_without_adapters_is_refused(rule):
    message = f"{rule.__name__}: the model must have a layer with a low-rank adapter of peft; got"
    with pytest.raises(ValueError, match=re.escape(f"{message} ModuleDict without one")):
        partition_parameters(nn.ModuleDict({"lora_A": nn.Linear(4, 2)}), {"A": rule}, rest="rest")
