"""A saved model says what it is: its card has the scores, the data and the command that uses it."""

import pytest
from huggingface_hub import ModelCard

from askew.tasks import APPLICATIONS, Shrunk
from askew.tasks._model_card import card_of_student, card_of_training

LABELS = {"chrf": "chrF", "bleu": "BLEU", "exact_match": "exact match"}
IDENTITY = {
    "task": "translation",
    "data": {"name": "phrases", "train": 20000, "valid": 10, "test": 7, "pretrained": None},
    "seed": 3,
}
SHRUNK = Shrunk(
    kept={"encoder": [0, 2], "decoder": [1]},
    parameters=(2000, 1500),
    removals=[],
    scores={"teacher": {"chrf": 90.0}, "untaught": {"chrf": 2.0}, "student": {"chrf": 88.0}},
    latency_ratio=2.0,
    left_out=0,
    train_seconds=12.3,
)


def of_training(**changed):
    given = {
        "labels": LABELS,
        "scores": {"chrf": 91.26, "exact_match": 0.5},
        "baselines": {"nearest_neighbour": {"chrf": 56.7}},
        "parameters": 1552384,
        "steps": 1000,
        "training": APPLICATIONS["translation"].train,
    }
    return card_of_training(changed.pop("identity", IDENTITY), **(given | changed))


def test_the_hub_reads_what_a_model_scores(tmp_path):
    of_training().write(tmp_path)
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.library_name, data.pipeline_tag, data.license) == ("askew", "translation", None)
    assert {one.metric_type: one.metric_value for one in data.eval_results} == {
        "chrf": 91.26,
        "exact_match": 0.5,
    }
    assert {one.dataset_name for one in data.eval_results} == {"the test set of phrases"}


def test_a_reader_sees_scores_data_and_a_command():
    text = of_training().text()
    assert "\n# translation: phrases\n" in text
    assert "| | chrF | exact match |\n|---|---|---|\n" in text
    assert "| this model | 91.26 | 0.5 |\n| nearest neighbour | 56.7 |  |\n" in text
    assert "- data: phrases; 20,000 for training, 10 for validation, 7 for test\n" in text
    assert "- parameters: 1,552,384\n- training: 1,000 steps, seed 3\n" in text
    assert "\naskew translate FOLDER < lines.txt\n" in text
    assert "- started from" not in text


@pytest.mark.parametrize("given", ["/home/me/minilm", [None, "/home/me/minilm"]])
def test_it_names_the_model_that_it_started_from_and_no_folder_of_the_writer(given):
    identity = IDENTITY | {"data": IDENTITY["data"] | {"pretrained": given}}
    text = of_training(identity=identity).text()
    assert "- started from: minilm\n" in text
    assert "/home" not in text


def test_a_task_of_ones_own_has_no_command_and_no_kind(tmp_path):
    of_training(training=None).write(tmp_path)
    assert "## Use" not in (tmp_path / "README.md").read_text(encoding="utf-8")
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.pipeline_tag, data.eval_results) == (None, None)


def test_a_card_of_the_users_stays(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    of_training().write(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_every_model_that_is_trained_says_how_it_is_used():
    for application in APPLICATIONS.values():
        if application.train is not None:
            assert application.train.use.startswith("askew ")
            assert "{folder}" in application.train.use
            assert application.train.pipeline


def test_a_student_names_its_teacher_and_what_was_kept():
    text = card_of_student(SHRUNK, "large").text()
    assert "A student, cut from the model “large” by Askew." in text
    assert "| student | 88 |\n| untaught | 2 |\n| teacher | 90 |\n" in text
    assert "- layers kept, counted from 0: encoder [0, 2], decoder [1]\n" in text
    assert "- parameters: 1,500 of 2,000\n" in text


def test_a_student_without_data_has_no_scores():
    card = card_of_student(SHRUNK._replace(scores={}, latency_ratio=None), "large")
    assert "## Scores" not in card.text()
