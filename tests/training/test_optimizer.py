"""Both sides of a model at their rates: AdamW where they agree."""

import pytest
import torch
from torch import nn

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
from askew.training import (
    PartConfig,
    RunConfig,
    SideConfig,
    TrainingConfig,
    parts_optimizer,
    parts_scheduler,
    rise_and_fall,
    training_optimizer,
    training_scheduler,
)
from askew.transformer import EncoderDecoderConfig, StackConfig


def model(tie="output", **changes):
    torch.manual_seed(0)
    side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=12, dropout=0.0)
    plain = EncoderDecoderConfig(
        source_vocab=11, target_vocab=11, encoder=side, decoder=side, tie_embeddings=tie, **changes
    )
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))


def held(optimizer, part):
    groups = [g for g in optimizer.param_groups if g["part"] == part]
    return {name for group in groups for name in group["param_names"]}


@pytest.mark.parametrize("tie", ["none", "output", "all"])
def test_the_encoder_has_its_own_table_and_the_decoder_all_that_is_shared(tie):
    made = model(tie)
    optimizer = training_optimizer(made, TrainingConfig(steps=5))
    encoder, decoder = held(optimizer, "encoder"), held(optimizer, "decoder")
    assert encoder | decoder == {name for name, _ in made.named_parameters()}
    assert all(n.startswith(("model.encoder.", "model.source_embedding.")) for n in encoder)
    assert ("model.source_embedding.weight" in encoder) == (tie != "all")
    assert "model.target_embedding.weight" in decoder


def test_alike_sides_train_as_one_adamw_without_decay_of_vectors():
    config = TrainingConfig(steps=20, lr=0.01, warmup_steps=4, weight_decay=0.1)
    made, plain = model(), model()
    ours = training_optimizer(made, config)
    schedule = training_scheduler(ours, config)
    matrices = [p for p in plain.parameters() if p.ndim > 1]
    vectors = [p for p in plain.parameters() if p.ndim < 2]
    theirs = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
        lr=0.01,
        weight_decay=0.1,
        fused=True,
    )
    rise = torch.optim.lr_scheduler.LambdaLR(
        theirs, lambda step: step / 4 if step < 4 else max(0.0, (20 - step) / 16)
    )
    tokens = torch.randint(3, 11, (4, 6))
    for _ in range(9):
        for net, optimizer, scheduler in ((made, ours, schedule), (plain, theirs, rise)):
            optimizer.zero_grad()
            net(tokens, decoder_input_ids=tokens).logits.square().mean().backward()
            optimizer.step()
            scheduler.step()
    for one, other in zip(made.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_muon_for_the_hidden_matrices_of_one_side_equals_two_optimizers():
    config = TrainingConfig(
        steps=20, lr=0.01, warmup_steps=0, schedule="constant", decoder=SideConfig(base="muon")
    )
    made, plain = model(), model()
    ours = training_optimizer(made, config)
    schedule = training_scheduler(ours, config)
    chosen = held(ours, "decoder.matrices")
    assert all(name.startswith("model.decoder.layers.0.") for name in chosen)
    assert len(chosen) == 4 + 4 + 2
    rates = {group["part"]: group["lr"] for group in ours.param_groups}
    assert rates == {"encoder": 0.01, "decoder.matrices": 0.01, "decoder": 0.01}
    named = dict(plain.named_parameters())
    rest = [weight for name, weight in named.items() if name not in chosen]
    decays = [[w for w in rest if w.ndim > 1], [w for w in rest if w.ndim < 2]]
    theirs = [
        torch.optim.Muon(
            [weight for name, weight in named.items() if name in chosen],
            lr=0.01,
            weight_decay=0.01,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            [{"params": decays[0]}, {"params": decays[1], "weight_decay": 0.0}],
            lr=0.01,
            weight_decay=0.01,
            fused=True,
        ),
    ]
    tokens = torch.randint(3, 11, (4, 6))
    for _ in range(9):
        for net, optimizers in ((made, [ours]), (plain, theirs)):
            net.zero_grad()
            net(tokens, decoder_input_ids=tokens).logits.square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
        schedule.step()
    for one, other in zip(made.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("tie", ["none", "output", "all"])
def test_muon_for_both_sides_leaves_tables_and_vectors_to_adamw(tie):
    made = model(tie)
    optimizer = training_optimizer(made, TrainingConfig(steps=5, base="muon"))
    bases = {group["part"]: group["base"] for group in optimizer.param_groups}
    assert bases == {
        "encoder.matrices": "Muon",
        "encoder": "AdamW",
        "decoder.matrices": "Muon",
        "decoder": "AdamW",
    }
    assert held(optimizer, "encoder.matrices") | held(optimizer, "decoder.matrices") == {
        name for name, weight in made.named_parameters() if ".layers." in name and weight.ndim == 2
    }
    assert set().union(*(held(optimizer, part) for part in bases)) == {
        name for name, _ in made.named_parameters()
    }


def test_a_part_of_matrices_alone_and_frozen_ones():
    body = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 6, bias=False), nn.Linear(6, 4))
    head = nn.Linear(4, 2)
    body[2].requires_grad_(False)
    made = nn.Sequential(body, head)
    parts = {"body": ([body[1]], PartConfig(base="muon", lr=0.1)), "rest": (None, PartConfig())}
    optimizer = parts_optimizer(made, RunConfig(steps=9, lr=0.2), parts)
    assert held(optimizer, "body.matrices") == {"0.1.weight"}
    assert {g["part"] for g in optimizer.param_groups} == {"body.matrices", "rest"}
    config = RunConfig(steps=10, warmup_steps=0, lr=0.2)
    scheduler = parts_scheduler(
        optimizer, config, {name: part for name, (_, part) in parts.items()}
    )
    optimizer.step()
    scheduler.step()
    rates = {group["part"]: group["lr"] for group in optimizer.param_groups}
    assert rates == pytest.approx({"body.matrices": 0.09, "rest": 0.18})


@pytest.mark.parametrize(
    ("schedule", "at"),
    [("linear", 0.5), ("cosine", 0.5), ("inverse_sqrt", (4 / 12) ** 0.5), ("constant", 1.0)],
)
def test_a_side_has_its_own_schedule(schedule, at):
    config = TrainingConfig(
        steps=20, lr=0.1, warmup_steps=0, decoder=SideConfig(warmup_steps=4, schedule=schedule)
    )
    optimizer = training_optimizer(model(), config)
    scheduler = training_scheduler(optimizer, config)
    rates = []
    for _ in range(20):
        rates.append({g["part"]: g["lr"] for g in optimizer.param_groups})
        optimizer.step()
        scheduler.step()
    assert [r["encoder"] for r in rates] == pytest.approx([0.1 * (20 - s) / 20 for s in range(20)])
    assert [r["decoder"] for r in rates[:5]] == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])
    assert rates[12]["decoder"] == pytest.approx(0.1 * at)


@pytest.mark.parametrize(
    ("form", "at"),
    [
        ("linear", [0, 0.5, 1, 0.75, 0.5, 0.25, 0]),
        ("constant", [0, 0.5, 1, 1, 1, 1, 1]),
        ("inverse_sqrt", [0, 0.5, 1, (2 / 3) ** 0.5, 0.5**0.5, 0.4**0.5, (1 / 3) ** 0.5]),
    ],
)
def test_a_rate_rises_and_falls(form, at):
    schedule = rise_and_fall(form, rise=2, steps=6)
    assert [schedule(step) for step in range(7)] == pytest.approx(at)
    assert rise_and_fall("cosine", rise=0, steps=4)(2) == pytest.approx(0.5)
