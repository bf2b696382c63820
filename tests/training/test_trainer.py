"""Training learns, measures what it says, and goes on after a crash as if nothing had been."""

import math
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from rules import first_every_day
from transformers import Seq2SeqTrainer

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel, Translator
from askew.text import ParallelText, TokenBatches, train_tokenizer
from askew.training import (
    SideConfig,
    TokenBatchTrainer,
    TrainingConfig,
    TranslationExamples,
    collate_translation,
    last_checkpoint,
    train_model,
)
from askew.training import _trainer as trainer_module
from askew.training._callbacks import mark_complete
from askew.training._objective import TranslationObjective
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

CLOCK = ("train_seconds", "tokens_per_second")


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
        model,
        arguments,
        TranslationObjective(config),
        examples(PAIRS),
        examples(VALID),
        progress=None,
    )


def step_records(records):
    return [
        {name: value for name, value in record.items() if name not in CLOCK}
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


@pytest.mark.parametrize("step", first_every_day(5, 10))
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


def test_two_algorithms_resume_bit_for_bit_and_record_their_rates(undisturbed, tmp_path):
    config = replace(CONFIG, decoder=SideConfig(base="muon", lr=2e-3))
    whole = tiny_model()
    records = train(whole, tmp_path / "whole", config)
    assert not same_weights(whole, undisturbed[0])
    with pytest.raises(CrashError):
        train(tiny_model(), tmp_path / "killed", config, progress=crash_at(10))
    model = tiny_model()
    assert step_records(train(model, tmp_path / "killed", config)) == step_records(records)
    assert same_weights(model, whole)
    rates = next(record for record in records if "lr/encoder" in record)
    assert rates["lr/decoder.matrices"] == rates["lr/decoder"] == 0.4 * rates["lr/encoder"]


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


def test_a_crash_while_a_checkpoint_was_marked_leaves_it_good_once_marked_again(tmp_path):
    checkpoint = tmp_path / "checkpoint-8"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (checkpoint / ".complete.partial").write_text('{"model')
    mark_complete(checkpoint)
    assert last_checkpoint(tmp_path) == checkpoint
    (checkpoint / "model.safetensors").write_bytes(b"weigh")
    assert last_checkpoint(tmp_path) is None


def test_newest_checkpoint_is_that_of_the_greatest_number(tmp_path):
    assert last_checkpoint(tmp_path / "missing") is None
    assert last_checkpoint(tmp_path) is None
    for step in (80, 100, 9):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "complete").write_text("{}")
    (tmp_path / "checkpoint-200").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


def test_a_checkpoint_that_was_cut_short_later_is_ignored(undisturbed, tmp_path):
    with pytest.raises(CrashError):
        train(tiny_model(), tmp_path, progress=crash_at(10))
    weights = tmp_path / "checkpoint-8" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert last_checkpoint(tmp_path).name == "checkpoint-4"
    model = tiny_model()
    train(model, tmp_path)
    assert same_weights(model, undisturbed[0])


def test_sharding_that_would_not_happen_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"FSDP by accelerate needs GPUs; .*shard_model$"):
        train(tiny_model(), tmp_path)
    assert not list(tmp_path.iterdir())


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
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["part"] for group in optimizer.param_groups} == {"encoder", "decoder"}
    assert all(group["fused"] for group in optimizer.param_groups)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.07, 0.0}
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in made.model.parameters())
    assert made.args.max_grad_norm == 0.5


@pytest.mark.parametrize("schedule", first_every_day("cosine", "linear", "inverse_sqrt"))
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


