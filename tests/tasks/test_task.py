"""The translation task keeps the promises that a comparison builds on."""

from dataclasses import replace

import pytest
import torch

from askew.metrics import bleu, chrf, exact_match
from askew.models import CTranslate2Engine, Translator
from askew.tasks import Teacher, TranslationTask, _text_task, _translation, translation_task
from askew.text import ParallelText, SplitText, fingerprint
from askew.training import TrainingConfig
from askew.transformer import EncoderDecoderConfig, StackConfig, training_flops

WORDS = ["red", "blue", "green", "old", "new", "big"]
PORTUGUESE = ["vermelho", "azul", "verde", "velho", "novo", "grande"]
TRAIN = ParallelText(
    [f"{a} {b}" for a in WORDS for b in WORDS[:4]],
    [f"{b} {a}" for a in PORTUGUESE for b in PORTUGUESE[:4]],
)
TEXT = SplitText(
    TRAIN,
    ParallelText(["red new", "old big"], ["novo vermelho", "grande velho"]),
    ParallelText(["blue big", "green", "new new"], ["grande azul", "verde", "novo novo"]),
)


def task(**changes):
    training = TrainingConfig(steps=1, batch_tokens=64, **changes)
    return translation_task("colours", TEXT, vocab_size=280, training=training)


def config(made):
    vocab = made.tokenizers.source.get_vocab_size()
    encoder = StackConfig(d_model=16, num_layers=2, num_heads=2, d_ff=24)
    decoder = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
    return EncoderDecoderConfig(
        source_vocab=vocab, target_vocab=vocab, encoder=encoder, decoder=decoder
    )


def test_vocabulary_comes_from_the_training_pairs_alone():
    made = task()
    assert isinstance(made, TranslationTask)
    assert made.tokenizers.source.get_vocab_size() == 280
    assert len(made.tokenizers.source.encode("vermelho").ids) < len("vermelho")
    other = TEXT._replace(test=ParallelText(["zebra " * 30], ["zzz"]))
    again = translation_task("colours", other, vocab_size=280, training=TrainingConfig(steps=1))
    assert again.tokenizers.source.to_str() == made.tokenizers.source.to_str()
    assert again.training == TrainingConfig(steps=1)
    assert translation_task("colours", TEXT, vocab_size=280).training == TrainingConfig(steps=1)


def test_description_tells_all_that_two_runs_must_share():
    told = task(lr=0.5).describe()
    assert told["training"]["lr"] == 0.5
    assert "steps" not in told["training"]
    assert {key: told[key] for key in ("name", "train", "valid", "test", "vocabulary")} == {
        "name": "colours",
        "train": 24,
        "valid": 2,
        "test": 3,
        "vocabulary": [280, 280],
    }
    assert told["fingerprint"] == fingerprint(TEXT)


