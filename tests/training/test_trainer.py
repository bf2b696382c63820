"""Training learns, measures what it says, and goes on after a crash as if nothing had been."""

import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from transformers import Seq2SeqTrainer

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel, Translator
from askew.text import ParallelText, TokenBatches, train_tokenizer
from askew.training import (
    TokenBatchTrainer,
    TrainingConfig,
    TranslationExamples,
    collate_translation,
    last_checkpoint,
    train_model,
)
from askew.training import _trainer as trainer_module
from askew.transformer import EncoderDecoderConfig, StackConfig

PAIRS = ParallelText(
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
    ["um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove", "dez"],
)
VALID = ParallelText(["eleven", "twelve", "six"], ["onze", "doze", "seis"])
TOKENIZER = train_tokenizer([*PAIRS.sources, *PAIRS.targets], vocab_size=290)
CONFIG = TrainingConfig(
    steps=12, batch_tokens=24, lr=5e-3, warmup_steps=3, evaluations=6, checkpoints=3
)


class CrashError(Exception):
    """What a killed process looks like from within."""


def examples(pairs, max_tokens=24):
    return TranslationExamples(pairs, TOKENIZER, max_tokens=max_tokens)


def tiny_model(seed=0, dropout=0.2, width=16):
    torch.manual_seed(seed)
    encoder, decoder = (
        StackConfig(d_model=width, num_layers=layers, num_heads=2, d_ff=2 * width, dropout=dropout)
        for layers in (2, 1)
    )
    vocab = TOKENIZER.get_vocab_size()
    plain = EncoderDecoderConfig(
        source_vocab=vocab, target_vocab=vocab, encoder=encoder, decoder=decoder
    )
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))


def train(model, out, config=CONFIG, seed=0, **settings):
    return train_model(
        model, examples(PAIRS), examples(VALID), config, out=out, seed=seed, **settings
    )


def crash_at(step):
    def progress(done, steps):
        if done == step:
            raise CrashError

    return progress


def trainer(model, out, config=CONFIG, seed=0):
    arguments = trainer_module._arguments(config, out, seed)
    return TokenBatchTrainer(
        model, arguments, config, examples(PAIRS), examples(VALID), progress=None
    )


def step_records(records):
    return [
        {name: value for name, value in record.items() if name != "train_seconds"}
        for record in records
        if "loss" in record or "eval_loss" in record
    ]


def same_weights(one, other):
    others = other.state_dict()
    return all(torch.equal(weight, others[name]) for name, weight in one.state_dict().items())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    model, out = tiny_model(), tmp_path_factory.mktemp("undisturbed")
    return model, train(model, out), out


