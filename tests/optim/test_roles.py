"""Rules by role find the same parameters whatever these are called."""

import re

import pytest
import torch
import transformers
from optim.test_families import FAMILIES, build, check_exact
from small_answerer import answerer
from torch import nn
from training.test_optimizer import model as translator

from askew.attention import AsymmetricAttention
from askew.optim import (
    AsymmetricOptimizer,
    embeddings,
    heads,
    hidden_matrices,
    norms_and_biases,
    partition_parameters,
)
from askew.tasks import MLP, MLPConfig

ROLES = (hidden_matrices, embeddings, heads, norms_and_biases)
# All matrices beside the tables are hidden but these, and no table is anything else.
HEADS = {
    "BERT": {"classifier.weight"},
    "ViT": {"classifier.weight"},
    "Llama": {"lm_head.weight"},
}
INPUTS = {
    "ViT": {"vit.embeddings.patch_embeddings.projection.weight"},
    "Whisper": {"model.encoder.conv1.weight"},
}
LEFT = {
    "ViT": {"vit.embeddings.cls_token", "vit.embeddings.position_embeddings"},
    "Whisper": {"model.encoder.conv2.weight"},
}


def names(model, role):
    known = dict(
        zip(model.parameters(), (name for name, _ in model.named_parameters()), strict=True)
    )
    return {known[parameter] for parameter in role(model)}


def check_family(model, family):
    tables = {
        name
        for name, parameter in model.named_parameters()
        if any(
            parameter is module.weight
            for module in model.modules()
            if isinstance(module, nn.Embedding)
        )
    }
    matrices = {name for name, parameter in model.named_parameters() if parameter.ndim == 2}
    vectors = {name for name, parameter in model.named_parameters() if parameter.ndim < 2}
    assert names(model, embeddings) == tables | INPUTS.get(family, set())
    assert names(model, heads) == HEADS.get(family, set())
    assert names(model, hidden_matrices) == matrices - tables - HEADS.get(family, set())
    assert names(model, norms_and_biases) == vectors
    found = [parameter for role in ROLES for parameter in role(model)]
    assert len(found) == len(set(found))
    left = {name for name, p in model.named_parameters() if p not in set(found)}
    assert left == LEFT.get(family, set())


@pytest.mark.parametrize("family", FAMILIES)
def test_roles_of_a_family(family):
    check_family(build(family), family)


@pytest.mark.parametrize("family", FAMILIES)
def test_roles_do_not_need_several_layers(family):
    model = build(family)
    for name in ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_decoder_layers"):
        if hasattr(model.config, name):
            setattr(model.config, name, 1)
    check_family(type(model)(model.config), family)


@pytest.mark.parametrize("family", FAMILIES)
def test_roles_do_not_read_names(family):
    """Every child gets a name without a meaning; the parameters found stay the same."""
    model = build(family)
    found = [role(model) for role in ROLES]
    for module in list(model.modules()):
        if not isinstance(module, (nn.ModuleList, nn.Sequential)):
            children = list(module.named_children())
            for name, _ in children:
                delattr(module, name)
            for number, (_, child) in enumerate(children):
                module.add_module(f"m{number}", child)
    assert [role(model) for role in ROLES] == found


@pytest.mark.parametrize("family", FAMILIES)
def test_muon_and_adamw_train_every_family(family):
    model = build(family)
    muon = {"where": hidden_matrices, "base": torch.optim.Muon, "lr": 0.02}
    optimizer = AsymmetricOptimizer(model, {"matrices": muon, "rest": 1e-3}, rest="rest")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.randn_like(p) if p.requires_grad else None
    optimizer.step()
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) != p.requires_grad, name


@pytest.mark.parametrize("tie", ["none", "output", "all"])
def test_roles_of_our_translation_model(tie):
    model = translator(tie)
    tables = {"model.target_embedding.weight"}
    tables |= set() if tie == "all" else {"model.source_embedding.weight"}
    output = {"model.output.weight"} if tie == "none" else set()
    assert names(model, embeddings) == tables
    assert names(model, heads) == output
    matrices = {name for name, p in model.named_parameters() if p.ndim == 2}
    assert names(model, hidden_matrices) == matrices - tables - output


