"""`askew shrink`, as typed."""

import json
import shutil

import pytest
from saved_model import saved
from typer.testing import CliRunner

from askew.cli import app
from askew.models import load_translation_model


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--decoder-layers", "3"], "decoder_layers must be in [1, 2], the layers of the model"),
        (["--decoder-layers", "1", "--keep", "odd"], "keep must be spread, first, last, measured"),
        (["--decoder-layers", "1", "--keep", "1,x"], "numbers of layers must be as 0,5; got"),
        (["--set", "encoder.d_ff=8"], "--set changes the training alone, as training.lr=0.001"),
        (["--pair", "en-de", "--data", "x.tsv"], "pair goes without data of your own"),
        (["--data", "nowhere.tsv"], "nowhere.tsv"),
        (["--decoder-layers", "1", "--keep", "measured"], 'keep "measured" needs data; got none'),
        (["--data", "pairs.tsv", "--set", "training.top_k=0"], "top_k must be positive"),
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
    assert "load_seq2seq: the folder must hold a config.json" in result.stderr
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    result = run(tmp_path, "--decoder-layers", 1, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "must be an encoder-decoder of askew-translation, bart" in result.stderr
    assert "'bert'" in result.stderr