@pytest.mark.parametrize("average_decay", first_every_day(0.0, 0.9))
def test_ten_pairs_are_learnt_by_heart(average_decay, tmp_path, device):
    model = tiny_model(dropout=0.0, width=32)
    config = TrainingConfig(
        steps=120,
        batch_tokens=64,
        lr=8e-3,
        warmup_steps=10,
        label_smoothing=0.0,
        evaluations=4,
        average_decay=average_decay,
    )
    data = examples(PAIRS, 64)
    records = train_model(model, data, data, config, out=tmp_path, seed=0)
    assert model.device.type == device
    losses = [r["loss"] for r in records if "loss" in r]
    assert losses[-1] < 0.1 * losses[0]
    assert Translator(model, TOKENIZER).translate(PAIRS.sources) == PAIRS.targets


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"average_decay": 0.8}, id="average"),
        pytest.param(
            {"encoder": SideConfig(bpe_dropout=0.3), "decoder": SideConfig(bpe_dropout=0.1)},
            id="bpe",
            marks=pytest.mark.slow,
        ),
        pytest.param({"patience": 12}, id="patience", marks=pytest.mark.slow),
        pytest.param({"accumulate": 2}, id="accumulate", marks=pytest.mark.slow),
        pytest.param({"precision": "bf16"}, id="bf16", marks=pytest.mark.slow),
    ],
)
def test_every_way_of_training_goes_on_bit_for_bit_after_a_crash(tmp_path, changes):
    config = replace(CONFIG, **changes)
    expected = tiny_model()
    records = train_with_dropout(expected, tmp_path / "whole", config)
    with pytest.raises(CrashError):
        train_with_dropout(tiny_model(), tmp_path / "cut", config, progress=crash_at(7))
    model = tiny_model()
    assert step_records(train_with_dropout(model, tmp_path / "cut", config)) == step_records(
        records
    )
    assert same_weights(model, expected)
    plain = tiny_model()
    train(plain, tmp_path / "plain")
    assert changes == {"patience": 12} or not same_weights(model, plain)


def train_with_dropout(model, out, config, **settings):
    shares = (config.encoder.bpe_dropout, config.decoder.bpe_dropout)
    data = TranslationExamples(PAIRS, TOKENIZER, max_tokens=24, bpe_dropout=shares)
    return train_model(model, data, examples(VALID), config, out=out, seed=0, **settings)


def test_averaged_weights_are_those_that_are_evaluated_and_kept(tmp_path):
    """Against averages computed from the weights that a run without averaging has at each step."""
    config = replace(CONFIG, average_decay=0.9)
    seen = []
    plain = tiny_model()
    train(plain, tmp_path / "plain", progress=lambda *_: seen.append(weights(plain)))
    expected = weights(tiny_model())
    for step, now in enumerate(seen, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = {n: decay * w + (1 - decay) * now[n] for n, w in expected.items()}
    model = tiny_model()
    records = train(model, tmp_path / "average", config)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.double(), expected[name], rtol=1e-5, atol=1e-6)
    again = trainer(model, tmp_path / "again").evaluate()["eval_loss"]
    assert records[-1 if "eval_loss" in records[-1] else -2]["eval_loss"] == pytest.approx(again)


def weights(model):
    return {name: weight.detach().double().clone() for name, weight in model.named_parameters()}


def test_stops_when_no_evaluation_was_better_and_keeps_the_best_weights(tmp_path):
    """With a rate that ruins the weights, the first evaluations are the best."""
    config = replace(CONFIG, steps=40, evaluations=20, lr=2.0, warmup_steps=20, patience=3)
    seen = {}
    model = tiny_model(dropout=0.0)
    records = train(
        model, tmp_path, config, progress=lambda step, _: seen.setdefault(step, weights(model))
    )
    losses = [(r["eval_loss"], r["step"]) for r in records if "eval_loss" in r]
    best = min(losses)
    assert len(losses) == losses.index(best) + 4 < 20
    kept = weights(model)
    assert all(torch.equal(kept[name], weight) for name, weight in seen[best[1]].items())
    asked_again, steps = tiny_model(dropout=0.0), []
    again = train(asked_again, tmp_path, config, progress=lambda step, _: steps.append(step))
    assert same_weights(asked_again, model)
    assert step_records(again) == step_records(records)


def test_the_best_weights_are_the_averages_that_were_evaluated(tmp_path):
    config = replace(CONFIG, steps=20, evaluations=10, average_decay=0.9, patience=3)
    model = tiny_model(dropout=0.0)
    records = train(model, tmp_path, config)
    again = trainer(model, tmp_path / "again").evaluate()["eval_loss"]
    assert again == pytest.approx(min(r["eval_loss"] for r in records if "eval_loss" in r))


