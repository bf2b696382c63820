"""Layers run with any default device, without memory (meta, fake tensors) and under tracing."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from askew.attention import AsymmetricAttention, attend
from askew.transformer import AsymmetricEncoderDecoder, EncoderDecoderConfig, StackConfig

SETTINGS = {
    "plain": {},
    "causal": {"causal": True},
    "relative": {"position": "relative"},
    "relative, causal window": {"position": "relative", "window": (2, 0), "causal": True},
    "alibi, window": {"position": "alibi", "window": (3, 3)},
    "alibi": {"position": "alibi"},
    "rotary": {"position": "rotary"},
    "sinks": {"window": (1, 0), "num_sinks": 2, "causal": True, "position": "relative"},
    "bridge": {"d_query": 8, "d_key": 4, "num_kv_heads": 1},
}
each_layer = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
each_route = pytest.mark.parametrize("length", [7, 600], ids=["dense", "banded"])


def make(settings, **place):
    torch.manual_seed(0)
    return AsymmetricAttention(12, num_heads=2, **settings, **place).eval()


@each_layer
@each_route
def test_the_default_device_does_not_matter(settings, length):
    layer, x = make(settings), torch.randn(2, length, 12)
    key_mask = torch.rand(2, length) < 0.7
    expected, weights = layer(x, key_mask=key_mask, return_weights=True)
    with torch.device("meta"):
        torch.testing.assert_close(layer(x, key_mask=key_mask).output, expected)
        result = layer(x, key_mask=key_mask, return_weights=True)
    torch.testing.assert_close(result.weights, weights)


@each_layer
@each_route
def test_the_meta_device_gives_shapes(settings, length):
    layer = make(settings, device="meta")
    x = torch.randn(2, length, 12, device="meta", requires_grad=True)
    key_mask = torch.ones(2, length, dtype=torch.bool, device="meta")
    output = layer(x, key_mask=key_mask).output
    assert (output.is_meta, output.shape) == (True, (2, length, 12))
    output.sum().backward()
    assert x.grad.is_meta
    assert layer(x, return_weights=True).weights.shape == (2, 2, length, length)


@each_layer
@each_route
def test_fake_tensors_give_shapes(settings, length):
    with FakeTensorMode():
        layer, x = make(settings), torch.randn(2, length, 12)
        output = layer(x, key_mask=torch.ones(2, length, dtype=torch.bool)).output
        output.sum().backward()
        assert output.shape == (2, length, 12)
        assert layer(x, return_weights=True).weights.shape == (2, 2, length, length)


def test_fake_steps_of_decoding_leave_nothing_for_real_ones():
    side = StackConfig(d_model=26, num_layers=1, num_heads=2, d_ff=16, dropout=0.0)
    config = EncoderDecoderConfig(source_vocab=9, target_vocab=9, encoder=side, decoder=side)

    def step():
        model = AsymmetricEncoderDecoder(config).eval()
        return model(torch.ones(1, 3, dtype=int), torch.ones(1, 1, dtype=int))

    with torch.no_grad():
        with FakeTensorMode():
            assert step().shape == (1, 1, 9)
        assert type(step()) is torch.Tensor


class Output(nn.Module):
    """A layer without its weights: a trace cannot hold None."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x).output


@each_layer
@each_route
@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning"
)
@pytest.mark.unhooked
def test_a_trace_is_the_layer(settings, length):
    layer, x = make(settings), torch.randn(2, length, 12)
    traced = torch.jit.trace(Output(layer), (x,))
    torch.testing.assert_close(traced(x + 1), layer(x + 1).output)


def inputs(queries):
    torch.manual_seed(1)
    q, k, v = torch.randn(2, 4, queries, 6), torch.randn(2, 2, 300, 6), torch.randn(2, 2, 300, 5)
    mask, bias = torch.rand(300) < 0.8, torch.randn(300)
    return q, k, v, mask, bias


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("window", [None, (9, 0), (200, 99)])
@pytest.mark.parametrize("causal", [True, False])
def test_masks_and_biases_of_few_axes_broadcast_on_every_path(queries, window, causal):
    if causal and window == (200, 99):
        window = (200, 0)
    q, k, v, mask, bias = inputs(queries)
    call = {"window": window, "causal": causal}
    whole, full = mask.expand(2, 4, queries, 300), bias.expand(2, 4, queries, 300)
    expected = attend(q, k, v, attn_mask=whole, bias=full, return_weights=True, **call)
    for axes in range(4):
        masks = {"attn_mask": mask[(None,) * axes], "bias": bias[(None,) * axes]}
        result = attend(q, k, v, **masks, return_weights=True, **call)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(attend(q, k, v, **masks, **call).output, expected.output)
        alone = attend(q, k, v, attn_mask=masks["attn_mask"], **call).output
        torch.testing.assert_close(alone, attend(q, k, v, attn_mask=whole, **call).output)
        if window is not None:
            banded = attend(q, k, v, attn_mask=masks["attn_mask"], route="banded", **call).output
            torch.testing.assert_close(banded, alone)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("route", ["auto", "dense", "padded", "banded"])
@pytest.mark.parametrize("return_weights", [True, False])
def test_dtypes_that_differ_are_refused_on_every_route(at, route, return_weights):
    sides = [torch.randn(1, 2, 5, 4) for _ in range(3)]
    sides[at] = sides[at].double()
    window = (2, 0) if route == "banded" else None
    message = r"attend: q, k and v must have one dtype outside autocast; got q torch.float"
    with pytest.raises(TypeError, match=message):
        attend(*sides, window=window, route=route, return_weights=return_weights)


@pytest.mark.parametrize("route", ["dense", "padded", "banded"])
def test_dtypes_that_differ_agree_under_autocast(route):
    q, k, v = (torch.randn(1, 2, 5, 4) for _ in range(3))
    window = (2, 0) if route == "banded" else None
    expected = attend(q, k, v, window=window).output
    with torch.autocast("cpu"):
        output = attend(q, k.bfloat16(), v, window=window, route=route).output
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, atol=0.05, rtol=0.05)
