import copy
import math

import pytest
import torch
from laws import check_causal, check_layer_laws
from oracles import naive_attention
from torch import nn

from askew.attention import (
    ALiBi,
    AsymmetricAttention,
    CausalAsymmetricAttention,
    KeyValueCache,
    RelativeBias,
    RotaryPositions,
    causal_mask,
    mask_from_torch,
)


def offsets(*numbers):
    return torch.tensor(numbers)


# RelativeBias.


def test_a_fresh_bias_is_none():
    for bias in (RelativeBias(3), RelativeBias(3, causal=True), RelativeBias(3, window=(4, 2))):
        assert not bias(torch.arange(-300, 300)).any()


def test_every_offset_of_a_window_has_its_own_entry():
    bias = RelativeBias(2, window=(3, 1))
    nn.init.normal_(bias.table)
    assert torch.equal(bias(torch.arange(-3, 2)), bias.table)
    assert not bias(offsets(-4, 2, 90)).any()


def naive_bucket(offset: int, num_buckets: int, max_distance: int, causal: bool) -> int:
    """Which entry an offset shares, by T5's rule in plain arithmetic."""
    side = num_buckets if causal else num_buckets // 2
    near, distance = side // 2, abs(offset)
    if causal and offset > 0:
        return 0
    bucket = distance
    if distance >= near:
        share = math.log(distance / near) / math.log(max_distance / near)
        bucket = min(near + int(share * (side - near) + 1e-9), side - 1)
    return bucket + (side if offset > 0 else 0)


@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (8, 20), (4, 1000)])
@pytest.mark.parametrize("causal", [True, False])
def test_buckets_grow_with_distance_and_tell_the_sides_apart(num_buckets, max_distance, causal):
    bias = RelativeBias(1, num_buckets=num_buckets, max_distance=max_distance, causal=causal)
    with torch.no_grad():
        bias.table.copy_(torch.arange(float(num_buckets))[None])
    reach = [o for o in range(-1500, 1501) if not (causal and o > 0)]
    ours = bias(torch.tensor(reach))[0].tolist()
    expected = [naive_bucket(o, num_buckets, max_distance, causal) for o in reach]
    # On a border the rounding of a logarithm decides, once on either side.
    assert sum(a != b for a, b in zip(ours, expected, strict=True)) <= 2
    if not causal:
        past, future = bias(offsets(-9))[0], bias(offsets(9))[0]
        assert past != future
    assert bias(offsets(-max_distance)) == bias(offsets(-10 * max_distance))


# ALiBi.


def test_slopes_are_geometric():
    assert ALiBi(8).slopes_before.tolist() == [2.0**-h for h in range(1, 9)]
    # Between powers of two: those of four heads, then every second of eight.
    expected = [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]
    assert ALiBi(6).slopes_before.tolist() == expected


def test_each_direction_has_its_slope():
    bias = ALiBi(1, slopes_before=(0.5,), slopes_after=(2.0,))
    assert bias(offsets(-3, -1, 0, 1, 3)).tolist() == [[-1.5, -0.5, 0.0, -2.0, -6.0]]
    assert ALiBi(1)(offsets(-2, 2)).unique().numel() == 1
    assert not bias.state_dict()


def reset_all(layer):
    for module in layer.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()


PREPARATIONS = {
    "to_empty": lambda layer: layer.to_empty(device="cpu"),
    "to_empty, reset": lambda layer: layer.to_empty(device="cpu").reset_parameters(),
    "to_empty, every reset": lambda layer: reset_all(layer.to_empty(device="cpu")),
    "none": lambda layer: None,
}
LOADINGS = [(name, assign) for name in PREPARATIONS for assign in (False, True)]
LOADINGS.remove(("none", False))  # torch cannot copy into a parameter on meta