def test_accumulated_batches_are_one_large_batch(tmp_path):
    """Two batches a step and their tokens together are one step of plain AdamW on both."""
    model, plain = tiny_model(dropout=0.0), tiny_model(dropout=0.0)
    config = replace(CONFIG, steps=1, accumulate=2, warmup_steps=0, clip_norm=1e9)
    train(model, tmp_path, config)
    batches = list(TokenBatches(examples(PAIRS).lengths, max_tokens=24, num_batches=2, seed=0))
    total = count = 0
    for rows in batches:
        batch = collate_translation([examples(PAIRS)[row] for row in rows])
        labels = batch.pop("labels").flatten()
        logits = plain(**batch).logits.flatten(0, 1)
        total = total + F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="sum")
        count += int((labels != -100).sum())
    (total / count).backward()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=CONFIG.lr, weight_decay=0.0)
    optimizer.step()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        matrix = 1 - CONFIG.lr * CONFIG.weight_decay if one.ndim > 1 else 1.0
        initial = other.detach() + optimizer_step(optimizer, other)
        expected = other.detach() + (matrix - 1) * initial
        torch.testing.assert_close(one.detach(), expected, rtol=1e-4, atol=2e-6)


def optimizer_step(optimizer, parameter):
    """What the first step of Adam took away: the rate times the sign, nearly."""
    state = optimizer.state[parameter]
    mean, square = state["exp_avg"] / 0.1, state["exp_avg_sq"] / 0.001
    return CONFIG.lr * mean / (square.sqrt() + 1e-8)


def test_each_side_has_its_rate_its_schedule_and_its_decay_in_every_record(tmp_path):
    config = replace(
        CONFIG,
        evaluations=12,
        weight_decay=0.03,
        encoder=SideConfig(lr=1e-3, warmup_steps=6, schedule="constant", weight_decay=0.2),
    )
    made = trainer(tiny_model(), tmp_path / "made", config)
    decays = {(g["part"], g["weight_decay"]) for g in made.create_optimizer().param_groups}
    assert decays == {("encoder", 0.2), ("encoder", 0.0), ("decoder", 0.03), ("decoder", 0.0)}
    records = [r for r in train(tiny_model(), tmp_path / "run", config) if "loss" in r]
    encoder, decoder = ([r[f"lr/{part}"] for r in records] for part in ("encoder", "decoder"))
    assert encoder == pytest.approx([1e-3 * min(1, step / 6) for step in range(12)])
    falling = [(12 - step) / 9 for step in range(3, 12)]
    assert decoder == pytest.approx([5e-3 * m for m in (0, 1 / 3, 2 / 3, *falling)])


def test_records_are_told_as_they_are_made_with_the_speed(tmp_path):
    told = []
    records = train(tiny_model(), tmp_path, on_record=lambda record: told.append(dict(record)))
    assert [r["step"] for r in told if "loss" in r] == [2, 4, 6, 8, 10, 12]
    assert step_records(told) == step_records(records)
    assert all(record["tokens_per_second"] > 0 for record in told if "loss" in record)


def test_batches_that_cannot_be_shared_out_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module.Seq2SeqTrainingArguments, "world_size", 2)
    with pytest.raises(
        ValueError,
        match=r"accumulate must be a multiple .*; got accumulate 3, 2 processes\. "
        r"Set training\.accumulate=4$",
    ):
        train(tiny_model(), tmp_path, replace(CONFIG, accumulate=3))


@pytest.mark.parametrize(
    ("step", "kept", "changes"),
    first_every_day((7, 4, {}), (8, 4, {"average_decay": 0.9}), (12, 8, {"patience": 5})),
)
def test_a_training_that_diverges_ends_and_its_last_good_checkpoint_stays(
    tmp_path, step, kept, changes
):
    model, config = tiny_model(), replace(CONFIG, **changes)

    def break_at(done, steps):
        if done == step:
            next(model.parameters()).data.fill_(math.nan)

    with pytest.raises(FloatingPointError, match=r"must stay finite; got .* at step \d+\. Lower"):
        train(model, tmp_path, config, progress=break_at)
    assert last_checkpoint(tmp_path).name == f"checkpoint-{kept}"
    again, straight = tiny_model(), tiny_model()
    train(again, tmp_path, config)
    train(straight, tmp_path / "straight", config)
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, straight.state_dict()[name]), name
