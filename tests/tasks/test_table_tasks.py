"""Tasks on tables: multilabel, imbalanced and retrieval."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from askew.tasks import (
    APPLICATIONS,
    MLP,
    LabelLossConfig,
    LabelTask,
    LabelTrainingConfig,
    MLPConfig,
    RetrievalLossConfig,
    RetrievalTask,
    RetrievalTrainingConfig,
    SplitTable,
    TableRows,
    TableTask,
    TableTrainingConfig,
    best_threshold,
    load_eights,
    load_unseen_digits,
    load_yeast,
    read_table_file,
    retrieval_scores,
    split_table,
)
from askew.tradeoffs import count_flops, count_parameters

LabelComparison = APPLICATIONS["imbalanced"].options
RetrievalComparison = APPLICATIONS["retrieval"].options

IMBALANCED, RETRIEVAL = APPLICATIONS["imbalanced"], APPLICATIONS["retrieval"]

CONFIG = MLPConfig(width=8, num_layers=2)


def labels_task(count=3, **training):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 5))
    y = (x[:, :count] + draw.normal(size=(200, count)) > 0).astype(np.float32)
    name = "multilabel" if count > 1 else "imbalanced"
    settings = LabelTrainingConfig(**{"batch_size": 16} | training)
    return LabelTask(source_name="drawn", table=split_table(x, y), training=settings, name=name)


def trained(task, config=CONFIG, steps=20, seed=0, **training):
    model = task.build(config, seed)
    task.train(
        model,
        training=training,
        steps=steps,
        seed=seed,
        folder=Path(),
        progress=lambda step, steps: None,
    )
    return model


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("config", [CONFIG, MLPConfig(width=6, num_layers=1, d_out=2)])
def test_costs_are_those_of_the_model_as_built(config):
    task = labels_task()
    model = task.build(config, 0)
    assert isinstance(model, MLP)
    assert isinstance(task, TableTask)
    assert task.parameters(config) == count_parameters(model)
    x = torch.ones(16, 5)
    assert task.flops_per_step(config) == count_flops(lambda: model(x).sum().backward())


def test_rates_of_parts_that_agree_are_one_rate():
    task = labels_task()
    one = weights(trained(task, lr=0.01))
    assert torch.equal(one, weights(trained(task, lr=0.01, lr_first=0.01, lr_head=0.01)))
    assert not torch.equal(one, weights(trained(task, lr=0.01, lr_first=0.001)))
    assert not torch.equal(one, weights(trained(task, lr=0.01, lr_head=0.001)))


def test_a_part_with_a_tiny_rate_stays():
    task = labels_task(weight_decay=0.0)
    model, start = trained(task, lr_first=1e-12), task.build(CONFIG, 0)
    assert torch.allclose(model.hidden[0].weight, start.hidden[0].weight, atol=1e-9)
    assert not torch.allclose(model.hidden[1].weight, start.hidden[1].weight, atol=1e-4)
    assert not torch.allclose(model.head.weight, start.head.weight, atol=1e-4)


def test_dropout_of_two_halves():
    model = MLP(MLPConfig(width=400, num_layers=1, d_out=400, dropout=0.0, dropout_second=0.5), 3)
    dropped = model.dropout(torch.ones(50, 400)) == 0
    assert not dropped[:, :200].any()
    assert 0.4 < dropped[:, 200:].float().mean() < 0.6
    even = MLP(MLPConfig(width=400, num_layers=1, d_out=2, dropout=0.3), 3)
    rates = (even.dropout(torch.ones(50, 400)) == 0).float().mean(0)
    assert 0.25 < rates[:200].mean() < 0.35
    assert 0.25 < rates[200:].mean() < 0.35


def test_the_threshold_is_the_best_of_the_validation_rows_alone():
    task = labels_task()
    model = trained(task, lr=0.02, steps=60)
    result = task.evaluate(model).metrics
    valid = task.answers(model, task.table.valid.x).numpy()
    test = task.answers(model, task.table.test.x).numpy()
    right_valid, right = task.table.valid.y.numpy(), task.table.test.y.numpy()
    tried = {t: f1_score(right_valid, valid >= t, average="micro") for t in np.unique(valid)}
    threshold = best_threshold(valid, right_valid)
    assert tried[threshold] == max(tried.values())
    assert result["micro_f1"] == pytest.approx(
        100 * f1_score(right, test >= threshold, average="micro")
    )
    assert result["micro_f1_half"] == pytest.approx(
        100 * f1_score(right, test >= 0, average="micro")
    )
    expected = np.mean([average_precision_score(right[:, k], test[:, k]) for k in range(3)])
    assert result["map"] == pytest.approx(100 * expected)
    other = replace(task, table=task.table._replace(test=task.table.valid))
    assert other.evaluate(model).metrics["micro_f1"] == pytest.approx(100 * tried[threshold])


def test_a_rare_label_has_figures_of_its_own():
    task = labels_task(count=1)
    assert [metric.name for metric in task.metrics] == ["ap", "f1", "balanced_accuracy"]
    model = trained(task, lr=0.02, steps=60)
    assert task.evaluate(model).metrics["ap"] > task.baselines()["frequency"]["ap"]
    assert 0 < task.validate(model) <= 100
    assert 0 < task.train_score(model) <= 100


def test_positives_are_taken_from_the_training_rows_alone_and_the_same_ones_always():
    task = labels_task(remove_positives=0.6)
    y = task.table.train.y
    learnt = task.labels_learnt(task.training)
    assert torch.equal(learnt, task.labels_learnt(task.training))
    assert (learnt <= y).all()
    assert 0.5 < 1 - learnt.sum() / y.sum() < 0.7
    assert torch.equal(labels_task().labels_learnt(labels_task().training), y)
    assert torch.equal(task.table.test.y, labels_task().table.test.y)


def test_a_stored_model_is_the_same(tmp_path):
    task = labels_task()
    model = trained(task)
    task.save(model, tmp_path / "model")
    assert task.evaluate(task.load(tmp_path / "model")) == task.evaluate(model)


def test_a_label_that_never_varies_is_refused():
    x = np.random.default_rng(0).normal(size=(50, 2))
    table = split_table(x, np.zeros((50, 2), dtype=np.float32))
    with pytest.raises(ValueError, match=r"some rows and not of others; got labels \[0, 1\]"):
        LabelTask(source_name="none", table=table, name="multilabel")


def test_rows_are_split_once_and_for_all_and_standardised_by_the_training_rows():
    x = np.arange(300.0).reshape(100, 3) ** 1.5
    x[:, 2] = 7
    parts = split_table(x, np.arange(100))
    assert isinstance(parts, SplitTable)
    assert isinstance(parts.train, TableRows)
    assert sorted(torch.cat([part.y for part in parts]).tolist()) == list(range(100))
    assert [len(part.x) for part in parts] == [60, 20, 20]
    assert torch.allclose(parts.train.x[:, :2].mean(0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(parts.train.x[:, :2].std(0, correction=0), torch.ones(2), atol=1e-6)
    assert (parts.test.x[:, 2] == 0).all()
    assert not torch.allclose(parts.test.x[:, 0].mean(), torch.tensor(0.0), atol=1e-6)
    assert parts.fingerprint == split_table(x, np.arange(100)).fingerprint
    assert parts.fingerprint != split_table(x, np.arange(1, 101)).fingerprint
    with pytest.raises(ValueError, match="10 rows or more; got 9 rows"):
        split_table(x[:9], x[:9])


def test_ranks_are_those_of_scikit_learn():
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(30) % 3
    precisions, firsts = retrieval_scores(x, classes)
    for i in range(30):
        others = torch.arange(30) != i
        distances = (x[others].double() - x[i].double()).norm(dim=1)
        right = classes[others] == classes[i]
        expected = average_precision_score(right.numpy(), -distances.numpy())
        assert precisions[i].item() == pytest.approx(expected)
        assert firsts[i].item() == float(right[distances.argmin()])


def test_retrieval_is_of_classes_that_were_never_seen():
    table = load_unseen_digits()
    assert set(table.train.y.tolist()) == set(table.valid.y.tolist()) == set(range(5))
    assert set(table.test.y.tolist()) == set(range(5, 10))
    task = RetrievalTask(source_name="digits", table=table)
    result = task.evaluate(trained(task, MLPConfig(width=16), steps=5))
    assert len(result.items["map"]) == len(table.test.x)
    assert result.metrics["recall_at_1"] == pytest.approx(np.mean(result.items["recall_at_1"]))
    raw = task.baselines()["raw_features"]
    assert raw["recall_at_1"] > 90, "digits lie near their like"


@pytest.mark.parametrize("name", ["pair", "contrastive"])
def test_embeddings_learn_to_tell_the_classes_they_see(name, device):
    task = RETRIEVAL.make_task(RetrievalComparison(set_=[f"training.loss.name={name}"]))
    task = replace(task, device=device)
    before = task.validate(task.build(MLPConfig(width=32), 0))
    assert task.validate(trained(task, MLPConfig(width=32), steps=120)) > before + 10


def test_packaged_data():
    pytest.importorskip("river")
    yeast = load_yeast()
    assert [part.x.shape[1] for part in yeast] == [103] * 3
    assert yeast.train.y.shape[1] == 14
    assert sum(len(part.x) for part in yeast) == 2417
    eights = load_eights()
    assert sum(part.y.sum().item() for part in eights) == 174


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_own_files(tmp_path):
    table = write(tmp_path / "own.csv", "a,hot,b,cold\n1,0,2.5,1\n3,1,4,0\n")
    x, y = read_table_file(table, "hot,cold")
    assert x.tolist() == [[1, 2.5], [3, 4]]
    assert y.tolist() == [[0, 1], [1, 0]]
    x, y = read_table_file(table, "1")
    assert x.shape == (2, 3)
    assert y.tolist() == [[1], [0]]
    arff = "@relation r\n@attribute a numeric\n@attribute hot {0,1}\n@data\n1.5,0\n2,1\n"
    x, y = read_table_file(write(tmp_path / "own.arff", arff), "hot")
    assert x.tolist() == [[1.5], [2]]
    assert y.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("text", "labels", "message"),
    [
        ("a,b\n1,x\n", "b", r"values must be numbers, .*got 'x' in .*own\.csv, line 2"),
        ("a,b\n1,0\n1\n", "b", r"a line must have 2 finite numbers; got 1 fields.*line 3"),
        ("a,b\nnan,0\n", "b", "values must be there and finite; got 'nan'"),
        ("a,b\n1,2\n", "b", r"labels must be 0 or 1; got 2\.0 in .*, row 1, b"),
        ("a,b\n1,0\n", "c", r"labels must be columns; got \['c'\]"),
        ("a,b\n1,0\n", "2", "labels must be fewer than the 2 columns, at least 1; got labels 2"),
        ("a,b\n1,0\n", "a,b", "a column must be no label"),
        ("a,b\n", "b", "must have a header and lines"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, labels, message):
    with pytest.raises(ValueError, match=f"read_table_file: .*{message}"):
        read_table_file(write(tmp_path / "own.csv", text), labels)


def test_arff_that_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"the file must be dense ARFF; got .*own\.arff"):
        read_table_file(write(tmp_path / "own.arff", "@relation r\n@attribute a weird\n"), "a")


@pytest.mark.parametrize("name", ["multilabel", "imbalanced", "retrieval"])
def test_every_task_has_two_arms_that_share_a_model(name):
    pytest.importorskip("river")
    application = APPLICATIONS[name]
    setup = application.setup(application.options(set_=["width=16"]))
    first, other = setup.arms
    assert first.config == other.config
    assert first.config.width == 16
    assert first.training
    assert not other.training
    assert setup.settings["match"] == "nothing"
    assert first.init_offset == other.init_offset == 0


def arms(task, **options):
    return IMBALANCED.make_arms(task, LabelComparison(**options))[0]


def test_presets_files_and_settings(tmp_path):
    task = IMBALANCED.make_task(LabelComparison(set_=["training.lr=0.01"]))
    assert task.training.lr == 0.01
    mine = write(tmp_path / "mine.toml", "dropout = 0.4\n[training]\nlr_head = 0.02\n")
    first, other = arms(task, challenger=str(mine), baseline="half-half")
    assert (first.name, first.config.dropout, first.training) == ("mine", 0.4, {"lr_head": 0.02})
    assert (other.config.dropout, other.config.dropout_second) == (0.1, 0.5)
    first, _ = arms(task, set_=["loss.gamma_neg=2.0"])
    assert first.training["loss"] == {"gamma_neg": 2.0, "margin": 0.05}
    again, same = arms(task, challenger="bce", baseline="bce")
    assert again.name == "bce-again"
    assert again.init_offset > 1000
    assert same.init_offset == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LabelComparison(data=Path("x.csv")), "data and labels go together"),
        (lambda: IMBALANCED.make_task(LabelComparison(set_=["training.rate=1"])), "training.rate"),
        (lambda: arms(labels_task(), challenger="best"), "an arm must be bce, .* got 'best'"),
        (lambda: arms(labels_task(), set_=["depth=2"]), "unknown key 'depth'"),
        (lambda: MLPConfig(width=7), "width must be even and >= 2; got width 7"),
        (lambda: MLPConfig(num_layers=0), "num_layers must be >= 1"),
        (lambda: MLPConfig(dropout=1.0), r"dropout must be in \[0, 1\); got dropout 1.0"),
        (lambda: TableTrainingConfig(lr=0), "lr must be > 0; got lr 0"),
        (lambda: TableTrainingConfig(batch_size=0), "batch_size must be >= 1"),
        (lambda: TableTrainingConfig(weight_decay=-1), "weight_decay must be >= 0"),
        (lambda: TableTrainingConfig(remove_positives=1), r"remove_positives must be in \[0, 1\)"),
        (lambda: LabelTrainingConfig(loss=LabelLossConfig(gamma_neg=-1.0)), "gamma_neg"),
        (
            lambda: RetrievalTrainingConfig(loss=RetrievalLossConfig(margin_pos=-1.0)),
            "margin_pos",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_label_is_not_several(tmp_path):
    rows = "".join(f"{i % 7},{i % 2}\n" for i in range(40))
    path = write(tmp_path / "own.csv", "a,b\n" + rows)
    options = LabelComparison(data=path, labels="b")
    assert IMBALANCED.make_task(options).d_out == 1
    with pytest.raises(ValueError, match="multilabel must have several labels; got 1"):
        APPLICATIONS["multilabel"].make_task(options)
