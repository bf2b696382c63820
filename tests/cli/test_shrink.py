"""`askew shrink`, as typed."""

import json
import shutil

import pytest
from saved_model import saved
from typer.testing import CliRunner

from askew.cli import app
from askew.models import load_translation_model
from askew.tasks import read_cut

pytestmark = pytest.mark.usefixtures("few_rounds")


def run(*arguments):
    return CliRunner().invoke(app, ["shrink", *map(str, arguments)])


@pytest.fixture
def model(tmp_path):
    saved(tmp_path / "model")
    words = ["three", "trees", "see", "bees"]
    lines = [f"{a} {b} {c}\t{c} {b} {a}\n" for a in words for b in words for c in words]
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    return tmp_path / "model"


def test_it_only_cuts_without_data(model, tmp_path):
    result = run(model, "--decoder-layers", 1, "--encoder-layers", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "encoder: layers 0 2\ndecoder: layers 0\nparameters: " in result.stdout
    student = load_translation_model(tmp_path / "out").config
    assert (student.encoder_layers, student.decoder_layers) == (2, 1)


def test_a_command_that_cuts_nothing_says_so(model, tmp_path):
    result = run(model, "--out", tmp_path / "whole")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("askew: note: nothing is cut; --decoder-layers, --keep or")
    assert "nothing is cut" not in run(model, "--keep", "0", "--out", tmp_path / "cut").stderr


def test_numbers_of_layers_say_how_many_and_a_student_is_cut_again(model, tmp_path):
    for source, out, keep in ((model, "a", ("--keep-encoder", "0,2")), ("a", "b", ("--keep", "1"))):
        for _ in range(2):  # the second time it is read
            result = run(tmp_path / source, *keep, "--out", tmp_path / out)
            assert result.exit_code == 0, result.output
    student = load_translation_model(tmp_path / "b").config
    assert (student.encoder_layers, student.decoder_layers) == (2, 1)


def test_it_teaches_and_says_what_it_cost(model, tmp_path):
    arguments = (model, "--decoder-layers", 1, "--data", tmp_path / "pairs.tsv", "--steps", 4)
    settings = ("--set", "training.warmup_steps=1", "--keep", "measured")
    result = run(*arguments, *settings, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "decoder 0 1, without 0: loss " in result.stdout
    for words in ("the model: chrf ", "cut, not taught: chrf ", "the student: chrf ", " × as fast"):
        assert words in result.stdout
    again = run(*arguments, *settings, "--out", tmp_path / "out", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["kept"]["encoder"] == [0, 1, 2]


def test_it_cuts_widths_and_teaches(model, tmp_path):
    arguments = (model, "--data", tmp_path / "pairs.tsv", "--steps", 4, "--out", tmp_path / "out")
    widths = ("--decoder-width", 10, "--decoder-heads", 2, "--encoder-ff", 9)
    result = run(*arguments, *widths, "--set", "training.warmup_steps=1")
    assert result.exit_code == 0, result.output
    words = "encoder: ff 9\ndecoder: width 10\ndecoder: heads 2\nparameters: "
    assert words in result.stdout
    stored = json.loads((tmp_path / "out" / "shrink.json").read_text())
    assert stored["widths"] == {"encoder_ff": 9, "decoder_width": 10, "decoder_heads": 2}
    assert stored["training"]["freeze_encoder"] is False
    assert load_translation_model(tmp_path / "out").config.hidden_size == 10
    frozen = run(*arguments[:-1], tmp_path / "b", "--decoder-ff", 9, "--steps", 1)
    assert frozen.exit_code == 0, frozen.output
    stored = json.loads((tmp_path / "b" / "shrink.json").read_text())
    assert stored["training"]["freeze_encoder"] is True


@pytest.mark.slow
def test_training_stops_by_a_margin_and_a_resumed_folder_keeps_its_own(model, tmp_path):
    arguments = (model, "--decoder-layers", 1, "--data", tmp_path / "pairs.tsv", "--steps", 4)
    arguments = (*arguments, "--set", "training.warmup_steps=1", "--out", tmp_path / "out")
    stored = tmp_path / "out" / "shrink.json"

    def training(*more):
        result = run(*arguments, *more)
        assert result.exit_code == 0, result.output
        return json.loads(stored.read_text())["training"]

    usual = training()
    assert (usual["stop_margin"], usual["patience"]) == (0.01, 3)
    other = run(*arguments, "--stop-margin", 0.2)
    assert other.exit_code == 2
    assert "with other training" in other.stderr
    shutil.rmtree(tmp_path / "out")
    assert training("--stop-margin", 0.2)["stop_margin"] == 0.2
    assert training()["stop_margin"] == 0.2
    shutil.rmtree(tmp_path / "out")
    plain = training("--stop-margin", 0)
    assert "stop_margin" not in plain  # as folders are that know no margin
    assert plain["patience"] is None
    assert training() == plain


@pytest.mark.slow
def test_a_limit_of_latency_chooses_the_layers(model, tmp_path):
    arguments = (model, "--data", tmp_path / "pairs.tsv", "--steps", 0, "--out", tmp_path / "out")
    refused = run(*arguments, "--at-most", "latency_ms=0.001")
    assert refused.exit_code == 1
    assert "shrink: a cut must meet latency_ms 0.001; got " in refused.stderr
    shutil.rmtree(tmp_path / "out")
    result = run(*arguments, "--at-most", "latency_ms=1e6")
    assert result.exit_code == 0, result.output
    assert "layer            loss without it         ms\nencoder 0" in result.stdout
    assert "encoder: layers 0 1 2\ndecoder: layers 0 1\nan answer of the cut: " in result.stdout
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [layer["side"] for layer in stored["layers"]["layers"]] == ["encoder"] * 3 + [
        "decoder"
    ] * 2
    assert run(*arguments, "--at-most", "latency_ms=1e6").stdout == result.stdout


def test_layers_that_a_search_found_are_kept(model, tmp_path):
    sides = {"encoder": (2, "measured", "2,0,1"), "decoder": (1, "last", "0,1")}
    lines = [
        f'{side}.num_layers = {count}\n{side}.keep = "{keep}"\n{side}.order = "{order}"\n'
        for side, (count, keep, order) in sides.items()
    ]
    (tmp_path / "found.toml").write_text("".join(lines) + "training.lr = 0.001\n")
    assert read_cut(tmp_path / "found.toml") == {"encoder": [0, 2], "decoder": [1]}
    result = run(model, "--keep", tmp_path / "found.toml", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "encoder: layers 0 2\ndecoder: layers 1\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--decoder-layers", "3"], "decoder_layers must be in [1, 2], the layers of the model"),
        (["--decoder-layers", "1", "--keep", "odd"], "keep must be spread, first, last, measured"),
        (["--decoder-layers", "1", "--keep", "1,x"], "numbers of layers must be as 0,5; got"),
        (["--at-most", "parameters=9"], "--at-most must be latency_ms=NUMBER; got 'parameters=9'"),
        (["--at-most", "latency_ms"], "shrink: --at-most must be NAME=NUMBER; got 'latency_ms'"),
        (["--at-most", "latency_ms=9"], "a limit of latency needs data; got none. Give --data"),
        (["--at-most", "latency_ms=-1"], "latency_ms must be positive; got latency_ms -1"),
        (["--at-most", "latency_ms=9", "--keep", "first"], "got keep first, too. Leave it out"),
        (["--at-most", "latency_ms=9", "--decoder-layers", "1"], "got decoder_layers, too. Leave"),
        (["--keep", "nowhere.toml"], "the file must exist; got path 'nowhere.toml'"),
        (["--set", "encoder.d_ff=8"], "--set changes the training alone, as training.lr=0.001"),
        (["--pair", "en-de", "--data", "pairs.tsv"], "pair goes without data of your own"),
        (["--data", "nowhere.tsv"], "nowhere.tsv"),
        (["--decoder-layers", "1", "--keep", "measured"], 'keep "measured" needs data; got none'),
        (["--data", "pairs.tsv", "--set", "training.top_k=0"], "top_k must be positive"),
        (["--decoder-width", "8"], "cutting widths needs data, which show what matters; got none"),
        (
            ["--data", "pairs.tsv", "--decoder-heads", "5"],
            "decoder_heads must be in [1, 4], what the model has; got decoder_heads 5",
        ),
        (["--data", "pairs.tsv", "--encoder-width", "25"], "encoder_width must be in [2, 24]"),
    ],
)
def test_bad_input_is_one_line_before_any_work(model, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = run(model, *arguments, "--out", "out")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_such_model_is_refused(tmp_path):
    result = run(tmp_path, "--decoder-layers", 1, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "askew shrink: the folder must hold a config.json" in result.stderr
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    result = run(tmp_path, "--decoder-layers", 1, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "must be an encoder-decoder of askew-translation, bart" in result.stderr
    assert "'bert'" in result.stderr