@pytest.mark.parametrize(("prepare", "assign"), LOADINGS)
@pytest.mark.parametrize("position", ["alibi", "given slopes", "relative", "rotary", None])
def test_a_layer_made_on_meta_and_loaded_is_the_saved_one(position, prepare, assign):
    given = position == "given slopes"

    def made(**place):
        slopes = ALiBi(2, slopes_before=(0.1, 0.2), slopes_after=(3.0, 1.0), **place)
        return AsymmetricAttention(8, num_heads=2, position=slopes if given else position, **place)

    saved, layer = made(), made(device="meta")
    if position == "relative":
        nn.init.normal_(saved.position.table)
    PREPARATIONS[prepare](layer)
    if isinstance(layer.position, ALiBi) and prepare == "to_empty":
        layer.position.slopes_before.fill_(1e30)  # as memory may hold anything
    layer.load_state_dict(saved.state_dict(), assign=assign)
    x = torch.randn(1, 6, 8)
    assert torch.equal(layer(x).output, saved(x).output)


def test_a_reset_gives_slopes_back_and_clears_trained_biases():
    layer = AsymmetricAttention(8, num_heads=2, position="alibi")
    layer.position.slopes_before.fill_(torch.nan)
    layer.position.slopes_after.fill_(torch.nan)
    layer.reset_parameters()
    assert torch.equal(layer.position.slopes_before, ALiBi(2).slopes_before)
    assert torch.equal(layer.position.slopes_after, ALiBi(2).slopes_after)
    layer = AsymmetricAttention(8, num_heads=2, position="relative")
    nn.init.ones_(layer.position.table)
    layer.reset_parameters()
    assert not layer.position.table.any()


