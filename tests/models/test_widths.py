"""Widths are cut where nothing is lost, by what responds, and as formulas count."""

import copy
from dataclasses import replace

import pytest
import torch
from families import small_model
from rules import every_day_each_once
from saved_model import TOKENIZERS
from torch import nn

from askew.models import (
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    check_widths,
    load_translation_model,
    shrink,
)
from askew.text import save_tokenizers
from askew.transformer import EncoderDecoderConfig, PositionConfig, StackConfig, parameter_count

ENCODER = StackConfig(d_model=18, num_layers=3, num_heads=3, d_ff=22)
DECODER = StackConfig(d_model=16, num_layers=2, num_heads=4, d_ff=20)
LEARNED = PositionConfig(kind="learned", offset=2, length=30)
POST = {"norm": "post", "final_norm": False, "embedding_norm": True, "positions": LEARNED}
PLAIN = EncoderDecoderConfig(source_vocab=30, target_vocab=30, encoder=ENCODER, decoder=DECODER)
ALIKE = replace(PLAIN, encoder=replace(ENCODER, d_model=16, num_heads=4))
SHAPES = {
    "plain": PLAIN,
    "own output": replace(PLAIN, tie_embeddings="none", output_bias=True),
    "one table, mapped": replace(PLAIN, tie_embeddings="all"),
    "one table": replace(ALIKE, tie_embeddings="all"),
    "adapter": replace(PLAIN, adapter="shared"),
    "shared keys": replace(PLAIN, decoder=replace(DECODER, num_kv_heads=2, qk_norm=True)),
    "sinks": replace(PLAIN, decoder=replace(DECODER, learned_sinks=True, gate="head")),
    "latent keys": replace(
        PLAIN,
        encoder=replace(ENCODER, d_latent=5),
        decoder=replace(DECODER, d_latent=6, d_rotary=2, gate="element", d_key=12),
    ),
    "keys of other layers": replace(
        PLAIN,
        encoder=replace(ENCODER, kv_shared_every=2),
        decoder=replace(DECODER, kv_shared_every=3, qk_norm=True),
    ),
    "gate": replace(PLAIN, decoder=replace(DECODER, gate="element", d_value=12)),
    "explicit keys": replace(PLAIN, decoder=replace(DECODER, num_kv_heads=4, d_key=8)),
    "as BART": replace(
        ALIKE,
        encoder=replace(ALIKE.encoder, **POST),
        decoder=replace(DECODER, **POST),
        tie_embeddings="all",
    ),
}
SIDES = ("encoder", "decoder")
CUTS = [
    {"decoder_width": 10},
    {"encoder_width": 9},
    {"encoder_width": 11, "decoder_width": 11},
    {"decoder_heads": 2},
    {"encoder_heads": 1, "decoder_ff": 5},
    {"decoder_width": 6, "decoder_heads": 2, "decoder_ff": 3, "encoder_ff": 1, "decoder_layers": 1},
]
each_shape = pytest.mark.parametrize("plain", SHAPES.values(), ids=SHAPES)


def made(plain):
    torch.manual_seed(0)
    model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain)).eval()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.4)
    return model


def batches(count=2):
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(count):
        source, target = (torch.randint(3, 30, (4, n), generator=generator) for n in (7, 6))
        mask = torch.arange(7) < torch.tensor([[7], [7], [4], [2]])
        target[1, 4:] = -100
        made.append({"input_ids": source, "attention_mask": mask.long(), "labels": target})
    return made


@torch.no_grad()
def logits(model):
    given = batches()[0]
    target = given.pop("labels").clamp(min=0)
    return model(**given, decoder_input_ids=target).logits


def close(one, other, tolerance=1e-9):
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


# What is kept.


@each_shape
def test_the_same_widths_are_the_same_model(plain):
    model = made(plain)
    model.generation_config.length_penalty = 0.5
    sizes = {
        f"{side}_{name}": getattr(getattr(plain, side), field)
        for side in SIDES
        for name, field in (("width", "d_model"), ("heads", "num_heads"), ("ff", "d_ff"))
    }
    student = shrink(model, **sizes, batches=batches())
    assert torch.equal(logits(student), logits(model))
    assert student.config.to_plain() == plain
    assert student.generation_config.length_penalty == 0.5


