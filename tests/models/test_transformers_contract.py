"""What users of transformers get from every model of it, from the translation model too."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    DataCollatorForSeq2Seq,
    DynamicCache,
    EncoderDecoderCache,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)
from transformers.modeling_outputs import BaseModelOutput

from askew.inspection import record_attention
from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
from askew.models._transformers_versions import CACHE
from askew.transformer import EncoderDecoderConfig, StackConfig

ENCODER = StackConfig(d_model=12, num_layers=3, num_heads=3, d_ff=20)
DECODER = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=14, num_kv_heads=1)
TIES = ["none", "output", "all"]
ties = pytest.mark.parametrize("tie_embeddings", TIES)


def build(**changes):
    torch.manual_seed(0)
    values = {"source_vocab": 29, "target_vocab": 29, "encoder": ENCODER, "decoder": DECODER}
    plain = EncoderDecoderConfig(**(values | {"tie_embeddings": "none"} | changes))
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain)).eval()


def inputs():
    torch.manual_seed(1)
    tokens = torch.randint(3, 29, (4, 7))
    mask = (torch.arange(7) < torch.tensor([[7], [4], [6], [2]])).long()
    target = torch.randint(3, 29, (4, 5))
    return {"input_ids": tokens * mask, "attention_mask": mask, "decoder_input_ids": target}


# --- states and weights ---


@torch.no_grad()
@pytest.mark.parametrize("adapter", ["none", "shared"])
def test_states_and_weights_are_those_of_the_layers(adapter):
    model, call = build(adapter=adapter), inputs()
    kept = {}
    for name, layer in model.named_modules():
        if name.endswith(("encoder.norm", "decoder.norm")) or name.rpartition(".")[2].isdigit():
            layer.register_forward_hook(lambda *a, name=name: kept.__setitem__(name, a[2]))
    with record_attention(model) as recorded:
        plain = model(**call).logits
    output = model(**call, output_attentions=True, output_hidden_states=True)
    torch.testing.assert_close(output.logits, plain)
    for side, states, length, width in (
        ("encoder", output.encoder_hidden_states, 7, 12),
        ("decoder", output.decoder_hidden_states, 5, 8),
    ):
        depth = len(getattr(model.model, side).layers)
        assert [tuple(s.shape) for s in states] == [(4, length, width)] * (depth + 1)
        names = [f"model.{side}.layers.{i}" for i in range(depth - 1)] + [f"model.{side}.norm"]
        for state, name in zip(states[1:], names, strict=True):
            torch.testing.assert_close(state, kept[name])
    for weights, ending in (
        (output.encoder_attentions, "model.encoder.layers.{}.attention"),
        (output.decoder_attentions, "model.decoder.layers.{}.attention"),
        (output.cross_attentions, "model.decoder.layers.{}.cross_attention"),
    ):
        for i, weight in enumerate(weights):
            torch.testing.assert_close(weight, recorded[ending.format(i)])
    assert len(output.encoder_attentions) == 3
    assert output.cross_attentions[0].shape == (4, 2, 5, 7)


@torch.no_grad()
def test_the_config_can_ask_for_states_and_weights():
    model, call = build(), inputs()
    model.set_attn_implementation("eager")
    model.config.output_attentions = model.config.output_hidden_states = True
    output = model(**call)
    assert len(output.decoder_hidden_states) == 3
    assert len(output.cross_attentions) == 2
    without = model(**call, output_attentions=False, output_hidden_states=False)
    assert without.decoder_hidden_states is without.cross_attentions is None
    assert without.encoder_hidden_states is without.encoder_attentions is None


@torch.no_grad()
def test_no_weights_are_computed_unless_they_are_asked_for(monkeypatch):
    def refuse(call):
        raise AssertionError("weights were computed")

    model, call = build(), inputs()
    monkeypatch.setattr("askew.attention._attend.attend_with_weights", refuse)
    model(**call, output_hidden_states=True)
    model.generate(call["input_ids"], attention_mask=call["attention_mask"], max_new_tokens=3)
    with pytest.raises(AssertionError, match="weights were computed"):
        model(**call, output_attentions=True)


@torch.no_grad()
def test_eager_is_the_same_without_the_fused_kernels(monkeypatch):
    model, call = build(), inputs()
    assert model.config._attn_implementation == "sdpa"
    fused = model(**call).logits
    model.set_attn_implementation("eager")

    def refuse(*args, **kwargs):
        raise AssertionError("a fused kernel ran")

    monkeypatch.setattr(F, "scaled_dot_product_attention", refuse)
    eager = model(**call)
    torch.testing.assert_close(eager.logits, fused)
    assert eager.encoder_attentions is None
    model.set_attn_implementation("sdpa")
    with pytest.raises(AssertionError, match="a fused kernel ran"):
        model(**call)


def test_gradients_reach_states_and_weights():
    model, call = build(), inputs()
    output = model(**call, output_attentions=True, output_hidden_states=True)
    firsts = [
        output[name][0]
        for name in (
            *("encoder_hidden_states", "decoder_hidden_states"),
            *("encoder_attentions", "decoder_attentions", "cross_attentions"),
        )
    ]
    gradients = torch.autograd.grad(output.logits.sum(), firsts)
    assert all(g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_generate_returns_states_and_weights(num_beams):
    model, call = build(), inputs()
    del call["decoder_input_ids"]
    search = {"num_beams": num_beams, "max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    plain = model.generate(**call, **search)
    returned = {"output_attentions": True, "output_hidden_states": True}
    for use_cache in (True, False):
        output = model.generate(
            **call, **search, **returned, use_cache=use_cache, return_dict_in_generate=True
        )
        assert torch.equal(output.sequences, plain)
        rows, last = 4 * num_beams, 1 if use_cache else 4
        assert output.encoder_attentions[0].shape == (4, 3, 7, 7)
        assert output.encoder_hidden_states[-1].shape == (4, 7, 12)
        assert len(output.decoder_attentions) == len(output.decoder_hidden_states) == 4
        assert output.decoder_attentions[3][0].shape == (rows, 2, last, 4)
        assert output.cross_attentions[3][0].shape == (rows, 2, last, 7)
        assert output.decoder_hidden_states[3][0].shape == (rows, last, 8)


# --- inputs ---


@torch.no_grad()
def test_both_names_of_the_cache_mean_the_same():
    model, call = build(), inputs()
    target = call.pop("decoder_input_ids")
    call["encoder_outputs"] = model.get_encoder()(**call)
    whole = model(**call, decoder_input_ids=target).logits
    cache, steps = EncoderDecoderCache(DynamicCache(), DynamicCache()), []
    for token in target.split(1, dim=1):
        output = model(**call, decoder_input_ids=token, past_key_values=cache)
        steps.append(output.logits)
    assert cache.get_seq_length() == 5
    torch.testing.assert_close(torch.cat(steps, 1), whole)
    with pytest.raises(ValueError, match="cache or past_key_values must be None; got both"):
        model(**call, decoder_input_ids=target, cache=cache, past_key_values=cache)
    with pytest.raises(TypeError, match="cache must be an EncoderDecoderCache; got DynamicCache"):
        model(**call, decoder_input_ids=target, past_key_values=DynamicCache())


@pytest.mark.parametrize("name", sorted({CACHE, "past_key_values"}))
def test_generate_goes_on_from_a_cache(name):
    model, call = build(), inputs()
    start = call.pop("decoder_input_ids")
    start[:, 0] = 1
    call["decoder_attention_mask"] = torch.ones_like(start)  # as long as what `generate` is given
    search = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    expected = model.generate(**call, decoder_input_ids=start, **search)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    with torch.no_grad():
        states = model.get_encoder()(call["input_ids"], call["attention_mask"])
        mask = call["attention_mask"]
        model(None, mask, encoder_outputs=states, decoder_input_ids=start[:, :-1], cache=cache)
    with warnings.catch_warnings():  # one of the names is old, or not yet known
        warnings.simplefilter("ignore", FutureWarning)
        found = model.generate(**call, decoder_input_ids=start, **{name: cache}, **search)
    assert cache.get_seq_length() == 8
    assert torch.equal(found, expected)


@ties
@torch.no_grad()
def test_rows_of_the_tables_stand_for_tokens(tie_embeddings):
    model, call = build(tie_embeddings=tie_embeddings), inputs()
    logits = model(**call).logits
    rows = {
        "inputs_embeds": model.get_input_embeddings()(call["input_ids"]),
        "decoder_inputs_embeds": model.model.target_embedding(call["decoder_input_ids"]),
    }
    mask = call["attention_mask"]
    assert torch.equal(model(attention_mask=mask, **rows).logits, logits)
    search = {"attention_mask": mask, "max_new_tokens": 5, "do_sample": False}
    found = model.generate(inputs_embeds=rows["inputs_embeds"], **search)
    assert torch.equal(found, model.generate(call["input_ids"], **search))
    for name in rows:
        with pytest.raises(ValueError, match=f"{name} must be None; got both"):
            model(**call, **{name: rows[name]})


def test_encoder_outputs_may_be_a_tuple():
    model, call = build(), inputs()
    logits = model(**call).logits
    tokens, mask = call.pop("input_ids"), call["attention_mask"]
    encoded = model.get_encoder()(tokens, mask, output_hidden_states=True)
    assert isinstance(encoded, BaseModelOutput)
    output = model(**call, encoder_outputs=encoded.to_tuple())
    assert torch.equal(output.logits, logits)
    assert len(output.encoder_hidden_states) == 4


# --- sizes and tables ---


def test_the_config_has_the_names_of_other_models_to_read_but_not_to_set():
    config = build().config
    assert (config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (8, 2, 2)
    assert (config.encoder_attention_heads, config.decoder_attention_heads) == (3, 2)
    assert "hidden_size" not in config.to_dict()
    for decoder in (True, False, None):
        assert config.get_text_config(decoder=decoder).hidden_size == 8
    for name in ("hidden_size", "num_attention_heads", "encoder_attention_heads"):
        with pytest.raises(ValueError, match="sizes must be set in encoder_stack, decoder_stack"):
            setattr(config, name, 5)


@ties
def test_tied_word_embeddings_are_what_tie_embeddings_says(tie_embeddings):
    config = build(tie_embeddings=tie_embeddings).config
    config.tie_word_embeddings = True
    if tie_embeddings == "none":
        with pytest.raises(ValueError, match="got tie_word_embeddings True, tie_embeddings 'none'"):
            config.to_plain()
    else:
        assert AsymmetricTranslationConfig(**config.to_dict()).to_plain() == config.to_plain()


@ties
def test_the_number_of_tokens_changes_on_both_sides(tmp_path, tie_embeddings):
    model, call = build(tie_embeddings=tie_embeddings), inputs()
    with torch.no_grad():
        before = model(**call).logits
        table = model.resize_token_embeddings(33)
        assert table is model.get_input_embeddings()
        assert table.num_embeddings == model.config.source_vocab == model.config.vocab_size == 33
        after = model(**call).logits
        assert after.shape == (4, 5, 33)
        torch.testing.assert_close(after[..., :29], before)
        call["input_ids"][0, 0] = call["decoder_input_ids"][0, 0] = 32
        logits = model(**call).logits
        model.save_pretrained(tmp_path)
        loaded = AsymmetricTranslationModel.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(**call).logits, logits)
        assert model.resize_token_embeddings(29).num_embeddings == 29
        assert torch.equal(model(**inputs()).logits, before)
        assert model.resize_token_embeddings(30, pad_to_multiple_of=8).num_embeddings == 32


def test_unequal_numbers_of_tokens_are_not_changed_at_once():
    model = build(source_vocab=23)
    with pytest.raises(ValueError, match="got source_vocab 23, vocab_size 29"):
        model.resize_token_embeddings(40)
    assert model.get_input_embeddings().num_embeddings == 23


@ties
def test_tables_can_be_replaced(tie_embeddings):
    model, call = build(tie_embeddings=tie_embeddings), inputs()
    table = nn.Embedding(29, model.get_input_embeddings().embedding_dim)
    model.set_input_embeddings(table)
    assert model.get_input_embeddings() is table
    layer = nn.Linear(8, 29, bias=False)
    if tie_embeddings == "none":
        model.set_output_embeddings(layer)
        assert model.get_output_embeddings() is layer
    else:
        with pytest.raises(ValueError, match="must have weights of its own; got tie_embeddings"):
            model.set_output_embeddings(layer)
    assert model(**call).logits.shape == (4, 5, 29)


# --- training ---


def test_the_loss_is_the_cross_entropy_of_the_labels_that_count():
    model, call = build(), inputs()
    labels = call.pop("decoder_input_ids").clone()
    labels[0, 2:] = labels[3, 4] = -100
    output = model(**call, labels=labels)
    shifted = model.prepare_decoder_input_ids_from_labels(labels)
    logits = model(**call, decoder_input_ids=shifted).logits
    assert torch.equal(output.logits, logits)
    torch.testing.assert_close(output.loss, F.cross_entropy(logits.flatten(0, 1), labels.flatten()))
    assert torch.equal(model(**call, labels=labels, return_dict=False)[0], output.loss)
    given = model(**call, labels=labels, decoder_input_ids=labels.clamp(min=0)).loss
    assert not torch.equal(given, output.loss)
    half = model.bfloat16()(**call, labels=labels).loss
    assert half.dtype == torch.float32


def test_labels_that_do_not_count_give_a_loss_of_zero_and_others_must_fit():
    model, call = build(), inputs()
    loss = model(**call, labels=torch.full((4, 5), -100)).loss
    loss.backward()
    assert loss == 0
    assert model.model.target_embedding.weight.grad.abs().sum() == 0
    with pytest.raises(ValueError, match=r"got labels \(4, 6\), target \(4, 5\)"):
        model(**call, labels=torch.zeros(4, 6, dtype=torch.long))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_layers_run_twice_and_have_the_same_gradients(use_reentrant):
    model, call = build().train(), inputs()
    calls = []
    for layer in (model.model.encoder.layers[0], model.model.decoder.layers[0]):
        layer.feed_forward.register_forward_pre_hook(lambda *_: calls.append(1))
    gradients = []
    for enabled in (False, True):
        if enabled:
            with warnings.catch_warnings():  # newer versions have another name for it
                warnings.simplefilter("ignore", FutureWarning)
                settings = {"use_reentrant": use_reentrant}
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)
        model.zero_grad()
        torch.manual_seed(5)  # of dropout
        calls.clear()
        model(**call, labels=call["decoder_input_ids"], output_hidden_states=True).loss.backward()
        assert len(calls) == (4 if enabled else 2)
        gradients.append([p.grad.clone() for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    for asked in ({"use_cache": True}, {"cache": cache}):
        with pytest.raises(ValueError, match="must be no cache in training with gradient checkp"):
            model(**call, **asked)
    assert model.eval().generate(call["input_ids"], max_new_tokens=3).shape == (4, 4)


class Padding:
    """The part of a tokenizer that the collator of transformers calls."""

    padding_side = "right"

    def pad(self, features, **_):
        rows = [torch.tensor(feature["input_ids"]) for feature in features]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def test_a_plain_trainer_of_transformers_trains_the_model(tmp_path):
    model = build(encoder=DECODER, decoder=DECODER)
    rows = torch.randint(3, 29, (32, 6), generator=torch.Generator().manual_seed(1)).tolist()
    pairs = [
        {"input_ids": [*row[: 3 + i % 4], 2], "labels": [row[0], 2]} for i, row in enumerate(rows)
    ]
    trainer = Seq2SeqTrainer(
        model,
        Seq2SeqTrainingArguments(
            str(tmp_path),
            max_steps=40,
            learning_rate=0.02,
            per_device_train_batch_size=16,
            predict_with_generate=True,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=pairs,
        eval_dataset=pairs,
        data_collator=DataCollatorForSeq2Seq(Padding(), model=model),
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate(max_new_tokens=3)["eval_loss"] < 0.7 * before
