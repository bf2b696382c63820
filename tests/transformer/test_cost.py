from dataclasses import replace

import pytest
import torch
from rules import first_every_day
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from askew.tradeoffs import count_flops, count_parameters
from askew.transformer import (
    AsymmetricEncoderDecoder,
    Encoder,
    EncoderDecoderConfig,
    ParameterCount,
    PositionConfig,
    StackConfig,
    cache_bytes,
    parameter_count,
    stack_flops,
    stack_parameters,
    training_flops,
)

pytestmark = pytest.mark.unhooked  # counts are no tensors

ENCODER = StackConfig(d_model=12, num_layers=3, num_heads=3, d_ff=17)
DECODER = StackConfig(d_model=8, num_layers=2, num_heads=4, d_ff=13, num_kv_heads=2, d_key=20)
GATED = replace(DECODER, gate="head")
LATENT = replace(DECODER, num_kv_heads=None, d_latent=7, d_rotary=2, gate="head", d_value=12)
SHARED = replace(DECODER, num_layers=5, kv_shared_every=3)
CONFIG = EncoderDecoderConfig(source_vocab=31, target_vocab=37, encoder=ENCODER, decoder=DECODER)
VARIANTS = [
    CONFIG,
    replace(CONFIG, tie_embeddings="none"),
    replace(CONFIG, encoder=replace(ENCODER, qk_norm=True, num_kv_heads=1)),
    replace(CONFIG, source_vocab=37, encoder=DECODER, tie_embeddings="all"),
    replace(CONFIG, source_vocab=37, tie_embeddings="all"),
    replace(CONFIG, source_vocab=37, tie_embeddings="all", d_embedding=5),
    replace(CONFIG, source_vocab=37, tie_embeddings="all", d_embedding=12, adapter="shared"),
    replace(CONFIG, adapter="shared"),
    replace(CONFIG, decoder=replace(DECODER, d_value=12), output_bias=True),
    replace(CONFIG, encoder=replace(ENCODER, learned_sinks=True), decoder=GATED),
    replace(CONFIG, encoder=replace(ENCODER, gate="element", d_value=6)),
    replace(CONFIG, encoder=replace(ENCODER, d_latent=5, d_rotary=4), decoder=LATENT),
    replace(CONFIG, encoder=replace(ENCODER, d_latent=3)),
    replace(CONFIG, encoder=replace(ENCODER, kv_shared_every=2), decoder=SHARED),
    replace(
        CONFIG,
        encoder=replace(ENCODER, norm="post", final_norm=False, positions=PositionConfig(width=14)),
        decoder=replace(
            DECODER, embedding_norm=True, positions=PositionConfig(kind="learned", length=21)
        ),
    ),
]


@pytest.mark.parametrize("config", VARIANTS)
def test_parameters_are_counted_as_built(config):
    model = AsymmetricEncoderDecoder(config)
    bridge = 0 if model.adapter is None else count_parameters(model.adapter)
    expected = ParameterCount(
        count_parameters(model),
        count_parameters(model.encoder),
        count_parameters(model.decoder) + bridge,
    )
    assert parameter_count(config) == expected


def test_frozen_numbers_do_not_count_and_shared_ones_count_once():
    layer = nn.Linear(3, 2)
    model = nn.ModuleList([layer, layer, nn.Linear(5, 1).requires_grad_(False)])
    assert count_parameters(model) == 8


def width_of_pairs(side):
    """Width of the queries and values of all heads, as the kernel sees them."""
    both = (side.d_key or side.d_model) + (side.d_value or side.d_model)
    if side.d_latent is None:
        return both
    return min(both, 2 * side.d_latent * side.num_heads) + side.d_rotary * side.num_heads


@pytest.mark.parametrize("config", VARIANTS)
@pytest.mark.parametrize(
    ("source_length", "target_length"), first_every_day((7, 5), (2, 3), (4, 11))
)
def test_operations_equal_a_count_of_all_matrix_products(config, source_length, target_length):
    """PyTorch's counter sees every product except the attention kernel's on a CPU.

    A single query with unequal widths does without the kernel, so lengths are above 1.
    """
    model = AsymmetricEncoderDecoder(config)
    source = torch.ones(1, source_length, dtype=torch.long)
    target = torch.ones(1, target_length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(source, target)
    linear = sum(
        count
        for operator, count in counter.get_flop_counts()["Global"].items()
        if "attention" not in str(operator)
    )
    s, t, encoder, decoder = source_length, target_length, config.encoder, config.decoder
    kernel = 2 * s * s * width_of_pairs(encoder) * encoder.num_layers
    kernel += 2 * t * t * width_of_pairs(decoder) * decoder.num_layers
    across = replace(decoder, d_latent=None, d_rotary=0)
    kernel += 2 * t * s * width_of_pairs(across) * decoder.num_layers
    assert training_flops(config, source_length=s, target_length=t) == 3 * (linear + kernel)


@pytest.mark.parametrize("config", VARIANTS)
def test_operations_of_a_training_step_equal_what_is_counted_as_it_runs(config):
    """Keys as wide as values and no sinks: else a kernel does more."""
    sides, plain = ("encoder", "decoder"), {"d_key": None, "d_value": None, "learned_sinks": False}
    plain["d_rotary"] = 0
    equal_widths = {side: replace(getattr(config, side), **plain) for side in sides}
    config = replace(config, **equal_widths)
    model = AsymmetricEncoderDecoder(config).train()
    source, target = (torch.ones(3, length, dtype=torch.long) for length in (7, 5))
    counted = count_flops(lambda: model(source, target).logsumexp(-1).sum().backward())
    assert counted == 3 * training_flops(config, source_length=7, target_length=5)


def test_recurrent_layers_are_counted():
    layer, x = nn.LSTM(3, 5, batch_first=True), torch.ones(2, 7, 3)
    assert count_flops(lambda: layer(x)) == 2 * (2 * 7) * 4 * 5 * (3 + 5)
    assert torch.backends.mkldnn.enabled, "what was switched off is on again"


@pytest.mark.parametrize("config", [ENCODER, SHARED, replace(ENCODER, qk_norm=True)])
def test_a_stack_alone_is_counted_as_built(config):
    assert stack_parameters(config) == count_parameters(Encoder(config))


@torch.no_grad()
def test_the_operations_of_a_stack_are_those_that_run():
    stack = Encoder(ENCODER)
    assert stack_flops(ENCODER, 7) == count_flops(lambda: stack(torch.ones(1, 7, 12)))


@pytest.mark.parametrize("decoder", [DECODER, LATENT, SHARED, replace(DECODER, num_kv_heads=None)])
def test_bytes_of_the_cache_are_those_of_its_tensors(decoder):
    model = AsymmetricEncoderDecoder(replace(CONFIG, decoder=decoder)).eval()
    caches, memory = model.new_caches(), torch.zeros(2, 5, 12)
    model.decode(torch.ones(2, 7, dtype=torch.long), memory, caches=caches)
    kept = [tensor for each in caches for tensor in vars(each.self_attention).values()]
    numbers = sum(tensor.numel() for tensor in kept if isinstance(tensor, torch.Tensor))
    assert cache_bytes(decoder) * 2 * 7 == 4 * numbers
    assert cache_bytes(decoder, itemsize=2) * 2 * 7 == 2 * numbers
