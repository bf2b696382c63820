from dataclasses import replace

import pytest
import torch
from adapters import WRAPPERS, merge
from laws import check_causal, check_layer_laws
from torch import nn

from askew.attention import sinusoidal_positions
from askew.transformer import (
    AsymmetricEncoderDecoder,
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderDecoderConfig,
    EncoderLayer,
    FeedForward,
    LayerCache,
    StackConfig,
    Trace,
)

ENCODER = StackConfig(d_model=22, num_layers=3, num_heads=11, d_ff=29, dropout=0.2)
DECODER = StackConfig(d_model=14, num_layers=2, num_heads=7, d_ff=23, d_key=21, dropout=0.1)


def config(**changes):
    plain = EncoderDecoderConfig(source_vocab=31, target_vocab=37, encoder=ENCODER, decoder=DECODER)
    return replace(plain, **changes)


def model(**changes):
    torch.manual_seed(3)
    return AsymmetricEncoderDecoder(config(**changes)).eval()


def tokens():
    torch.manual_seed(4)
    return torch.randint(1, 31, (3, 8)), torch.randint(1, 37, (3, 6))


def copy_attention(ours, theirs):
    weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
    with torch.no_grad():
        for layer, weight, bias in zip(
            (ours.query, ours.key, ours.value), weights, biases, strict=True
        ):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    ours.output.load_state_dict(theirs.out_proj.state_dict())


def copy_rest(ours, theirs, norms):
    ours.feed_forward.expand.load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward.contract.load_state_dict(theirs.linear2.state_dict())
    for mine, other in zip(norms, ("norm1", "norm2", "norm3"), strict=False):
        mine.load_state_dict(getattr(theirs, other).state_dict())


def randomise(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_equal_stacks_equal_the_model_built_of_torch_parts(activation):
    side = StackConfig(d_model=12, num_layers=2, num_heads=3, d_ff=20, activation=activation)
    ours = model(encoder=side, decoder=side)
    shape = {"dim_feedforward": 20, "activation": activation, "norm_first": True}
    layer = nn.TransformerEncoderLayer(12, 3, batch_first=True, **shape)
    encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(12), enable_nested_tensor=False)
    theirs = nn.Transformer(12, 3, 2, 2, batch_first=True, custom_encoder=encoder, **shape).eval()
    randomise(theirs)
    for mine, other in zip(ours.encoder.layers, theirs.encoder.layers, strict=True):
        copy_attention(mine.attention, other.self_attn)
        copy_rest(mine, other, (mine.attention_norm, mine.feed_forward_norm))
    for mine, other in zip(ours.decoder.layers, theirs.decoder.layers, strict=True):
        copy_attention(mine.attention, other.self_attn)
        copy_attention(mine.cross_attention, other.multihead_attn)
        norms = (mine.attention_norm, mine.cross_attention_norm, mine.feed_forward_norm)
        copy_rest(mine, other, norms)
    ours.encoder.norm.load_state_dict(theirs.encoder.norm.state_dict())
    ours.decoder.norm.load_state_dict(theirs.decoder.norm.state_dict())

    source, target = tokens()
    source_mask = torch.arange(8) < torch.tensor([[8], [5], [3]])
    positions = torch.arange(8.0)[:, None] * 10_000 ** (-torch.arange(0, 12, 2) / 12)
    positions = torch.cat([positions.sin(), positions.cos()], dim=1)
    embedded = ours.source_embedding.weight[source] * 12**0.5 + positions
    prefix = ours.target_embedding.weight[target] * 12**0.5 + positions[:6]
    expected = theirs(
        embedded,
        prefix,
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(6).isinf(),
        src_key_padding_mask=~source_mask,
        memory_key_padding_mask=~source_mask,
    )
    expected = expected @ ours.target_embedding.weight.T
    actual = ours(source, target, source_mask=source_mask)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tie_embeddings", ["none", "output"])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_every_width_different_and_every_parameter_learns(tie_embeddings, qk_norm):
    encoder, decoder = (replace(side, qk_norm=qk_norm) for side in (ENCODER, DECODER))
    net = model(tie_embeddings=tie_embeddings, encoder=encoder, decoder=decoder)
    source, target = tokens()
    assert net(source, target).shape == (3, 6, 37)
    check_layer_laws(net, lambda module: module(source, target))


def test_all_embeddings_may_be_one():
    net = model(
        source_vocab=37, encoder=replace(ENCODER, d_model=14, num_heads=7), tie_embeddings="all"
    )
    tables = [name for name, p in net.named_parameters() if p.shape == (37, 14)]
    assert tables == ["target_embedding.weight"]
    check_layer_laws(net, lambda module: module(*tokens()))


