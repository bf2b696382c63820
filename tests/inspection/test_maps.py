"""Query and key weights of every family, checked against the attention weights they produce."""

import pytest
import torch
import transformers as hf
from torch import nn

from askew.attention import AsymmetricAttention
from askew.inspection import QueryKeyMap, query_key_maps, record_attention
from askew.transformer import AsymmetricEncoderDecoder, EncoderDecoderConfig, StackConfig

TINY = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
BERT_LIKE = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}
GROUPED = BERT_LIKE | {"num_key_value_heads": 2}
T5 = {"d_model": 24, "d_kv": 5, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 4}
BART = {
    "d_model": 24,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}
FAMILIES = {
    "bert": lambda: hf.BertModel(hf.BertConfig(**BERT_LIKE, **TINY)),
    "gpt2": lambda: hf.GPT2Model(hf.GPT2Config(n_embd=24, n_layer=2, n_head=4, **TINY)),
    "t5": lambda: hf.T5Model(hf.T5Config(d_ff=32, **T5, **TINY)),
    "llama": lambda: hf.LlamaModel(hf.LlamaConfig(**GROUPED, **TINY)),
    "bart": lambda: hf.BartModel(hf.BartConfig(**BART, **TINY)),
    "distilbert": lambda: hf.DistilBertModel(
        hf.DistilBertConfig(dim=24, n_layers=2, n_heads=4, hidden_dim=32, **TINY)
    ),
    "modernbert": lambda: hf.ModernBertModel(
        hf.ModernBertConfig(**BERT_LIKE, **TINY, cls_token_id=1, sep_token_id=2)
    ),
    "phi3": lambda: hf.Phi3Model(hf.Phi3Config(**GROUPED, **TINY)),
    "gpt_neox": lambda: hf.GPTNeoXModel(hf.GPTNeoXConfig(**BERT_LIKE, **TINY)),
}
POSITIONS = {"llama", "phi3", "gpt_neox", "modernbert"}  # all 0: no rotation
TOKENS = torch.tensor([[5, 9, 3, 30, 9, 12, 7]])


def loud(family):
    """A model whose attention is not flat, without the biases that a map leaves out."""
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    model.set_attn_implementation("eager")
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2 and "norm" not in name:
            nn.init.normal_(parameter, std=1.2 * parameter.shape[-1] ** -0.5)
    for name, parameter in model.named_parameters():
        if "relative_attention_bias" in name:
            nn.init.zeros_(parameter)
    return model


def streams(model, name):
    """Record the inputs of an attention: its own stream and, in cross-attention, the other."""
    caught = {}

    def keep(_, args, kwargs):
        inputs = [*args, *kwargs.values()]
        caught["own"] = kwargs.get("hidden_states", inputs[0])
        for key in ("key_value_states", "encoder_hidden_states"):
            if isinstance(kwargs.get(key), torch.Tensor):
                caught["other"] = kwargs[key]

    hook = model.get_submodule(name).register_forward_pre_hook(keep, with_kwargs=True)
    return caught, hook


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_give_the_weights_that_the_model_computes(family):
    """softmax(x Wqᵀ Wk zᵀ) of every head equals the weights of the model itself."""
    model = loud(family)
    inputs = {"input_ids": TOKENS, "output_attentions": True}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = TOKENS[:, :5]
    if family in POSITIONS:
        inputs["position_ids"] = torch.zeros_like(TOKENS)
    maps = query_key_maps(model)
    caught = {attention.name: streams(model, attention.name) for attention in maps}
    with torch.no_grad(), record_attention(model) as seen:
        model(**inputs)
    assert set(seen) == {attention.name for attention in maps}
    for attention in maps:
        stream, hook = caught[attention.name]
        hook.remove()
        queries = stream["own"][0].double()
        other = stream.get("other", stream["own"])[0].double()
        scale = 1.0 if family == "t5" else attention.query.shape[1] ** -0.5
        for head, weights in enumerate(seen[attention.name][0]):
            square = attention.query[head].T.double() @ attention.key[head].double()
            scores = scale * (queries @ square @ other.T)
            scores = scores.masked_fill(weights == 0, -torch.inf)
            torch.testing.assert_close(
                scores.softmax(-1).float(), weights, rtol=1e-4, atol=1e-5, msg=attention.name
            )
            assert float(weights.max()) > 0.3  # flat weights would prove nothing


