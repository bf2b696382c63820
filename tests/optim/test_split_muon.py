"""A fused matrix whose blocks are split trains as the separate matrices, bit for bit."""

import copy
import pickle
import re

import pytest
import torch
from optim.test_families import build
from torch import nn

from askew.optim import AsymmetricOptimizer, SplitMuon, hidden_matrices, part_rates

SETTINGS = [
    {},
    {"nesterov": False, "momentum": 0.8, "weight_decay": 0.3},
    {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
]


CLOSE = {"cpu": {"rtol": 1e-6, "atol": 1e-6}, "cuda": {"rtol": 1e-3, "atol": 1e-4}}


def gradients(shape, step):
    return torch.randn(shape, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("columns", [False, True])
def test_blocks_are_separate_matrices_bit_for_bit(settings, columns):
    """Three unequal blocks of one matrix against three optimizers, over six steps."""
    sizes, width = (12, 4, 6), 10
    torch.manual_seed(0)
    whole = nn.Parameter(torch.randn(22, width))
    apart = [nn.Parameter(block.clone()) for block in whole.detach().split(sizes)]
    if columns:
        whole = nn.Parameter(whole.detach().T.contiguous())
        apart = [nn.Parameter(block.detach().T.contiguous()) for block in apart]
    ours = SplitMuon([("qkv", whole)], lr=0.1, blocks={"qkv": sizes}, **settings)
    theirs = torch.optim.Muon(apart, lr=0.1, **settings)
    for step in range(6):
        grad = gradients((22, width), step)
        whole.grad = grad.T.contiguous() if columns else grad.clone()
        for block, part in zip(apart, grad.split(sizes), strict=True):
            block.grad = part.T.contiguous() if columns else part.clone()
        ours.step()
        theirs.step()
    for block, part in zip(apart, whole.split(sizes, dim=int(columns)), strict=True):
        assert torch.equal(block, part)
    assert ours.state[whole]["momentum_buffer"].shape == whole.shape


@pytest.mark.parametrize("settings", SETTINGS)
def test_without_blocks_it_is_muon_bit_for_bit(settings):
    one, two = (nn.Parameter(torch.arange(12.0).view(3, 4) / 12) for _ in range(2))
    ours = SplitMuon([("one", one)], lr=0.1, **settings)
    theirs = torch.optim.Muon([two], lr=0.1, **settings)
    for step in range(4):
        one.grad = two.grad = gradients((3, 4), step)
        ours.step()
        theirs.step()
    assert torch.equal(one, two)
    assert ours.defaults == {**theirs.defaults, "blocks": {}}


def test_a_fused_attention_trains_as_one_whose_projections_are_apart(device):
    torch.manual_seed(0)
    fused = nn.MultiheadAttention(8, 2, batch_first=True)
    apart = nn.MultiheadAttention(8, 2, batch_first=True, kdim=8, vdim=8)
    apart._qkv_same_embed_dim = False
    apart.in_proj_weight = None
    for name, block in zip("qkv", fused.in_proj_weight.detach().chunk(3), strict=True):
        setattr(apart, f"{name}_proj_weight", nn.Parameter(block.clone()))
    apart.in_proj_bias.data.copy_(fused.in_proj_bias.data)
    apart.out_proj.load_state_dict(fused.out_proj.state_dict())
    for attention in (fused, apart):
        attention.to(device)
    muon = {"where": hidden_matrices, "base": SplitMuon, "lr": 0.05}
    split = {**muon, "blocks": {"**.in_proj_weight": 3}}
    rest = {"lr": 1e-2}
    ours = AsymmetricOptimizer(fused, {"matrices": split, "rest": rest}, rest="rest")
    theirs = AsymmetricOptimizer(apart, {"matrices": muon, "rest": rest}, rest="rest")
    for step in range(5):
        x = gradients((3, 4, 8), step).to(device)
        for attention, optimizer in ((fused, ours), (apart, theirs)):
            optimizer.zero_grad()
            attention(x, x, x, need_weights=False)[0].square().mean().backward()
            optimizer.step()
    for name, block in zip("qkv", fused.in_proj_weight.chunk(3), strict=True):
        torch.testing.assert_close(block, getattr(apart, f"{name}_proj_weight"), **CLOSE[device])


def test_the_state_of_a_split_matrix_resumes_and_copies():
    def made():
        torch.manual_seed(0)
        return nn.MultiheadAttention(8, 2)

    def optimizer_of(model):
        muon = {"where": hidden_matrices, "base": SplitMuon, "lr": 0.05}
        muon["blocks"] = {"in_proj_weight": (8, 8, 8)}
        return AsymmetricOptimizer(model, {"matrices": muon, "rest": 1e-2}, rest="rest")

    def train(model, optimizer, start, steps):
        for step in range(start, start + steps):
            for number, parameter in enumerate(model.parameters()):
                parameter.grad = gradients(parameter.shape, 10 * step + number)
            optimizer.step()

    whole, cut = made(), made()
    one, two = optimizer_of(whole), optimizer_of(cut)
    train(whole, one, 0, 6)
    train(cut, two, 0, 3)
    resumed = copy.deepcopy(cut)
    again = optimizer_of(resumed)
    again.load_state_dict(copy.deepcopy(two.state_dict()))
    pickled, other = pickle.loads(pickle.dumps((cut, two)))
    for model, optimizer in ((resumed, again), (pickled, other)):
        train(model, optimizer, 3, 3)
        for p, q in zip(whole.parameters(), model.parameters(), strict=True):
            assert torch.equal(p, q)
    assert part_rates(again) == {"matrices": 0.05, "rest": 1e-2}


def test_the_fused_matrices_of_gpt_2_are_split_by_a_pattern():
    muon = {"where": hidden_matrices, "base": SplitMuon, "lr": 0.02}
    muon["blocks"] = {"**.c_attn.weight": 3}
    optimizer = AsymmetricOptimizer(build("GPT-2"), {"m": muon, "rest": 1e-3}, rest="rest")
    assert optimizer.param_groups[0]["blocks"] == {
        f"transformer.h.{layer}.attn.c_attn.weight": (16, 16, 16) for layer in range(2)
    }


def test_an_added_group_is_split_too():
    first, second = nn.Parameter(torch.ones(6, 2)), nn.Parameter(torch.ones(4, 3))
    optimizer = SplitMuon([("a.qk", first)], blocks={"*.qk": 2})
    optimizer.add_param_group({"params": [("b.qk", second)]})
    assert [g["blocks"] for g in optimizer.param_groups] == [{"a.qk": (3, 3)}, {"b.qk": (2, 2)}]


@pytest.mark.parametrize(("blocks", "message"), [
    ({"w": 5}, "blocks must add up to the rows or the columns of a matrix; got 5 for w [6, 2]"),
    ({"w": 0}, "blocks must add up to the rows or the columns of a matrix; got 0 for w [6, 2]"),
    ({"w": (3, 2)}, "got (3, 2) for w [6, 2]"),
    ({"w": (6, 0)}, "got (6, 0) for w [6, 2]"),
    ({"v": 2}, "blocks must name matrices; got 'v', which matches none of 1 names"),
])  # fmt: skip
def test_blocks_that_do_not_fit_are_refused(blocks, message):
    with pytest.raises(ValueError, match=re.escape(f"{message}")):
        SplitMuon([("w", nn.Parameter(torch.ones(6, 2)))], blocks=blocks)
