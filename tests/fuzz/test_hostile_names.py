"""Names of arms, tasks and tables that lead out of a folder, or that no folder can have."""

import json
from functools import partial

import pytest
import torch
from report_pages import example_results
from typer.testing import CliRunner

from askew._files import write_json
from askew.cli import app
from askew.models import ContextIndex
from askew.tradeoffs import Arm, Experiment, Row, analyze, load_trial, read_run
from askew.training import last_checkpoint
from askew.training._callbacks import mark_complete

NAMES = [
    *("", " ", ".", "..", "../x", "a/b", "/etc", "a\\b", "a\0b", "a\nb", "\x1b[31mred", "a\u202eb"),
    *("nul", "CON.txt", "com1", "x" * 101, "ü" * 51, "ends.", "ends ", " begins", "\ud800"),
]
POINTS = torch.ones(8, 2), torch.zeros(8, dtype=torch.long)
ODD_AND_GOOD = ["one rate", "lr=0.1", "größer", "深い", "a.b", "-", "x" * 100, "v1 (old)", "~"]


def experiment(name="points", arm="other"):
    line = partial(torch.nn.Linear, 2, 2)
    return Experiment(
        name=name,
        models={"one": line, arm: line},
        train_data=POINTS,
        test_data=POINTS,
        steps=1,
    )


def files(folder):
    return sorted(path for path in folder.rglob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_folder_can_have_is_refused_before_anything_starts(name, tmp_path):
    with pytest.raises(ValueError, match=r"Experiment: the name of a model must be a name that"):
        experiment(arm=name)
    with pytest.raises(ValueError, match=r"Experiment: name must be a name that a folder can have"):
        experiment(name=name)
    with pytest.raises(ValueError, match=r"Arm: name must be a name that a folder can have"):
        Arm(name=name, config=None)


@pytest.mark.parametrize("name", ODD_AND_GOOD)
def test_any_other_name_is_taken(name):
    assert [arm.name for arm in experiment(name, name).arms] == ["one", name]


@pytest.mark.parametrize("name", NAMES)
def test_arms_of_a_table_have_such_names(name):
    rows = [Row(arm, seed, "", "f1", 1.0 + seed) for arm in ("one", name) for seed in range(3)]
    with pytest.raises(ValueError, match=r"analyze: arm must be a name that a folder can have"):
        analyze(rows, baseline="one")


@pytest.mark.parametrize("metric", ["", " ", "f\n1", "\x1b[31m", "a\u202eb"])
def test_metrics_of_a_table_can_be_seen(metric):
    rows = [Row(arm, seed, "", metric, 1.0) for arm in ("a", "b") for seed in range(3)]
    with pytest.raises(ValueError, match=r"analyze: metric must be a name of visible characters"):
        analyze(rows, baseline="a")


@pytest.mark.parametrize("name", ["../../x", "a/b"])
def test_a_table_of_a_file_is_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{arm},{seed},,f1,{seed}" for arm in ("one", name) for seed in range(5)]
    (tmp_path / "t.csv").write_text("\n".join(["arm,seed,item,metric,value", *lines, ""]))
    before = files(tmp_path)
    call = ["compare", "--results", "t.csv", "--baseline", "one", "--out", "out"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "arm must be a name that a folder can have" in result.stderr
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/x", "a\0b", ".."])
def test_results_that_name_a_trial_outside_their_folder_read_none(name, tmp_path):
    """Results of a table may have any arms; no trial of theirs is in a folder."""
    results = example_results()
    (tmp_path / "run" / "trials").mkdir(parents=True)
    text = json.dumps(results).replace('"deep"', json.dumps(name))
    write_json(tmp_path / "run" / "results.json", json.loads(text))
    for seed in range(5):
        (tmp_path / "run" / f"elsewhere-seed{seed}").mkdir()
        (tmp_path / "run" / f"elsewhere-seed{seed}" / "trial.json").write_text("no trial")
    assert read_run(tmp_path / "run").items == {}


def test_a_name_in_the_list_of_an_index_stays_inside(tmp_path):
    ContextIndex("0" * 64).save(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    entry = {
        **{"bytes": 1, "sha256": "0" * 64, "text_bytes": 1, "text_sha256": "0" * 64},
        "contexts": 1,
    }
    for name in ("../x.safetensors", "/etc/passwd", "shard-00000.safetensors/..", "shard-0.bin"):
        values = json.loads(path.read_text()) | {"shards": [{"name": name, **entry}]}
        path.write_text(json.dumps(values))
        with pytest.raises(ValueError, match="a shard in another folder or of another name"):
            ContextIndex.load(tmp_path / "index")


def test_a_trial_outside_is_not_read(tmp_path):
    with pytest.raises(ValueError, match=r"trial_name: arm must be a name that a folder can have"):
        load_trial(tmp_path, "../../elsewhere", 0)


def test_a_checkpoint_lists_its_own_files_alone(tmp_path):
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    (checkpoint / "weights").write_text("x")
    (tmp_path / "outside").write_text("x")
    mark_complete(checkpoint)
    assert last_checkpoint(tmp_path) == checkpoint
    (mark,) = (path for path in checkpoint.iterdir() if path.name != "weights")
    write_json(mark, {"weights": 1, "../outside": 1})
    assert last_checkpoint(tmp_path) is None
