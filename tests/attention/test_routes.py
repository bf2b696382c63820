import warnings

import pytest
import torch

from askew.attention import attend, causal_mask, explain_route
from askew.attention._flex import attend_flex
from askew.attention._routes import Call


def tensors(*, queries=2000, keys=2000, d_qk=4, d_v=4, kv_heads=1):
    shapes = [(1, 2, queries, d_qk), (1, kv_heads, keys, d_qk), (1, kv_heads, keys, d_v)]
    return [torch.randn(s) for s in shapes]


PADDING = torch.ones(1, 1, 1, 2000, dtype=torch.bool)
SQUARE = torch.ones(2000, 2000, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "route", "reason"),
    [
        ({}, "dense", "there is no window"),
        ({"causal": True}, "dense", "there is no window"),
        ({"window": (63, 0)}, "banded", "a window of 64 keys costs less than 2000 keys in reach"),
        ({"window": (63, 0), "causal": True, "num_sinks": 4}, "banded", "a window of 64 keys"),
        ({"window": (63, 7), "attn_mask": PADDING}, "banded", "a window of 71 keys"),
        ({"window": (3, 3), "attn_mask": PADDING[0, 0, 0]}, "banded", "a window of 7 keys"),
        ({"window": (63, 7), "attn_mask": SQUARE}, "dense", "differs between queries or heads"),
        ({"window": (63, 7), "bias": SQUARE.float()}, "dense", "a bias for every pair"),
        ({"window": (63, 7), "dropout_p": 0.1}, "dense", "weights are only dropped by the dense"),
        ({"window": (63, 7), "return_weights": True}, "dense", "weights are only returned"),
        ({"window": (999, 0)}, "dense", "a window of 1000 covers most of 2000 keys in reach"),
        ({"window": (998, 0)}, "banded", "a window of 999 keys costs less"),
        ({"window": (998, 0), "route": "dense"}, "dense", "named by the caller"),
        ({"window": (9000, 0), "route": "banded"}, "banded", "named by the caller"),
    ],
)
def test_says_which_route_and_why(arguments, route, reason):
    choice = explain_route(*tensors(), **arguments)
    assert choice.route == route
    assert reason in choice.reason


@pytest.mark.parametrize(("length", "route"), [(512, "dense"), (513, "banded")])
def test_short_sequences_take_the_dense_kernel(length, route):
    choice = explain_route(*tensors(queries=length, keys=length), window=(63, 0))
    assert choice.route == route
    assert route == "banded" or choice.reason == "512 keys in reach are few (up to 512)"


def test_very_long_sequences_never_pay_for_the_square():
    q, k, v = (t.expand(1, 2, 9000, 4) for t in tensors(queries=1, keys=1))
    assert explain_route(q, k, v, window=(8000, 0)).route == "banded"


def test_one_new_query_reads_only_the_keys_in_reach():
    q, k, v = tensors(queries=1, keys=5000)
    choice = explain_route(q, k, v, window=(255, 0))
    assert choice == ("dense", "256 keys in reach are few (up to 512)")
    k[:, :, :4744] = float("nan")
    output = attend(q, k, v, window=(255, 0)).output
    assert torch.equal(output, attend(q, k[:, :, 4744:], v[:, :, 4744:]).output)


def test_unequal_widths_are_padded():
    choice = explain_route(*tensors(d_v=6))
    assert choice.route == "padded"
    assert "widths differ" in choice.reason
    assert explain_route(*tensors(d_v=6), return_weights=True).route == "dense"
    assert explain_route(*tensors(d_v=6), window=(9, 0)).route == "banded"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"route": "banded"}, "route 'banded' must be able .* it needs a window; got route"),
        ({"route": "banded", "window": (9, 0), "dropout_p": 0.5}, "only dropped by the dense"),
        ({"route": "banded", "window": (9, 0), "return_weights": True}, "only returned by the de"),
        ({"route": "banded", "window": (9, 0), "attn_mask": SQUARE}, "differs between queries"),
        ({"route": "banded", "window": (9, 0), "bias": SQUARE.float()}, "every pair of positions"),
        ({"route": "padded", "return_weights": True}, "route 'padded' .* only returned by the de"),
        ({"route": "flex"}, "trains on CUDA only and q is on cpu; got route 'flex'. Pass route="),
    ],
)
def test_a_named_route_that_cannot_do_it_is_an_error(arguments, reason):
    for function in (attend, explain_route):
        with pytest.raises(ValueError, match=reason):
            function(*tensors(), **arguments)


