"""Students of one model are cut alike, learn alike, and meet on paired seeds."""

import pytest
import torch
from saved_model import CONFIG, saved
from tradeoffs.conftest import InProcess

from askew.models import load_translation_model, shrink
from askew.tasks import APPLICATIONS
from askew.tasks._student import StudentConfig, student_arms, student_config
from askew.tradeoffs import Budget, compare
from askew.tradeoffs._running import trials

pytestmark = pytest.mark.usefixtures("few_rounds")

TRANSLATION = APPLICATIONS["translation"]


@pytest.fixture
def options(tmp_path):
    saved(tmp_path / "model")
    words = ["three", "trees", "see", "bees"]
    lines = [f"{a} {b} {c}\t{c} {b} {a}\n" for a in words for b in words for c in words]
    (tmp_path / "pairs.tsv").write_text("".join(lines))

    def make(**settings):
        usual = {"from_": tmp_path / "model", "data": tmp_path / "pairs.tsv"}
        return TRANSLATION.options(**{**usual, **settings})

    return make


def layers(config):
    return config.encoder.num_layers, config.decoder.num_layers


def test_the_usual_arms(options):
    task, arms, _, settings = TRANSLATION.setup(options())
    assert [arm.name for arm in arms] == ["student-deep-shallow", "student-symmetric"]
    assert layers(arms[0].config) == (3, 1)
    assert layers(arms[1].config) == (2, 2)
    assert (arms[0].config.encoder_kept, arms[0].config.decoder_kept) == ((0, 1, 2), (0,))
    assert settings["match_residual"] == pytest.approx(
        task.parameters(arms[1].config) / task.parameters(arms[0].config) - 1
    )


def test_copied_students_are_the_cut_model_and_fresh_ones_are_not(options, tmp_path):
    task, _, _, _ = TRANSLATION.setup(options())
    arms, _ = student_arms(task, "student-2-1", "fresh-2-1", "parameters")
    copied, fresh = (task.build(arm.config, 3) for arm in arms)
    expected = shrink(
        load_translation_model(tmp_path / "model"), encoder_layers=2, decoder_layers=1
    )
    states = [model.state_dict() for model in (copied, fresh, expected)]
    assert all(torch.equal(states[0][name], weight) for name, weight in states[2].items())
    assert states[1].keys() == states[2].keys()
    assert any(not torch.equal(states[1][name], weight) for name, weight in states[2].items())


@pytest.mark.slow
def test_students_are_compared(options, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "ProcessPoolExecutor", InProcess)
    chosen = options(set_=["training.warmup_steps=1"])
    task, arms, _, settings = TRANSLATION.setup(chosen)
    teach = TRANSLATION.teach(task, chosen)
    task = teach(tmp_path / "out-taught.jsonl", lambda done, total: None)
    assert list((tmp_path / "out-taught").glob("*.safetensors"))
    comparison = compare(
        task, arms, range(2), budget=Budget(steps=4), out=tmp_path / "out", settings=settings
    )
    assert {trial["arm"] for trial in comparison.results["trials"]} == {arm.name for arm in arms}
    assert "teacher" in comparison.results["baselines"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("narrow-decoder", "with --from, an arm must be student-deep-shallow"),
        ("student-symmetric", "the baseline also student-symmetric; got student-symmetric"),
        ("student-4-1", "a student has 1 to 3 encoder layers, those of the model; got 4"),
        ("student-3-0", "a student has 1 to 2 decoder layers, those of the model; got 0"),
    ],
)
def test_arms_that_cannot_be_cut_are_refused(name, words):
    with pytest.raises(ValueError, match=f"compare: .*{words}"):
        student_config(CONFIG, name)


def test_settings_of_the_model_are_refused(options):
    with pytest.raises(ValueError, match="with --from, --set changes the training alone; got enc"):
        TRANSLATION.make_task(options(set_=["encoder.num_layers=2"]))
    with pytest.raises(ValueError, match="--from is a teacher; got --teacher, too"):
        options(teacher="model")


def test_it_is_an_ordinary_config():
    config = student_config(CONFIG, "student-3-1")
    assert isinstance(config, StudentConfig)
    assert config.decoder.d_model == CONFIG.decoder.d_model
