"""Names, files and numbers of the user become a task on a table and its arms."""

import numpy as np
import pytest
from options import typed

from askew.tasks import APPLICATIONS, LabelTask, MLPConfig, split_table
from askew.tradeoffs import Budget, Range, Tuning, compare

LabelComparison = APPLICATIONS["imbalanced"].options
RetrievalComparison = APPLICATIONS["retrieval"].options


@pytest.fixture(scope="module")
def eights():
    return APPLICATIONS["imbalanced"].make_task(LabelComparison())


@pytest.fixture(scope="module")
def digits():
    return APPLICATIONS["retrieval"].make_task(RetrievalComparison())


@pytest.fixture(scope="module")
def several():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    table = split_table(x, (x + rng.normal(size=x.shape) > 0).astype(np.float32))
    return LabelTask(source_name="noise", table=table, name="multilabel")


def arms(task, challenger=None, baseline="twin", **numbers):
    application = APPLICATIONS[task.name]
    given = {} if challenger is None else {"challenger": str(challenger)}
    options = application.options(baseline=str(baseline), set_=typed(numbers), **given)
    return application.make_arms(task, options)[0]


def test_tables_have_options_of_their_own():
    assert APPLICATIONS["retrieval"].options().baseline == "twin"
    assert not hasattr(RetrievalComparison(), "data")


def test_a_file_of_ones_own(tmp_path):
    lines = [f"{i % 7},{i % 3},{i % 2},{int(i % 5 < 2)}" for i in range(40)]
    path = tmp_path / "rows.csv"
    path.write_text("a,b,p,q\n" + "\n".join(lines), encoding="utf-8")
    multilabel, imbalanced = (APPLICATIONS[name] for name in ("multilabel", "imbalanced"))
    task = multilabel.make_task(LabelComparison(data=path, labels="2"))
    assert (task.describe()["name"], task.d_in, task.d_out) == ("rows.csv", 2, 2)
    assert imbalanced.make_task(LabelComparison(data=path, labels="q")).d_in == 3
    with pytest.raises(ValueError, match="labels must be different columns; got labels p, p"):
        multilabel.make_task(LabelComparison(data=path, labels="p, p"))
    for name, labels, count in (("multilabel", "q", "1"), ("imbalanced", "p,q", "2")):
        with pytest.raises(ValueError, match=f"{name} must have .* label.*; got {count}"):
            APPLICATIONS[name].make_task(LabelComparison(data=path, labels=labels))
    with pytest.raises(ValueError, match="data and labels go together"):
        LabelComparison(data=path)


LABELS = [
    "bce",
    "focal",
    "focusing",
    "asl",
    "adaptive",
    "hill",
    "splc",
    "two-way",
    "tversky",
    "unified-focal",
]
CLASSES = ["logit-adjusted", "ldam", "agce", "aul", "ael"]
PAIRS = ["pair", "unequal-margins", "unequal-scales", "ranking", "contrastive", "one-way"]
MODELS = ["rates", "single-rate", "half-half", "mean-dropout"]


def step(task, arm):
    model = task.build(arm.config, 0)
    task.train(model, training=arm.training, steps=2, seed=0, folder=None, progress=lambda *_: None)
    return task.evaluate(model)


@pytest.mark.parametrize("name", LABELS + MODELS)
def test_presets_of_several_labels_train(several, name):
    assert step(several, arms(several, name)[0]).metrics["map"] > 0


@pytest.mark.parametrize("name", LABELS + CLASSES + MODELS)
def test_presets_of_one_label_train(eights, name):
    assert step(eights, arms(eights, name)[0]).metrics["ap"] > 0


@pytest.mark.parametrize("name", PAIRS + MODELS)
def test_presets_of_retrieval_train(digits, name):
    assert step(digits, arms(digits, name)[0]).metrics["map"] > 0


def test_a_twin_has_both_sides_alike(several, digits):
    asl, twin = arms(several)
    assert (asl.name, twin.name) == ("asl", "bce")
    assert asl.training == {"loss": {"gamma_neg": 4.0, "margin": 0.05}}
    assert twin.training == {}
    rates, twin = arms(several, "rates")
    assert rates.training["lr_first"] < rates.training["lr_head"]
    assert twin.training == {}
    halves, twin = arms(several, "half-half", input_dropout=0.2, input_dropout_second=0.4)
    assert (halves.config.dropout, halves.config.dropout_second) == (0.1, 0.5)
    assert twin.name == "twin"
    assert (twin.config.dropout, twin.config.dropout_second) == (0.3, None)
    assert twin.config.input_dropout == pytest.approx(0.3)
    assert twin.config.input_dropout_second is None
    one_way, twin = arms(digits, "one-way")
    assert one_way.training["loss"]["weight_documents"] == 0
    assert (twin.name, twin.training) == ("twin", {"loss": {"name": "contrastive"}})
    assert (arms(digits)[1].name, arms(digits)[1].training) == ("pair", {})