@pytest.mark.parametrize(("shape", "cut"), every_day_each_once([*SHAPES], CUTS))
def test_a_student_has_the_widths_and_is_counted_saved_and_cut_again(shape, cut, tmp_path):
    model = made(SHAPES[shape])
    before = copy.deepcopy(model.state_dict())
    student = shrink(model, **cut, batches=batches())
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    config = student.config.to_plain()
    for name, number in cut.items():
        side, kind = name.split("_")
        fields = {"width": "d_model", "heads": "num_heads", "ff": "d_ff", "layers": "num_layers"}
        assert getattr(getattr(config, side), fields[kind]) == number
    counted = sum(weight.numel() for weight in student.parameters())
    assert parameter_count(config).total == counted < sum(p.numel() for p in model.parameters())
    source = batches()[0]["input_ids"]
    settings = {"max_length": 8, "do_sample": False}
    expected = student.generate(source, **settings)
    assert torch.equal(student.generate(source, **settings, use_cache=False), expected)
    student.save_pretrained(tmp_path)
    save_tokenizers(TOKENIZERS, tmp_path)
    loaded = load_translation_model(tmp_path)
    assert torch.equal(logits(loaded.eval()), logits(student))
    again = shrink(loaded, decoder_width=5, batches=batches())
    assert again.config.hidden_size == 5
    assert torch.isfinite(logits(again)).all()


def test_type_mode_and_what_learns_are_kept():
    model = made(PLAIN).double().train()
    model.model.encoder.requires_grad_(False)
    student = shrink(model, decoder_width=8, batches=batches())
    assert student.training
    assert model.training
    assert student.dtype == torch.float64
    assert not any(weight.requires_grad for weight in student.model.encoder.parameters())
    assert all(weight.requires_grad for weight in student.model.decoder.parameters())
    names = {hook for module in model.modules() for hook in module._forward_hooks}
    assert not names


# Nothing is lost where nothing was.


def silence(linear, places, *, columns):
    """Make what leaves some units, or some heads, zero."""
    with torch.no_grad():
        if columns:
            linear.weight[:, places] = 0
        else:
            linear.weight[places] = 0
            if linear.bias is not None:
                linear.bias[places] = 0


@each_shape
def test_units_that_reach_nothing_are_cut_without_a_trace(plain):
    sides = {side: replace(getattr(plain, side), activation="gelu") for side in SIDES}
    model = made(replace(plain, **sides)).double()  # of other units none is silent
    for layer in (*model.model.encoder.layers, *model.model.decoder.layers):
        silence(layer.feed_forward.expand, [1, 4], columns=False)  # the activation of 0 is 0
        silence(layer.feed_forward.contract, [1, 4], columns=True)
    encoder, decoder = plain.encoder.d_ff - 2, plain.decoder.d_ff - 2
    student = shrink(model, encoder_ff=encoder, decoder_ff=decoder, batches=batches())
    close(logits(student), logits(model))


def head_places(attention, heads):
    """Return the features of some heads among those of all."""
    each = attention.output.in_features // attention.num_heads
    return (torch.tensor(heads)[:, None] * each + torch.arange(each)).flatten()


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "shared keys"])
def test_heads_that_reach_nothing_are_cut_without_a_trace(name):
    model = made(SHAPES[name]).double()
    for layer in model.model.decoder.layers:
        for attention in (layer.attention, layer.cross_attention):
            places = head_places(attention, [2])
            silence(attention.output, places, columns=True)
            if attention.value is not None:
                silence(attention.value, places, columns=False)
    close(logits(shrink(model, decoder_heads=3, batches=batches())), logits(model))


def test_of_heads_that_share_keys_as_many_stay_in_every_group():
    model = made(SHAPES["shared keys"])
    student = shrink(model, decoder_heads=2, batches=batches())
    before, after = (one.model.decoder.layers[0].cross_attention for one in (model, student))
    assert (after.num_heads, after.num_kv_heads) == (2, 2)
    assert torch.equal(after.key.weight, before.key.weight)
    rows = [before.query.weight[head_places(before, [head])] for head in range(4)]
    kept = after.query.weight.unflatten(0, (2, -1))
    for group in range(2):
        same = [torch.equal(kept[group], row) for row in rows]
        assert sum(same[2 * group : 2 * group + 2]) == 1