def test_slopes_are_not_rounded_to_the_default_dtype():
    expected = ALiBi(12).slopes_before
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert torch.equal(ALiBi(12).slopes_before, expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_new_layer_keeps_the_entries_of_the_bias_it_is_given():
    bias = RelativeBias(2)
    nn.init.ones_(bias.table)
    assert AsymmetricAttention(8, num_heads=2, position=bias).position.table.all()


# RotaryPositions.


def test_rotary_products_depend_on_the_offset_alone():
    rotary = RotaryPositions(6)
    q, k = torch.randn(1, 1, 1, 6).double(), torch.randn(1, 1, 1, 6).double()
    products = [(rotary(q, start=t + 3) * rotary(k, start=t)).sum() for t in (0, 1, 17, 200)]
    torch.testing.assert_close(torch.stack(products), products[0].expand(4), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(products[0], (rotary(q, start=0) * rotary(k, start=3)).sum())


def test_rotary_is_the_naive_rotation():
    x = torch.randn(1, 1, 5, 4).double()
    ours = RotaryPositions(4, base=100.0)(x, start=2)
    for t in range(5):
        for k, frequency in enumerate((1.0, 0.1)):
            angle = (t + 2) * frequency
            a, b = x[0, 0, t, k].item(), x[0, 0, t, k + 2].item()
            turned = complex(a, b) * complex(math.cos(angle), math.sin(angle))
            assert ours[0, 0, t, k].item() == pytest.approx(turned.real, abs=1e-6)
            assert ours[0, 0, t, k + 2].item() == pytest.approx(turned.imag, abs=1e-6)


# In a layer.

SETTINGS = {
    "relative": {"position": "relative"},
    "relative, causal": {"position": "relative", "causal": True},
    "relative, window": {"position": "relative", "window": (2, 1)},
    "relative, causal window": {"position": "relative", "window": (2, 0), "causal": True},
    "alibi": {"position": "alibi"},
    "alibi, window": {"position": "alibi", "window": (3, 3)},
    "own slopes": {"position": ALiBi(2, slopes_before=(0.1, 0.2), slopes_after=(3.0, 1.0))},
    "rotary": {"position": "rotary", "d_query": 8},
    "sinks": {"window": (1, 0), "num_sinks": 2, "causal": True, "position": "relative"},
}


def make(**settings):
    torch.manual_seed(3)
    layer = AsymmetricAttention(12, num_heads=2, d_value=10, **settings)
    if isinstance(layer.position, RelativeBias):
        nn.init.normal_(layer.position.table)
    return layer


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_layer_with_positions_is_the_naive_loop(settings):
    layer, x = make(**settings).double().eval(), torch.randn(2, 7, 12).double()
    before, after = layer.window or (99, 99)
    visible = torch.zeros(7, 7, dtype=torch.bool)
    bias = torch.zeros(2, 2, 7, 7, dtype=torch.double)
    for i in range(7):
        for j in range(7):
            inside = -before <= j - i <= after
            visible[i, j] = (inside or j < layer.num_sinks) and not (layer.causal and j > i)
            if inside and isinstance(layer.position, RelativeBias | ALiBi):
                bias[:, :, i, j] = layer.position(torch.tensor([j - i]))[:, 0].detach()
    q, k = layer._queries(x, 0), layer.keys_values(x)[0]
    v = layer.value(x).unflatten(-1, (2, 5)).transpose(1, 2)
    output, weights = naive_attention(
        q, k, v, visible.expand(2, 2, 7, 7), scale=layer.head_key**-0.5, bias=bias
    )
    result = layer(x, return_weights=True)
    torch.testing.assert_close(result.weights, weights)
    expected = layer.output(output.transpose(1, 2).flatten(2))
    torch.testing.assert_close(result.output, expected)
    torch.testing.assert_close(layer(x).output, expected)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_layer_with_positions_obeys_the_laws(settings, device):
    layer, x = copy.deepcopy(make(**settings)).to(device), torch.randn(2, 7, 12).to(device)
    check_layer_laws(layer, lambda module: module(x).output)


@pytest.mark.parametrize("name", [name for name in SETTINGS if SETTINGS[name].get("causal")])
@pytest.mark.parametrize("steps", [(1,) * 9, (4, 1, 1, 3), (9,)])
def test_cached_steps_equal_the_whole_and_keep_what_is_seen(name, steps, device):
    layer, x = make(**SETTINGS[name]).eval().to(device), torch.randn(3, 9, 12).to(device)
    key_mask = torch.ones(3, 9, dtype=torch.bool, device=device)
    key_mask[1, :2] = False
    expected = layer(x, key_mask=key_mask).output
    cache, outputs, start = layer.new_cache(), [], 0
    for size in steps:
        stop = start + size
        part = layer(x[:, start:stop], cache=cache, key_mask=key_mask[:, :stop])
        outputs.append(part.output)
        start = stop
    torch.testing.assert_close(torch.cat(outputs, dim=1), expected)
    assert cache.length == 9
    window = layer.window
    assert cache.kept == (9 if window is None else min(9, window[0] + layer.num_sinks))


@pytest.mark.parametrize("settings", [{}, {"window_size": 3}, {"window_size": 3, "num_sinks": 1}])
def test_beams_may_be_reordered(settings):
    torch.manual_seed(0)
    layer = CausalAsymmetricAttention(12, num_heads=2, num_kv_heads=1, **settings).eval()
    nn.init.normal_(layer.position.table)
    x, rows = torch.randn(3, 7, 12), torch.tensor([2, 0, 0])
    cache = layer.new_cache()
    layer(x[:, :5], cache=cache)
    cache.reorder(rows)
    ours = layer(x[:, 5:], cache=cache).output
    whole = layer(torch.cat([x[rows, :5], x[:, 5:]], dim=1)).output
    torch.testing.assert_close(ours, whole[:, 5:])


def test_rotary_steps_equal_the_whole():
    layer = AsymmetricAttention(8, num_heads=2, causal=True, position="rotary").eval()
    x, cache = torch.randn(2, 6, 8), KeyValueCache()
    steps = [layer(x[:, t : t + 2], cache=cache).output for t in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(steps, dim=1), layer(x).output)


def test_a_window_of_w_sees_w_keys():
    layer = CausalAsymmetricAttention(8, window_size=3, num_heads=2)
    weights = layer(torch.randn(1, 6, 8), return_weights=True).weights
    assert (weights[0, 0] > 0).sum(-1).tolist() == [1, 2, 3, 3, 3, 3]


@pytest.mark.parametrize("window_size", [None, 1, 4])
def test_causal_attention_does_not_look_ahead_at_any_length(window_size):
    layer = CausalAsymmetricAttention(8, window_size=window_size, num_heads=2).eval()
    nn.init.normal_(layer.position.table)
    check_causal(lambda x: layer(x).output, torch.randn(1, 8, 8))
    assert layer(torch.randn(1, 700, 8)).output.isfinite().all()


def test_without_window_and_positions_it_is_ordinary_causal_attention():
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    ours = CausalAsymmetricAttention(8, num_heads=2, position=None, qk_norm=False)
    ours.load_state_dict(AsymmetricAttention.from_torch(theirs).state_dict())
    x, hidden = torch.randn(2, 5, 8), ~causal_mask(5)
    torch.testing.assert_close(ours(x).output, theirs(x, x, x, attn_mask=hidden)[0])


# From torch.


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("d_source", [None, 5])
@pytest.mark.parametrize("batch_first", [True, False])
def test_from_torch_is_the_same_attention(bias, d_source, batch_first):
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(
        12, 3, bias=bias, kdim=d_source, vdim=d_source, batch_first=batch_first, dropout=0.3
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = AsymmetricAttention.from_torch(theirs)
    assert not ours.training
    assert ours.dropout == 0.3
    x, source = torch.randn(2, 4, 12), torch.randn(2, 6, d_source or 12)
    padded = torch.rand(2, 6) < 0.3
    padded[:, 0] = False
    hidden = torch.rand(4, 6) < 0.3
    hidden[:, 0] = False
    sides = (x, source, source) if batch_first else (t.transpose(0, 1) for t in (x, source, source))
    expected, weights = theirs(
        *sides, key_padding_mask=padded, attn_mask=hidden, average_attn_weights=False
    )
    result = ours(
        x,
        source,
        key_mask=mask_from_torch(padded),
        attn_mask=mask_from_torch(hidden),
        return_weights=True,
    )
    torch.testing.assert_close(result.output, expected if batch_first else expected.transpose(0, 1))
    torch.testing.assert_close(result.weights, weights)


def test_from_torch_copies():
    theirs = nn.MultiheadAttention(8, 2, dtype=torch.double)
    ours = AsymmetricAttention.from_torch(theirs)
    assert ours.query.weight.dtype == torch.double
    nn.init.zeros_(ours.query.weight)
    assert theirs.in_proj_weight[:8].any()


@pytest.mark.unhooked
def test_from_torch_refuses_what_it_lacks():
    for settings in ({"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 4, "vdim": 6}):
        with pytest.raises(ValueError, match="from_torch: keys and values must come from one"):
            AsymmetricAttention.from_torch(nn.MultiheadAttention(8, 2, **settings))
    with pytest.raises(TypeError, match="mask_from_torch: mask must be boolean; got dtype"):
        mask_from_torch(torch.zeros(3))


# Errors.


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: RelativeBias(0), "RelativeBias: num_heads must be positive; got 0"),
        (lambda: RelativeBias(1, window=(-1, 0)), "RelativeBias: window must be"),
        (lambda: RelativeBias(1, num_buckets=5), "num_buckets must be even and at least 4; got"),
        (lambda: RelativeBias(1, max_distance=8), "max_distance must be more than 8"),
        (lambda: ALiBi(2, slopes_after=(1.0,)), r"slopes_after must be 2 numbers >= 0"),
        (lambda: ALiBi(1, slopes_before=(-1.0,)), r"slopes_before must be 1 numbers >= 0"),
        (lambda: ALiBi(0), "ALiBi: num_heads must be positive; got num_heads 0"),
        (lambda: RotaryPositions(3), "RotaryPositions: width must be even; got width 3"),
        (lambda: RotaryPositions(4, base=1.0), "base must be above 1; got base 1.0"),
        (lambda: make(position="sine"), "position must be 'relative', 'alibi', 'rotary'"),
        (lambda: make(position="rotary", d_key=8), "rotary positions need queries and keys of one"),
        (lambda: make(position=ALiBi(3)), "position must have 2 heads; got 3"),
        (lambda: make(window=(1, 1), causal=True), r"got window \(1, 1\), causal True"),
        (lambda: make(num_sinks=1), "num_sinks must be at least 0 and needs a window; got"),
        (lambda: make().new_cache(), "new_cache: decoding needs causal attention"),
        (lambda: KeyValueCache(before=-1), "before must be at least 0; got before -1"),
        (lambda: KeyValueCache(num_sinks=1), "num_sinks must be at least 0 and needs a window"),
        (
            lambda: CausalAsymmetricAttention(8, window_size=0),
            "window_size must be at least 1; got window_size 0",
        ),
    ],
)
def test_refuses_bad_settings(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


def test_positions_want_ones_own_stream():
    for settings in ({"position": "alibi"}, {"window": (1, 1)}):
        with pytest.raises(ValueError, match="reads its own stream; got a source"):
            make(**settings)(torch.zeros(1, 2, 12), torch.zeros(1, 2, 12))