def test_a_later_target_token_never_changes_earlier_logits():
    net, (source, target) = model(), tokens()
    check_causal(lambda t: net(source, t % 37), target)


def test_a_longer_padded_batch_gives_the_same_rows():
    net, (source, target) = model(), tokens()
    padding = torch.zeros(3, 5, dtype=torch.long)
    mask = torch.arange(13).expand(3, -1) < 8
    longer = net(torch.cat([source, padding], 1), torch.cat([target, padding], 1), source_mask=mask)
    torch.testing.assert_close(longer[:, :6], net(source, target))
    target_mask = torch.arange(11).expand(3, -1) < 6
    masked = net(
        torch.cat([source, padding], 1),
        torch.cat([target, padding], 1),
        source_mask=mask,
        target_mask=target_mask,
    )
    torch.testing.assert_close(masked[:, :6], net(source, target))


def test_rows_do_not_meet():
    net, (source, target) = model(), tokens()
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(net(source[order], target[order]), net(source, target)[order])


def test_the_source_is_read_in_order():
    net, (source, target) = model(), tokens()
    assert not torch.allclose(net(source.flip(1), target), net(source, target))


def test_cached_decoding_equals_the_whole():
    net, (source, target) = model(), tokens()
    mask = torch.arange(8) < torch.tensor([[8], [5], [3]])
    memory, caches = net.encode(source, source_mask=mask), net.new_caches()
    steps = [
        net.decode(target[:, t : t + n], memory, source_mask=mask, caches=caches)
        for t, n in ((0, 1), (1, 1), (2, 4))
    ]
    whole = net(source, target, source_mask=mask)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    assert all(isinstance(cache, LayerCache) for cache in caches)
    assert [cache.cross_attention.length for cache in caches] == [8, 8]


def test_dropout_acts_on_each_side_at_its_own_rate():
    net = model()
    for stack, first, rate in (
        (net.encoder, net.encoder_dropout, 0.2),
        (net.decoder, net.decoder_dropout, 0.1),
    ):
        assert {first.p} | {layer.dropout.p for layer in stack.layers} == {rate}
        assert {layer.feed_forward.dropout.p for layer in stack.layers} == {0.0}
    net.train()
    source, target = tokens()
    assert not torch.equal(net(source, target), net(source, target))


def test_layers_and_stacks_stand_alone():
    torch.manual_seed(0)
    x, memory = torch.randn(2, 5, 14), torch.randn(2, 4, 22)
    check_layer_laws(FeedForward(DECODER), lambda layer: layer(x))
    check_layer_laws(EncoderLayer(ENCODER), lambda layer: layer(memory))
    check_layer_laws(Encoder(ENCODER), lambda stack: stack(memory))
    check_layer_laws(DecoderLayer(DECODER, 22), lambda layer: layer(x, memory))
    check_layer_laws(Decoder(DECODER, 22), lambda stack: stack(x, memory))


@pytest.mark.unhooked
@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_compiles_in_one_graph(backend):
    net, (source, target) = model(), tokens()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(source, target), net(source, target))


def shared(**changes):
    return model(source_vocab=37, tie_embeddings="all", **changes)


@pytest.mark.parametrize("width", [None, 5, 22, 14, 30])
def test_one_table_is_read_and_written_through_a_map_where_a_side_is_wider_or_narrower(width):
    """Folding the maps into two plain tables gives the same model."""
    net = shared(d_embedding=width).eval()
    table = net.target_embedding.weight
    assert table.shape == (37, 14 if width is None else width)
    folded = model(source_vocab=37).eval()
    state = {n: w for n, w in net.state_dict().items() if "projection" not in n}
    for side, projection in (("source", net.source_projection), ("target", net.target_projection)):
        mapped = table if projection is None else table @ projection.weight.T
        state[f"{side}_embedding.weight"] = mapped.detach()
    folded.load_state_dict(state)
    source, target = torch.randint(37, (2, 6)), torch.randint(37, (2, 4))
    torch.testing.assert_close(net(source, target), folded(source, target), rtol=1e-4, atol=1e-4)


def test_one_table_of_equal_widths_needs_no_map():
    net = shared(encoder=replace(DECODER, num_layers=3))
    assert net.source_projection is None
    assert net.target_projection is None


