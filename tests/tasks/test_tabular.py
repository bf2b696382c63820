"""Schedules, dropout of the input and costs of tasks on tables; equal sides are one side."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score

from askew.tasks import (
    MLP,
    LabelTask,
    LabelTrainingConfig,
    MLPConfig,
    RetrievalTask,
    RetrievalTrainingConfig,
    TableTask,
    TableTrainingConfig,
    best_threshold,
    split_table,
)
from askew.tasks._retrieval import _evaluation


def rows(labels, *, count=200, width=5):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, width))
    noise = rng.normal(size=(count, labels))
    return split_table(x, (x[:, :labels] + noise > 0.6).astype(np.float32))


def label_task(labels=3, **training):
    name = "multilabel" if labels > 1 else "imbalanced"
    numbers = LabelTrainingConfig(**training)
    return LabelTask(source_name="noise", table=rows(labels), training=numbers, name=name)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_label_that_is_the_same_in_all_rows_is_refused(split):
    table = rows(3)
    one = getattr(table, split)
    same = one.y.clone()
    same[:, 1] = 1
    table = table._replace(**{split: one._replace(y=same)})
    fault = rf"got labels \[1\], counted from 0, the same in all {len(same)} rows of the {split} "
    with pytest.raises(ValueError, match=fault):
        LabelTask(source_name="noise", table=table, name="multilabel")


def retrieval_task(**training):
    rng = np.random.default_rng(0)
    classes = np.arange(200) % 4
    x = rng.normal(size=(200, 5)) + 2 * np.eye(5)[classes]
    table = split_table(x, classes)
    return RetrievalTask(
        source_name="blobs", table=table, training=RetrievalTrainingConfig(**training)
    )


def trained(task, config=None, *, steps=30, seed=0, **training):
    model = task.build(config or MLPConfig(width=8), seed)
    records = task.train(
        model,
        training=training,
        steps=steps,
        seed=seed,
        folder=None,
        progress=lambda step, steps: None,
    )
    return model, records


def same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(n == m and torch.equal(a, b) for (n, a), (m, b) in pairs)


def test_equal_sides_are_one_side_bit_for_bit():
    task = label_task(lr=3e-3, schedule="cosine", warmup_steps=4)
    plain, _ = trained(task)
    sides = {"lr_first": 3e-3, "lr_head": 3e-3, "schedule_first": "cosine"}
    assert same(plain, trained(task, **sides, schedule_head="cosine")[0])
    assert not same(plain, trained(task, lr_first=1e-3)[0])
    assert not same(plain, trained(task, schedule_head="constant")[0])
    halves = MLPConfig(width=8, dropout_second=0.2, input_dropout_second=0.0)
    assert same(plain, trained(task, halves)[0])
    assert not same(plain, trained(task, MLPConfig(width=8, dropout_second=0.3))[0])
    assert not same(plain, trained(task, MLPConfig(width=8, input_dropout_second=0.3))[0])


def test_one_rate_is_plain_adamw():
    task = label_task(lr=3e-3, weight_decay=0.1)
    result, _ = trained(task, MLPConfig(width=8, dropout=0.0), steps=12)
    model = task.build(MLPConfig(width=8, dropout=0.0), 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1, fused=True)
    torch.manual_seed(0)
    from askew.tradeoffs._running.batches import training_batches

    data = torch.utils.data.TensorDataset(*task.table.train)
    batches = training_batches(data, 64, 0, torch.device("cpu"))
    for (x, y), _ in zip(batches, range(12), strict=False):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model.train()(x), y).backward()
        optimizer.step()
    for a, b in zip(result.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_rates_fall_and_are_those_of_their_parts():
    from askew.optim import part_rates
    from askew.tasks._tabular import _optimizer

    model = MLP(MLPConfig(width=4, num_layers=3, d_out=2), 5)
    numbers = TableTrainingConfig(
        lr=1.0, lr_first=0.5, lr_head=4.0, schedule="linear", schedule_head="constant"
    )
    optimizer = _optimizer(model, numbers, 4)
    owned = {g["part"]: g["param_names"] for g in optimizer.param_groups}
    assert owned["first"] == ["hidden.0.weight", "hidden.0.bias"]
    assert owned["head"] == ["head.weight", "head.bias"]
    assert len(owned["hidden"]) == 4
    seen = []
    for _ in range(4):
        seen.append(part_rates(optimizer))
        optimizer.step()
    assert [rates["first"] for rates in seen] == [0.5, 0.375, 0.25, 0.125]
    assert [rates["hidden"] for rates in seen] == [1.0, 0.75, 0.5, 0.25]
    assert [rates["head"] for rates in seen] == [4.0] * 4
    shallow = MLP(MLPConfig(width=4, num_layers=1, d_out=2), 5)
    assert set(part_rates(_optimizer(shallow, numbers, 4))) == {"first", "head"}


def test_costs_by_hand():
    task = label_task(3, batch_size=2)
    config = MLPConfig(width=4, num_layers=2)
    assert task.parameters(config) == (5 + 1) * 4 + (4 + 1) * 4 + (4 + 1) * 3
    # Forward and the weights' gradients of all layers, the inputs' gradients of all but the first.
    assert task.flops_per_step(config) == 2 * 2 * (2 * 5 * 4 + 3 * 4 * 4 + 3 * 4 * 3)
    assert retrieval_task().parameters(config) == 24 + 20 + 5 * 32
    whole = label_task(3, batch_size=10_000)
    assert whole.flops_per_step(config) == 60 * task.flops_per_step(config)  # of 120 rows


def test_one_label_has_its_own_scores():
    task = label_task(1)
    model, _ = trained(task)
    logits = task.answers(model, task.table.test.x).numpy()
    valid = task.answers(model, task.table.valid.x).numpy()
    right = task.table.test.y.numpy()
    predicted = logits >= best_threshold(valid, task.table.valid.y.numpy())
    result = task.evaluate(model).metrics
    assert result == {
        "ap": 100 * average_precision_score(right, logits),
        "f1": 100 * f1_score(right, predicted),
        "balanced_accuracy": 100 * balanced_accuracy_score(right, predicted),
    }
    rows = len(right)
    train = task.table.train
    expected = average_precision_score(
        train.y[:rows].numpy(), task.answers(model, train.x[:rows]).numpy()
    )
    assert task.train_score(model) == pytest.approx(100 * expected)


def test_the_frequency_is_what_needs_no_training():
    task = label_task(3)
    result = task.baselines()["frequency"]
    shares = task.table.test.y.mean(0).mean().item()
    assert result["map"] == pytest.approx(100 * shares, abs=1e-4)  # a constant ranks nothing


def test_retrieval_looks_at_directions_and_gives_each_query():
    task = retrieval_task()
    model, _ = trained(task)
    result = task.evaluate(model)
    assert len(result.items["map"]) == len(task.table.test.x)
    assert result.metrics["map"] == pytest.approx(np.mean(result.items["map"]))
    embeddings, classes = task.answers(model, task.table.test.x), task.table.test.y
    longer = embeddings * torch.linspace(0.5, 2.0, len(classes))[:, None]
    assert _evaluation(longer, classes).items["map"] == pytest.approx(result.items["map"])
    assert 0 < task.validate(model) <= 100
    assert 0 < task.train_score(model) <= 100
    assert set(task.baselines()["raw_features"]) == {"map", "recall_at_1"}
    assert task.evaluate(task.build(MLPConfig(width=8), 0)).metrics["map"] < result.metrics["map"]


@pytest.mark.parametrize(
    "task", [label_task(), label_task(1), retrieval_task()], ids=lambda t: t.name
)
def test_a_model_is_trained_stored_and_read(task, tmp_path):
    copy = pickle.loads(pickle.dumps(task))
    assert isinstance(copy, TableTask)
    assert copy.describe() == task.describe()
    model, records = trained(copy, MLPConfig(width=8, dropout_second=0.4), steps=40)
    assert records[-1]["step"] == 40
    assert records[-1]["train_seconds"] > 0
    losses = [record["loss"] for record in records]
    assert losses[-1] < losses[0]
    assert sum("eval_loss" in r for r in records) == 10
    assert same(model, trained(task, MLPConfig(width=8, dropout_second=0.4), steps=40)[0])
    task.save(model, tmp_path / "model")
    read = task.load(tmp_path / "model")
    assert same(read, model)
    assert read.config == model.config
    assert read.config.d_out == task.d_out
    task.predict(read, items=3 * len(task.table.test.x), batch_size=64)
    assert set(task.search_space()) == {"training.lr", "dropout"}


def test_a_folder_of_another_version_is_refused(tmp_path):
    task = label_task()
    task.save(task.build(MLPConfig(width=8), 0), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ValueError, match="must be of version 1; got version 2"):
        task.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"loss": {"margin": 5e-4}}, r"margin must be 0 or in \[0\.001, 1\); got margin 0\.0005$"),
        ({"rate": 1.0}, r"unknown key 'training\.rate'"),
        ({"loss": {"name": "hill", "margin": 0.1}}, "margin"),
    ],
)
def test_training_is_checked_without_training(training, message):
    label_task().check_training({"loss": {"margin": 0.05}, "lr": 1e-2})
    with pytest.raises(ValueError, match=message):
        label_task().check_training(training)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLPConfig(dropout_second=1.0), r"dropout_second must be in \[0, 1\)"),
        (lambda: MLPConfig(input_dropout=-0.1), r"input_dropout must be in \[0, 1\)"),
        (lambda: TableTrainingConfig(lr_head=0.0), "lr_head must be > 0"),
        (lambda: TableTrainingConfig(warmup_steps=-1), "warmup_steps must be >= 0"),
        (
            lambda: TableTrainingConfig(remove_positives=1.0),
            r"remove_positives must be in \[0, 1\)",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
