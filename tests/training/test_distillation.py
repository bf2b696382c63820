"""A student learns from its teacher, and a run that was killed ends as one that was not."""

import copy
import math
from contextlib import nullcontext

import hypothesis
import pytest
import torch
from families import NAMES, inputs_of, small_model
from hypothesis import strategies as st
from rules import first_every_day
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from askew.losses import distillation_loss, top_k
from askew.models import (
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    load_seq2seq,
    shrink,
)
from askew.text import ParallelText, save_tokenizers, train_tokenizers
from askew.training import DistillationConfig, DistillationObjective, KeptOutputs, Lessons, distil
from askew.training._callbacks import evaluations_since_best
from askew.training._distillation import encoder_modules, freeze_encoder
from askew.transformer import EncoderDecoderConfig, StackConfig

WORDS = ["one", "two", "three", "four", "five", "six", "seven"]
SOURCES = [f"{a} {b}" for a in WORDS for b in WORDS]
TARGETS = [f"{b} {a} {b}" for a in WORDS for b in WORDS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small translation model with random weights, as training writes it."""
    path = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    tokenizers = train_tokenizers(ParallelText(SOURCES, TARGETS), vocab_size=280)
    side = StackConfig(d_model=16, num_layers=3, num_heads=2, d_ff=32)
    vocab = tokenizers.source.get_vocab_size()
    sizes = {"source_vocab": vocab, "target_vocab": vocab, "encoder": side, "decoder": side}
    config = AsymmetricTranslationConfig.from_plain(EncoderDecoderConfig(**sizes))
    model = AsymmetricTranslationModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    model.save_pretrained(path)
    save_tokenizers(tokenizers, path)
    return path


@pytest.fixture
def reader(folder):
    return load_seq2seq(folder)


def config(**settings) -> DistillationConfig:
    usual = {"steps": 8, "warmup_steps": 2, "evaluations": 4, "checkpoints": 4, "batch_tokens": 64}
    return DistillationConfig(**{**usual, **settings})


def data(reader, count=40):
    return reader.read(SOURCES[:count]), reader.labels(TARGETS[:count])


def run(reader, out, **settings):
    student = shrink(reader.model, decoder_layers=1)
    records = distil(
        student,
        reader.model,
        reader,
        data(reader),
        data(reader, 9),
        config(**settings),
        out=out,
        seed=0,
    )
    return student, records


def same(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_a_student_comes_nearer_to_its_teacher(reader, tmp_path, device):
    inputs, labels = data(reader)
    batch = reader.inputs(inputs)
    tokens = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in labels], True)
    batch["decoder_input_ids"] = reader.decoder_inputs(tokens)

    def distance(model):
        with torch.no_grad():
            return distillation_loss(
                model.eval()(**batch).logits, reader.model.eval()(**batch).logits
            ).item()

    before = distance(shrink(reader.model, decoder_layers=1))
    student, records = run(
        reader, tmp_path, steps=60, cross_entropy_weight=0.0, temperature=1.0, lr=3e-3
    )
    assert student.device.type == device
    assert distance(student.cpu()) < 0.5 * before
    assert records[-1]["step"] == 60


def test_the_encoder_is_frozen_until_the_last_steps(reader, tmp_path):
    teacher = copy.deepcopy(reader.model)
    student, _ = run(reader, tmp_path / "a", unfrozen_share=0.0)
    for part, given in zip(encoder_modules(student), encoder_modules(teacher), strict=True):
        assert same(part, given)
        assert not any(parameter.requires_grad for parameter in part.parameters())
    assert not same(student.model.decoder.layers[0], teacher.model.decoder.layers[0])
    student, _ = run(reader, tmp_path / "b", unfrozen_share=0.5)
    assert not same(student.model.encoder, teacher.model.encoder)
    assert same(reader.model, teacher)


def test_kept_states_change_nothing_but_their_rounding(reader, tmp_path):
    inputs, labels = data(reader)
    settings = {"config": config(), "progress": lambda *_: None}
    losses = []
    for encoder, folder in ((reader.model, "a"), (None, "b")):
        kept = KeptOutputs.of(
            reader,
            inputs,
            labels,
            teacher=reader.model,
            encoder=encoder,
            folder=tmp_path / folder,
            **settings,
        )
        lessons = Lessons(reader, inputs, labels, kept)
        objective = DistillationObjective(config(), reader)
        batch = objective.collate([lessons[row] for row in range(20)])
        assert ("encoder_outputs" in batch) == (encoder is not None)
        taught = batch.pop("labels")
        losses.append(objective.loss(shrink(reader.model, decoder_layers=1)(**batch), taught))
    assert losses[0] != losses[1]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=0)


@pytest.mark.parametrize("stop", first_every_day("taught", "last", "first"))
def test_a_stopped_run_ends_as_another(reader, tmp_path, monkeypatch, stop):
    whole, _ = run(reader, tmp_path / "whole", unfrozen_share=0.5)

    class StoppedError(Exception):
        pass

    def stop_at(step, _):
        if step == {"first": 3, "last": 7}[stop]:
            raise StoppedError

    monkeypatch.setattr("askew.training._kept_outputs._PART", 16)
    settings = config(unfrozen_share=0.5)
    out = tmp_path / "stopped"
    given = (reader.model, reader, data(reader), data(reader, 9), settings)

    def refuse(done, _):
        if done >= 32:
            raise StoppedError

    with pytest.raises(StoppedError):
        distil(
            shrink(reader.model, decoder_layers=1),
            *given,
            out=out,
            seed=0,
            progress=None if stop == "taught" else stop_at,
            on_kept=refuse if stop == "taught" else None,
        )
    student = shrink(reader.model, decoder_layers=1)
    distil(student, *given, out=out, seed=0)
    assert same(student, whole)


STOPPING = {"steps": 20, "evaluations": 20, "checkpoints": 20, "patience": 3, "lr": 1e-4}


def evaluated(records):
    return [record["eval_loss"] for record in records if "eval_loss" in record]


def test_it_stops_where_the_loss_has_not_moved_by_the_margin(reader, tmp_path):
    settings = {**STOPPING, "freeze_encoder": False}
    _, every = run(reader, tmp_path / "all", **settings)
    fallen = evaluated(every)
    margin = 1.5 * (fallen[0] - min(fallen[:4]))
    assert margin > 0  # each evaluation is better, but not by so much
    student, records = run(reader, tmp_path / "stopped", **settings, stop_margin=margin)
    losses = evaluated(records)
    stopped = max(record["step"] for record in records)
    assert losses == fallen[: len(losses)]
    assert stopped < 20 == max(record["step"] for record in every)
    best = losses[0]
    for loss in losses[1:-3]:  # every earlier wait was ended by a loss that was better
        best = loss if loss < best - margin else best
    assert min(losses[-3:]) >= best - margin
    assert not same(student, run(reader, tmp_path / "all", **settings)[0])

    again = shrink(reader.model, decoder_layers=1)
    given = (reader.model, reader, data(reader), data(reader, 9))
    steps = []
    distil(
        again,
        *given,
        config(**settings, stop_margin=margin),
        out=tmp_path / "stopped",
        seed=0,
        progress=lambda step, _: steps.append(step),
    )
    assert (steps, same(again, student)) == ([], True)


@pytest.mark.slow
@pytest.mark.parametrize("freeze", [True, False])
def test_a_run_that_was_killed_stops_where_another_does(reader, tmp_path, freeze):
    settings = {**STOPPING, "freeze_encoder": freeze, "stop_margin": 0.02}
    whole, records = run(reader, tmp_path / "whole", **settings)
    stopped = max(record["step"] for record in records)
    assert 4 < stopped < 20

    class StoppedError(Exception):
        pass

    def stop_at(step, _):
        if step == stopped - 2:
            raise StoppedError

    given = (reader.model, reader, data(reader), data(reader, 9), config(**settings))
    for progress in (stop_at, None):
        student = shrink(reader.model, decoder_layers=1)
        with pytest.raises(StoppedError) if progress else nullcontext():
            distil(student, *given, out=tmp_path / "killed", seed=0, progress=progress)
    assert same(student, whole)


@hypothesis.given(st.lists(st.integers(0, 6), max_size=9), st.integers(0, 3))
def test_evaluations_are_counted_from_the_last_that_was_better(losses, margin):
    records = [{"eval_loss": float(loss)} for loss in losses]
    counted = evaluations_since_best(records, margin=float(margin))
    assert counted >= evaluations_since_best(records)
    if not margin:
        assert counted == (len(losses) - 1 - losses.index(min(losses)) if losses else 0)
    if counted >= 3:  # of three evaluations none is lower, by more than the margin, than all before
        assert min(losses[-3:]) >= min(losses[:-3]) - margin


def test_what_is_kept_is_what_the_teacher_says(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("askew.training._kept_outputs._PART", 7)
    inputs, labels = data(reader, 20)
    kept = KeptOutputs.of(
        reader,
        inputs,
        labels,
        teacher=reader.model,
        encoder=reader.model,
        config=config(top_k=3, temperature=2.0),
        folder=tmp_path,
        progress=lambda *_: None,
    )
    lessons = Lessons(reader, inputs, labels, kept)
    for row in (0, 6, 7, 19):
        lesson = lessons[row]
        target = torch.tensor([labels[row]])
        with torch.no_grad():
            outputs = reader.model(
                **reader.inputs([inputs[row]]), decoder_input_ids=reader.decoder_inputs(target)
            )
        expected = top_k(outputs.logits[0], 3, temperature=2.0)
        assert torch.equal(lesson.top.indices, expected.indices)
        torch.testing.assert_close(lesson.top.log_probabilities, expected.log_probabilities)
        torch.testing.assert_close(lesson.top.log_rest, expected.log_rest)
        states = outputs.encoder_last_hidden_state[0]
        torch.testing.assert_close(lesson.states.float(), states, rtol=1e-2, atol=1e-2)


def test_outputs_of_another_teacher_are_refused(reader, tmp_path):
    run(reader, tmp_path)
    with torch.no_grad():
        next(reader.model.model.decoder.parameters()).add_(1.0)
    with pytest.raises(ValueError, match="distil: the folder must be of a run with the same"):
        run(reader, tmp_path)


def test_a_teacher_of_other_tokens_is_refused(reader, tmp_path):
    side = StackConfig(d_model=16, num_layers=3, num_heads=2, d_ff=32)
    sizes = {"source_vocab": 99, "target_vocab": 99, "encoder": side, "decoder": side}
    plain = EncoderDecoderConfig(**sizes)
    other = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))
    with pytest.raises(ValueError, match="teacher and student must know the same tokens"):
        distil(
            other,
            reader.model,
            reader,
            data(reader),
            data(reader, 9),
            config(),
            out=tmp_path,
            seed=0,
        )
    with pytest.raises(ValueError, match="a divergence needs a teacher; got None"):
        distil(other, None, reader, data(reader), data(reader, 9), config(), out=tmp_path, seed=0)


def test_without_divergence_it_is_cross_entropy(reader):
    inputs, labels = data(reader, 5)
    objective = DistillationObjective(
        config(divergence_weight=0.0, cross_entropy_weight=1.0, freeze_encoder=False), reader
    )
    batch = objective.collate([Lessons(reader, inputs, labels)[row] for row in range(5)])
    taught = batch.pop("labels")
    outputs = reader.model(**batch, labels=taught["labels"])
    torch.testing.assert_close(objective.loss(outputs, taught), outputs.loss)
    total, count = objective.score(outputs, taught)
    assert count == sum(map(len, labels))
    assert total / count == pytest.approx(outputs.loss.item())


def test_the_encoder_has_a_rate_of_its_own(reader):
    objective = DistillationObjective(config(lr=1e-3, unfrozen_rate=0.1), reader)
    student = shrink(reader.model, decoder_layers=1)
    rates = {g["part"]: g["lr"] for g in objective.optimizer(student).param_groups}
    assert rates == {"encoder": pytest.approx(1e-4), "decoder": 1e-3}
    freeze_encoder(student)
    assert {g["part"] for g in objective.optimizer(student).param_groups} == {"decoder"}
    freeze_encoder(student, frozen=False)
    assert all(parameter.requires_grad for parameter in student.parameters())


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("Moonshine", "SwitchTransformers")])
def test_states_take_the_place_of_inputs_in_every_family(name):
    model = small_model(name)
    inputs = inputs_of(name)
    target = {"decoder_input_ids": torch.tensor([[2, 5, 6]])}
    with torch.no_grad():
        states = model.get_encoder()(**inputs).last_hidden_state
        given = model(encoder_outputs=BaseModelOutput(states), **target).logits
        torch.testing.assert_close(given, model(**inputs, **target).logits)


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_encoder_gives_the_same_states_whatever_the_decoder_learns(name):
    model = small_model(name)
    inputs = inputs_of(name)
    with torch.no_grad():
        before = model.get_encoder()(**inputs).last_hidden_state
        freeze_encoder(model)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
        assert torch.equal(model.get_encoder()(**inputs).last_hidden_state, before)
    assert any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0.0}, "temperature must be positive; got temperature 0.0"),
        (
            {"divergence": "skewed", "skew": 1.0},
            r"skew must be in \[0, 1\) for skewed; got skew 1.0",
        ),
        ({"divergence": "js", "skew": 0.0}, r"skew must be in \(0, 1\) for js; got skew 0.0"),
        ({"divergence": "js", "skew": math.nan}, r"skew must be in \(0, 1\) for js; got skew nan"),
        ({"skew": 0.2}, "skew belongs to the divergences skewed and js; got skew 0.2, .* forward"),
        ({"top_k": 0}, "top_k must be positive"),
        ({"cross_entropy_weight": -1.0}, "cross_entropy_weight must be >= 0"),
        ({"cross_entropy_weight": 0.0, "divergence_weight": 0.0}, "got 0 for both"),
        ({"divergence": "odd"}, "divergence must be"),
        ({"unfrozen_share": 1.5}, "unfrozen_share must be in"),
        ({"unfrozen_rate": 0.0}, "unfrozen_rate must be positive"),
        ({"divergence_weight": math.inf}, "divergence_weight must be finite"),
        ({"stop_margin": -0.1}, "stop_margin must be >= 0; got stop_margin -0.1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=f"DistillationConfig: .*{words}"):
        config(**settings)