def test_a_shared_adapter_is_one_map_before_every_layer():
    net = model(adapter="shared").eval()
    plain = model(adapter="shared").eval()
    source, target = torch.randint(31, (2, 6)), torch.randint(31, (2, 4))
    memory = plain.encoder(
        net.source_embedding(source) * 22**0.5 + sinusoidal_positions(6, 22), None
    )
    bridged = memory @ net.adapter.weight.T + net.adapter.bias
    assert bridged.shape == (2, 6, 14)
    torch.testing.assert_close(net(source, target), net.decode(target, bridged))
    assert net.decoder.layers[1].cross_attention.key.in_features == 14


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "feed_forward_dropout"])
def test_each_dropout_acts_in_training_on_its_own_side_alone(name):
    still = {"dropout": 0.0, "attention_dropout": 0.0, "feed_forward_dropout": 0.0}
    source, target = torch.randint(31, (2, 6)), torch.randint(31, (2, 4))
    for side, plain in (("encoder", ENCODER), ("decoder", DECODER)):
        quiet = {"encoder": replace(ENCODER, **still), "decoder": replace(DECODER, **still)}
        net = model(**quiet | {side: replace(plain, **still | {name: 0.5})}).train()
        assert not torch.equal(net(source, target), net(source, target))
        assert torch.equal(net.encode(source), net.encode(source)) == (side == "decoder")
        net.eval()
        assert torch.equal(net(source, target), net(source, target))


@pytest.mark.parametrize("wrapper", ["adapter", "parametrization", "offload"])
@pytest.mark.parametrize("name", ["target_embedding", "target_projection", "source_projection"])
@pytest.mark.unhooked
def test_what_is_put_around_a_table_or_its_map_counts_on_both_sides(name, wrapper):
    net = model(tie_embeddings="all", target_vocab=31, d_embedding=6)
    source, target = tokens()[0], tokens()[0][:, :6]
    weight = WRAPPERS[wrapper](net, name)
    wrapped = net(source, target)
    merge(net, name, weight)
    torch.testing.assert_close(wrapped, net(source, target))


def test_noise_that_a_hook_adds_to_the_input_stays_away_from_the_output():
    net = model()
    source, target = tokens()
    memory = net.encode(source)
    states = []
    net.decoder.register_forward_hook(lambda _, args, output: states.append(output))
    net.target_embedding.register_forward_hook(lambda _, args, output: output + 1)
    logits = net.decode(target, memory)
    torch.testing.assert_close(logits, states[0] @ net.target_embedding.weight.T)


@pytest.mark.parametrize("name", ["source_mask", "target_mask"])
@pytest.mark.unhooked
def test_masks_that_do_not_fit_are_refused_by_their_names(name):
    net, (source, target) = model(), tokens()
    length = {"source_mask": 8, "target_mask": 6}[name]
    with pytest.raises(ValueError, match=rf"{name} must be \[batch, keys\] \(3, {length}\)"):
        net(source, target, **{name: torch.ones(3, 1, dtype=torch.bool)})
    with pytest.raises(TypeError, match=rf"{name} must be boolean.*{name}=attention_mask.bool"):
        net(source, target, **{name: torch.ones(3, length, dtype=torch.long)})


@torch.no_grad()
def test_a_trace_takes_states_and_weights_and_changes_nothing():
    ours, (source, target) = model(), tokens()
    memory = ours.encode(source)
    encoding, decoding = Trace([], [], []), Trace([], None, [])
    torch.testing.assert_close(ours.encode(source, trace=encoding), memory)
    logits = ours.decode(target, memory)
    torch.testing.assert_close(ours.decode(target, memory, trace=decoding), logits)
    assert [tuple(s.shape) for s in encoding.states] == [(3, 8, 22)] * 4
    assert [tuple(s.shape) for s in decoding.states] == [(3, 6, 14)] * 3
    torch.testing.assert_close(encoding.states[-1], memory)
    x = encoding.states[1]
    torch.testing.assert_close(ours.encoder.layers[1](x), encoding.states[2])
    assert [tuple(w.shape) for w in encoding.attention] == [(3, 11, 8, 8)] * 3
    assert encoding.cross_attention == []
    assert [tuple(w.shape) for w in decoding.cross_attention] == [(3, 7, 6, 8)] * 2
    for weights in encoding.attention + decoding.cross_attention:
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


@torch.no_grad()
def test_rows_of_the_tables_stand_for_tokens():
    ours, (source, target) = model(), tokens()
    rows = ours.source_embedding(source), ours.target_embedding(target)
    assert torch.equal(ours.decode(rows[1], ours.encode(rows[0])), ours(source, target))