def test_same_seed_same_initial_weights():
    made = task()
    first, again, other = (made.build(config(made), seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert any(not torch.equal(weight, other[name]) for name, weight in first.items())
    assert made.build(config(made), 3).config.to_plain() == config(made)


def test_examples_are_the_training_and_validation_pairs():
    made = task()
    train, valid = made.examples
    assert (len(train), len(valid)) == (24, 2)
    decode = made.tokenizers.source.decode
    assert [decode(source) for source, _ in train] == TEXT.train.sources
    assert [decode(target) for _, target in valid] == TEXT.valid.targets
    assert made.examples[0] is train


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("steps", "warmup_steps", "evaluations"), [(1000, 100, 10), (100, 25, 5), (3, 1, 1)]
)
def test_short_runs_warm_up_and_evaluate_less(
    monkeypatch, tmp_path, steps, warmup_steps, evaluations
):
    calls = []
    monkeypatch.setattr(_text_task, "train_model", lambda *a, **k: calls.append((a, k)) or [])
    made, model, progress = task(lr=0.25), object(), print
    assert made.train(model, steps=steps, seed=4, folder=tmp_path, progress=progress) == []
    ((given, train, valid, numbers), settings) = calls[0]
    assert given is model
    assert list(train) == list(made.examples[0])
    assert valid is made.examples[1]
    assert settings == {
        "out": tmp_path,
        "seed": 4,
        "progress": progress,
        "on_record": None,
        "tensorboard": None,
    }
    assert numbers == replace(
        made.training, steps=steps, warmup_steps=warmup_steps, evaluations=evaluations
    )


def test_training_goes_for_the_steps_asked_and_lowers_the_validation_loss(tmp_path):
    made, told = task(lr=1e-2, label_smoothing=0.0), []
    model = made.build(config(made), 0)
    records = made.train(
        model, steps=60, seed=0, folder=tmp_path, progress=lambda step, _: told.append(step)
    )
    losses = [record["eval_loss"] for record in records if "eval_loss" in record]
    assert told == list(range(1, 61))
    assert len(losses) == 3
    assert losses[-1] < 0.8 * losses[0]


def test_scores_are_those_of_the_metrics_against_the_test_targets():
    made, answers = task(), ["grande azul", "azul", "novo nova"]
    result, targets = made.score(answers), TEXT.test.targets
    assert result == {
        "chrf": chrf(answers, targets),
        "bleu": bleu(answers, targets),
        "exact_match": exact_match(answers, targets),
    }
    assert list(result) == [metric.name for metric in made.metrics]
    assert made.signatures() == {name: score.signature for name, score in result.items()}


def test_evaluation_scores_greedy_translations_of_the_test_set():
    made = task()
    model = made.build(config(made), 0)
    expected = made.score(made.translator(model).translate(TEXT.test.sources))
    result = made.evaluate(model)
    assert result.metrics == {name: score.value for name, score in expected.items()}
    assert result.items == {name: score.items for name, score in expected.items()}
    assert {len(items) for items in result.items.values()} == {3}


def test_baseline_answers_with_the_target_of_the_nearest_training_source():
    copied = SplitText(TRAIN, TEXT.valid, ParallelText(TRAIN.sources[:4], TRAIN.targets[:4]))
    made = translation_task("colours", copied, vocab_size=280)
    assert made.baselines() == {
        "nearest_neighbour": {
            "chrf": pytest.approx(100),
            "bleu": made.score(TRAIN.targets[:4])["bleu"].value,
            "exact_match": 1.0,
        }
    }
    assert task().baselines()["nearest_neighbour"]["exact_match"] < 1


@pytest.mark.unhooked
def test_predicts_as_many_items_as_asked_in_batches_of_the_size_asked(monkeypatch):
    calls = []

    class Noted:
        def __init__(self, model, tokenizer, *, target_tokenizer, batch_size):
            self.call = (model, (tokenizer, target_tokenizer), batch_size)

        def translate(self, texts):
            calls.append((*self.call, texts))

    monkeypatch.setattr(_translation, "Translator", Noted)
    made = task()
    made.predict("a model", items=2, batch_size=7)
    assert calls == [("a model", made.tokenizers, 7, ["blue big", "green"])]


def test_speed_is_that_of_the_engine_that_serves(monkeypatch):
    pytest.importorskip("ctranslate2")
    plain, served = task(), replace(task(), serve="int8")
    model = plain.build(config(plain), 0).eval()
    assert plain.deploy(model) is model
    engine = served.deploy(model)
    assert isinstance(engine, CTranslate2Engine)
    assert engine.export["quantization"] == "int8"
    whole = replace(task(), serve="float32").deploy(model)
    ours = plain.translator(model).translate(TEXT.test.sources)
    assert plain.translator(whole).translate(TEXT.test.sources) == ours
    monkeypatch.setattr(model, "generate", None)
    served.predict(engine, items=3, batch_size=2)
    served.time_answers(engine, items=3)
    assert [len(words) for words in engine.write([[5], [6, 7]], 9)] == [9, 9]
    assert served.describe() == {**plain.describe(), "serve": "int8"}


@pytest.mark.parametrize("longer", ["source", "target"])
def test_operations_of_a_step_are_those_of_as_many_mean_sentences_as_fit(longer):
    train = TRAIN if longer == "source" else ParallelText(TRAIN.targets, TRAIN.sources)
    made = replace(task(), text=TEXT._replace(train=train))
    lengths = made.examples[0].lengths
    source, target = (sum(side) / 24 for side in zip(*lengths, strict=True))
    assert (longer == "source") == (source > target)
    one = training_flops(config(made), source_length=source, target_length=target)
    assert made.flops_per_step(config(made)) == pytest.approx(64 / max(source, target) * one)


def test_a_saved_model_is_loaded_the_same_and_translates(tmp_path):
    made = task()
    model = made.build(config(made), 0)
    made.save(model, tmp_path)
    loaded = made.load(tmp_path)
    assert not loaded.training
    state = loaded.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    expected = made.translator(model).translate(TEXT.test.sources)
    assert Translator.from_pretrained(tmp_path).translate(TEXT.test.sources) == expected


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_refuses_an_empty_split(split):
    text = TEXT._replace(**{split: ParallelText([], [])})
    with pytest.raises(ValueError, match=f"the {split} split must not be empty; got 0 pairs$"):
        translation_task("colours", text, vocab_size=280)


def test_training_is_checked_without_training():
    made = translation_task("colours", TEXT, vocab_size=280)
    made.check_training({"encoder": {"lr": 1e-3}, "label_smoothing": 0.0})
    with pytest.raises(
        ValueError, match=r"label_smoothing must be in .*; got label_smoothing 1\.5"
    ):
        made.check_training({"label_smoothing": 1.5})
    with pytest.raises(ValueError, match=r"unknown key 'training\.encoder\.rate'"):
        made.check_training({"encoder": {"rate": 1e-3}})


def test_refuses_a_vocabulary_and_a_batch_that_are_too_small():
    with pytest.raises(ValueError, match=r"vocab_size must be at least 259; got vocab_size 9$"):
        translation_task("colours", TEXT, vocab_size=9)
    training = TrainingConfig(steps=1, batch_tokens=5)
    with pytest.raises(ValueError, match=r"must fit max_tokens 5; got .*pair '.*' with \d+ tokens"):
        translation_task("colours", TEXT, vocab_size=280, training=training)


@pytest.mark.slow
def test_what_saves_a_search_time_leaves_the_model_as_it_is(tmp_path):
    made, weights, evaluations = task(), [], []
    for place, rungs in enumerate(((120,), (40, 120))):
        model = made.build(config(made), 0)
        for steps in rungs:
            saving = made.rung_training(120) if len(rungs) > 1 else {}
            records = made.train(
                model,
                training=saving,
                steps=steps,
                seed=3,
                folder=tmp_path / str(place),
                progress=lambda step, steps: None,
            )
        weights.append(model.state_dict())
        evaluations.append([record["step"] for record in records if "eval_loss" in record])
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    assert evaluations == [[20, 40, 60, 80, 100, 120], [40, 120]]
    assert task(patience=2).rung_training(120) == {"schedule_steps": 120}


def numbers_of_training(monkeypatch, made, tmp_path, **settings):
    calls = []
    monkeypatch.setattr(_text_task, "train_model", lambda *a, **k: calls.append(a) or [])
    made.train(object(), steps=9, seed=4, folder=tmp_path, progress=print, **settings)
    return calls[0]


@pytest.mark.unhooked
def test_an_arm_changes_the_numbers_of_training(monkeypatch, tmp_path):
    changes = {"lr": 0.5, "decoder": {"bpe_dropout": 1.0}}
    _, train, _, numbers = numbers_of_training(monkeypatch, task(), tmp_path, training=changes)
    assert numbers.lr == 0.5
    assert numbers.encoder.bpe_dropout == 0.0
    plain = task().examples[0]
    assert [source for source, _ in train] == [source for source, _ in plain]
    assert all(len(one) > len(other) for (_, one), (_, other) in zip(train, plain, strict=True))
    with pytest.raises(ValueError, match=r"unknown key 'training\.lrr'"):
        numbers_of_training(monkeypatch, task(), tmp_path, training={"lrr": 1})


@pytest.mark.unhooked
@pytest.mark.parametrize("target", ["reference", "teacher", "both"])
def test_learns_the_references_or_what_the_teacher_says_or_both(monkeypatch, tmp_path, target):
    taught = ParallelText(["red", "blue"], ["azul", "verde"])
    teacher = Teacher(fingerprint="0" * 64)
    made = replace(task(), teacher=teacher, taught=taught)
    learnt = numbers_of_training(monkeypatch, made, tmp_path, training={"target": target})[1]
    decode = made.tokenizers.target.decode
    expected = {
        "reference": TRAIN.targets,
        "teacher": taught.targets,
        "both": TRAIN.targets + taught.targets,
    }
    assert [decode(tokens) for _, tokens in learnt] == expected[target]
    assert made.describe()["teacher"]["num_beams"] == 5


def test_refuses_to_learn_from_a_teacher_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"target 'both' needs .* a teacher; got none"):
        task(target="both").train(None, steps=1, seed=0, folder=tmp_path, progress=print)


def test_separate_vocabularies_are_of_one_language_each():
    made = translation_task("colours", TEXT, vocab_size=270, separate_vocabularies=True)
    assert made.vocabularies() == (270, 270)
    source, target = made.tokenizers
    assert source.to_str() != target.to_str()
    assert len(target.encode("vermelho").ids) < len(source.encode("vermelho").ids)
