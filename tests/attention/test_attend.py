import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import naive_attention, naive_window

from askew.attention import AttentionOutput, attend, causal_mask, explain_route


def tensors(*, heads=4, kv_heads=2, queries=5, keys=7, d_qk=3, d_v=11, dtype=torch.double):
    generator = torch.Generator().manual_seed(queries * 100 + keys)
    shapes = [(2, heads, queries, d_qk), (2, kv_heads, keys, d_qk), (2, kv_heads, keys, d_v)]
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def test_equals_torch_when_both_sides_agree():
    q, k, v = tensors(heads=2, kv_heads=2, queries=6, keys=6, d_qk=5, d_v=5)
    ours = attend(q, k, v, causal=True).output
    torch.testing.assert_close(ours, F.scaled_dot_product_attention(q, k, v, is_causal=True))


@settings(max_examples=40, deadline=None)
@given(
    kv_heads=st.sampled_from([1, 2, 3]),
    group=st.integers(1, 3),
    queries=st.integers(1, 6),
    keys=st.integers(1, 7),
    d_qk=st.integers(1, 5),
    d_v=st.integers(1, 5),
    causal=st.booleans(),
    masked=st.booleans(),
    biased=st.booleans(),
    weights=st.booleans(),
)
@example(
    kv_heads=3,
    group=3,
    queries=1,
    keys=5,
    d_qk=2,
    d_v=1,
    causal=False,
    masked=False,
    biased=True,
    weights=True,
)
def test_equals_the_loop(
    kv_heads, group, queries, keys, d_qk, d_v, causal, masked, biased, weights
):
    heads = kv_heads * group
    q, k, v = tensors(
        heads=heads, kv_heads=kv_heads, queries=queries, keys=keys, d_qk=d_qk, d_v=d_v
    )
    generator = torch.Generator().manual_seed(keys)
    mask = torch.rand(2, heads, queries, keys, generator=generator) < 0.6 if masked else None
    bias = torch.randn(2, heads, queries, keys, generator=generator).double() if biased else None
    visible = torch.ones(2, heads, queries, keys, dtype=torch.bool) if mask is None else mask
    if causal:
        offset = keys - queries
        for i in range(queries):
            visible = visible.clone()
            visible[:, :, i, max(0, i + offset + 1) :] = False
    expected, expected_weights = naive_attention(q, k, v, visible, scale=d_qk**-0.5, bias=bias)
    result = attend(q, k, v, attn_mask=mask, bias=bias, causal=causal, return_weights=weights)
    torch.testing.assert_close(result.output, expected)
    assert isinstance(result, AttentionOutput)
    assert (result.weights is not None) == weights
    if weights:
        torch.testing.assert_close(result.weights, expected_weights)
    gradients = torch.autograd.grad(result.output.square().sum(), (q, k, v))
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", [torch.double, torch.float32])
def test_a_row_that_sees_nothing_is_zero_in_value_and_gradient(
    dtype, return_weights, biased, device
):
    q, k, v = (t.detach().to(device).requires_grad_() for t in tensors(dtype=dtype))
    mask = torch.ones(5, 7, dtype=torch.bool, device=device)
    mask[3] = False
    bias = torch.zeros(5, 7, dtype=dtype, device=device, requires_grad=True) if biased else None
    output = attend(q, k, v, attn_mask=mask, bias=bias, return_weights=return_weights).output
    assert not output[:, :, 3].any()
    assert output[:, :, 2].any()
    gradient = torch.autograd.grad(output.sum(), q)[0]
    assert gradient.isfinite().all()
    assert not gradient[:, :, 3].any()


def test_hidden_keys_have_exactly_no_influence():
    q, k, v = tensors()
    mask = torch.rand(2, 1, 1, 7) < 0.5
    mask[..., 0] = True
    before = attend(q, k, v, attn_mask=mask).output
    hidden = ~mask.expand(2, 2, 1, 7).squeeze(2)[..., None]
    k2, v2 = (torch.where(hidden, t + 5.0, t) for t in (k, v))
    assert torch.equal(before, attend(q, k2, v2, attn_mask=mask).output)


def test_causal_rows_match_the_mask():
    q, k, v = tensors(queries=3, keys=7)
    masked = attend(q, k, v, attn_mask=causal_mask(3, 7)).output
    assert torch.equal(attend(q, k, v, causal=True).output, masked)
    assert not torch.equal(attend(q, k, v).output, masked)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("return_weights", [False, True])
def test_keeps_the_dtype(dtype, return_weights):
    q, k, v = tensors(dtype=dtype)
    result = attend(q, k, v, return_weights=return_weights)
    assert result.output.dtype == dtype
    exact = attend(q.double(), k.double(), v.double()).output
    torch.testing.assert_close(result.output.double(), exact, atol=2e-2, rtol=2e-2)


