"""What self-attention of a stack can be: each decodes, comes back, trains and is searched."""

from dataclasses import replace

import pytest
import torch
from laws import check_layer_laws
from saved_model import CONFIG, DECODER, ENCODER, sentences
from torch import nn

from askew._config import to_dict
from askew.cli._find import SearchOptions
from askew.inspection import inspect_model, record_attention
from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
from askew.optim import AsymmetricOptimizer
from askew.tasks import APPLICATIONS
from askew.tradeoffs import Choice
from askew.tradeoffs._running.tuning import with_values
from askew.transformer import AsymmetricEncoderDecoder

SETTINGS = {
    "sinks": {"learned_sinks": True},
    "a gate for each head": {"gate": "head"},
    "a gate for each feature": {"gate": "element"},
    "latent keys": {"d_latent": 7, "d_rotary": 2},
    "shared keys": {"kv_shared_every": 2},
    "shared keys with sinks and gates": {
        "kv_shared_every": 2,
        "learned_sinks": True,
        "gate": "element",
        "qk_norm": True,
    },
    "all of it": {"d_latent": 6, "learned_sinks": True, "gate": "head"},
}
BUSIEST = ("shared keys with sinks and gates", "all of it")
each_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)

BESIDE = [each for each in SETTINGS.values() if not {"d_latent", "kv_shared_every"} & each.keys()]
"""Settings that only add parameters to those of a plain stack."""


def plain_config(setting):
    return replace(CONFIG, encoder=replace(ENCODER, **setting), decoder=replace(DECODER, **setting))


def made(setting):
    torch.manual_seed(0)
    config = AsymmetricTranslationConfig.from_plain(plain_config(setting))
    model = AsymmetricTranslationModel(config).eval()
    for name, weight in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(weight, std=1.5 * weight.shape[-1] ** -0.5)
    return model


def batch():
    rows = [torch.tensor(row) for row in sentences(4)]
    tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return tokens, (tokens > 0).long()


@pytest.mark.parametrize("setting", BESIDE, ids=str)
def test_it_changes_what_a_stack_computes(setting):
    torch.manual_seed(0)
    ours, plain = (AsymmetricEncoderDecoder(plain_config(each)) for each in (setting, {}))
    shared = {n: w for n, w in ours.state_dict().items() if n in plain.state_dict()}
    plain.load_state_dict(shared, strict=False)
    source, target = torch.randint(3, 99, (2, 7)), torch.randint(3, 99, (2, 5))
    assert (ours.eval()(source, target) - plain.eval()(source, target)).abs().max() > 1e-3


@each_setting
def test_every_parameter_learns(setting):
    model, (tokens, _) = made(setting).model, batch()
    check_layer_laws(model, lambda module: module(tokens, tokens[:, :5].clamp(min=3)))


@each_setting
def test_decoding_with_a_cache_equals_the_whole(setting):
    model, (tokens, mask) = made(setting).model, batch()
    target = torch.randint(3, 99, (4, 9), generator=torch.Generator().manual_seed(1))
    memory = model.encode(tokens, source_mask=mask.bool())
    whole = model.decode(target, memory, source_mask=mask.bool())
    caches = model.new_caches()
    steps = [
        model.decode(target[:, a:b], memory, source_mask=mask.bool(), caches=caches)
        for a, b in ((0, 3), (3, 4), (4, 5), (5, 9))
    ]
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-4, rtol=1e-4)


@each_setting
@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generating_with_a_cache_changes_nothing(setting, num_beams, cache):
    model, (tokens, mask) = made(setting), batch()
    call = {"attention_mask": mask, "num_beams": num_beams, "max_new_tokens": 9}
    whole = model.generate(tokens, use_cache=False, do_sample=False, **call)
    assert whole.unique().numel() > 2
    kept = model.generate(tokens, cache_implementation=cache, do_sample=False, **call)
    assert torch.equal(kept, whole)


@each_setting
def test_saved_and_loaded_is_the_same_model(setting, tmp_path):
    model, (tokens, mask) = made(setting), batch()
    model.save_pretrained(tmp_path)
    loaded = AsymmetricTranslationModel.from_pretrained(tmp_path)
    assert loaded.config.to_plain() == plain_config(setting)
    call = {"input_ids": tokens, "attention_mask": mask, "decoder_input_ids": tokens[:, :4]}
    assert torch.equal(loaded(**call).logits, model(**call).logits)


@each_setting
def test_a_stack_without_it_is_stored_and_named_as_before(setting):
    added = setting.keys() - {"qk_norm"}
    assert not added & to_dict(DECODER).keys()
    assert not any(name in repr(DECODER) for name in added)
    stack = replace(DECODER, **setting)
    assert setting.items() <= to_dict(stack).items()
    assert all(f"{name}={value!r}" in repr(stack) for name, value in setting.items())


@each_setting
def test_it_is_inspected(setting):
    model, (tokens, _) = made(setting), batch()
    with record_attention(model) as seen, torch.no_grad():
        model(tokens, decoder_input_ids=tokens[:, :4])
    readings = {"a text": {name: weights[0] for name, weights in seen.items()}}
    scores = inspect_model(model, readings).attention
    assert len(scores) == ENCODER.num_layers + 2 * DECODER.num_layers
    assert all(0 <= number <= 1 for one in scores for number in one.entropy.tolist())


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(setting, marks=[] if name in BUSIEST else [pytest.mark.slow], id=name)
        for name, setting in SETTINGS.items()
    ],
)
def test_it_is_trained_and_what_it_learnt_is_translated(setting):
    torch.manual_seed(0)
    tokens, mask = batch()
    side = replace(DECODER, dropout=0.0, num_layers=2, **setting)
    config = replace(CONFIG, encoder=side, decoder=side)
    model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(config))
    optimizer = AsymmetricOptimizer(model, {"model": {"lr": 5e-3}})
    wanted = [[*reversed(row), 2] for row in sentences(4)]
    labels = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in wanted], batch_first=True)
    for _ in range(120):
        loss = model(tokens, mask, labels=labels.where(labels > 0, -100)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 0.05
    written = model.eval().generate(tokens, attention_mask=mask, max_new_tokens=labels.shape[1])
    assert [row[1 : row.index(2) + 1] for row in written.tolist()] == wanted


@pytest.mark.slow
@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("searched", "values"),
    [
        ("decoder.learned_sinks=true,false", (True, False)),
        ("decoder.gate=head,element", ("head", "element")),
        ("decoder.d_latent=16,32", (16, 32)),
        ("decoder.kv_shared_every=1,2", (1, 2)),
    ],
)
def test_a_search_for_translation_models_takes_it(searched, values):
    application = APPLICATIONS["translation"]
    options = application.search_options(application.options(preset="tiny"))
    setup = application.search_setup(options, {})
    space = SearchOptions(search=[searched]).space_of(application.space(setup.task, options))
    name = searched.partition("=")[0]
    assert space.numbers[name] == Choice(values=values)
    for value in values:
        arm = with_values(setup.arms[0], {name: value})
        assert getattr(arm.config.decoder, name.partition(".")[2]) == value
        assert space.values_of(arm)[name] == value
