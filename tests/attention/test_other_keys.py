"""Attention that reads the keys and values of another layer."""

import pytest
import torch
from laws import check_layer_laws
from oracles import naive_attention
from torch import nn

from askew.attention import AsymmetricAttention, CausalAsymmetricAttention

SETTINGS = {
    "plain": {"qk_norm": False},
    "normalised": {},
    "grouped heads": {"num_kv_heads": 2},
    "narrow keys": {"d_key": 8},
    "window": {"window_size": 3, "num_sinks": 1},
    "relative": {"position": "relative"},
    "relative in a window": {"position": "relative", "window_size": 4},
    "alibi": {"position": "alibi"},
    "rotary": {"position": "rotary"},
    "rotary in a window": {"position": "rotary", "window_size": 3},
    "sinks and gates": {"learned_sinks": True, "gate": "element"},
}
each_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


def layers(setting):
    """A layer that makes keys, one that reads them, and one with the weights of both."""
    torch.manual_seed(0)
    widths = {"d_query": 16, "d_value": 12, "num_heads": 4, "position": None, **setting}
    maker, reader, whole = (
        CausalAsymmetricAttention(10, **widths, own_keys=own).eval() for own in (True, False, True)
    )
    for layer in (maker, reader):
        for weight in layer.parameters():
            nn.init.normal_(weight, std=0.6)
    assert not [name for name, _ in reader.named_parameters() if name.startswith(("key", "value"))]
    whole.load_state_dict(maker.state_dict() | reader.state_dict())
    return maker, reader, whole


@each_setting
def test_keys_of_its_own_stream_are_its_own_keys(setting):
    maker, reader, whole = layers(setting)
    x = torch.randn(2, 7, 10)
    keys_values = maker.keys_values(x)
    for layer, same in ((reader, whole), (maker, maker)):
        ours, theirs = layer(x, keys_values=keys_values, return_weights=True), same(x)
        assert torch.equal(layer(x, keys_values=keys_values).output, theirs.output)
        assert torch.equal(ours.weights, same(x, return_weights=True).weights)


def test_it_is_attention_of_one_stream_to_keys_of_another():
    maker, reader, _ = (layer.double() for layer in layers({"qk_norm": False, "num_kv_heads": 2}))
    x, z = torch.randn(2, 3, 5, 10, dtype=torch.double)
    q = reader.query(x).view(3, 5, 4, 4).transpose(1, 2)
    k = maker.key(z).view(3, 5, 2, 4).transpose(1, 2)
    v = maker.value(z).view(3, 5, 2, 3).transpose(1, 2)
    visible = torch.ones(5, 5, dtype=torch.bool).tril().expand(3, 4, 5, 5)
    heads, weights = naive_attention(q, k, v, visible, scale=0.5)
    found = reader(x, keys_values=maker.keys_values(z), return_weights=True)
    torch.testing.assert_close(found.weights, weights)
    torch.testing.assert_close(found.output, reader.output(heads.transpose(1, 2).flatten(2)))


@each_setting
@pytest.mark.parametrize("masked", [False, True])
def test_decoding_with_the_cache_of_the_other_equals_the_whole(setting, masked):
    maker, reader, _ = layers(setting)
    x, z = torch.randn(2, 2, 9, 10)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, :2] = not masked
    whole = reader(x, key_mask=mask, keys_values=maker.keys_values(z)).output
    cache, steps = maker.new_cache(), []
    for a, b in ((0, 4), (4, 5), (5, 9)):
        keys_values = maker.keys_values(z[:, a:b], cache=cache)
        call = {"key_mask": mask[:, :b], "cache": cache, "keys_values": keys_values}
        steps.append(reader(x[:, a:b], **call).output)
        assert cache.length == b
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-5, rtol=1e-5)


@each_setting
def test_both_learn(setting):
    maker, reader, _ = layers(setting)
    both, (x, z) = nn.ModuleList([maker, reader]), torch.randn(2, 2, 6, 10)

    def call(two):
        keys_values = two[0].keys_values(z)
        return two[0](z, keys_values=keys_values).output + two[1](x, keys_values=keys_values).output

    check_layer_laws(both, call)


def test_keys_of_another_stream_may_be_shared_too():
    torch.manual_seed(0)
    maker, reader = (
        AsymmetricAttention(10, d_source=6, num_heads=2, own_keys=own) for own in (True, False)
    )
    x, source = torch.randn(2, 3, 10), torch.randn(2, 5, 6)
    keys_values = maker.keys_values(x, source)
    assert torch.equal(maker(x, keys_values=keys_values).output, maker(x, source).output)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = reader(x, key_mask=mask, keys_values=keys_values, return_weights=True)
    assert found.output.shape == (2, 3, 10)
    assert not found.weights[1, :, :, 3:].any()


def test_a_layer_without_keys_needs_those_of_a_layer_of_the_same_heads():
    maker, reader, whole = layers({})
    x = torch.zeros(1, 3, 10)
    for call in (reader, reader.keys_values):
        with pytest.raises(ValueError, match=r"reads those of another; got keys_values None"):
            call(x)
    k, v = maker.keys_values(x)
    for wrong in ((k[:, :2], v), (k, v[..., :2])):
        with pytest.raises(ValueError, match=r"same heads, .*; got shapes \(1, "):
            reader(x, keys_values=wrong)
    with pytest.raises(ValueError, match=r"in place of a source; .*, source \(1, 3, 10\)"):
        AsymmetricAttention(10, d_value=12, d_query=16, num_heads=4)(x, x, keys_values=(k, v))
    assert whole(x).output.shape == (1, 3, 10)
