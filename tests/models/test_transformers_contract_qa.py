"""What users of transformers get from every model of it, from the answering model too."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import Trainer, TrainingArguments

from askew.models import AsymmetricQAConfig, AsymmetricQAModel, QAConfig
from askew.transformer import ReaderConfig, StackConfig

QUESTION = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=14, dropout=0.0)
CONTEXT = StackConfig(d_model=12, num_layers=3, num_heads=3, d_ff=20, dropout=0.0)
READER = ReaderConfig(d_model=8, num_layers=1, num_heads=2, d_key=4, d_ff=8, dropout=0.0)
BERT = {
    "model_type": "bert",
    "vocab_size": 29,
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
encoders = pytest.mark.parametrize("pretrained", [None, BERT], ids=["ours", "bert"])


def build(pretrained=None, **changes):
    torch.manual_seed(0)
    sizes = {"question": QUESTION, "context": CONTEXT, "reader": READER, "max_answer_tokens": 3}
    plain = QAConfig(question_vocab=23, context_vocab=29, **(sizes | changes))
    config = AsymmetricQAConfig.from_plain(plain, context_pretrained=pretrained)
    return AsymmetricQAModel(config).eval()


def inputs(pairs=4):
    torch.manual_seed(1)
    mask = torch.arange(9) < torch.tensor([9, 5, 7, 9] * 8)[:pairs, None]
    return {
        "question_ids": torch.randint(1, 23, (pairs, 5)),
        "context_ids": torch.randint(1, 29, (pairs, 9)),
        "context_mask": mask,
    }


# --- states and weights ---


@torch.no_grad()
@encoders
def test_states_and_weights_of_both_encoders_are_returned(pretrained):
    model, call = build(pretrained), inputs()
    plain = model(**call)
    assert plain.hidden_states is plain.attentions is plain.question_attentions is None
    model.set_attn_implementation("eager")
    output = model(**call, output_attentions=True, output_hidden_states=True)
    torch.testing.assert_close(output.nothing, plain.nothing)
    assert [tuple(s.shape) for s in output.hidden_states] == [(4, 9, 12)] * 4
    assert [tuple(s.shape) for s in output.question_hidden_states] == [(4, 5, 8)] * 2
    assert [tuple(w.shape) for w in output.attentions] == [(4, 3, 9, 9)] * 3
    assert [tuple(w.shape) for w in output.question_attentions] == [(4, 2, 5, 5)]
    torch.testing.assert_close(output.attentions[0].sum(-1), torch.ones(4, 3, 9))
    assert (output.attentions[2][1, ..., 5:] == 0).all()
    read = model.reader.context_states(output.hidden_states[-1])
    encoded = model.encode_contexts(call["context_ids"], call["context_mask"])
    assert torch.equal(encoded.states, read)
    model.config.output_hidden_states = True
    assert len(model(**call).hidden_states) == 4
    plain = model(**call, return_dict=False)
    assert type(plain) is tuple
    assert torch.equal(plain[1], output.nothing)


@torch.no_grad()
def test_weights_of_an_encoder_of_transformers_need_eager_attention():
    model, call = build(BERT), inputs()
    with pytest.raises(ValueError, match=r"got 'sdpa'\. Call model.set_attn_implementation"):
        model(**call, output_attentions=True)
    config = model.config
    config._attn_implementation = "eager"
    assert len(AsymmetricQAModel(config)(**call, output_attentions=True).attentions) == 3


@torch.no_grad()
def test_no_weights_are_computed_unless_they_are_asked_for(monkeypatch):
    def refuse(call):
        raise AssertionError("weights were computed")

    model, call = build(), inputs()
    monkeypatch.setattr("askew.attention._attend.attend_with_weights", refuse)
    model(**call, output_hidden_states=True)
    with pytest.raises(AssertionError, match="weights were computed"):
        model(**call, output_attentions=True)
    model.set_attn_implementation("eager")
    for encode, name in ((model.encode_questions, "question"), (model.encode_contexts, "context")):
        with pytest.raises(AssertionError, match="weights were computed"):
            encode(call[f"{name}_ids"])


# --- inputs ---


@torch.no_grad()
def test_masks_and_pairs_may_be_left_out():
    model, call = build(), inputs()
    output = model(**call)
    places = torch.arange(4)
    explicit = model(
        **call,
        question_mask=torch.ones(4, 5, dtype=torch.bool),
        answer_mask=call["context_mask"],
        question_rows=places,
        context_rows=places,
    )
    assert torch.equal(explicit.spans, output.spans)
    assert (output.spans[1, 5:] == -torch.inf).all()
    one = model(**call, question_rows=torch.tensor([2, 2]), context_rows=torch.tensor([2, 0]))
    torch.testing.assert_close(one.nothing[0], output.nothing[2])
    with pytest.raises(ValueError, match="got 2 questions and 4 contexts"):
        model(**call, question_rows=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="question_ids and context_ids are needed; got None"):
        model(question_ids=call["question_ids"])


@torch.no_grad()
@encoders
def test_rows_of_the_tables_stand_for_tokens(pretrained):
    model, call = build(pretrained), inputs()
    rows = {
        "question_ids": model.question_encoder.embedding(call["question_ids"]),
        "context_ids": model.get_input_embeddings()(call["context_ids"]),
    }
    assert torch.equal(model(**(call | rows)).spans, model(**call).spans)


# --- sizes and tables ---


@encoders
def test_the_config_has_the_names_of_other_models_to_read(pretrained):
    config = build(pretrained).config
    sizes = (config.hidden_size, config.num_attention_heads, config.num_hidden_layers)
    assert sizes == (12, 3, 3)
    assert config.vocab_size == config.context_vocab == 29
    assert not {"hidden_size", "num_hidden_layers", "vocab_size"} & set(config.to_dict())
    assert AsymmetricQAConfig(**config.to_dict()).to_plain() == config.to_plain()
    with pytest.raises(ValueError, match="sizes must be set in question_stack, context_stack"):
        config.num_hidden_layers = 5
    with pytest.raises(ValueError, match="got tie_word_embeddings"):
        AsymmetricQAConfig(tie_word_embeddings=True)
    assert AsymmetricQAConfig(tie_word_embeddings=False).hidden_size == 8


@torch.no_grad()
@encoders
def test_the_number_of_tokens_of_contexts_changes(tmp_path, pretrained):
    model, call = build(pretrained), inputs()
    before = model(**call).spans
    table = model.resize_token_embeddings(33)
    assert table is model.get_input_embeddings()
    assert table.num_embeddings == model.config.context_vocab == 33
    assert torch.equal(model(**call).spans, before)
    call["context_ids"][0, 0] = 32
    spans = model(**call).spans
    model.save_pretrained(tmp_path)
    loaded = AsymmetricQAModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**call).spans, spans)
    new = nn.Embedding(40, 12)
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new


# --- training ---


def test_the_loss_is_that_of_the_right_spans_and_of_no_answer():
    model, call = build(), inputs()
    start, end = torch.tensor([2, -1, 4, 1]), torch.tensor([3, -1, 4, 1])
    output = model(**call, start_positions=start, end_positions=end)
    scores = torch.cat([output.nothing[:, None], output.spans.flatten(1)], 1)
    right = torch.tensor([1 + 2 * 9 + 3, 0, 1 + 4 * 9 + 4, 1 + 9 + 1])
    losses = F.cross_entropy(scores, right, reduction="none")
    torch.testing.assert_close(output.loss, losses.mean())
    for row, (first, last) in enumerate(((-100, -100), (3, 9), (5, 4), (0, 3))):
        uncounted = start.clone(), end.clone()  # not to count, outside, reversed, too long
        uncounted[0][row], uncounted[1][row] = first, last
        loss = model(**call, start_positions=uncounted[0], end_positions=uncounted[1]).loss
        torch.testing.assert_close(loss, (losses.sum() - losses[row]) / 3)
    with pytest.raises(ValueError, match="go together; got one of them"):
        model(**call, start_positions=start)
    with pytest.raises(ValueError, match=r"got \(3,\) and \(3,\) for 4 pairs"):
        model(**call, start_positions=start[:3], end_positions=end[:3])


def test_a_loss_of_nothing_is_zero_with_gradients_of_zero():
    model, call = build(), inputs()
    ignored = torch.full((4,), -100)
    loss = model(**call, start_positions=ignored, end_positions=ignored).loss
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


@encoders
def test_checkpointed_layers_run_twice_and_have_the_same_gradients(pretrained):
    model, call = build(pretrained).train(), inputs()
    calls, gradients = [], []
    hooked = [model.question_encoder.stack.layers[0].feed_forward]
    if pretrained is None:
        hooked.append(model.context_encoder.stack.layers[0].feed_forward)
    for module in hooked:
        module.register_forward_pre_hook(lambda *_: calls.append(1))
    positions = torch.zeros(4, dtype=torch.long)
    for enabled in (False, True):
        if enabled:
            with warnings.catch_warnings():  # newer versions have another name for it
                warnings.simplefilter("ignore", FutureWarning)
                model.gradient_checkpointing_enable()
        model.zero_grad()
        calls.clear()
        model(**call, start_positions=positions, end_positions=positions).loss.backward()
        assert len(calls) == len(hooked) * (2 if enabled else 1)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_plain_trainer_of_transformers_trains_the_model(tmp_path):
    call = inputs(pairs=8)
    call["start_positions"] = call["end_positions"] = torch.tensor([2, -1, 4, 1] * 2)
    rows = [{name: values[i] for name, values in call.items()} for i in range(8)]
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=25,
        learning_rate=0.01,
        label_names=["start_positions", "end_positions"],
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(build(), arguments, train_dataset=rows, eval_dataset=rows)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.7 * before
