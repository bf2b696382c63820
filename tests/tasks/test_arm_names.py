"""Names and files of models are checked where options are made, before any data are read."""

import pytest

from askew.tasks import APPLICATIONS
from askew.tasks._arm_names import check_student, read_arm

COMPARED = ["translation", "qa", "labels", "multilabel", "imbalanced", "retrieval"]
TRAINED = {"translation": "shape", "qa": "shape", "labels": "loss"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training = 3", "training must be a table; got training 3. Write training.lr = 0.001"),
        (
            "training.steps = 3",
            "training: steps must be left out, .*got training.steps 3. Give",
        ),
        ("training", "the file must be TOML; got path"),
    ],
)
def test_a_file_with_another_training_is_refused_by_every_application(text, words, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    for name in COMPARED:
        for role in ("challenger", "baseline"):
            with pytest.raises(ValueError, match=words):
                APPLICATIONS[name].options(**{role: str(path)})
    for name, role in TRAINED.items():
        with pytest.raises(ValueError, match=words):
            APPLICATIONS[name].train.options(**{role: str(path)})
    with pytest.raises(ValueError, match=words):
        check_student(str(path), is_baseline=True)


def test_a_file_of_settings_is_read_whole(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("width = 8\ntraining.lr = 0.1\n")
    assert read_arm(path) == {"width": 8, "training": {"lr": 0.1}}
    assert APPLICATIONS["retrieval"].options(challenger=str(path)).challenger == str(path)


@pytest.mark.parametrize("name", COMPARED)
def test_an_unknown_name_is_refused_without_data(name):
    for role in ("challenger", "baseline"):
        with pytest.raises(ValueError, match=r"or FILE\.toml; got 'nope'"):
            APPLICATIONS[name].options(**{role: "nope"})
