import copy

import pytest
import torch
from adapters import WRAPPERS, merge
from laws import check_causal, check_layer_laws
from torch import nn

from askew.attention import AsymmetricAttention, KeyValueCache

PRIMES = {"d_source": 17, "d_query": 22, "d_key": 10, "d_value": 14, "d_output": 19}


def primes_layer(**settings):
    torch.manual_seed(1)
    return AsymmetricAttention(13, **PRIMES, num_heads=2, **settings)


def streams(queries=5, keys=7):
    torch.manual_seed(2)
    return torch.randn(3, queries, 13), torch.randn(3, keys, 17)


@pytest.mark.parametrize("num_heads", [1, 4])
def test_equals_multihead_attention_when_all_widths_agree(num_heads, device):
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(12, num_heads, batch_first=True, device=device)
    nn.init.normal_(theirs.in_proj_bias)
    ours = AsymmetricAttention(12, num_heads=num_heads, qk_norm=False, device=device)
    assert ours.bridge is None
    assert ours.log_temperature is None
    parts = zip(theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True)
    with torch.no_grad():
        for layer, (weight, bias) in zip((ours.query, ours.key, ours.value), parts, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        ours.output.load_state_dict(theirs.out_proj.state_dict())
    x = torch.randn(2, 5, 12, device=device)
    key_mask = torch.rand(2, 5, device=device) < 0.7
    key_mask[:, 0] = True
    expected, expected_weights = theirs(
        x, x, x, key_padding_mask=~key_mask, average_attn_weights=False
    )
    result = ours(x, key_mask=key_mask, return_weights=True)
    torch.testing.assert_close(result.output, expected)
    torch.testing.assert_close(result.weights, expected_weights)
    torch.testing.assert_close(ours(x, key_mask=key_mask).output, expected)


@pytest.mark.parametrize("settings", [{}, {"qk_norm": False}, {"num_kv_heads": 1}])
def test_all_widths_different(settings):
    layer, (x, source) = primes_layer(**settings), streams()
    assert layer.bridge is not None
    assert layer(x, source).output.shape == (3, 5, 19)
    check_layer_laws(layer, lambda module: module(x, source).output)


@pytest.mark.parametrize(("queries", "keys"), [(1, 30), (30, 2), (5, 7)])
def test_the_bridge_gives_the_same_scores_on_either_side(queries, keys):
    layer, (x, source) = primes_layer(qk_norm=False), streams(queries, keys)
    q = layer.query(x).unflatten(-1, (2, 11)).transpose(1, 2)
    k = layer.key(source).unflatten(-1, (2, 5)).transpose(1, 2)
    scores = torch.einsum("bhiq,kq,bhjk->bhij", q, layer.bridge.weight, k) * 5**-0.5
    weights = layer(x, source, return_weights=True).weights
    torch.testing.assert_close(weights, scores.softmax(-1))
    bridged = [t.shape[-1] for t in layer._bridge(q, k)]
    assert bridged[0] == bridged[1] == (5 if queries == 1 else 11 if keys == 2 else bridged[0])


def test_scores_do_not_depend_on_the_size_of_queries_and_keys_under_qk_norm():
    layer, (x, source) = primes_layer(), streams()
    nn.init.zeros_(layer.query.bias)
    nn.init.zeros_(layer.key.bias)
    before = layer(x, source, return_weights=True).weights
    with torch.no_grad():
        layer.query.weight.mul_(10.0)
        layer.key.weight.mul_(5.0)
    torch.testing.assert_close(layer(x, source, return_weights=True).weights, before)


def test_a_temperature_sharpens_its_own_head_only():
    layer, (x, source) = primes_layer(), streams()
    before = layer(x, source, return_weights=True).weights
    nn.init.constant_(layer.log_temperature[1:], 2.0)
    after = layer(x, source, return_weights=True).weights
    assert torch.equal(before[:, 0], after[:, 0])
    assert after[:, 1].amax() > before[:, 1].amax()


def test_causal_attention_does_not_look_ahead():
    layer = AsymmetricAttention(12, d_query=8, d_key=4, num_heads=2, causal=True).eval()
    check_causal(lambda x: layer(x).output, torch.randn(2, 6, 12))


def test_a_longer_padded_batch_gives_the_same_rows():
    layer, (x, source) = primes_layer().eval(), streams()
    padded = torch.cat([source, torch.randn(3, 4, 17)], dim=1)
    key_mask = torch.arange(11).expand(3, -1) < 7
    torch.testing.assert_close(layer(x, padded, key_mask=key_mask).output, layer(x, source).output)


@pytest.mark.parametrize("num_kv_heads", [None, 1])
def test_cached_steps_equal_the_whole(num_kv_heads):
    layer = AsymmetricAttention(
        12, d_query=8, d_key=4, num_heads=2, num_kv_heads=num_kv_heads, causal=True
    ).eval()
    x, cache = torch.randn(3, 6, 12), KeyValueCache()
    steps = [layer(x[:, t : t + n], cache=cache).output for t, n in ((0, 1), (1, 3), (4, 2))]
    torch.testing.assert_close(torch.cat(steps, dim=1), layer(x).output)
    assert cache.length == 6
    assert cache.keys.shape[-1] == 2


def test_a_filled_cross_cache_is_read_not_computed():
    layer, (x, source) = primes_layer().eval(), streams()
    cache = KeyValueCache()
    first = layer(x, source, cache=cache).output
    again = layer(x, torch.full_like(source, torch.nan), cache=cache).output
    assert torch.equal(first, again)


def test_cache_rows_are_reordered_for_beams():
    cache = KeyValueCache()
    with pytest.raises(RuntimeError, match=r"KeyValueCache.read: append keys and values first"):
        cache.read()
    cache.append(torch.arange(3.0).view(3, 1, 1, 1), torch.arange(3.0).view(3, 1, 1, 1))
    cache.reorder(torch.tensor([2, 0, 0]))
    assert cache.read()[0].flatten().tolist() == [2, 0, 0]
    assert cache.read()[1].flatten().tolist() == [2, 0, 0]


def test_attention_dropout_acts_in_training_only():
    layer, (x, source) = primes_layer(dropout=0.5), streams()
    assert not torch.equal(layer(x, source).output, layer(x, source).output)
    layer.eval()
    assert torch.equal(layer(x, source).output, layer(x, source).output)


def test_autocast_gives_half_precision():
    layer, (x, source) = primes_layer(), streams()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x, source).output
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), layer(x, source).output, atol=0.1, rtol=0.1)


