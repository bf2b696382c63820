"""Attention weights are recorded in every precision and for every batch, or missing ones named."""

import pytest
import torch
import transformers as hf
from torch import nn

from askew.attention import AsymmetricAttention
from askew.inspection import attention_entropy, inspect_model, record_attention
from askew.transformer import AsymmetricEncoderDecoder, EncoderDecoderConfig, StackConfig

SIDE = StackConfig(d_model=16, num_layers=1, num_heads=2, d_ff=16, dropout=0.0)
CONFIG = EncoderDecoderConfig(source_vocab=99, target_vocab=99, encoder=SIDE, decoder=SIDE)
BERT = hf.BertConfig(
    vocab_size=40,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=32,
    attn_implementation="eager",
)


def tokens(length=70):
    return torch.randint(1, 40, (2, length))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_recorded(dtype):
    for model, inputs in (
        (AsymmetricEncoderDecoder(CONFIG), (tokens(), tokens())),
        (hf.BertModel(BERT), (tokens(),)),
    ):
        model = model.eval().to(dtype)
        with torch.no_grad(), record_attention(model) as seen:
            model(*inputs)
        assert len(seen) == len(inspect_model(model).attention)
        for weights in seen.values():
            assert weights.shape[2:] == (70, 70)
            torch.testing.assert_close(
                weights.float().sum(-1), torch.ones(weights.shape[:3]), atol=1e-2, rtol=0
            )


def test_autocast_is_recorded():
    for model in (AsymmetricAttention(24, num_heads=4), hf.BertModel(BERT).eval()):
        x = tokens() if isinstance(model, hf.BertModel) else torch.randn(2, 70, 24)
        with torch.no_grad(), torch.autocast("cpu"), record_attention(model) as seen:
            model(x)
        assert len(seen) == len(inspect_model(model).attention)


def test_a_query_that_sees_no_key_has_a_row_of_zeros_and_no_entropy():
    layer, x = AsymmetricAttention(8, num_heads=2), torch.randn(2, 5, 8)
    key_mask = torch.ones(2, 5, dtype=torch.bool)
    key_mask[1] = False
    with torch.no_grad(), record_attention(layer) as seen:
        layer(x, key_mask=key_mask)
    assert not seen[""][1].any()
    torch.testing.assert_close(seen[""][0].sum(-1), torch.ones(2, 5))
    scores = inspect_model(layer, {"first": {"": seen[""][0]}, "hidden": {"": seen[""][1]}})
    expected = attention_entropy(seen[""][0])
    torch.testing.assert_close(scores.attention[0].entropy, expected)


def test_rows_of_nan_count_as_unseen():
    class Attention(nn.Module):
        num_heads = 2

        def __init__(self):
            super().__init__()
            self.query, self.key = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, weights):
            return weights, torch.zeros(1, 2, 3, 3), weights

    weights = torch.full((1, 2, 3, 3), 1 / 3)
    weights[0, 0, 1] = torch.nan
    layer = Attention()
    with record_attention(layer) as seen:
        layer(weights)
    assert seen[""] is not None
    assert seen[""].isnan().sum() == 3
    entropy = attention_entropy(weights[0], (weights[0] > 0).any(0, keepdim=True))
    assert entropy[1] == pytest.approx(1)


@pytest.mark.parametrize("batched", [True, False])
def test_the_layer_of_torch_is_recorded(batched):
    layer = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    x = torch.randn(2, 5, 12) if batched else torch.randn(5, 12)
    expected, weights = layer(x, x, x, average_attn_weights=False)
    with torch.no_grad(), record_attention(layer) as seen:
        output, _ = layer(x, x, x, None, False)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(seen[""], weights if batched else weights[None])
    one = nn.TransformerEncoderLayer(12, 3, 8, batch_first=True)
    stack = nn.TransformerEncoder(one, 2, enable_nested_tensor=False).eval()
    with torch.no_grad(), record_attention(stack) as seen:
        stack(torch.randn(2, 5, 12))
    assert list(seen) == ["layers.0.self_attn", "layers.1.self_attn"]


def test_layers_that_return_no_weights_are_named():
    model = hf.BertModel(BERT).eval()
    model.set_attn_implementation("sdpa")
    names = r"encoder.layer.0.attention.self, encoder.layer.1.attention.self\. .*'eager'"
    with (
        pytest.warns(UserWarning, match=f"record_attention: .* got none from {names}"),
        record_attention(model) as seen,
    ):
        model(tokens())
    assert seen == {}
