import json
import sys

import pytest
from typer.testing import CliRunner

from askew.cli import app
from askew.cli._requests import parse_numbers
from askew.tasks._arms import shape_training, shaped_config
from askew.tasks._presets import SHAPES, translation_preset
from askew.tradeoffs import Choice, Range

SMALL = ["--steps", 20, "--candidates", 6, "--finalists", 1, "--seeds", 5, "--jobs", 1]


def run(*words):
    return CliRunner().invoke(app, ["find", *map(str, words)])


def test_a_search_is_confirmed_reported_and_read_again(tmp_path, in_process):
    out = tmp_path / "out"
    done = run("imbalanced", *SMALL, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    expected = "askew: read 1,797 rows from the default data: 1,078 to train, 360 to validate, 359"
    assert expected in done.stderr
    results = json.loads(done.stdout)
    assert results["version"] == 2
    assert len(results["search"]["candidates"]) == 6
    assert results["search"]["sentence"].startswith("Of 6 candidates tried in ")
    page = (out / "report.html").read_text()
    assert "The search" in page
    (out / "report.html").unlink()
    status = run("--show", out, "--json")
    assert status.exit_code == 0, status.output
    assert json.loads(status.stdout)["sentence"] == results["search"]["sentence"]
    words = run("imbalanced", "--show", out, "--report-language", "pt")
    assert words.exit_code == 0, words.output
    assert "Busca de imbalanced: terminada" in words.stdout
    again = CliRunner().invoke(app, ["report", str(out), "--language", "pt"])
    assert again.exit_code == 0, again.output
    assert "A busca" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", -1], "minutes must be finite and > 0; got minutes -1"),
        (["--candidates", 3], "candidates must be at least 6"),
        (["--finalists", 4], "finalists must be 1, 2 or 3; got finalists 4"),
        (
            ["--at-most", "size=3"],
            "latency_ms, memory_mb; got",
        ),
        (["--at-most", "latency_ms"], "--at-most must be NAME=NUMBER; got 'latency_ms'"),
        (["--search", "lr=1"], "unknown key 'lr'; known: width"),
        (["--search", "dropout=0..x"], "--search must be KEY=LOW..HIGH"),
        (["--freeze", "dropuot=0.1"], "unknown number 'dropuot'; did you mean 'dropout'?"),
        (["--space", "nowhere.toml"], "the file must exist; got path 'nowhere.toml'"),
        (["--results", "x.csv"], "No such option"),
        (["--cluster", "local"], "ray must be installed; "),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("imbalanced", *words, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the folder must hold a search; got folder"),
        (["--minutes", 5], "--show stands alone, or with --json or --report-language; got more"),
        (
            ["--set", "width=32"],
            "--show stands alone, or with --json or --report-language; got mor",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_line(words, message, tmp_path):
    done = run("imbalanced", "--show", tmp_path, *words)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_numbers_of_a_space_are_written_in_words():
    assert parse_numbers("find", "lr=1e-4..1e-2:log") == (
        "lr",
        Range(low=1e-4, high=1e-2, log=True),
    )
    assert parse_numbers("find", "d=32..256:step=32") == ("d", Range(low=32, high=256, step=32))
    assert parse_numbers("find", "n=1..6:int") == ("n", Range(low=1, high=6, step=1))
    assert parse_numbers("find", "h=2,4,8") == ("h", Choice(values=(2, 4, 8)))
    assert parse_numbers("find", "s=linear,cosine") == ("s", Choice(values=("linear", "cosine")))


@pytest.mark.slow
def test_a_file_with_a_space_replaces_the_usual_one(tmp_path, in_process):
    path = tmp_path / "space.toml"
    numbers = '[numbers]\n"dropout" = "0.0..0.5"\n"dropout_second" = [0.1, 0.3]\n'
    path.write_text(numbers)
    words = [*SMALL, "--space", path, "--out", tmp_path / "out", "--json", "--quiet"]
    done = run("imbalanced", *words)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "by ties or fixed what symmetric candidates have in common; got neither" in done.stderr
    path.write_text(numbers + '[ties]\n"dropout_second" = "dropout"\n')
    done = run("imbalanced", *words)
    assert done.exit_code == 0, done.output
    candidates = json.loads(done.stdout)["search"]["candidates"]
    assert {name for each in candidates for name in each["values"]} == {"dropout", "dropout_second"}
    given = [each for each in candidates if each["origin"] == "given"]
    assert [(each["values"], each["symmetric"]) for each in given] == [
        ({"dropout": 0.2, "dropout_second": None}, True)
    ]


def test_a_shape_file_has_numbers_of_training(tmp_path):
    from askew.tasks import APPLICATIONS

    application = APPLICATIONS["imbalanced"]
    task = application.make_task(application.options())
    path = tmp_path / "found.toml"
    path.write_text("training.lr = 0.004\nencoder.num_layers = 1\n")
    assert shape_training(task, str(path), {}) == {"lr": 0.004}
    assert shape_training(task, str(path), {"lr": 0.1}) == {"lr": 0.1}
    assert shape_training(task, "twin", {"lr": 0.1}) == {}
    config = shaped_config(
        lambda name: translation_preset(name, "tiny", vocab_size=300),
        str(path),
        {},
        shapes=SHAPES,
        usual="deep-shallow",
    )
    assert config.encoder.num_layers == 1
    path.write_text("training.rate = 0.004\n")
    with pytest.raises(ValueError, match=r"unknown key 'training\.rate'"):
        shape_training(task, str(path), {})