def test_layers_that_share_keys_keep_the_heads_that_respond_most_in_all_of_them():
    model = made(replace(PLAIN, decoder=replace(DECODER, kv_shared_every=2, gate="head")))
    first, second = (layer.attention for layer in model.model.decoder.layers)
    with torch.no_grad():  # the second layer alone would keep head 0
        first.value.weight.unflatten(0, (4, -1)).mul_(torch.tensor([1, 2, 30, 4])[:, None, None])
        second.gate.weight.zero_()
        second.gate.bias.copy_(torch.tensor([40, -40, -40, -40]))
    student = shrink(model, decoder_heads=1, batches=batches())
    for before, after in zip((first, second), student.model.decoder.layers, strict=True):
        assert torch.equal(
            after.attention.query.weight, before.query.weight[head_places(before, [2])]
        )
    kept = student.model.decoder.layers[0].attention.value.weight
    assert torch.equal(kept, first.value.weight[head_places(first, [2])])


def test_channels_that_are_always_zero_are_cut_without_a_trace():
    """The other channels come in pairs of opposite sign: the mean of the stream stays zero."""
    quiet = {"positions": LEARNED, "norm": "pre"}
    plain = replace(
        ALIKE, encoder=replace(ALIKE.encoder, **quiet), decoder=replace(DECODER, **quiet)
    )
    model = made(plain).double()
    core = model.model
    pairs = torch.cat([torch.eye(6), -torch.eye(6), torch.zeros(4, 6)]).double()
    with torch.no_grad():
        for table in (core.source_embedding, core.target_embedding):
            table.weight.copy_(table.weight[:, :6] @ pairs.T)
        for positions in (core.source_positions, core.target_positions):
            positions.table.weight.copy_(positions.table.weight[:, :6] @ pairs.T)
        for layer in (*core.encoder.layers, *core.decoder.layers):
            outputs = [layer.attention.output, layer.feed_forward.contract]
            outputs += [layer.cross_attention.output] if hasattr(layer, "cross_attention") else []
            for linear in outputs:
                linear.weight.copy_(pairs @ linear.weight[:6])
                linear.bias.copy_(pairs @ linear.bias[:6])
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
    expected = logits(model)
    assert torch.unique(expected).numel() > 100
    student = shrink(model, encoder_width=12, decoder_width=12, batches=batches())
    assert student.config.to_plain().decoder.embedding_scale == 4.0
    close(logits(student), expected, 1e-4)


# Which are kept.


@torch.no_grad()
def permuted(model, *, units, heads, channels):
    """Return the same function with units, heads and the decoder's channels in another order."""
    other = copy.deepcopy(model)
    places = head_places(other.model.decoder.layers[0].attention, heads.tolist())
    rows = {"expand": units, "query": places, "key": places, "value": places}
    columns = {"contract": units, "output": places}
    for name, weight in other.model.named_parameters():
        if not name.startswith(("decoder", "target")):
            continue
        module = name.split(".")[-2]
        weight.copy_(weight[rows.get(module, channels if "decoder" in name else slice(None))])
        reads_encoder = "cross_attention.key" in name or "cross_attention.value" in name
        if weight.dim() == 2 and not reads_encoder:
            weight.copy_(weight[:, columns.get(module, channels)])
    return other


def test_the_order_of_units_heads_and_channels_changes_nothing():
    learned = replace(DECODER, positions=LEARNED)
    model = made(replace(PLAIN, decoder=learned)).double()
    generator = torch.Generator().manual_seed(4)
    orders = {
        name: torch.randperm(count, generator=generator)
        for name, count in (("units", 20), ("heads", 4), ("channels", 16))
    }
    other = permuted(model, **orders)
    close(logits(other), logits(model), 1e-9)
    cut = {"decoder_width": 9, "decoder_heads": 2, "decoder_ff": 7}
    one, two = (shrink(m, **cut, batches=batches()) for m in (model, other))
    assert (logits(one) - logits(model)).abs().max() > 1e-3
    close(logits(two), logits(one), 1e-9)


