import contextlib
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import naive_attention_gradients, naive_window

from askew.attention import _banded_tiles as tiles_module
from askew.attention import attend
from askew.attention._banded_blocks import banded_by_blocks
from askew.attention._banded_tiles import Band

TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5, torch.bfloat16: 4e-2}


def tensors(
    *, batch=2, heads=4, kv_heads=2, queries=37, keys=41, d_qk=5, d_v=3, dtype=torch.double
):
    generator = torch.Generator().manual_seed(queries * 100 + keys)
    shapes = [
        (batch, queries, heads, d_qk),
        (batch, keys, kv_heads, d_qk),
        (batch, keys, kv_heads, d_v),
    ]
    rows = [torch.randn(s, generator=generator, dtype=torch.double).to(dtype) for s in shapes]
    return [t.transpose(1, 2).detach().requires_grad_() for t in rows]


def relative(heads, window, dtype=torch.double):
    generator = torch.Generator().manual_seed(sum(window))
    bias = torch.randn(heads, sum(window) + 1, generator=generator, dtype=torch.double)
    return bias.to(dtype).requires_grad_()


def slopes(output, inputs):
    generator = torch.Generator().manual_seed(5)
    upstream = torch.randn(output.shape, generator=generator, dtype=torch.double).to(output.dtype)
    return torch.autograd.grad(output, inputs, upstream), upstream


def compare_with_loop(q, k, v, bias, key_mask, window, num_sinks, route, scale=0.4):
    visible, index = naive_window(q.shape[2], k.shape[2], window, causal=False, num_sinks=num_sinks)
    visible = visible.expand(*q.shape[:2], -1, -1)
    if key_mask is not None:
        visible = visible & key_mask
    spread = None
    if bias is not None:
        spread = torch.where(index >= 0, bias.detach()[:, index.clamp(min=0)], 0.0)
        spread = spread.expand(q.shape[0], -1, -1, -1)
    output = attend(
        q,
        k,
        v,
        attn_mask=key_mask,
        relative_bias=bias,
        window=window,
        num_sinks=num_sinks,
        scale=scale,
        route=route,
    ).output
    inputs = [t for t in (q, k, v, bias) if t is not None]
    gradients, upstream = slopes(output, inputs)
    expected = naive_attention_gradients(q, k, v, visible, upstream, scale=scale, bias=spread)
    wanted = list(expected[:4])
    if bias is not None:
        dbias = torch.zeros(bias.shape, dtype=torch.double)
        for offset in range(bias.shape[1]):
            dbias[:, offset] = (expected[4] * (index == offset)).sum((0, 2, 3))
        wanted.append(dbias)
    tolerance = TOLERANCE[q.dtype]
    for name, got, want in zip(
        ("output", "q", "k", "v", "bias"), (output, *gradients), wanted, strict=False
    ):
        size = max(want.abs().max().item(), 1.0) if want.numel() else 1.0
        torch.testing.assert_close(
            got.double(),
            want,
            atol=tolerance * size,
            rtol=tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )
        assert got.dtype == (bias.dtype if name == "bias" else q.dtype)


def test_a_window_of_everything_is_ordinary_attention():
    q, k, v = tensors(heads=2, keys=37, d_v=5)
    wide = attend(q, k, v, window=(50, 50), route="banded").output
    plain = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(wide, plain)
    for ours, theirs in zip(slopes(wide, (q, k, v))[0], slopes(plain, (q, k, v))[0], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_equal_sides_are_the_symmetric_window():
    q, k, v = tensors(heads=2, keys=37, d_v=5)
    near = (torch.arange(37)[:, None] - torch.arange(37)).abs() <= 4
    ours = attend(q, k, v, window=(4, 4), route="banded").output
    plain = F.scaled_dot_product_attention(q, k, v, attn_mask=near)
    torch.testing.assert_close(ours, plain)
    for a, b in zip(slopes(ours, (q, k, v))[0], slopes(plain, (q, k, v))[0], strict=True):
        torch.testing.assert_close(a, b)


@settings(max_examples=60)
@given(
    kv_heads=st.sampled_from([1, 2]),
    group=st.integers(1, 3),
    queries=st.integers(1, 70),
    keys=st.integers(1, 70) | st.none(),
    widths=st.sampled_from([(2, 3), (5, 2), (7, 7), (3, 11)]),
    before=st.sampled_from([0, 1, 2, 6, 31, 32, 69, 90]) | st.integers(0, 80),
    after=st.sampled_from([0, 0, 0, 1, 33, 90]) | st.integers(0, 80),
    num_sinks=st.sampled_from([0, 0, 1, 3]),
    masked=st.booleans(),
    biased=st.booleans(),
    contiguous=st.booleans(),
    small_steps=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCE)),
    route=st.sampled_from(["banded", "banded", "banded", "dense", "padded"]),
)
@example(
    kv_heads=1,
    group=2,
    queries=70,
    keys=70,
    widths=(3, 5),
    before=20,
    after=0,
    num_sinks=3,
    masked=True,
    biased=True,
    contiguous=False,
    small_steps=True,
    dtype=torch.float64,
    route="banded",
)
def test_equals_the_loop_in_value_and_every_gradient(
    kv_heads,
    group,
    queries,
    keys,
    widths,
    before,
    after,
    num_sinks,
    masked,
    biased,
    contiguous,
    small_steps,
    dtype,
    route,
):
    q, k, v = tensors(
        heads=kv_heads * group,
        kv_heads=kv_heads,
        queries=queries,
        keys=queries if keys is None else keys,
        d_qk=widths[0],
        d_v=widths[1],
        dtype=dtype,
    )
    if contiguous:
        q, k, v = (t.detach().contiguous().requires_grad_() for t in (q, k, v))
    mask = None
    if masked:
        mask = torch.rand(2, 1, 1, k.shape[2], generator=torch.Generator().manual_seed(1)) < 0.6
        mask[1] = mask[1] & (torch.arange(k.shape[2]) > 40)
    kind = torch.float32 if dtype == torch.bfloat16 else dtype
    bias = relative(q.shape[1], (before, after), kind) if biased else None
    steps = mock.patch.object(tiles_module, "SCRATCH_SCORES", 1) if small_steps else None
    with steps or contextlib.nullcontext():
        compare_with_loop(q, k, v, bias, mask, (before, after), num_sinks, route)


