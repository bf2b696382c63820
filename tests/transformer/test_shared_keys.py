"""Stacks whose layers share keys and values."""

import warnings
from dataclasses import replace

import pytest
import torch
from laws import check_causal
from oracles import naive_attention
from torch import nn
from torch.nn.functional import layer_norm

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
from askew.transformer import (
    AsymmetricEncoderDecoder,
    DecoderLayer,
    EncoderDecoderConfig,
    EncoderLayer,
    LayerOutput,
    StackConfig,
)

ENCODER = StackConfig(d_model=10, num_layers=4, num_heads=2, d_ff=13, kv_shared_every=2)
DECODER = StackConfig(
    d_model=12, num_layers=5, num_heads=4, d_ff=17, num_kv_heads=2, d_key=8, kv_shared_every=3
)
CONFIG = EncoderDecoderConfig(source_vocab=31, target_vocab=37, encoder=ENCODER, decoder=DECODER)


def made(config=CONFIG):
    torch.manual_seed(0)
    model = AsymmetricEncoderDecoder(config).eval()
    for name, weight in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(weight, std=1.2 * weight.shape[-1] ** -0.5)
    return model


def tokens():
    torch.manual_seed(1)
    return torch.randint(1, 31, (3, 8)), torch.randint(1, 37, (3, 7))


@pytest.mark.parametrize("every", [2, 7])
def test_groups_of_one_layer_are_the_plain_stack(every):
    sides = {"encoder": replace(ENCODER, num_layers=1), "decoder": replace(DECODER, num_layers=1)}
    models = []
    for shared in (every, 1):
        torch.manual_seed(0)
        changed = {name: replace(side, kv_shared_every=shared) for name, side in sides.items()}
        models.append(AsymmetricEncoderDecoder(replace(CONFIG, **changed)).eval())
    ours, plain = (model.state_dict() for model in models)
    assert list(ours) == list(plain)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)
    assert torch.equal(models[0](*tokens()), models[1](*tokens()))


def attended(layer, maker, queries, keys, causal, heads, kv_heads):
    """Self-attention by loops; the weights of keys are those of another layer."""
    batch, length, _ = queries.shape

    def split(x, count):
        return x.view(batch, length, count, -1).transpose(1, 2)

    q = split(layer.query(queries), heads)
    k, v = split(maker.key(keys), kv_heads), split(maker.value(keys), kv_heads)
    visible = torch.ones(length, length, dtype=torch.bool)
    visible = (visible.tril() if causal else visible).expand(batch, heads, length, length)
    found, _ = naive_attention(q, k, v, visible, scale=q.shape[-1] ** -0.5)
    return layer.output(found.transpose(1, 2).flatten(2))


@torch.no_grad()
def by_hand(stack, config, x, *, causal, across=None):
    every, kv_heads = config.kv_shared_every, config.num_kv_heads or config.num_heads
    for i, layer in enumerate(stack.layers):
        norm = layer.attention_norm
        read = layer_norm(x, x.shape[-1:], norm.weight, norm.bias)
        if i % every == 0:
            maker, keys = layer.attention, read
        x = x + attended(layer.attention, maker, read, keys, causal, config.num_heads, kv_heads)
        if across is not None:
            x = x + layer.cross_attention(layer.cross_attention_norm(x), across).output
        x = x + layer.feed_forward(layer.feed_forward_norm(x))
    return stack.norm(x)


def test_stacks_equal_loops_in_which_the_first_of_a_group_makes_the_keys():
    model = made().double()
    x, z = torch.randn(2, 6, 10).double(), torch.randn(2, 5, 12).double()
    memory = model.encoder(x)
    torch.testing.assert_close(memory, by_hand(model.encoder, ENCODER, x, causal=False))
    expected = by_hand(model.decoder, DECODER, z, causal=True, across=memory)
    torch.testing.assert_close(model.decoder(z, memory), expected)


def test_layers_after_the_first_of_a_group_have_no_maps_of_keys_and_values():
    model = made()
    for stack, makers in ((model.encoder, [0, 2]), (model.decoder, [0, 3])):
        own = [i for i, layer in enumerate(stack.layers) if layer.attention.key is not None]
        assert own == makers == [i for i, one in enumerate(stack.layers) if one.attention.value]
    assert all(layer.cross_attention.key is not None for layer in model.decoder.layers)
    assert (ENCODER.key_layers, DECODER.key_layers) == (2, 2)


