"""An application that the package does not know is one file and one row."""

import json
from pathlib import Path

import pytest
from cli.topics import TOPICS
from typer.testing import CliRunner

from askew.cli import make_app
from askew.tasks import APPLICATIONS

APP = make_app(APPLICATIONS | {"topics": TOPICS})
KINDS = {"cats": "the cat sat", "dogs": "a dog ran", "birds": "one bird flew"}


def run(*arguments):
    return CliRunner().invoke(APP, list(map(str, arguments)))


@pytest.fixture
def data(tmp_path):
    names = list(KINDS)
    rows = []
    for number in range(90):
        first, second = names[number // 3 % 3], names[number // 9 % 3]
        rows.append(f"{KINDS[first]} {KINDS[second]}\t{','.join(sorted({first, second}))}\n")
    path = tmp_path / "topics.tsv"
    path.write_text("".join(rows), encoding="utf-8")
    return path


@pytest.mark.slow
def test_it_is_compared_tuned_and_reported(data, tmp_path, in_process):
    out = tmp_path / "out"
    result = run(
        "compare", "topics", "--data", data, "--set", "d_model=8", "--tune", 2, "--seeds", 5,
        "--jobs", 1, "--out", out, "--quiet", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    assert [arm["name"] for arm in results["arms"]] == ["two-sided", "bce"]
    assert {arm["config"]["d_model"] for arm in results["arms"]} == {8}
    assert results["arms"][0]["costs"]["parameters"] > 0
    assert len(results["tuning"]["bce"]["draws"]) == 2
    assert results["settings"]["budget"]["steps"] == 30
    first = results["verdicts"][0]
    assert first["metric"] == "f1"
    assert first["verdict"] in ("pays", "does not pay", "cannot tell")
    assert "topics.tsv" in (out / "report.html").read_text(encoding="utf-8")
    again = tmp_path / "again.html"
    assert run("report", out, "--out", again).exit_code == 0
    assert "two-sided" in again.read_text(encoding="utf-8")


def test_it_trains_and_learns(data, tmp_path):
    out = tmp_path / "model"
    trained = run("train", "topics", "--data", data, "--steps", 150, "--out", out, "--json")
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["f1"] > 90
    assert (out / "model.safetensors").is_file()
    assert not (out / "checkpoints").exists()


def test_it_has_its_own_help_and_its_own_options(data):
    help_ = run("compare", "topics", "--help").stdout
    assert "Lines of TEXT TAB" in " ".join(help_.replace("│", " ").split())
    assert "--pair" not in help_
    assert "--until-decided" in help_
    assert "topics" in run("compare", "--help").stdout
    refused = run("compare", "topics", "--data", data, "--pair", "en-de")
    assert refused.exit_code == 2
    assert "there is no --pair here; it is an option of translation" in refused.stderr


def test_one_file_and_one_row_are_all():
    lines = (Path(__file__).parent / "topics.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