@pytest.mark.parametrize("step", [5, 10])
def test_resumed_after_a_crash_is_bit_equal_to_an_undisturbed_run(undisturbed, tmp_path, step):
    expected, expected_records, _ = undisturbed
    with pytest.raises(CrashError):
        train(tiny_model(), tmp_path, progress=crash_at(step))
    assert last_checkpoint(tmp_path).name == f"checkpoint-{step // 4 * 4}"
    model, steps = tiny_model(), []
    records = train(model, tmp_path, progress=lambda done, _: steps.append(done))
    assert steps == list(range(step // 4 * 4 + 1, 13))
    assert same_weights(model, expected)
    assert step_records(records) == step_records(expected_records)


def test_dropout_and_the_data_order_matter_to_the_result(undisturbed, tmp_path):
    expected, _, _ = undisturbed
    other = tiny_model()
    train(other, tmp_path / "seed", seed=1)
    assert not same_weights(other, expected)
    still = tiny_model(dropout=0.0)
    train(still, tmp_path / "dropout")
    assert not same_weights(still, expected)


def test_crash_before_the_first_checkpoint_starts_anew(undisturbed, tmp_path):
    with pytest.raises(CrashError):
        train(tiny_model(), tmp_path, progress=crash_at(3))
    assert last_checkpoint(tmp_path) is None
    model = tiny_model()
    train(model, tmp_path)
    assert same_weights(model, undisturbed[0])


def test_a_checkpoint_that_was_not_written_whole_is_ignored(undisturbed, tmp_path):
    with pytest.raises(CrashError):
        train(tiny_model(), tmp_path, progress=crash_at(10))
    newest = tmp_path / "checkpoint-8"
    (newest / "complete").unlink()
    (newest / "model.safetensors").write_bytes(b"half of it")
    assert last_checkpoint(tmp_path).name == "checkpoint-4"
    model, steps = tiny_model(), []
    train(model, tmp_path, progress=lambda done, _: steps.append(done))
    assert steps[0] == 5
    assert same_weights(model, undisturbed[0])


def test_newest_checkpoint_is_that_of_the_greatest_number(tmp_path):
    assert last_checkpoint(tmp_path / "missing") is None
    assert last_checkpoint(tmp_path) is None
    for step in (80, 100, 9):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "complete").touch()
    (tmp_path / "checkpoint-200").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


def test_a_finished_run_asked_for_again_trains_no_step(undisturbed, tmp_path):
    expected, expected_records, out = undisturbed
    shutil.copytree(out, tmp_path / "copy")
    model, steps = tiny_model(), []
    records = train(model, tmp_path / "copy", progress=lambda done, _: steps.append(done))
    assert not steps
    assert same_weights(model, expected)
    assert step_records(records) == step_records(expected_records)


def test_records_come_at_even_steps_with_both_losses(undisturbed):
    _, records, out = undisturbed
    assert [r["step"] for r in records if "loss" in r] == [2, 4, 6, 8, 10, 12]
    assert [r["step"] for r in records if "eval_loss" in r] == [2, 4, 6, 8, 10, 12]
    assert sorted(p.name for p in out.glob("checkpoint-*")) == ["checkpoint-12", "checkpoint-8"]


def test_train_seconds_grow_and_are_counted_on_after_a_crash(undisturbed, tmp_path):
    with pytest.raises(CrashError):
        train(tiny_model(), tmp_path, progress=crash_at(10))
    resumed = train(tiny_model(), tmp_path)
    for records in (undisturbed[1], resumed):
        seconds = [r["train_seconds"] for r in records if "loss" in r]
        assert seconds[0] > 0
        assert all(one < two for one, two in pairwise(seconds))


@pytest.mark.unhooked
def test_clock_goes_on_from_the_newest_record(tmp_path):
    clock = trainer(tiny_model(), tmp_path).clock

    class State:
        log_history = ({"train_seconds": 3.0}, {"step": 1}, {"train_seconds": 7.5})

    clock.on_train_begin(None, State(), None)
    assert clock.seconds == 7.5
    State.log_history = ()
    clock.on_train_begin(None, State(), None)
    assert clock.seconds == 0.0


def test_progress_tells_every_step(tmp_path):
    told = []
    train(tiny_model(), tmp_path, progress=lambda done, steps: told.append((done, steps)))
    assert told == [(step, 12) for step in range(1, 13)]


def test_validation_loss_is_the_mean_over_tokens(tmp_path):
    model = tiny_model()
    found = trainer(model, tmp_path, replace(CONFIG, label_smoothing=0.3)).evaluate()
    total = count = 0.0
    model.eval()
    for source, target in examples(VALID):
        given = torch.tensor([[1, *target]])
        with torch.no_grad():
            logits = model(torch.tensor([[*source, 2]]), decoder_input_ids=given).logits[0]
        for position, token in enumerate([*target, 2]):
            total -= logits[position].log_softmax(-1)[token].item()
            count += 1
    assert found["eval_loss"] == pytest.approx(total / count, rel=1e-5)


def test_validation_leaves_dropout_of_training_on(undisturbed, tmp_path):
    rarely = tiny_model()
    train(rarely, tmp_path, replace(CONFIG, evaluations=1))
    assert same_weights(rarely, undisturbed[0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_training_loss_is_cross_entropy_per_token(tmp_path, smoothing):
    model = tiny_model(dropout=0.0)
    config = replace(CONFIG, label_smoothing=smoothing)
    batch = collate_translation([examples(PAIRS)[i] for i in (0, 2, 3)])
    loss = trainer(model, tmp_path, config).compute_loss(model, dict(batch))
    labels = batch.pop("labels")
    logits = model(**batch).logits
    expected = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=-100, label_smoothing=smoothing
    )
    torch.testing.assert_close(loss, expected)
    plain = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    assert (abs(loss - plain) < 1e-6) == (smoothing == 0.0)


def test_reported_loss_is_that_of_the_steps_since_the_last_report(tmp_path):
    model, frozen = tiny_model(dropout=0.0), replace(CONFIG, steps=4, evaluations=1, lr=1e-12)
    records = train(model, tmp_path, frozen)
    batches = TokenBatches(examples(PAIRS).lengths, max_tokens=24, num_batches=4, seed=0)
    losses = []
    for rows in batches:
        batch = collate_translation([examples(PAIRS)[row] for row in rows])
        labels = batch.pop("labels")
        logits = model(**batch).logits.flatten(0, 1)
        losses.append(F.cross_entropy(logits, labels.flatten(), label_smoothing=0.1).item())
    (found,) = [r["loss"] for r in records if "loss" in r]
    assert found == pytest.approx(sum(losses) / 4, rel=1e-4)


def test_batches_and_dropout_are_those_of_the_seed_and_as_many_as_steps(tmp_path):
    made = trainer(tiny_model(), tmp_path, seed=4)
    assert made.args.seed == 4
    loader = made.get_train_dataloader()
    expected = TokenBatches(examples(PAIRS).lengths, max_tokens=24, num_batches=12, seed=4)
    for batch, rows in zip(loader, expected, strict=True):
        collated = collate_translation([examples(PAIRS)[row] for row in rows])
        assert all(torch.equal(batch[name], tensor) for name, tensor in collated.items())


def test_optimizer_is_one_fused_adamw_with_the_numbers_given(tmp_path):
    config = replace(CONFIG, weight_decay=0.07, clip_norm=0.5)
    made = trainer(tiny_model(), tmp_path, config)
    assert isinstance(made, Seq2SeqTrainer)
    optimizer = made.create_optimizer()
    assert type(optimizer) is torch.optim.AdamW
    assert all(group["fused"] for group in optimizer.param_groups)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.07, 0.0}
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in made.model.parameters())
    assert made.args.max_grad_norm == 0.5


