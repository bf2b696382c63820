"""One compiled graph, one exported program and one trace serve every length."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from askew.attention import AsymmetricAttention

pytestmark = pytest.mark.unhooked  # checks of shapes are no part of a graph

SETTINGS = {
    "plain": {},
    "relative": {"position": "relative"},
    "relative, causal": {"position": "relative", "causal": True},
    "large window": {"position": "relative", "window": (600, 0), "causal": True},
    "alibi": {"position": "alibi"},
    "alibi, window": {"position": "alibi", "window": (3, 3)},
    "rotary": {"position": "rotary"},
    "sinks": {"window": (1, 0), "num_sinks": 2, "causal": True, "position": "relative"},
    "bridge": {"d_query": 8, "d_key": 4},
    "bridge to wider keys": {"d_query": 4, "d_key": 8, "num_kv_heads": 1, "causal": True},
}
DAILY = ("relative, causal", "alibi, window", "sinks", "bridge")
each_layer = pytest.mark.parametrize(
    "settings",
    [
        pytest.param(one, id=name, marks=[] if name in DAILY else [pytest.mark.slow])
        for name, one in SETTINGS.items()
    ],
)
WINDOWS = [name for name in SETTINGS if "window" in SETTINGS[name]]


class Output(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.layer = AsymmetricAttention(12, num_heads=2, **settings).eval()
        if settings.get("position") == "relative":
            nn.init.normal_(self.layer.position.table)

    def forward(self, x, key_mask=None):
        return self.layer(x, key_mask=key_mask).output


def streams(length):
    key_mask = torch.rand(2, length) < 0.7
    return torch.randn(2, length, 12), key_mask


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relative, causal", "alibi", "sinks", "bridge to wider keys"])
def test_two_graphs_serve_all_lengths(name):
    torch._dynamo.reset()
    net, graphs = Output(SETTINGS[name]), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, fullgraph=True, backend=graphs)
    for length in (5, 7, 2, 600):
        inputs = streams(length)
        torch.testing.assert_close(compiled(*inputs), net(*inputs))
    assert graphs.frame_count <= 2


@pytest.mark.parametrize("name", [pytest.param("relative", marks=pytest.mark.slow), "large window"])
def test_a_dynamic_graph_learns_as_the_layer_does(name):
    torch._dynamo.reset()
    net = Output(SETTINGS[name])
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager", dynamic=True)
    for length in (5, 600):
        inputs = streams(length)
        net.zero_grad()
        net(*inputs).square().sum().backward()
        expected = {path: p.grad.clone() for path, p in net.named_parameters()}
        net.zero_grad()
        compiled(*inputs).square().sum().backward()
        for path, p in net.named_parameters():
            torch.testing.assert_close(p.grad, expected[path], rtol=1e-4, atol=1e-3)


def exported(net):
    length = torch.export.Dim("length", min=2, max=4096)
    with torch.no_grad():
        return torch.export.export(
            net, streams(9), dynamic_shapes=({1: length}, {1: length}), strict=False
        )


@each_layer
def test_an_exported_program_is_right_at_other_lengths(settings):
    net = Output(settings)
    program = exported(net).module()
    for length in (9, 2, 700):
        inputs = streams(length)
        torch.testing.assert_close(program(*inputs), net(*inputs))


@pytest.mark.parametrize("name", WINDOWS)
def test_for_onnx_a_window_needs_no_operator_of_ours(name, monkeypatch):
    net = Output(SETTINGS[name])
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    program = exported(net)
    graphs = [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    assert not any("askew" in graph.code for graph in graphs)
    for length in (2, 700):
        inputs = streams(length)
        torch.testing.assert_close(program.module()(*inputs), net(*inputs))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@each_layer
def test_a_trace_is_right_at_other_lengths(settings):
    net = Output(settings)
    traced = torch.jit.trace(net, streams(9), check_trace=False)
    for length in (2, 700):
        inputs = streams(length)
        torch.testing.assert_close(traced(*inputs), net(*inputs))