def test_a_long_sequence_equals_the_square():
    q, k, v = tensors(queries=900, keys=1003, d_qk=8, d_v=4)
    bias = relative(4, (130, 5))
    mask = torch.rand(2, 1, 1, 1003) < 0.9
    given = {"relative_bias": bias, "attn_mask": mask, "window": (130, 5), "num_sinks": 4}
    band, square = (attend(q, k, v, route=route, **given).output for route in ("banded", "dense"))
    torch.testing.assert_close(band, square)
    for a, b in zip(
        slopes(band, (q, k, v, bias))[0], slopes(square, (q, k, v, bias))[0], strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("window", [(9, 0), (3, 7), (0, 5)])
def test_time_reversed_and_sides_swapped_is_the_mirror_image(window):
    q, k, v = tensors(keys=37)
    bias = relative(4, window)
    plain = attend(q, k, v, window=window, relative_bias=bias, route="banded").output
    swapped = attend(
        q.flip(2),
        k.flip(2),
        v.flip(2),
        window=window[::-1],
        relative_bias=bias.flip(1),
        route="banded",
    ).output.flip(2)
    torch.testing.assert_close(plain, swapped)
    for a, b in zip(
        slopes(plain, (q, k, v, bias))[0], slopes(swapped, (q, k, v, bias))[0], strict=True
    ):
        torch.testing.assert_close(a, b)


def test_a_window_of_one_returns_the_own_value():
    q, k, v = tensors(heads=2, keys=37)
    output = attend(q, k, v, window=(0, 0), route="banded").output
    torch.testing.assert_close(output, v)


@pytest.mark.parametrize("size", [30.0, 300.0, 1e4])
def test_large_scores_neither_overflow_nor_vanish(size):
    q, k, v = tensors(dtype=torch.float32)
    q = (q * size).detach().requires_grad_()
    band, square = (
        attend(q, k, v, window=(6, 2), route=route).output for route in ("banded", "dense")
    )
    torch.testing.assert_close(band, square, atol=1e-5, rtol=1e-4)
    for a, b in zip(slopes(band, (q, k, v))[0], slopes(square, (q, k, v))[0], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * size, rtol=1e-3)


def test_rows_that_see_nothing_are_zero_in_value_and_gradient():
    q, k, v = tensors(queries=41, keys=20)
    mask = torch.ones(2, 1, 1, 20, dtype=torch.bool)
    mask[1] = False
    output = attend(q, k, v, attn_mask=mask, window=(3, 0), route="banded").output
    assert not output[0, :, :21].any()
    assert output[0, :, 21:].all()
    assert not output[1].any()
    gradients, _ = slopes(output, (q, k, v))
    assert not gradients[0][0, :, :21].any()
    assert gradients[0][0, :, 22:].all()
    assert not any(g[1].any() for g in gradients)


@pytest.mark.parametrize("broken", ["key", "value"])
@pytest.mark.parametrize("route", ["banded", "dense", "padded", "blocks"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_broken_key_reaches_only_the_rows_that_see_it(broken, route, bad):
    clean = tensors(heads=4, kv_heads=2, queries=70, keys=70)
    inputs = [t.detach().clone() for t in clean]
    inputs[1 if broken == "key" else 2][0, 1, 40] = bad
    inputs = [t.requires_grad_() for t in inputs]
    sees = torch.zeros(2, 4, 70, dtype=torch.bool)
    sees[0, 2:, 37:46] = True

    def call(q, k, v):
        if route == "blocks":
            return banded_by_blocks(q, k, v, None, None, Band(5, 3), 0.4)
        return attend(q, k, v, window=(5, 3), scale=0.4, route=route).output

    whole, output = call(*clean), call(*inputs)
    assert output[sees].isnan().all()
    torch.testing.assert_close(output[~sees], whole[~sees])
    wanted = torch.autograd.grad(whole[~sees].square().sum(), clean)
    gradients = torch.autograd.grad(output[~sees].square().sum(), inputs)
    for got, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("route", ["banded", "dense"])
def test_a_broken_key_in_the_padding_reaches_nobody(route):
    q, k, v = tensors(keys=37)
    mask = (torch.arange(37) < 30)[None, None, None].expand(2, 1, 1, 37)
    given = {"attn_mask": mask, "window": (5, 3), "num_sinks": 2, "route": route}
    whole = attend(q, k, v, **given).output
    k2, v2 = (t.detach().clone() for t in (k, v))
    k2[:, :, 31], v2[:, :, 33] = float("nan"), float("inf")
    assert torch.equal(attend(q, k2, v2, **given).output, whole)


def test_the_future_cannot_change_the_past():
    q, k, v = tensors(keys=37)
    given = {"window": (6, 0), "causal": True, "num_sinks": 3, "route": "banded"}
    before = attend(q, k, v, **given).output
    for t in (1, 2, 20):
        k2, v2 = (torch.cat([x[:, :, :t], x[:, :, t:] + 1], 2) for x in (k, v))
        after = attend(q, k2, v2, **given).output
        assert torch.equal(after[:, :, :t], before[:, :, :t])