def test_gradients_are_exact():
    q, k, v = tensors(heads=2, kv_heads=1, queries=2, keys=3, d_qk=2, d_v=3)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert torch.autograd.gradcheck(lambda *t: attend(*t, attn_mask=mask).output, (q, k, v))


def test_dropout_drops_and_keeps_the_mean():
    torch.manual_seed(0)
    q, k, v = (torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 4000, 4), torch.ones(1, 1, 4000, 4))
    for return_weights in (False, True):
        dropped = attend(q, k, v, dropout_p=0.5, return_weights=return_weights).output
        assert not torch.equal(dropped, torch.ones_like(dropped))
        torch.testing.assert_close(dropped, torch.ones_like(dropped), atol=0.1, rtol=0)


@pytest.mark.unhooked
def test_compiles_in_one_graph():
    q, k, v = tensors()
    compiled = torch.compile(
        lambda *t: attend(*t, causal=True).output, fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(q, k, v), attend(q, k, v, causal=True).output)


@pytest.mark.unhooked
def test_refuses_what_does_not_fit():
    q, k, v = tensors()
    with pytest.raises(ValueError, match=r"attend: q, k and v must have four axes .*q \(3,\)"):
        attend(torch.zeros(3), k, v)
    with pytest.raises(ValueError, match=r"agree in batch and width; got q .*5, 3\), k .*7, 2\)"):
        attend(q, k[..., :2], v)
    with pytest.raises(ValueError, match=r"k and v must agree .*got k \(2, 2, 7.*v \(2, 2, 6"):
        attend(q, k, v[:, :, :6])
    with pytest.raises(ValueError, match=r"multiple of those of k; got q 3, k 2"):
        attend(q[:, :3], k, v)
    with pytest.raises(ValueError, match=r"dropout_p must be in \[0, 1\); got dropout_p 1"):
        attend(q, k, v, dropout_p=1.0)
    with pytest.raises(TypeError, match=r"attn_mask must be boolean.*got dtype torch.float32"):
        attend(q, k, v, attn_mask=torch.zeros(5, 7))
    with pytest.raises(
        ValueError, match=r"attn_mask must broadcast .*\(2, 4, 5, 7\); got .*\(5, 6\)"
    ):
        attend(q, k, v, attn_mask=torch.ones(5, 6, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"bias must broadcast to .*; got bias \(1, 2, 4, 5, 7\)"):
        attend(q, k, v, bias=torch.zeros(1, 2, 4, 5, 7))


@pytest.mark.unhooked
def test_refuses_windows_that_make_no_sense():
    q, k, v = tensors()
    with pytest.raises(ValueError, match=r"both >= 0; got window \(-1, 0\)"):
        attend(q, k, v, window=(-1, 0))
    wrong = r"nothing after a query; got causal True, window \(3, 1\). Pass window=\(3, 0\)"
    with pytest.raises(ValueError, match=wrong):
        attend(q, k, v, window=(3, 1), causal=True)
    with pytest.raises(ValueError, match=r"num_sinks must be >= 0 .*got num_sinks 2, window None"):
        attend(q, k, v, num_sinks=2)
    with pytest.raises(ValueError, match=r"got num_sinks -1, window \(3, 1\)"):
        attend(q, k, v, num_sinks=-1, window=(3, 1))
    wrong = r"relative_bias must be \[heads, before .*got relative_bias \(4, 4\), heads 4, window"
    with pytest.raises(ValueError, match=wrong + r" \(3, 1\)"):
        attend(q, k, v, relative_bias=torch.zeros(4, 4), window=(3, 1))
    with pytest.raises(ValueError, match=wrong + " None"):
        attend(q, k, v, relative_bias=torch.zeros(4, 4))


@pytest.mark.parametrize("return_weights", [False, True])
def test_window_biases_and_masks_add_up_in_the_square(return_weights):
    q, k, v = tensors()
    mask, bias = torch.rand(2, 4, 5, 7) < 0.7, torch.randn(4, 5, 7).double()
    relative = torch.randn(4, 5).double().requires_grad_()
    visible, index = naive_window(5, 7, (3, 1), causal=False, num_sinks=1)
    spread = torch.where(index >= 0, relative.detach()[:, index.clamp(min=0)], 0.0) + bias
    expected, weights = naive_attention(
        q, k, v, mask & visible, scale=0.3, bias=spread.expand(2, -1, -1, -1)
    )
    result = attend(
        q,
        k,
        v,
        attn_mask=mask,
        bias=bias,
        relative_bias=relative,
        window=(3, 1),
        num_sinks=1,
        scale=0.3,
        return_weights=return_weights,
    )
    torch.testing.assert_close(result.output, expected)
    if return_weights:
        torch.testing.assert_close(result.weights, weights)
    assert torch.autograd.grad(result.output.square().sum(), relative)[0].any()


@pytest.mark.parametrize(("sinks", "after"), [(0, 0), (2, 0), (0, 3), (2, 3)])
@pytest.mark.parametrize("queries", [1, 3])
def test_keys_out_of_reach_are_left_out_and_change_nothing(queries, sinks, after):
    q, k, v = tensors(queries=queries, keys=30)
    relative = torch.randn(4, 6 + after).double()
    mask, bias = torch.rand(1, 30) < 0.8, torch.randn(30).double()
    visible, index = naive_window(queries, 30, (5, after), causal=False, num_sinks=sinks)
    spread = torch.where(index >= 0, relative[:, index.clamp(min=0)], 0.0) + bias
    visible = (visible & mask).expand(2, 4, -1, -1)
    spread = spread.expand(2, -1, -1, -1)
    expected, _ = naive_attention(q, k, v, visible, scale=0.3, bias=spread)
    given = {"attn_mask": mask, "bias": bias, "relative_bias": relative, "scale": 0.3}
    result = attend(q, k, v, window=(5, after), num_sinks=sinks, **given)
    torch.testing.assert_close(result.output, expected)


MASKS = {
    "causal": None,
    "square": torch.ones(7, 7).tril().bool(),
    "batch": torch.ones(2, 1, 7, 7).tril().bool(),
    "heads": torch.ones(4, 7, 7).tril().bool(),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_a_broken_key_reaches_only_the_rows_that_see_it(name, return_weights):
    q, k, v = tensors(queries=7)
    given = {"attn_mask": MASKS[name], "causal": name == "causal"}
    whole = attend(q, k, v, **given).output
    for broken in (0, 1):
        pair = [k.detach().clone(), v.detach().clone()]
        pair[broken][1, 0, 4] = float("nan")
        result = attend(q, *pair, return_weights=return_weights, **given)
        assert result.output[1, :2, 4:].isnan().all()
        torch.testing.assert_close(result.output[0], whole[0])
        torch.testing.assert_close(result.output[1, 2:], whole[1, 2:])
        torch.testing.assert_close(result.output[1, :2, :4], whole[1, :2, :4])
        if return_weights:
            assert result.weights[1, :2, 4:].isnan().all()
            assert not result.weights[0].isnan().any()
        mapped = torch.vmap(lambda *t: attend(*t, **given).output)
        stacked = mapped(*(t[None] for t in (q, *pair)))[0]
        torch.testing.assert_close(stacked, result.output, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("masked", [False, True])
def test_one_query_over_many_keys_is_the_naive_loop(dtype, kv_heads, masked):
    torch.manual_seed(0)
    keys = 300
    q = torch.randn(2, 6, 1, 5, dtype=dtype, requires_grad=True)
    k = torch.randn(2, kv_heads, keys, 5, dtype=dtype)
    v = torch.randn(2, kv_heads, keys, 7, dtype=dtype)
    bias = torch.randn(6, 1, keys, dtype=dtype) if masked else None
    mask = torch.rand(2, 1, 1, keys) < 0.5 if masked else None
    if masked:
        mask[1] = False
    visible = torch.ones(2, 6, 1, keys, dtype=torch.bool) if mask is None else mask
    expected, _ = naive_attention(
        q,
        k,
        v,
        visible.expand(2, 6, 1, keys),
        scale=5**-0.5,
        bias=None if bias is None else bias.expand(2, 6, 1, keys).double(),
    )
    assert explain_route(q, k, v, attn_mask=mask, bias=bias).route == "dense"
    output = attend(q, k, v, attn_mask=mask, bias=bias).output
    assert output.dtype == dtype
    tolerance = 3e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance)
    (slope,) = torch.autograd.grad(output.sum(), q)
    assert slope.isfinite().all()
    assert slope[0].any()
    if masked:
        assert not slope[1].any()


@pytest.mark.parametrize("causal", [False, True])
def test_the_output_is_computed_from_the_weights_that_are_returned(causal):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 5, 4, requires_grad=True)
    output, weights = attend(q, k, v, causal=causal, return_weights=True)
    (gradient,) = torch.autograd.grad(output.sum(), weights)
    torch.testing.assert_close(gradient, v.sum(-1)[:, :, None].expand_as(weights))


@pytest.mark.parametrize("name", ["q", "k", "v", "attn_mask", "bias", "relative_bias", "sinks"])
def test_a_list_is_no_tensor(name):
    x = torch.randn(1, 2, 4, 8)
    tensors = {"q": x, "k": x, "v": x, name: [[0.0]]}
    for function in (attend, explain_route):
        with pytest.raises(TypeError, match=f"attend: {name} must be a tensor; .* of type list"):
            function(**tensors, window=(1, 0))
    with pytest.raises(TypeError, match=f"attend: {name} must be a tensor; .* of type list"):
        attend(**tensors)


@pytest.mark.parametrize("window", [3, "33", (1, 2, 3)])
def test_a_window_is_a_pair(window):
    x = torch.randn(1, 2, 4, 8)
    with pytest.raises(TypeError, match=r"window must be a pair \(before, after\); got window"):
        attend(x, x, x, window=window)
