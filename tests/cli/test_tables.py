"""`askew compare` on tables of labels."""

import json
import re

import pytest
from typer.testing import CliRunner

from askew.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_losses_on_a_file_of_ones_own(tmp_path, in_process):
    path = tmp_path / "rows.csv"
    lines = [f"{i % 7},{i % 3},{int(i % 7 > 3)},{int(i % 5 < 2)}" for i in range(60)]
    path.write_text("a,b,p,q\n" + "\n".join(lines), encoding="utf-8")
    result = run(
        "multilabel", "--data", path, "--labels", 2, "--challenger", "asl", "--baseline", "bce",
        "--set", "loss.gamma_neg=3", "--set", "width=8", "--set", "training.lr=0.01",
        "--seeds", 5, "--steps", 4, "--jobs", 1, "--out", tmp_path / "out", "--quiet", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert [arm["name"] for arm in outcome["arms"]] == ["asl", "bce"]
    assert outcome["settings"]["data"]["training"]["lr"] == 0.01
    assert [v["metric"] for v in outcome["verdicts"]][:2] == ["map", "micro_f1"]
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "micro-F1" in report


def test_a_comparison_goes_on_from_another_folder(tmp_path, in_process, monkeypatch):
    (tmp_path / "below").mkdir()
    path, moved = tmp_path / "rows.csv", tmp_path / "below" / "other.csv"
    lines = [f"{i % 7},{i % 3},{int(i % 7 > 3)}" for i in range(60)]
    path.write_text("a,b,p\n" + "\n".join(lines), encoding="utf-8")
    moved.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)

    def compared(data):
        return run(
            "imbalanced", "--data", data, "--labels", 1, "--seeds", 1, "--steps", 2,
            "--jobs", 1, "--out", tmp_path / "out", "--quiet",
        )  # fmt: skip

    first = compared("rows.csv")
    assert first.exit_code == 0, first.output
    monkeypatch.chdir(tmp_path / "below")
    for data in ("../rows.csv", path, "other.csv"):
        again = compared(data)
        assert again.exit_code == 0, again.output
    moved.write_text(moved.read_text() + "\n1,2,0")
    changed = compared("other.csv")
    assert (changed.exit_code, "with other data" in changed.output) == (2, True)


def test_columns_that_are_no_features_are_told(tmp_path, in_process):
    path = tmp_path / "rows.csv"
    lines = [f"{i},{i % 7},1.5,{int(i * i % 7 > 3)}" for i in range(60)]
    path.write_text(",a,b,p\n" + "\n".join(lines), encoding="utf-8")
    words = ["imbalanced", "--data", path, "--labels", "p", "--seeds", 1, "--steps", 2]
    result = run(*words, "--jobs", 1, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    expected = f"askew: read 60 rows from {path.name}: 36 to train, 12 to validate, 12 to test\n"
    assert expected in result.stderr
    notes = [line for line in result.stderr.splitlines() if line.startswith("askew: note: column")]
    assert notes == [
        "askew: note: column '' is left out: it has no name, as an index that pandas wrote",
        "askew: note: column 'b' is left out: it is 1.5 in every row",
    ]
    path.write_text(",a,b,p\n" + "\n".join(f"{i},{i % 3},{i % 2},{i % 2}" for i in range(60)))
    result = run(*words, "--out", tmp_path / "other")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "got column 'b', which tells p in every row" in result.output


@pytest.mark.parametrize(("task", "plain"), [("imbalanced", "bce"), ("retrieval", "pair")])
def test_packaged_data(task, plain, tmp_path, in_process):
    out = tmp_path / "out"
    result = run(task, "--seeds", 1, "--steps", 2, "--jobs", 1, "--out", out, "--quiet", "--json")
    assert result.exit_code == 0, result.output
    assert [arm["name"] for arm in json.loads(result.stdout)["arms"]][1] == plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["imbalanced", "--challenger", "al"], "an arm must be bce, .*; got 'al'"),
        (["imbalanced", "--labels", "1"], "data and labels go together"),
        (
            ["retrieval", "--labels", "1"],
            "there is no --labels here; it is an option of multilabel, imbal",
        ),
        (
            ["imbalanced", "--teacher", "x"],
            "there is no --teacher here; it is an option of translation",
        ),
        (
            ["imbalanced", "--match", "flops"],
            "there is no --match here; it is an option of tr",
        ),
        (["multilable"], "task must be translation, qa, labels, multilabel.* got 'multilable'$"),
        (["mine.py"], "got 'mine.py'. Write mine.py:NAME, with the name of an Experiment"),
        (["/"], "got '/'. Write --data /$"),
    ],
)
def test_refuses_in_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert re.search(message, result.stderr)
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