@pytest.mark.unhooked
def test_compiles_in_one_graph():
    layer, (x, source) = primes_layer().eval(), streams()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, source).output, layer(x, source).output)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_query": 250}, "d_query must be a positive multiple of num_heads; got d_query 250"),
        ({"d_key": 9}, "d_key must be a positive multiple of num_heads; got d_key 9, num_heads 8"),
        ({"d_value": 0}, "d_value must be a positive multiple of num_heads; got d_value 0"),
        ({"num_kv_heads": 3}, "num_kv_heads must divide num_heads; got num_kv_heads 3"),
        ({"dropout": 1.5}, r"dropout must be in \[0, 1\); got dropout 1.5"),
    ],
)
def test_refuses_bad_settings(settings, message):
    with pytest.raises(ValueError, match=f"AsymmetricAttention: {message}"):
        AsymmetricAttention(16, **settings)


def test_causal_attention_refuses_a_source():
    layer = AsymmetricAttention(8, num_heads=2, causal=True)
    with pytest.raises(ValueError, match="reads its own stream; got a source"):
        layer(torch.zeros(1, 2, 8), torch.zeros(1, 2, 8))


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(("queries", "keys"), [(1, 30), (30, 2)])
def test_what_is_put_around_the_bridge_counts_at_every_length(wrapper, queries, keys):
    layer, (x, source) = primes_layer(), streams(queries, keys)
    weight = WRAPPERS[wrapper](layer, "bridge")
    wrapped = layer(x, source).output
    if wrapper == "adapter":
        wrapped.square().sum().backward()
        assert all(p.grad.any() for p in layer.bridge.parameters())
    merge(layer, "bridge", weight)
    torch.testing.assert_close(wrapped, layer(x, source).output)


def test_what_is_put_around_a_table_of_biases_counts():
    layer = AsymmetricAttention(12, num_heads=2, window=(2, 1), position="relative")
    nn.init.normal_(layer.position.table)
    x = torch.randn(1, 7, 12)
    hooked, table = copy.deepcopy(layer), layer.position.table
    hooked.position.register_forward_hook(lambda _, args, output: 2 * output)
    with torch.no_grad():
        table.mul_(2)
    torch.testing.assert_close(hooked(x).output, layer(x).output)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is", "ignore:torch.quantize_per_tensor")
def test_a_dynamically_quantized_bridge_is_used_at_every_length():
    for queries, keys in ((1, 30), (30, 2)):
        layer, (x, source) = primes_layer().eval(), streams(queries, keys)
        expected = layer(x, source).output
        quantized = torch.ao.quantization.quantize_dynamic(layer, {nn.Linear}, torch.qint8)
        torch.testing.assert_close(quantized(x, source).output, expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("shape", [(3, 1), (1, 7), (7,), (3, 6), (2, 7)])
@pytest.mark.unhooked
def test_a_key_mask_of_another_shape_is_refused(shape):
    layer, (x, source) = primes_layer(), streams()
    with pytest.raises(ValueError, match=r"key_mask must be \[batch, keys\] \(3, 7\)"):
        layer(x, source, key_mask=torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("window", [None, (2, 0)])
def test_a_key_mask_of_the_new_token_alone_is_refused_with_a_cache(window):
    layer = AsymmetricAttention(12, num_heads=2, causal=True, window=window)
    x, cache = torch.randn(3, 6, 12), layer.new_cache()
    layer(x[:, :5], cache=cache, key_mask=torch.ones(3, 5, dtype=torch.bool))
    message = r"\[batch, keys\] \(3, 6\), with a cache for all positions so far; got .* \(3, 1\)"
    with pytest.raises(ValueError, match=message):
        layer(x[:, 5:], cache=cache, key_mask=torch.ones(3, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"visible_mask: key_mask must have all 6 positions"):
        cache.visible_mask(torch.ones(3, 1, dtype=torch.bool), 3)


@pytest.mark.parametrize(
    ("dtype", "repair"),
    [(torch.long, r"key_mask=attention_mask.bool\(\)"), (torch.float, "additive scores as bias")],
)
@pytest.mark.unhooked
def test_a_key_mask_that_is_not_boolean_is_refused(dtype, repair):
    layer, (x, source) = primes_layer(), streams()
    with pytest.raises(TypeError, match=f"key_mask must be boolean.*got dtype {dtype}. .*{repair}"):
        layer(x, source, key_mask=torch.ones(3, 7, dtype=dtype))
