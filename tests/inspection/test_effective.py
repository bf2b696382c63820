"""Scores are those of the matrices that a model applies, with adapters and quantization."""

import copy

import pytest
import torch
import transformers as hf
from adapters import LowRank, adapt, merge, offload, parametrize_weight
from torch import nn

from askew.attention import AsymmetricAttention
from askew.inspection import inspect_model, query_key_maps

WRAPPERS = {"adapter": adapt, "parametrization": parametrize_weight, "offload": offload}
LLAMA = hf.LlamaConfig(
    vocab_size=40,
    hidden_size=24,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=32,
    attention_bias=True,
)


def models():
    torch.manual_seed(0)
    bridged = AsymmetricAttention(12, d_query=8, d_key=4, num_heads=2, num_kv_heads=1)
    llama = hf.LlamaModel(LLAMA)
    return {
        "bridged": (bridged, bridged, ("query", "key", "bridge")),
        "llama": (llama, llama.layers[0].self_attn, ("q_proj", "k_proj")),
    }


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", ["bridged", "llama"])
def test_weights_are_those_that_are_applied(kind, wrapper):
    model, attention, names = models()[kind]
    weights = {name: WRAPPERS[wrapper](attention, name) for name in names}
    maps = query_key_maps(model)
    for name, weight in weights.items():
        merge(attention, name, weight)
    for ours, theirs in zip(maps, query_key_maps(model), strict=True):
        torch.testing.assert_close(ours.query, theirs.query)
        torch.testing.assert_close(ours.key, theirs.key)


def test_reading_leaves_modes_and_gradients_as_they_are():
    layer = AsymmetricAttention(8, num_heads=2)
    adapt(layer, "query")
    layer.query.lora_A.eval()
    modes = [module.training for module in layer.modules()]
    scores = inspect_model(layer).attention[0]
    assert [module.training for module in layer.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in layer.parameters())
    layer.query.disable_adapters = True
    assert not torch.equal(inspect_model(layer).attention[0].symmetry, scores.symmetry)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", ["bridged", "llama"])
def test_quantized_layers_are_unpacked(kind):
    model = models()[kind][0]
    quantized = copy.deepcopy(model)
    torch.ao.quantization.quantize_dynamic(quantized, {nn.Linear}, torch.qint8, inplace=True)
    for ours, theirs in zip(query_key_maps(quantized), query_key_maps(model), strict=True):
        for side in ("query", "key"):
            exact = getattr(theirs, side)
            error = (getattr(ours, side) - exact).abs().max()
            assert 0 < error < 0.02 * exact.abs().max()
    assert [s.parameters for s in inspect_model(quantized).stacks] == [
        s.parameters for s in inspect_model(model).stacks
    ]


def test_what_is_not_linear_or_cannot_be_called_is_refused_by_name():
    class Squared(nn.Linear):
        def forward(self, x):
            return super().forward(x).square()

    class WithTask(nn.Linear):
        def forward(self, x, task):
            return super().forward(x)

    layer = AsymmetricAttention(8, num_heads=2)
    layer.query = Squared(8, 8)
    with pytest.raises(ValueError, match=r"must be linear; got 0.query \(Squared\)"):
        query_key_maps(nn.Sequential(layer))
    layer.query = WithTask(8, 8)
    with pytest.raises(ValueError, match=r"got query \(WithTask\), which fails with TypeError"):
        query_key_maps(layer)


def test_an_adapter_around_the_layer_of_torch_is_refused_by_name():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.base_layer = nn.MultiheadAttention(8, 2)

    with pytest.raises(ValueError, match=r"got 0 \(Around around a MultiheadAttention\)"):
        query_key_maps(nn.Sequential(Around()))


def test_an_unknown_attention_of_adapters_is_named():
    class StrangeAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = LowRank(nn.Linear(4, 4)), LowRank(nn.Linear(4, 4))

    with pytest.raises(ValueError, match=r"known kind; got 0 \(StrangeAttention\)"):
        query_key_maps(nn.Sequential(StrangeAttention()))
