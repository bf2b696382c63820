import copy

import pytest
import torch
from laws import check_causal, check_layer_laws
from torch import nn

from askew.attention import AsymmetricAttention, KeyValueCache, LatentAttention

BOTH = pytest.mark.parametrize("absorbed", [False, True], ids=["expanded", "absorbed"])
SETTINGS = [
    {},
    {"d_rotary": 4},
    {"d_rotary": 2, "learned_sinks": True, "gate": "head"},
    {"latent_norm": False, "gate": "element"},
]
each_setting = pytest.mark.parametrize("settings", SETTINGS)


def layer(**settings):
    torch.manual_seed(0)
    widths = {"d_latent": 7, "d_key": 12, "d_value": 15, "num_heads": 3, "causal": True}
    made = LatentAttention(10, **(widths | settings)).eval()
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.6)
    return made


def take(form, monkeypatch):
    monkeypatch.setattr(LatentAttention, "_is_absorbed", lambda self, *sizes: form)


@BOTH
def test_full_rank_is_plain_attention_with_factorised_weights(absorbed, monkeypatch):
    take(absorbed, monkeypatch)
    ours = layer(d_latent=10, latent_norm=False).double()
    plain = AsymmetricAttention(
        10, d_query=12, d_value=15, num_heads=3, causal=True, qk_norm=False, dtype=torch.double
    )
    with torch.no_grad():
        ours.latent.bias.zero_()
        for name in ("key", "value"):
            theirs, mine = getattr(plain, name), getattr(ours, name)
            theirs.weight.copy_(mine.weight @ ours.latent.weight)
            theirs.bias.zero_()
        for name in ("query", "output"):
            getattr(plain, name).load_state_dict(getattr(ours, name).state_dict())
    x = torch.randn(2, 6, 10, dtype=torch.double)
    for mine, theirs in zip(
        ours(x, return_weights=True), plain(x, return_weights=True), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@BOTH
def test_every_feature_is_that_of_the_formula(absorbed, monkeypatch):
    take(absorbed, monkeypatch)
    ours = layer(d_rotary=2).double()
    x = torch.randn(1, 4, 10, dtype=torch.double)
    stored, q = ours.latent(x)[0], ours.query(x)[0].unflatten(-1, (3, 6))
    latents = stored[:, :7] / (stored[:, :7].square().mean(-1, keepdim=True) + 2.3e-16).sqrt()

    def turned(pair, position):
        cos, sin = torch.cos(torch.tensor(float(position))), torch.sin(torch.tensor(position * 1.0))
        return torch.stack([pair[0] * cos - pair[1] * sin, pair[1] * cos + pair[0] * sin])

    rows = []
    for i in range(4):
        heads = []
        for h in range(3):
            key, value = ours.key.weight[4 * h : 4 * h + 4], ours.value.weight[5 * h : 5 * h + 5]
            scores = torch.stack(
                [
                    q[i, h, :4] @ key @ latents[j]
                    + turned(q[i, h, 4:], i) @ turned(stored[j, 7:], j)
                    for j in range(i + 1)
                ]
            )
            weights = (scores / 6**0.5).softmax(0)
            heads.append(sum(w * (value @ latents[j]) for j, w in enumerate(weights)))
        rows.append(ours.output(torch.cat(heads)))
    torch.testing.assert_close(ours(x).output[0], torch.stack(rows), atol=1e-6, rtol=1e-6)


def test_equals_the_layer_of_transformers():
    transformers = pytest.importorskip("transformers.models.deepseek_v2.modeling_deepseek_v2")
    config = transformers.DeepseekV2Config(
        hidden_size=21, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=None,
        kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=6, v_head_dim=5, head_dim=4,
    )  # fmt: skip
    config._attn_implementation = "eager"
    theirs = transformers.DeepseekV2Attention(config, 0).eval()
    positions = transformers.DeepseekV2RotaryEmbedding(config)
    widths = {"d_latent": 8, "d_rotary": 4, "d_key": 18, "d_value": 15, "num_heads": 3}
    ours = LatentAttention(21, **widths, causal=True).eval()
    # They turn neighbouring features, here those half a head apart turn.
    pairs = torch.tensor([0, 2, 1, 3])
    with torch.no_grad():
        for weight in theirs.parameters():
            nn.init.normal_(weight, std=0.4)
        for bias in (ours.query.bias, ours.latent.bias, ours.output.bias):
            bias.zero_()
        query = theirs.q_proj.weight.unflatten(0, (3, 10))
        query = torch.cat([query[:, :6], query[:, 6:][:, pairs]], 1)
        ours.query.weight.copy_(query.flatten(0, 1))
        latent = theirs.kv_a_proj_with_mqa.weight
        ours.latent.weight.copy_(torch.cat([latent[:8], latent[8:][pairs]]))
        keys_values = theirs.kv_b_proj.weight.unflatten(0, (3, 11)) * theirs.kv_a_layernorm.weight
        ours.key.weight.copy_(keys_values[:, :6].flatten(0, 1))
        ours.value.weight.copy_(keys_values[:, 6:].flatten(0, 1))
        ours.output.weight.copy_(theirs.o_proj.weight)
        x = torch.randn(2, 7, 21)
        angles = positions(x, torch.arange(7)[None])
        future = torch.full((7, 7), -torch.inf).triu(1)[None, None]
        expected = theirs(x, attention_mask=future, position_embeddings=angles)[0]
        torch.testing.assert_close(ours(x).output, expected, atol=1e-5, rtol=1e-5)


@each_setting
def test_both_forms_are_equal_in_value_and_gradient(settings, monkeypatch):
    made, x = layer(**settings).double(), torch.randn(2, 6, 10, dtype=torch.double)
    key_mask = torch.arange(6) < torch.tensor([[6], [4]])
    results = []
    for form in (False, True):
        take(form, monkeypatch)
        made.zero_grad()
        given = x.clone().requires_grad_()
        output, weights = made(given, key_mask=key_mask, return_weights=True)
        (made(given, key_mask=key_mask).output.sin().sum() + output.cos().sum()).backward()
        gradients = [weight.grad.clone() for weight in made.parameters()]
        results.append([output.detach(), weights.detach(), given.grad, *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@each_setting
@BOTH
def test_cached_equals_uncached_and_holds_the_latent_alone(settings, absorbed, monkeypatch):
    take(absorbed, monkeypatch)
    made, x = layer(**settings), torch.randn(3, 9, 10)
    key_mask = torch.ones(3, 9, dtype=torch.bool)
    key_mask[1, :2] = False
    cache = made.new_cache()
    steps = [
        made(x[:, a:b], cache=cache, key_mask=key_mask[:, :b]).output
        for a, b in ((0, 4), (4, 5), (5, 6), (6, 9))
    ]
    whole = made(x, key_mask=key_mask).output
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-5, rtol=1e-5)
    assert cache.keys.shape == (3, 1, 9, 7 + settings.get("d_rotary", 0))
    assert cache.values.numel() == 0
    cache.reorder(torch.tensor([2, 0, 0]))
    moved = made(x[[2, 0, 0], :1], cache=cache).output
    again = made.new_cache()
    made(x[[2, 0, 0]], cache=again)
    torch.testing.assert_close(moved, made(x[[2, 0, 0], :1], cache=again).output)


def test_the_cheaper_form_is_taken():
    made = layer()
    cache = KeyValueCache()
    assert made._is_absorbed(1, 1000, cache)
    assert not made._is_absorbed(1000, 1000, None)
    assert layer(d_latent=2)._is_absorbed(1000, 1000, None)


def test_layers_that_are_more_than_their_weight_are_called():
    made, x = layer(), torch.randn(2, 9, 10)
    expected, cache = made(x).output, made.new_cache()
    made(x[:, :8], cache=cache)
    made.value.register_forward_hook(lambda module, args, output: 2 * output)
    doubled = made(x[:, 8:], cache=cache).output - made.output.bias
    torch.testing.assert_close(doubled, 2 * (expected[:, 8:] - made.output.bias))


@each_setting
def test_it_obeys_the_laws_of_layers(settings):
    made = layer(**settings)
    check_layer_laws(made, lambda module: module(torch.ones(2, 5, 10).cumsum(1).sin()).output)
    check_causal(lambda x: made(x).output, torch.randn(2, 6, 10))


def test_a_longer_padded_batch_gives_the_same_rows():
    made = layer(causal=False, d_rotary=4)
    x, key_mask = torch.randn(2, 8, 10), torch.arange(8).expand(2, -1) < 5
    longer = made(x, key_mask=key_mask).output[:, :5]
    torch.testing.assert_close(longer, made(x[:, :5]).output)
    hidden = x.clone()
    hidden[:, 5:] = torch.nan
    assert torch.equal(made(hidden, key_mask=key_mask).output[:, :5], longer)


def test_half_precision_keeps_its_type_and_autocast_works():
    made, x = layer(d_rotary=2, learned_sinks=True), torch.randn(2, 6, 10)
    expected = made(x).output
    half = copy.deepcopy(made).bfloat16()(x.bfloat16()).output
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, atol=0.2, rtol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(made(x).output.float(), expected, atol=0.2, rtol=0.1)


@pytest.mark.slow
@pytest.mark.unhooked
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@torch.no_grad()
def test_compiles_in_one_graph_with_a_cache_and_without(backend):
    made, x = layer(d_rotary=2, learned_sinks=True, gate="head"), torch.randn(2, 6, 10)
    compiled = torch.compile(made, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(x).output, made(x).output)
    cache = made.new_cache()
    compiled(x[:, :5], cache=cache)
    torch.testing.assert_close(compiled(x[:, 5:], cache=cache).output, made(x).output[:, 5:])


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_latent": 0}, "d_latent must be positive; got d_latent 0"),
        ({"d_rotary": 3}, "d_rotary must be even and at least 0; got d_rotary 3"),
        ({"d_key": 8}, "d_key must be a positive multiple of num_heads; got d_key 8, num_heads 3"),
        ({"d_value": 8}, "d_value must be a positive multiple .*; got d_value 8, num_heads 3"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\); got dropout 1.0"),
        ({"gate": "row"}, "gate must be 'head', 'element' or None; got gate 'row'"),
    ],
)
def test_refuses_settings(change, message):
    with pytest.raises(ValueError, match=f"LatentAttention: {message}"):
        layer(**change)


def test_decoding_needs_causal_attention():
    with pytest.raises(ValueError, match=r"LatentAttention\.new_cache: decoding needs causal"):
        layer(causal=False).new_cache()