def test_numbers_of_the_model_are_of_both_arms_and_those_of_the_loss_of_the_challenger(several):
    asl, bce = arms(several, "asl", "bce", width=16, loss={"gamma_neg": 2.0})
    assert asl.config == bce.config == MLPConfig(width=16)
    assert asl.training["loss"] == {"gamma_neg": 2.0, "margin": 0.05}
    assert bce.training == {}
    again, _ = arms(several, "asl", "bce")
    assert again.training["loss"]["gamma_neg"] == 4.0  # a preset keeps its numbers


def trained(baseline="twin", challenger="asl", **training):
    """Effective numbers of training of both arms, where the user sets these."""
    application = APPLICATIONS["imbalanced"]
    settings = typed({"training": training})
    options = application.options(challenger=challenger, baseline=baseline, set_=settings)
    task = application.make_task(options)
    return [task._training_config(arm.training) for arm in application.make_arms(task, options)[0]]


def test_numbers_of_training_are_of_both_arms_but_a_twin_has_one_rate():
    sides = {"lr": 2e-3, "lr_first": 1e-4, "lr_head": 1e-2, "schedule_head": "linear"}
    for baseline, challenger in (("bce", "asl"), ("bce", "rates"), ("rates", "asl")):
        for training in trained(baseline, challenger, **sides):
            assert {name: getattr(training, name) for name in sides} == sides
    for challenger in ("asl", "rates"):
        first, twin = trained("twin", challenger, **sides)
        assert (first.lr_first, first.lr_head, first.schedule_head) == (1e-4, 1e-2, "linear")
        assert (twin.lr, twin.lr_first, twin.lr_head, twin.schedule_head) == (2e-3, *[None] * 3)


def test_a_loss_under_training_is_that_of_the_challenger_too():
    for baseline in ("twin", "bce"):
        first, other = trained(baseline, loss={"gamma_neg": 2.0})
        assert (first.loss.gamma_neg, first.loss.margin) == (2.0, 0.05)
        assert other.loss == type(other.loss)()


def test_an_arm_against_itself_starts_from_other_weights(several):
    first, second = arms(several, "bce", "bce")
    assert (first.name, second.name) == ("bce-again", "bce")
    assert (first.init_offset, second.init_offset) == (10_000, 0)
    first, second = arms(several, "bce", "twin")
    assert (first.name, second.name, first.init_offset) == ("bce-again", "bce", 10_000)
    assert arms(several, "asl", "bce")[0].init_offset == 0


def test_an_arm_of_a_file(several, tmp_path):
    path = tmp_path / "steep.toml"
    path.write_text('width = 32\n[training]\nlr_head = 0.1\n[training.loss]\nname = "hill"\n')
    steep, bce = arms(several, str(path), "bce")
    assert (steep.name, steep.config.width, bce.config.width) == ("steep", 32, 128)
    assert steep.training == {"lr_head": 0.1, "loss": {"name": "hill"}}
    assert arms(several, "bce", str(path))[1].name == "steep"
    for text, key in (("widht = 32", "widht"), ("[training]\nlr_heda = 1", "training.lr_heda")):
        path.write_text(text)
        with pytest.raises(
            ValueError, match=rf"unknown key '{key}'.* \(in .*steep\.toml or an override\)$"
        ):
            arms(several, str(path), "bce")


@pytest.mark.parametrize(
    ("challenger", "chosen", "message"),
    [
        ("sal", {}, "an arm must be bce, .* or FILE.toml; got 'sal'"),
        ("ldam", {}, "an arm must be .*; got 'ldam'"),
        ("pair", {}, "an arm must be .*; got 'pair'"),
        ("asl", {"loss": {"gama_neg": 1}}, "unknown key 'training.loss.gama_neg'; did you mean"),
        ("asl", {"loss": {"tau": 0.5}}, "asymmetric must have no tau"),
        ("asl", {"loss": {"name": "ael"}}, "asymmetric must have no|ael must have no gamma_neg"),
        ("bce", {"loss": {"name": "ael"}}, "ael must have one label; got 3 labels"),
        ("bce", {"wdth": 8}, "unknown key 'wdth'; did you mean 'width'"),
        ("bce", {"width": 7}, "width must be even"),
        ("no.toml", {}, "the file must exist"),
    ],
)
def test_what_is_unknown_is_refused(several, challenger, chosen, message):
    with pytest.raises(ValueError, match=message):
        arms(several, challenger, "bce", **chosen)


@pytest.fixture
def in_process(monkeypatch):
    from tradeoffs.conftest import InProcess

    from askew.tradeoffs._running import trials

    monkeypatch.setattr(trials, "ProcessPoolExecutor", InProcess)


def test_arms_are_tuned_compared_and_judged(several, tmp_path, in_process):
    space = {
        "training.lr": Range(low=1e-3, high=1e-2),
        "training.loss.gamma_neg": Range(low=0, high=4),
    }
    count = compare(
        several,
        arms(several, "asl", width=8),
        range(5),
        budget=Budget(steps=6),
        out=tmp_path / "out",
        tuning=Tuning(draws=2, space=space),
    )
    verdicts = {v.metric: v for v in count.verdicts}
    assert {"map", "micro_f1", "macro_f1", "micro_f1_half"} < set(verdicts)
    assert verdicts["map"].verdict in ("pays", "does not pay", "cannot tell")
    assert "generalisation_gap" in count.results["trials"][0]["metrics"]