def test_cached_decoding_equals_the_whole_and_fills_the_caches_of_makers_alone():
    model, (source, target) = made(), tokens()
    mask = torch.arange(8) < torch.tensor([[8], [3], [5]])
    memory = model.encode(source, source_mask=mask)
    hidden = torch.ones(3, 7, dtype=torch.bool)
    hidden[1, :2] = False
    whole = model.decode(target, memory, source_mask=mask, target_mask=hidden)
    caches = model.new_caches()
    steps = [
        model.decode(
            target[:, a:b], memory, source_mask=mask, target_mask=hidden[:, :b], caches=caches
        )
        for a, b in ((0, 3), (3, 4), (4, 7))
    ]
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-4, rtol=1e-4)
    assert [cache.self_attention.length for cache in caches] == [7, 0, 0, 7, 0]
    assert [cache.cross_attention.length for cache in caches] == [8] * 5


def test_the_future_stays_hidden_and_padding_changes_nothing():
    model, (source, target) = made(), tokens()
    check_causal(lambda one: model(source, one), target.clamp(max=35))
    longer = torch.cat([source, torch.zeros(3, 4, dtype=torch.long)], 1)
    mask = torch.arange(12).expand(3, 12) < 8
    padded = model(longer, target, source_mask=mask)
    torch.testing.assert_close(padded, model(source, target), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.unhooked
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_in_one_graph_also_with_a_cache(backend):
    model, (source, target) = made(), tokens()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(source, target), model(source, target))
    memory = model.encode(source).detach()

    @torch.compile(fullgraph=True, backend=backend)
    def first_step(target, memory):
        return model.decode(target, memory, caches=model.new_caches())

    torch.testing.assert_close(first_step(target, memory), model.decode(target, memory))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_layers_compute_keys_again_and_have_the_same_gradients(use_reentrant):
    """Keys go from layer to layer as arguments, so computing them twice changes nothing."""
    model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(CONFIG)).train()
    source, target = tokens()
    calls, gradients = [], []
    model.model.decoder.layers[0].attention.key.register_forward_hook(lambda *_: calls.append(1))
    for enabled in (False, True):
        if enabled:
            settings = {"use_reentrant": use_reentrant}
            with warnings.catch_warnings():  # newer versions have another name for it
                warnings.simplefilter("ignore", FutureWarning)
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)
        model.zero_grad()
        torch.manual_seed(5)  # of dropout
        calls.clear()
        model(source, labels=target).loss.backward()
        assert len(calls) == 1 + enabled
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one.abs().sum() > 0 or one.dim() == 1  # a bias of keys moves all scores alike
        torch.testing.assert_close(one, other)


def test_a_layer_that_shares_returns_what_it_has_read():
    first, second = EncoderLayer(ENCODER), EncoderLayer(ENCODER, own_keys=False)
    x = torch.randn(2, 5, 10)
    output = first(x)
    assert isinstance(output, LayerOutput)
    assert output.keys.shape == output.values.shape == (2, 2, 5, 5)
    again = second(output.stream, None, None, output.keys, output.values)
    assert again.keys is output.keys
    assert again.values is output.values
    with pytest.raises(ValueError, match=r"reads those of another; got keys_values None"):
        second(x)
    third = DecoderLayer(DECODER, 10, own_keys=False)
    with pytest.raises(ValueError, match=r"same heads, .*; got shapes \(2, 2, 5, 5\)"):
        third(torch.randn(2, 5, 12), x, output.keys, output.values)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kv_shared_every": 0}, "at least 1, .* got kv_shared_every 0"),
        ({"kv_shared_every": -2}, "got kv_shared_every -2"),
        ({"d_latent": 4, "num_kv_heads": None}, "1 with a latent; .* 3, d_latent 4"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, named):
    with pytest.raises(ValueError, match=rf"StackConfig: kv_shared_every .*{named}"):
        replace(DECODER, **changes)