def test_what_responds_most_is_kept_and_padding_does_not_count():
    model = made(PLAIN)
    seen = []

    def hook(module, inputs):
        seen.append(inputs[0].detach().abs())

    block = model.model.decoder.layers[1].feed_forward
    handle = block.contract.register_forward_pre_hook(hook)
    given = batches()
    student = shrink(model, decoder_ff=6, batches=given)
    handle.remove()
    real = torch.cat([one["labels"] != -100 for one in given])
    means = torch.cat(seen)[real].mean(0)
    kept = means.topk(6).indices.sort().values
    new = student.model.decoder.layers[1].feed_forward
    assert torch.equal(new.expand.weight, block.expand.weight[kept])
    assert torch.equal(new.contract.weight, block.contract.weight[:, kept])
    other = [{**one, "labels": one["labels"].clone()} for one in given]
    for one in other:  # what stands in padding changes nothing
        one["input_ids"] = one["input_ids"].masked_fill(one["attention_mask"] == 0, 29)
    again = shrink(model, decoder_ff=6, encoder_width=9, batches=other)
    first = shrink(model, decoder_ff=6, encoder_width=9, batches=given)
    assert torch.equal(logits(again), logits(first))


def test_layers_are_measured_where_they_stood():
    model = made(PLAIN)
    whole = shrink(model, encoder_ff=5, batches=batches())
    cut = shrink(model, encoder_ff=5, encoder_layers=1, keep=[2], batches=batches())
    one, other = whole.model.encoder.layers[2], cut.model.encoder.layers[0]
    assert torch.equal(one.feed_forward.expand.weight, other.feed_forward.expand.weight)


def test_sides_that_become_as_narrow_share_a_narrow_table():
    plain = SHAPES["one table"]
    student = shrink(made(plain), encoder_width=10, decoder_width=10, batches=batches())
    assert student.model.target_embedding.weight.shape == (30, 10)
    assert student.model.target_projection is None
    one = shrink(made(plain), decoder_width=10, batches=batches()).model
    assert one.target_embedding.weight.shape == (30, 16)
    assert one.source_projection is None
    chosen = one.target_projection.weight
    assert torch.equal(chosen.sum(1), torch.ones(10))
    assert set(chosen.flatten().tolist()) == {0.0, 1.0}


def test_attention_to_the_encoder_reads_its_whole_width():
    student = shrink(made(PLAIN), decoder_width=8, batches=batches())
    attention = student.model.decoder.layers[0].cross_attention
    assert attention.key.in_features == attention.value.in_features == 18
    assert attention.query.in_features == 8


def test_a_converted_model_is_made_asymmetric():
    model = AsymmetricTranslationModel.from_transformers(small_model("Marian"))
    student = shrink(model, decoder_width=8, decoder_layers=1, batches=batches())
    plain = student.config.to_plain()
    assert (plain.encoder.d_model, plain.decoder.d_model) == (16, 8)
    assert plain.decoder.positions.width == 16
    assert torch.isfinite(logits(student)).all()
    with pytest.raises(ValueError, match="both sides must be as wide"):
        student.to_transformers()


# Bad input.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decoder_heads": 5}, r"decoder_heads must be in \[1, 4\], what the model has; got .* 5"),
        ({"encoder_width": 19}, r"encoder_width must be in \[2, 18\]"),
        ({"encoder_width": 1}, r"encoder_width must be in \[2, 18\]"),
        ({"decoder_ff": 0}, r"decoder_ff must be in \[1, 20\]"),
        ({"decoder_width": 8}, "batches must show what matters; got batches None"),
        ({"decoder_width": 8, "batches": []}, "batches must hold at least one; got none"),
        ({"decoder_ff": 8, "batches": [{}]}, "a batch must hold input_ids.*; got nothing"),
    ],
)
def test_what_does_not_fit_is_refused(settings, words):
    with pytest.raises(ValueError, match=f"^shrink: .*{words}"):
        shrink(made(PLAIN), **settings)


def test_groups_and_maps_that_would_break_are_refused():
    with pytest.raises(ValueError, match="decoder_heads must be a multiple of num_kv_heads"):
        check_widths(made(SHAPES["shared keys"]), decoder_heads=3)
    with pytest.raises(ValueError, match="encoder_width must not be that of the shared table"):
        check_widths(made(SHAPES["one table, mapped"]), encoder_width=16)


def test_models_of_transformers_are_refused_with_the_way():
    with pytest.raises(
        ValueError, match=r"got BartFor.*\. Convert it with Asym.*from_transformers"
    ):
        shrink(small_model("Bart"), decoder_width=8, batches=batches())
    with pytest.raises(ValueError, match=r"got T5For.*\. Those that can be converted: Marian"):
        shrink(small_model("T5"), decoder_ff=8, batches=batches())
    check_widths(small_model("T5"))  # nothing is to be cut
