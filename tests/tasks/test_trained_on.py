"""A model that is scored on the file of its training says so."""

import json

import pytest
from saved_model import saved

from askew.tasks import APPLICATIONS
from askew.tasks._trained_on import trained_on

TRANSLATION = APPLICATIONS["translation"]


def test_a_note_tells_that_the_pairs_are_those_of_the_training(tmp_path):
    folder, data = tmp_path / "model", tmp_path / "pairs.tsv"
    saved(folder)
    data.write_text("".join(f"three {n}\t{n} trees\n" for n in range(60)))
    task = TRANSLATION.make_task(TRANSLATION.train.options(data=data, vocab_size=300))
    manifest = {"version": 1, "data": dict(task.describe())}
    (folder / "training.json").write_text(json.dumps(manifest))

    def notes(path, part="all"):
        options = TRANSLATION.evaluate.options(data=path, part=part, engine="torch")
        return TRANSLATION.evaluate.score(folder, options).notes

    assert notes(data) == [
        f"the model was trained on {len(task.text.train.sources)} of these 60 pairs; --part test "
        "scores those that it never saw"
    ]
    assert notes(data, "test") == []
    other = tmp_path / "other.tsv"
    other.write_text(data.read_text().replace("trees", "bees"))
    assert notes(other) == []


@pytest.mark.parametrize(
    "text", ["", "{}", '{"version": 1}', '{"version": 1, "data": 3}', '{"version": 1, "data": {}}']
)
def test_a_folder_that_does_not_say_what_it_learnt_has_no_note(text, tmp_path):
    assert trained_on(tmp_path, "pairs", 3, "all", lambda: "x") == []
    (tmp_path / "training.json").write_text(text)
    assert trained_on(tmp_path, "pairs", 3, "all", lambda: "x") == []
