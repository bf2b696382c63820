"""Texts to labels as a task: trained, resumed, scored, saved, with every loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from options import typed
from small_encoder import save_encoder
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification

from askew.models import (
    AsymmetricLabelConfig,
    AsymmetricLabelModel,
    Labelled,
    LabelModelConfig,
    PretrainedEncoder,
    TextLabeller,
    load_label_model,
    read_attention,
)
from askew.optim import part_rates
from askew.tasks import (
    APPLICATIONS,
    LabelSources,
    SplitLabelled,
    TextLabelTask,
    TextLabelTrainingConfig,
    TextLossConfig,
    load_labelled,
    load_labelled_test,
    text_label_task,
)
from askew.tasks._reliability import calibration_error, reliability_bins
from askew.tasks._text_label_application import _presets
from askew.tasks._text_label_scores import label_scores, tune_thresholds
from askew.tasks._text_labels_training import LabelObjective
from askew.text import LabelledTexts
from askew.training import (
    LayeredPartConfig,
    PartConfig,
    RunConfig,
    parts_optimizer,
    parts_scheduler,
)
from askew.transformer import StackConfig

LABELS = APPLICATIONS["labels"]
KINDS = {"cats": "the cat sat", "dogs": "a dog ran", "birds": "one bird flew"}
STACK = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16, dropout=0.1)
QUIET = {"progress": lambda *_: None}


def texts(count, *, exclusive=False):
    names, rows = list(KINDS), LabelledTexts([], [])
    for number in range(count):
        held = {names[number % 3], names[number % 3 if exclusive else number // 3 % 3]}
        rows.texts.append(" ".join([KINDS[name] for name in sorted(held)] + [str(number)]))
        rows.labels.append(tuple(sorted(held)))
    return rows


def task_of(exclusive=False, **training):
    rows = texts(24, exclusive=exclusive)
    numbers = TextLabelTrainingConfig(steps=1, batch_tokens=200, **training)
    split = SplitLabelled(rows, rows, rows)
    return text_label_task("pets", split, vocab_size=300, training=numbers)


def model_of(task, seed=0):
    config = LabelModelConfig(vocab=task.tokenizer.get_vocab_size(), encoder=STACK)
    return task.build(config, seed)


def test_it_learns_what_a_frequency_cannot_know(tmp_path, device):
    task = task_of(lr=1e-2)
    assert isinstance(task, TextLabelTask)
    model = model_of(task)
    task.train(model, steps=60, seed=0, folder=tmp_path, **QUIET)
    assert model.device.type == device
    scores = task.evaluate(model).metrics
    assert set(scores) == {"map", "micro_f1", "macro_f1"}
    assert min(scores.values()) > 95
    found = task.labeller(model).label(["the cat sat"])[0]
    assert isinstance(found, Labelled)
    assert found.labels == ["cats"]


def test_one_label_for_each_text_is_a_choice_among_classes(tmp_path):
    task = task_of(exclusive=True, lr=1e-2)
    model = model_of(task)
    task.train(model, steps=60, seed=0, folder=tmp_path, **QUIET)
    assert task.evaluate(model).metrics["accuracy"] > 95
    assert model.config.thresholds is None
    probabilities = task.labeller(model).label(["a dog ran"])[0].probabilities
    assert sum(probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "loss",
    ["adaptive", *(pytest.param(name, marks=pytest.mark.slow) for name in ("asymmetric", "splc"))],
)
def test_a_training_that_is_cut_off_resumes_bit_for_bit(tmp_path, loss):
    class CutError(Exception):
        pass

    def cut(done, total):
        if done == 25:
            raise CutError

    task = task_of(loss=TextLossConfig(name=loss), evaluations=4, checkpoints=4)
    run = {"steps": 40, "seed": 3}
    whole, half = model_of(task), model_of(task)
    task.train(whole, folder=tmp_path / "whole", **run, **QUIET)
    with pytest.raises(CutError):
        task.train(half, folder=tmp_path / "cut", progress=cut, **run)
    again = model_of(task)
    steps = []
    task.train(again, folder=tmp_path / "cut", progress=lambda n, _: steps.append(n), **run)
    assert steps[0] > 10  # it did not begin again
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert again.config.thresholds == whole.config.thresholds


def test_a_folder_holds_labels_and_thresholds(tmp_path):
    task = task_of(thresholds="label")
    model = model_of(task)
    task.train(model, steps=2, seed=0, folder=tmp_path / "run", **QUIET)
    assert len(set(model.config.thresholds)) == 3
    folder = tmp_path / "model"
    folder.mkdir()
    task.save(model, folder)
    loaded = TextLabeller.from_pretrained(folder)
    assert loaded.model.config.labels == ["birds", "cats", "dogs"]
    assert loaded.label(task.text.test.texts) == task.labeller(model).label(task.text.test.texts)
    assert torch.equal(load_label_model(folder).head.weight, model.head.weight)
    assert isinstance(AutoConfig.from_pretrained(folder), AsymmetricLabelConfig)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder)
    assert isinstance(theirs, AsymmetricLabelModel)
    assert read_attention(load_label_model(folder), folder, "a cat").weights
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="load_label_model: a file must be as it was written"):
        load_label_model(folder)


def test_padding_changes_no_text(device):
    task = task_of()
    labeller = task.labeller(model_of(task).to(device))
    both = labeller.logits(["the cat sat", "one bird flew and a dog ran"])
    alone = labeller.logits(["the cat sat"])
    np.testing.assert_allclose(both[:1], alone, atol=1e-6)


def test_a_pretrained_encoder_keeps_its_weights_and_may_be_frozen(tmp_path):
    folder = save_encoder(tmp_path)
    rows = texts(24)
    options = LABELS.train.options(encoder=folder, set_=typed({"training": {"batch_tokens": 99}}))
    assert LABELS.make_task(replaced(options, tmp_path, rows)).training.lr == 2e-4
    task = text_label_task("pets", SplitLabelled(rows, rows, rows), pretrained=folder)
    config = LabelModelConfig(vocab=task.tokenizer.get_vocab_size(), max_tokens=32)
    task.check(config)
    first, other = task.build(config, 0), task.build(config, 1)
    assert isinstance(first.encoder, PretrainedEncoder)
    for one, two in zip(first.encoder.parameters(), other.encoder.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.head.weight, other.head.weight)
    with pytest.raises(ValueError, match="must read 99 tokens at once"):
        task.check(LabelModelConfig(vocab=330, max_tokens=99))


def test_sizes_beside_a_pretrained_encoder_are_refused_by_name(tmp_path):
    rows = texts(24)
    options = replaced(LABELS.train.options(encoder=save_encoder(tmp_path)), tmp_path, rows)
    task = LABELS.make_task(options)
    for given, others in (
        (["encoder.num_layers=2", "encoder.dropout=0.1"], "encoder.num_layers beside"),
        (["encoder.d_model=64", "encoder.d_ff=9"], "encoder.d_model, encoder.d_ff beside"),
    ):
        with pytest.raises(ValueError, match=f"labels: .* own sizes .*; got {others} --encoder"):
            LABELS.train.make_model(task, replace(options, set_=given))
    found = tmp_path / "found.toml"  # a search writes the sizes of a stand-in, too
    found.write_text(
        "max_tokens = 32\nencoder.num_layers = 2\nencoder.dropout = 0.2\ntraining.lr = 0.001\n"
    )
    config, training = LABELS.train.make_model(task, replace(options, loss=str(found)))
    assert (config.encoder.dropout, training["lr"]) == (0.2, 0.001)


def test_a_plan_of_rates_identifies_a_training():
    rows = texts(24)
    task = text_label_task("pets", SplitLabelled(rows, rows, rows))
    longer = replace(task, training=replace(task.training, schedule_steps=900))
    assert "schedule_steps" not in task.describe()["training"]  # as it was stored before
    assert longer.describe()["training"]["schedule_steps"] == 900


def test_an_arm_has_the_steps_of_the_budget():
    rows = texts(24)
    task = text_label_task("pets", SplitLabelled(rows, rows, rows))
    with pytest.raises(ValueError, match=r"must be left out, .* training.steps 7\. Give --steps"):
        task.check_training({"steps": 7})


def replaced(options, folder, rows):
    path = folder / "rows.tsv"
    lines = [f"{t}\t{','.join(n)}\n" for t, n in zip(*rows, strict=True)]
    path.write_text("".join(lines))
    return replace(options, data=str(path))


LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.eye(3).repeat(2, 1)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_plain_loss_is_cross_entropy(exclusive):
    loss = TextLossConfig().build(TARGETS, exclusive=exclusive)
    right = (
        F.cross_entropy(LOGITS, TARGETS.argmax(1))
        if exclusive
        else F.binary_cross_entropy_with_logits(LOGITS, TARGETS)
    )
    assert torch.equal(loss(LOGITS, TARGETS), right)


def test_equal_sides_are_the_plain_loss():
    two_sided = TextLossConfig(name="asymmetric").build(TARGETS)
    plain = TextLossConfig().build(TARGETS)
    torch.testing.assert_close(two_sided(LOGITS, TARGETS), plain(LOGITS, TARGETS))
    focal = TextLossConfig(name="focal", gamma=0.0).build(TARGETS, exclusive=True)
    plain = TextLossConfig().build(TARGETS, exclusive=True)
    torch.testing.assert_close(focal(LOGITS, TARGETS), plain(LOGITS, TARGETS))


def test_every_named_loss_has_a_gradient():
    for exclusive in (False, True):
        task = task_of(exclusive=exclusive)
        for name, training in _presets(task).items():
            config = task._training_config(training)
            learnt = config.loss.build(TARGETS, exclusive=exclusive)
            logits = LOGITS.clone().requires_grad_()
            learnt(logits, TARGETS).backward()
            assert logits.grad.isfinite().all(), name
            assert logits.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("loss", "fault"),
    [
        ({"name": "plain", "gamma": 1.0}, "plain must have no gamma"),
        ({"name": "hill", "tau": 0.5}, "hill must have no tau"),
        ({"name": "asymmetric", "gamma_neg": -1.0}, "gamma_neg"),
    ],
)
def test_numbers_of_another_loss_are_refused(loss, fault):
    with pytest.raises(ValueError, match=fault):
        TextLossConfig(**loss)


def test_a_loss_of_classes_needs_one_label_for_each_text():
    with pytest.raises(ValueError, match="ldam must have texts with exactly one label"):
        task_of(loss=TextLossConfig(name="ldam"))
    with pytest.raises(ValueError, match="remove_positives goes with texts that have several"):
        task_of(exclusive=True, remove_positives=0.5)


def test_removed_labels_are_missing_in_training_alone(tmp_path):
    task = task_of(remove_positives=0.5)
    train, valid, _ = task.training_inputs(model_of(task), task.training, 0)
    assert 0 < train.targets.sum() < 0.8 * valid.targets.sum()
    assert (train.targets <= valid.targets).all()


def test_thresholds_are_the_best_of_all_or_of_each():
    logits = np.array([[0.0, 5.0], [1.0, 6.0], [2.0, 7.0], [3.0, 8.0]])
    truth = np.array([[0, 0], [1, 0], [1, 0], [1, 1]])
    each = tune_thresholds(logits, truth, each=True)
    assert each == [1.0, 8.0]
    one = tune_thresholds(logits, truth, each=False)
    assert len(set(one)) == 1
    scores = [
        label_scores(logits, logits >= np.array(t), truth, exclusive=False)["macro_f1"]
        for t in (each, one)
    ]
    assert scores[0] == 100 > scores[1]
    assert tune_thresholds(logits, 0 * truth, each=True) == [0.0, 0.0]


def test_the_calibration_error_is_the_gap_in_every_bin():
    generator = np.random.default_rng(0)
    p = generator.random((40, 3))
    y = (generator.random((40, 3)) < p**2).astype(int)
    gap = 0.0
    for k in range(15):  # the definition, bin by bin
        inside = [(a, b) for a, b in zip(p.flat, y.flat, strict=True) if k <= 15 * a < k + 1]
        gap += abs(sum(b - a for a, b in inside))
    bins = reliability_bins(p, y)
    assert calibration_error(bins) == pytest.approx(gap / 120)
    assert sum(one.count for one in bins) == 120
    for one in bins:
        assert one.low <= one.probability <= one.high
    certain = reliability_bins(np.array([1.0, 1.0]), np.array([1, 0]))
    assert certain == [(14 / 15, 1.0, 2, 1.0, 0.5)]
    even = reliability_bins(np.array([0.8] * 10), np.array([1] * 8 + [0] * 2))
    assert calibration_error(even) < 1e-9


def test_equal_texts_are_in_one_split_and_unknown_labels_are_refused(tmp_path):
    rows = texts(30)
    path = tmp_path / "rows.tsv"
    lines = [f"{t}\t{','.join(n)}\n" for t, n in zip(*rows, strict=True)]
    path.write_text("".join(lines * 2))
    _, split = load_labelled(LabelSources(str(path)))
    sets = [set(part.texts) for part in split]
    assert [len(part.texts) for part in split] == [48, 6, 6]
    assert len(set.union(*sets)) == sum(map(len, sets)) == 30
    assert load_labelled_test(str(path), part="test") == split.test
    test = tmp_path / "test.tsv"
    test.write_text("a fish swam\tfish\n")
    with pytest.raises(ValueError, match=f"got fish at {test}, line 1"):
        load_labelled(LabelSources(str(path), None, str(test)))
    test.write_text("a dog\tdogs\n")
    _, split = load_labelled(LabelSources(str(path), None, str(test)))
    assert [len(part.texts) for part in split] == [54, 6, 1]


def test_every_part_has_its_rate():
    task = task_of(lr=0.1, head=PartConfig(lr=0.5))
    objective = task.training_inputs(model_of(task), task.training, 0)[2]
    optimizer = objective.optimizer(model_of(task))
    rates = {group["part"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {"encoder": 0.1, "head": 0.5}
    run = RunConfig(steps=4, lr=0.2, warmup_steps=0)
    whole = parts_optimizer(model_of(task), run, {"all": (None, PartConfig())})
    assert {group["lr"] for group in whole.param_groups} == {0.2}
    assert set(parts_scheduler(whole, run, {"all": PartConfig()}).get_last_lr()) == {0.2}


def test_a_rate_falls_from_layer_to_layer(tmp_path):
    encoder = LayeredPartConfig(lr=0.4, layer_decay=0.5)
    task = task_of(lr=0.1, encoder=encoder)
    stack = replace(STACK, num_layers=3)
    config = LabelModelConfig(vocab=task.tokenizer.get_vocab_size(), encoder=stack)
    model = task.build(config, 0)
    objective = task.training_inputs(model, task.training, 0)[2]
    optimizer = objective.optimizer(model)
    layers = {"encoder.0": 0.1, "encoder.1": 0.2, "encoder.2": 0.4}
    rates = {"encoder.below": 0.05, **layers, "encoder": 0.4, "head": 0.1}
    assert part_rates(optimizer) == pytest.approx(rates)
    assert set(objective.scheduler(optimizer).get_last_lr()) == {0.0}
    task.train(model, steps=2, seed=0, folder=tmp_path / "run", **QUIET)

    rows, folder = texts(24), save_encoder(tmp_path)
    split, frozen = SplitLabelled(rows, rows, rows), replace(encoder, frozen_layers=1)
    numbers = TextLabelTrainingConfig(steps=1, lr=0.1, encoder=frozen)
    task = text_label_task("pets", split, pretrained=folder, training=numbers)
    model = model_of(task)
    optimizer = task.training_inputs(model, numbers, 0)[2].optimizer(model)
    assert part_rates(optimizer) == {"encoder.1": 0.4, "head": 0.1}
    objective = LabelObjective(replace(numbers, base="muon"), task._loss(numbers), exclusive=False)
    optimizer = objective.optimizer(model)
    rates = {"encoder.1.matrices": 0.4, "encoder.1": 0.4, "head": 0.1}
    assert part_rates(optimizer) == rates
    assert len(objective.scheduler(optimizer).get_last_lr()) == len(optimizer.param_groups)
    with pytest.raises(ValueError, match=r"layer_decay must be in \(0, 1\]; got layer_decay 1.5"):
        LayeredPartConfig(layer_decay=1.5)


def test_an_equal_rate_of_all_layers_is_one_part():
    task = task_of(encoder=LayeredPartConfig(layer_decay=1.0))
    optimizer = task.training_inputs(model_of(task), task.training, 0)[2].optimizer(model_of(task))
    assert list(part_rates(optimizer)) == ["encoder", "head"]


def test_the_models_own_loss_is_that_of_a_plain_trainer():
    task = task_of()
    model = model_of(task).eval()
    tokens = torch.tensor([[5, 6, 7]])
    labels = torch.tensor([[1.0, 0.0, 1.0]])
    output = model(tokens, labels=labels)
    right = F.binary_cross_entropy_with_logits(output.logits, labels)
    assert torch.equal(output.loss, right)
    with pytest.raises(ValueError, match=r"labels must have the shape \(1, 3\)"):
        model(tokens, labels=torch.tensor([1]))