@pytest.mark.parametrize("schedule", ["linear", "cosine", "inverse_sqrt"])
def test_rate_rises_to_lr_and_falls_as_the_schedule_says(tmp_path, schedule):
    records = train(tiny_model(), tmp_path, replace(CONFIG, schedule=schedule, evaluations=12))
    rates = [r["learning_rate"] for r in records if "loss" in r]
    assert rates[3] == max(rates) == pytest.approx(5e-3)  # step 4 is the first after 3 of warm-up
    assert rates[0] == 0.0
    left = 1 / 9  # of the nine steps after the warm-up the last one has one left
    expected = {
        "linear": left,
        "cosine": (1 - torch.cos(torch.tensor(torch.pi * left)).item()) / 2,
        "inverse_sqrt": (3 / 11) ** 0.5,
    }
    assert rates[-1] == pytest.approx(5e-3 * expected[schedule], rel=1e-4)


def test_ten_pairs_are_learnt_by_heart(tmp_path):
    model = tiny_model(dropout=0.0, width=32)
    config = TrainingConfig(
        steps=120, batch_tokens=64, lr=8e-3, warmup_steps=10, label_smoothing=0.0, evaluations=4
    )
    data = examples(PAIRS, 64)
    records = train_model(model, data, data, config, out=tmp_path, seed=0)
    losses = [r["loss"] for r in records if "loss" in r]
    assert losses[-1] < 0.1 * losses[0]
    assert Translator(model, TOKENIZER).translate(PAIRS.sources) == PAIRS.targets