def test_roles_of_our_answering_model():
    model = answerer().model
    outputs = {"question_pool.weight", "context_pool.weight"}
    outputs |= {"reader.ends.weight", "reader.nothing.weight"}
    tables = {"question_encoder.embedding.weight", "context_encoder.embedding.weight"}
    assert names(model, heads) == outputs
    assert names(model, embeddings) == tables
    matrices = {name for name, p in model.named_parameters() if p.ndim == 2}
    assert names(model, hidden_matrices) == matrices - outputs - tables


def test_roles_of_our_classifier_and_attention():
    model = MLP(MLPConfig(width=8, d_out=3, num_layers=3), 5)
    assert names(model, embeddings) == {"hidden.0.weight"}
    assert names(model, hidden_matrices) == {"hidden.1.weight", "hidden.2.weight"}
    assert names(model, heads) == {"head.weight"}
    uneven = AsymmetricAttention(8, d_query=4, d_key=4, d_value=12, num_heads=2, num_kv_heads=1)
    model = nn.ModuleDict({"table": nn.Embedding(9, 8), "attention": uneven})
    model["norm"], model["head"] = nn.LayerNorm(8), nn.Linear(8, 3)
    assert names(model, heads) == {"head.weight"}
    assert names(model, embeddings) == {"table.weight"}
    assert len(hidden_matrices(model)) == 4


def test_a_head_of_several_layers_ends_with_its_output_layer():
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 24, "vocab_size": 40}  # fmt: skip
    model = transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**small))
    assert names(model, heads) == {"classifier.out_proj.weight"}
    assert "classifier.dense.weight" in names(model, hidden_matrices)
    model = transformers.BertForPreTraining(transformers.BertConfig(**small))
    assert names(model, heads) == {"cls.seq_relationship.weight"}


def test_a_bare_stack_of_pytorch_is_all_hidden():
    model = nn.Transformer(16, 2, 1, 2, 24, batch_first=True)
    assert not heads(model)
    assert not embeddings(model)
    assert names(model, hidden_matrices) == {n for n, p in model.named_parameters() if p.ndim == 2}


def test_tensors_of_a_module_and_computed_weights_are_no_matrices():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.relative = nn.Parameter(torch.zeros(2, 5))
            self.layer = nn.Linear(4, 4)

    model = Own()
    assert not any(model.relative is p for role in ROLES for p in role(model))
    torch.nn.utils.parametrizations.weight_norm(model.layer)
    assert names(model, hidden_matrices) == set()


def test_norms_of_more_dimensions_are_norms():
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.LayerNorm((3, 4)), nn.BatchNorm2d(3))
    assert names(model, norms_and_biases) == {
        "0.bias", "1.weight", "1.bias", "2.weight", "2.bias",
    }  # fmt: skip


def test_roles_make_an_exact_partition():
    model = build("Llama")
    rules = {role.__name__: role for role in ROLES}
    parts = partition_parameters(model, rules)
    check_exact(model, parts)
    assert [name for name, _ in parts["heads"]] == ["lm_head.weight"]


def test_a_role_that_nothing_has_is_an_error():
    with pytest.raises(
        ValueError, match="every rule must match a trainable parameter; got part 'out'"
    ):
        partition_parameters(build("GPT-2"), {"out": heads}, rest="rest")


def test_a_function_of_the_user_is_a_rule_and_is_checked():
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)

    def columns(made):
        return [p for p in made.parameters() if p.ndim == 2]

    parts = partition_parameters(model, {"columns": [columns]}, rest="rest")
    assert [name for name, _ in parts["columns"]] == ["weight"]
    message = (
        "the function of a rule must return parameters of the model; got part <lambda> with 2 of"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        partition_parameters(model, {"part": lambda _: other.parameters()}, rest="rest")
    for wrong, kind in ((["weight"], "str"), (None, "NoneType"), (model.weight.detach(), "Tensor")):
        message = f"the function of a rule must return parameters; got part <lambda> with {kind}"
        with pytest.raises(TypeError, match=re.escape(message)):
            partition_parameters(model, {"part": lambda _, wrong=wrong: wrong}, rest="rest")
    with pytest.raises(
        TypeError, match="a rule must be a module, a path, a pattern, a function of"
    ):
        partition_parameters(model, {"part": 3}, rest="rest")
