"""A learned logit per head in the softmax's denominator, on every route."""

import math
import warnings

import pytest
import torch
from laws import check_causal, check_layer_laws
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from askew.attention import (
    AsymmetricAttention,
    CausalAsymmetricAttention,
    attend,
    band_mask,
    causal_mask,
    explain_route,
)
from askew.attention._banded import _backward_operator, _operator
from askew.attention._banded_blocks import banded_by_blocks
from askew.attention._banded_tiles import Band
from askew.attention._flex import attend_flex
from askew.attention._routes import Call

HEADS, KV_HEADS = 4, 2
NONE = torch.full((HEADS,), -math.inf)


def tensors(queries=37, keys=41, *, d_qk=5, d_v=3, dtype=torch.double):
    """Queries, keys, values and sinks that require gradients."""
    torch.manual_seed(queries * 100 + keys)
    shapes = [(2, HEADS, queries, d_qk), (2, KV_HEADS, keys, d_qk), (2, KV_HEADS, keys, d_v)]
    rows = [torch.randn(shape, dtype=torch.double).to(dtype) for shape in (*shapes, (HEADS,))]
    return [t.requires_grad_() for t in rows]


def directly(q, k, v, sinks, visible, *, scale, bias=0.0):
    """The formula with the denominator written out: its own exponentials, no softmax."""
    k, v = (t.repeat_interleave(HEADS // KV_HEADS, 1) for t in (k, v))
    powers = (scale * q @ k.mT + bias).exp() * visible
    return powers @ v / (powers.sum(-1, keepdim=True) + sinks.exp()[:, None, None])


def slopes(output, inputs):
    torch.manual_seed(5)
    return torch.autograd.grad(output, inputs, torch.randn_like(output))


WINDOWS = [(None, 0), ((9, 0), 0), ((5, 3), 2)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("route", "window", "num_sinks"),
    [
        (route, *window)
        for route in ("auto", "dense", "padded", "banded")
        for window in WINDOWS
        if route != "banded" or window != (None, 0)  # a band has a window
    ],
)
@pytest.mark.parametrize(("queries", "keys"), [(37, 41), (1, 7), (1, 300), (600, 600)])
def test_equals_the_formula_in_value_and_every_gradient(
    queries, keys, window, num_sinks, masked, route
):
    q, k, v, sinks = tensors(queries, keys)
    visible = torch.ones(queries, keys, dtype=torch.bool)
    if window is not None:
        visible = band_mask(queries, keys, *window, num_sinks)
    mask = None
    if masked:
        mask = torch.rand(2, 1, 1, keys) < 0.7
        visible = visible & mask
    output = attend(
        q,
        k,
        v,
        attn_mask=mask,
        window=window,
        num_sinks=num_sinks,
        sinks=sinks,
        scale=0.4,
        route=route,
    ).output
    expected = directly(q, k, v, sinks, visible, scale=0.4)
    torch.testing.assert_close(output, expected)
    inputs = (q, k, v, sinks)
    for got, want in zip(slopes(output, inputs), slopes(expected, inputs), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (5, 8), (1, 9)])
@pytest.mark.parametrize("return_weights", [False, True])
def test_equals_the_formula_where_the_future_is_hidden(queries, keys, return_weights):
    q, k, v, sinks = tensors(queries, keys, d_qk=4, d_v=4)
    bias = torch.randn(HEADS, queries, keys, dtype=torch.double, requires_grad=True)
    for given in (None, bias):
        result = attend(
            q, k, v, bias=given, sinks=sinks, causal=True, return_weights=return_weights
        )
        visible = causal_mask(queries, keys)
        expected = directly(
            q, k, v, sinks, visible, scale=0.5, bias=0.0 if given is None else given
        )
        torch.testing.assert_close(result.output, expected)
        inputs = (q, k, v, sinks) if given is None else (q, k, v, sinks, given)
        for got, want in zip(slopes(result.output, inputs), slopes(expected, inputs), strict=True):
            torch.testing.assert_close(got, want)


def test_the_returned_weights_leave_the_share_of_the_sink():
    q, k, v, sinks = tensors(3, 4)
    result = attend(q, k, v, sinks=sinks, return_weights=True)
    left = 1 - result.weights.sum(-1)
    powers = (5**-0.5 * q @ k.repeat_interleave(2, 1).mT).exp().sum(-1)
    torch.testing.assert_close(left, sinks.exp()[:, None] / (powers + sinks.exp()[:, None]))


@pytest.mark.parametrize("route", ["banded", "dense", "padded", "weights"])
@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sinks_of_minus_infinity_are_none(dtype, queries, route):
    q, k, v, _ = tensors(queries, 40, dtype=dtype)
    settings = {"window": (9, 0), "return_weights": route == "weights"}
    settings |= {"route": "auto" if route == "weights" else route}
    sinks = NONE.clone().requires_grad_()
    without = attend(q, k, v, **settings).output
    output = attend(q, k, v, sinks=sinks, **settings).output
    if route in ("banded", "weights"):
        assert torch.equal(output, without)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(output, without, atol=tolerance, rtol=0)
    *gradients, dsinks = slopes(output, (q, k, v, sinks))
    for got, want in zip(gradients, slopes(without, (q, k, v)), strict=True):
        torch.testing.assert_close(got, want, atol=tolerance, rtol=0)
    assert not dsinks.any()


@pytest.mark.parametrize("route", ["dense", "padded", "banded", "weights", "blocks"])
@pytest.mark.parametrize("sink", [0.3, -math.inf, 80.0])
def test_a_row_that_sees_nothing_is_zero_in_value_and_gradient(route, sink):
    q, k, v, _ = tensors(6, 6)
    sinks = torch.full((HEADS,), sink, dtype=torch.double, requires_grad=True)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    if route == "blocks":
        output = banded_by_blocks(q, k, v, None, mask, Band(1, 0), 0.4, sinks)
    else:
        weights = route == "weights"
        settings = {"return_weights": weights, "route": "auto" if weights else route}
        mask = mask[:, None, None]
        output = attend(q, k, v, attn_mask=mask, window=(1, 0), sinks=sinks, **settings).output
    gradients = slopes(output, (q, k, v, sinks))
    assert output[0].any()
    assert not output[1].any()
    assert not output[0, :, :3].any()
    assert all(g.isfinite().all() for g in gradients)
    assert not any(g[1].any() for g in gradients[:3])


@pytest.mark.parametrize("route", ["dense", "padded", "banded", "blocks"])
@pytest.mark.parametrize("broken", [1, 2])
def test_a_broken_key_reaches_only_the_rows_that_see_it(broken, route):
    rows = [t.detach() for t in tensors(40, 40)]

    def run():
        q, k, v, sinks = rows
        if route == "blocks":
            return banded_by_blocks(q, k, v, None, None, Band(5, 0), 0.4, sinks)
        return attend(q, k, v, window=(5, 0), sinks=sinks, scale=0.4, route=route).output

    clean = run()
    rows[broken][:, 0, 20, 1] = math.nan
    spoilt = run()
    sees = torch.zeros(40, dtype=torch.bool)
    sees[20:26] = True
    assert spoilt[:, :2, sees].isnan().any(-1).all()
    torch.testing.assert_close(spoilt[:, :2, ~sees], clean[:, :2, ~sees])
    torch.testing.assert_close(spoilt[:, 2:], clean[:, 2:])


@pytest.mark.parametrize("size", [-300.0, 300.0])
@pytest.mark.parametrize("route", ["dense", "banded", "weights"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_huge_sink_takes_all_or_nothing(dtype, route, size):
    q, k, v, _ = tensors(20, 20, d_v=5, dtype=dtype)
    sinks = torch.full((HEADS,), size, requires_grad=True)
    weights = route == "weights"
    settings = {"return_weights": weights, "route": "auto" if weights else route}
    output = attend(q, k, v, window=(4, 0), sinks=sinks, **settings).output
    gradients = slopes(output, (q, k, v, sinks))
    assert output.dtype == dtype
    assert all(g.isfinite().all() for g in gradients)
    if size > 0:
        assert not output.any()
    else:
        without = attend(q, k, v, window=(4, 0)).output
        torch.testing.assert_close(output, without, atol=2e-2, rtol=0)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("route", ["dense", "banded", "weights"])
def test_autocast_computes_what_full_precision_does(route, kind):
    q, k, v, sinks = tensors(30, 30, dtype=torch.float32)
    weights = route == "weights"
    settings = {"return_weights": weights, "route": "auto" if weights else route}
    for given in (sinks, NONE):
        exact = attend(q, k, v, window=(7, 2), sinks=given, **settings).output
        with torch.autocast("cpu", kind):
            output = attend(q, k, v, window=(7, 2), sinks=given, **settings).output
        assert output.dtype == kind
        torch.testing.assert_close(output.float(), exact, atol=3e-2, rtol=3e-2)


@pytest.mark.unhooked
@pytest.mark.parametrize(("window", "causal"), [((5, 0), True), ((3, 4), False), (None, True)])
def test_the_rules_of_flex_attention_equal_the_dense_kernel(window, causal):
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2, 130, 16), torch.randn(1, 1, 140, 16), torch.randn(1, 1, 140, 16)
    sinks = torch.randn(2)
    call = Call(q, k, v, None, None, None, causal, window, 0, 0.3, 0.0, False, sinks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flex = attend_flex(call)
    given = {"causal": causal, "window": window, "scale": 0.3, "sinks": sinks}
    torch.testing.assert_close(flex, attend(q, k, v, route="dense", **given).output)


def small():
    torch.manual_seed(1)
    shapes = [(1, 2, 7, 2), (1, 1, 8, 2), (1, 1, 8, 3), (2, 5), (2,)]
    return [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]


def banded(q, k, v, bias, sinks):
    settings = {"window": (3, 1), "num_sinks": 1, "route": "banded"}
    return attend(q, k, v, relative_bias=bias, sinks=sinks, **settings).output


def unbiased(q, k, v, sinks):
    return attend(q, k, v, window=(3, 1), sinks=sinks, route="banded").output


def test_first_and_second_derivatives_of_the_band_are_exact():
    q, k, v, bias, sinks = small()
    assert torch.autograd.gradcheck(banded, (q, k, v, bias, sinks))
    assert torch.autograd.gradgradcheck(banded, (q, k, v, bias, sinks))
    assert torch.autograd.gradgradcheck(unbiased, (q, k, v, sinks))


def test_transforms_and_forward_derivatives_of_the_band_are_right():
    inputs = small()

    def total(*rows):
        return banded(*rows).square().sum()

    expected = torch.autograd.grad(total(*inputs), inputs)
    got = torch.func.grad(total, argnums=tuple(range(5)))(*(t.detach() for t in inputs))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)
    plain = [t.detach() for t in inputs]
    step = torch.randn(2, dtype=torch.double)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(plain[4], step)
        pushed = forward_ad.unpack_dual(banded(*plain[:4], dual)).tangent
    near = [banded(*plain[:4], plain[4] + move * step) for move in (1e-6, -1e-6)]
    torch.testing.assert_close(pushed, (near[0] - near[1]) / 2e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("biased", [True, False])
def test_the_operators_keep_the_rules_of_registration(biased):
    q, k, v, sinks = tensors(5, 6)
    bias = torch.randn(HEADS, 4, dtype=torch.double, requires_grad=True) if biased else None
    utilities = ("test_schema", "test_autograd_registration", "test_faketensor")
    band = (2, 1, 1, 0.4, sinks)
    torch.library.opcheck(_operator, (q, k, v, bias, None, *band), test_utils=utilities)
    output, lse = (t.detach() for t in _operator(q, k, v, bias, None, *band))
    given = (torch.randn_like(output), q, k, v, bias, None, output, lse, *band)
    torch.library.opcheck(_backward_operator, given, test_utils=utilities)


@pytest.mark.unhooked
@pytest.mark.parametrize("settings", [{}, {"causal": True}, {"window": (3, 1)}])
def test_compiles_in_one_graph_and_checkpoints(settings):
    inputs = tensors(9, 9)

    def run(q, k, v, sinks):
        return attend(q, k, v, sinks=sinks, **settings).output

    expected = run(*inputs)
    wanted = slopes(expected, inputs)
    for other in (torch.compile(run, backend="aot_eager", fullgraph=True), run):
        output = checkpoint(other, *inputs, use_reentrant=False) if other is run else other(*inputs)
        torch.testing.assert_close(output, expected)
        for a, b in zip(slopes(output, inputs), wanted, strict=True):
            torch.testing.assert_close(a, b)


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    q, k, v, sinks = (t.detach() for t in tensors(1, 6, dtype=torch.float32))
    q, k, v = (t[:1].expand(4000, -1, -1, -1) for t in (q, k, v))
    dropped = attend(q, k, v, sinks=sinks, dropout_p=0.3).output.mean(0)
    kept = attend(q[:1], k[:1], v[:1], sinks=sinks).output[0]
    torch.testing.assert_close(dropped, kept, atol=0.05, rtol=0)


def test_the_scale_may_be_zero_and_there_may_be_no_keys():
    q, k, v, sinks = tensors(2, 3)
    ones = torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(
        attend(q, k, v, sinks=sinks, scale=0.0).output, directly(q, k, v, sinks, ones, scale=0.0)
    )
    for queries in (1, 2):
        output = attend(q[:, :, :queries], k[:, :, :0], v[:, :, :0], sinks=sinks).output
        assert output.shape == (2, HEADS, queries, 3)
        assert not output.any()


def test_sinks_choose_no_other_route():
    q, k, v, sinks = tensors(600, 600)
    for settings in ({}, {"window": (9, 0)}, {"causal": True}):
        choice = explain_route(q, k, v, sinks=sinks, **settings)
        assert choice == explain_route(q, k, v, **settings)


@pytest.mark.unhooked
def test_sinks_are_one_for_each_head():
    q, k, v, sinks = tensors(6, 6)
    message = r"attend: sinks must be one number for each head of q; got sinks \(2,\), heads 4"
    with pytest.raises(ValueError, match=message):
        attend(q, k, v, sinks=sinks[:2])


LAYERS = {
    "plain": {},
    "grouped": {"num_kv_heads": 1, "d_query": 4, "position": "rotary"},
    "window": {"window_size": 3, "num_sinks": 1, "position": "relative"},
}


@pytest.mark.parametrize("settings", LAYERS.values(), ids=LAYERS.keys())
def test_a_layer_with_sinks_keeps_the_laws_and_decodes_with_a_cache(settings):
    torch.manual_seed(0)
    layer = CausalAsymmetricAttention(8, num_heads=2, learned_sinks=True, **settings).eval()
    torch.nn.init.normal_(layer.sinks)
    x = torch.randn(2, 7, 8)
    check_layer_laws(layer, lambda one: one(x).output)
    check_causal(lambda given: layer(given).output, x)
    cache = layer.new_cache()
    steps = [layer(x[:, a:b], cache=cache).output for a, b in ((0, 3), (3, 4), (4, 6), (6, 7))]
    torch.testing.assert_close(torch.cat(steps, 1), layer(x).output)


def test_a_layer_without_sinks_has_none_and_minus_infinity_is_that_layer():
    torch.manual_seed(0)
    plain = AsymmetricAttention(8, num_heads=2).eval()
    assert "sinks" not in plain.state_dict()
    layer = AsymmetricAttention(8, num_heads=2, learned_sinks=True).eval()
    assert layer.load_state_dict(plain.state_dict(), strict=False).missing_keys == ["sinks"]
    x = torch.randn(2, 5, 8)
    assert not torch.allclose(layer(x).output, plain(x).output)
    torch.nn.init.constant_(layer.sinks, -math.inf)
    torch.testing.assert_close(layer(x).output, plain(x).output)
