import pytest
import torch
from laws import check_layer_laws
from torch import nn

from askew.attention import AsymmetricAttention, CausalAsymmetricAttention

each_gate = pytest.mark.parametrize("gate", ["head", "element"])


def layers(gate, **settings):
    """A layer with a gate and one without, of the same other weights."""
    torch.manual_seed(0)
    made = [
        AsymmetricAttention(
            10, d_query=6, d_value=9, num_heads=3, d_output=7, gate=kind, **settings
        )
        for kind in (gate, None)
    ]
    for weight in made[0].parameters():
        nn.init.normal_(weight, std=0.7)
    made[1].load_state_dict(made[0].state_dict(), strict=False)
    return made


@each_gate
def test_an_open_gate_is_plain_attention(gate):
    gated, plain = layers(gate)
    nn.init.zeros_(gated.gate.weight)
    nn.init.constant_(gated.gate.bias, 40.0)
    x, source = torch.randn(2, 5, 10), torch.randn(2, 4, 10)
    assert torch.equal(gated(x, source).output, plain(x, source).output)


@each_gate
def test_a_gate_multiplies_what_each_head_says_before_the_projection(gate):
    gated, plain = layers(gate)
    x = torch.randn(2, 5, 10, dtype=torch.double)
    gated, plain = gated.double(), plain.double()
    weights = gated(x, return_weights=True).weights
    assert torch.equal(weights, plain(x, return_weights=True).weights)
    value = plain.value(x)
    logits = x @ gated.gate.weight.T + gated.gate.bias
    assert logits.shape[-1] == {"head": 3, "element": 9}[gate]
    expected = torch.zeros(2, 5, 9, dtype=torch.double)
    for b in range(2):
        for i in range(5):
            for feature in range(9):
                head = feature // 3
                said = sum(weights[b, head, i, j] * value[b, j, feature] for j in range(5))
                logit = logits[b, i, head if gate == "head" else feature]
                expected[b, i, feature] = said / (1 + torch.exp(-logit))
    torch.testing.assert_close(gated(x).output, plain.output(expected))


@each_gate
def test_gates_read_the_stream_of_the_queries_and_learn(gate):
    gated, _ = layers(gate, qk_norm=False)
    x, source = torch.randn(2, 5, 10), torch.randn(2, 4, 10)
    check_layer_laws(gated, lambda layer: layer(x, source).output)


@each_gate
def test_gated_decoding_equals_the_whole(gate):
    torch.manual_seed(1)
    layer = CausalAsymmetricAttention(8, num_heads=2, window_size=3, gate=gate).eval()
    x, cache = torch.randn(2, 7, 8), layer.new_cache()
    steps = [layer(x[:, t : t + 1], cache=cache).output for t in range(7)]
    torch.testing.assert_close(torch.cat(steps, 1), layer(x).output)


def test_a_new_gate_is_half_open_and_drawn_again_by_reset():
    gated, _ = layers("element")
    gated.reset_parameters()
    assert not gated.gate.bias.any()
    logits = gated.gate(torch.randn(50, 10))
    assert logits.std() > 0.1
    assert (logits.sigmoid().mean() - 0.5).abs() < 0.1


@pytest.mark.unhooked
def test_refuses_other_gates():
    with pytest.raises(
        ValueError, match=r"AsymmetricAttention: gate must be 'head', .*; got gate 'row'"
    ):
        AsymmetricAttention(8, num_heads=2, gate="row")