@pytest.mark.unhooked
def test_an_unknown_route_is_an_error():
    for function in (attend, explain_route):
        with pytest.raises(ValueError, match="padded, banded, flex; got route 'f"):
            function(*tensors(), route="fast")


@pytest.mark.unhooked
@pytest.mark.parametrize("queries", [130, 140])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("window", "num_sinks", "causal"), [((5, 0), 2, True), ((3, 4), 1, False), (None, 0, True)]
)
def test_the_rules_of_flex_attention_equal_the_dense_kernel(
    window, num_sinks, causal, masked, queries
):
    """The predicate and the bias, without the kernel that only CUDA has."""
    q, k, v = tensors(queries=queries, keys=140, d_qk=16, d_v=16)
    bias = None if window is None else torch.randn(2, sum(window) + 1)
    mask = torch.rand(1, 1, 1, 140) < 0.8 if masked else None
    call = Call(q, k, v, mask, None, bias, causal, window, num_sinks, 0.3, 0.0, False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flex = attend_flex(call)
    given = {"attn_mask": mask, "relative_bias": bias, "causal": causal, "window": window}
    dense = attend(q, k, v, num_sinks=num_sinks, scale=0.3, route="dense", **given).output
    torch.testing.assert_close(flex, dense)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("route", ["auto", "dense", "padded", "banded", "flex"])
def test_every_route_of_a_device_is_the_dense_kernel_in_double(route, dtype, device):
    """With everything at once: padding, sinks, first keys, grouped heads and a trained bias."""
    if route == "flex" and device == "cpu":
        pytest.skip("FlexAttention trains on CUDA only")
    wide = 32 if route == "flex" else 24  # it takes one width
    q, k, v = tensors(queries=600, keys=650, d_qk=32, d_v=wide)
    bias, sinks, upstream = torch.randn(2, 64), torch.randn(2), torch.randn(1, 2, 600, wide)
    mask = torch.rand(1, 1, 1, 650) < 0.8
    rows = [t.to(dtype) for t in (q, k, v, bias, sinks)]

    def results(place, dtype, route):
        *qkv, bias, sinks = (t.to(place, dtype, copy=True).requires_grad_() for t in rows)
        settings = {"window": (63, 0), "num_sinks": 2, "causal": True, "route": route}
        settings |= {"relative_bias": bias, "sinks": sinks, "attn_mask": mask.to(place)}
        output = attend(*qkv, **settings).output
        return (output, *torch.autograd.grad(output, (*qkv, bias, sinks), upstream.to(output)))

    exact = results("cpu", torch.double, "dense")
    tolerance = 3e-2 if dtype == torch.bfloat16 else 1e-4
    for got, want in zip(results(device, dtype, route), exact, strict=True):
        assert got.device.type == device
        size = float(want.detach().abs().max())
        torch.testing.assert_close(got.double().cpu(), want, rtol=0, atol=tolerance * size)


def test_causal_alone_and_its_mask_agree_on_every_route():
    q, k, v = tensors(queries=40, keys=50, d_v=6)
    masked = attend(q, k, v, attn_mask=causal_mask(40, 50)).output
    for route in ("auto", "dense", "padded"):
        torch.testing.assert_close(attend(q, k, v, causal=True, route=route).output, masked)
    everything = attend(q, k, v, window=(50, 0), route="banded").output
    torch.testing.assert_close(everything, masked)