def test_families_are_read_with_their_stacks_and_kinds():
    def kinds(family):
        return [(f.stack, f.layer, f.kind, f.kv_heads) for f in query_key_maps(FAMILIES[family]())]

    assert kinds("llama") == [("layers", 0, "self", 2), ("layers", 1, "self", 2)]
    assert kinds("t5") == [
        ("encoder.block", 0, "self", 4),
        ("encoder.block", 1, "self", 4),
        ("decoder.block", 0, "self", 4),
        ("decoder.block", 0, "cross", 4),
    ]
    assert kinds("gpt2") == [("h", 0, "self", 4), ("h", 1, "self", 4)]


def test_cross_attention_of_gpt2_has_its_own_matrices():
    config = hf.GPT2Config(n_embd=24, n_layer=1, n_head=4, add_cross_attention=True, **TINY)
    model = hf.GPT2Model(config)
    itself, cross = query_key_maps(model)
    assert (itself.kind, cross.kind) == ("self", "cross")
    attention = model.h[0].crossattention
    torch.testing.assert_close(cross.query.flatten(0, 1), attention.q_attn.weight.T)
    torch.testing.assert_close(cross.key.flatten(0, 1), attention.c_attn.weight[:, :24].T)


def test_own_layers_with_grouped_heads_and_a_bridge():
    torch.manual_seed(0)
    layer = AsymmetricAttention(
        12, d_source=20, d_query=16, d_key=8, num_heads=4, num_kv_heads=2, qk_norm=False
    ).eval()
    nn.init.normal_(layer.query.weight)
    nn.init.normal_(layer.key.weight)
    x, z = torch.randn(1, 5, 12), torch.randn(1, 6, 20)
    (attention,) = query_key_maps(layer)
    assert attention.kind == "cross"
    assert attention.kv_heads == 2
    assert isinstance(attention, QueryKeyMap)
    assert attention.query.shape == (4, 2, 12)
    assert attention.key.shape == (4, 2, 20)
    with torch.no_grad(), record_attention(layer) as seen:
        layer(x, z)
    squares = attention.query.mT @ attention.key
    expected = (x[0] @ squares @ z[0].T / 2**0.5).softmax(-1)
    torch.testing.assert_close(seen[""][0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"kdim": 20, "vdim": 20}])
def test_the_layer_of_torch(settings):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(12, 3, bias=False, batch_first=True, **settings)
    (attention,) = query_key_maps(layer)
    x = 3 * torch.randn(1, 5, 12)
    z = 3 * torch.randn(1, 5, 20) if settings else x
    weights = layer(x, z, z, average_attn_weights=False)[1][0]
    squares = attention.query.mT @ attention.key
    torch.testing.assert_close((x[0] @ squares @ z[0].T / 2).softmax(-1), weights)
    assert attention.kind == ("cross" if settings else "self")


def test_own_encoder_decoder_is_read_without_a_trace():
    side = StackConfig(d_model=16, num_layers=2, num_heads=2, d_ff=16)
    config = EncoderDecoderConfig(source_vocab=9, target_vocab=9, encoder=side, decoder=side)
    model = AsymmetricEncoderDecoder(config).eval()
    kinds = [attention.kind for attention in query_key_maps(model)]
    assert kinds == ["self", "self", "self", "cross", "self", "cross"]
    source = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = model(source, source)
        with record_attention(model) as seen:
            torch.testing.assert_close(model(source, source), before)
        assert len(seen) == 6
        seen.clear()
        model(source, source)
    assert not seen


def test_a_model_without_attention_and_one_of_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match="must have attention; got a Linear without"):
        query_key_maps(nn.Linear(2, 2))

    class StrangeAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    with pytest.raises(ValueError, match=r"known kind; got 0 \(StrangeAttention\)"):
        query_key_maps(nn.Sequential(StrangeAttention()))


def test_queries_with_a_gate_in_them_are_not_taken_for_queries():
    class GatedAttention(nn.Module):
        num_heads, head_dim = 2, 4

        def __init__(self):
            super().__init__()
            self.q_proj, self.k_proj = nn.Linear(8, 16), nn.Linear(8, 8)

    with pytest.raises(ValueError, match="known kind; got "):
        query_key_maps(nn.Sequential(GatedAttention()))
