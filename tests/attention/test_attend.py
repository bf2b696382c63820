import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import naive_attention

from askew.attention import AttentionOutput, attend, causal_mask


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
def test_a_row_that_sees_nothing_is_zero_in_value_and_gradient(return_weights, biased):
    q, k, v = tensors()
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[3] = False
    bias = torch.zeros(5, 7, dtype=torch.double, requires_grad=True) if biased else None
    output = attend(q, k, v, attn_mask=mask, bias=bias, return_weights=return_weights).output
    assert not output[:, :, 3].any() and output[:, :, 2].any()
    gradient = torch.autograd.grad(output.sum(), q)[0]
    assert gradient.isfinite().all() and not gradient[:, :, 3].any()


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
    with pytest.raises(ValueError, match=r"dropout_p must be in \[0, 1\); got 1"):
        attend(q, k, v, dropout_p=1.0)
    with pytest.raises(TypeError, match=r"attn_mask must be boolean.*got dtype torch.float32"):
        attend(q, k, v, attn_mask=torch.zeros(5, 7))
