"""Pairs as people have them: too long, half empty, in columns, with names in the first line."""

import json

import pytest
from typer.testing import CliRunner

from askew.cli import app

TINY = ["--preset", "tiny", "--vocab-size", "300", "--steps", "2", "--shape", "symmetric"]
TINY += ["--set", "encoder.num_layers=1", "--set", "decoder.num_layers=1"]
TINY += ["--set", "training.batch_tokens=100"]
LINES = [f"number {i}\tnúmero {i}" for i in range(40)]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(folder, lines, *flags, name="pairs.tsv"):
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = folder / f"model{len(list(folder.iterdir()))}"
    return run("train", "translation", "--data", folder / name, "--out", out, *TINY, *flags), out


def size(out):
    data = json.loads((out / "training.json").read_text(encoding="utf-8"))["data"]
    return sum(data[split] for split in ("train", "valid", "test"))


def test_pairs_that_are_too_long_are_all_named_by_their_lines_or_left_out(tmp_path):
    long = "so much of it " * 30
    lines = [*LINES[:5], f"{long}\tx", *LINES[5:9], f"y\t{long}", *LINES[9:]]
    result, _ = train(tmp_path, lines)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    for line in (6, 11):
        assert f"pairs.tsv, line {line} with " in result.stderr
    assert "--drop-long" in result.stderr
    result, out = train(tmp_path, lines, "--drop-long")
    assert result.exit_code == 0, result.output
    assert "(2 left out: 2 too long): " in result.stderr
    assert size(out) == 40


def test_a_pair_that_is_too_long_in_aligned_files_is_named(tmp_path):
    for side, end in (("a", ""), ("b", "so much of it " * 30)):
        lines = [f"{side} {i}{end if i == 6 else ''}" for i in range(30)]
        (tmp_path / side).write_text("\n".join(lines), encoding="utf-8")
    call = ["--source", tmp_path / "a", "--target", tmp_path / "b", "--out", tmp_path / "out"]
    result = run("train", "translation", *call, *TINY)
    assert f"{tmp_path / 'a'}, line 7 with " in result.stderr


def test_pairs_with_an_empty_side_are_all_named_or_left_out(tmp_path):
    lines = ["\tx", *LINES, "y\t", "\t"]
    result, _ = train(tmp_path, lines)
    assert result.exit_code == 2
    assert "source at" in result.stderr
    for line in (1, 42, 43):
        assert f"pairs.tsv, line {line}" in result.stderr
    assert "--drop-empty" in result.stderr
    result, out = train(tmp_path, lines, "--drop-empty")
    assert result.exit_code == 0, result.output
    assert "(3 left out: 3 empty): " in result.stderr
    assert size(out) == 40


@pytest.mark.parametrize("header", ["source\ttarget", "SRC\ttgt"])
def test_names_of_columns_are_no_pair(tmp_path, header):
    result, out = train(tmp_path, [header, *LINES])
    assert result.exit_code == 0, result.output
    assert size(out) == 40


def test_columns_are_chosen_for_training_and_scoring(tmp_path):
    lines = [f"7{i},{line.replace(chr(9), ',')}" for i, line in enumerate(["en\tpt", *LINES])]
    result, out = train(tmp_path, lines, "--columns", "en,pt", name="pairs.csv")
    assert result.exit_code == 0, result.output
    assert size(out) == 40
    call = ("evaluate", out, "--data", tmp_path / "pairs.csv", "--quiet", "--json")
    scored = run(*call, "--columns", "2,3", "--part", "all")
    assert json.loads(scored.stdout)["sentences"] == 41
    scored = run(*call, "--columns", "en,pt", "--part", "test")
    assert json.loads(scored.stdout)["sentences"] == 2
    refused = run(*call)
    assert (refused.exit_code, "must name the columns" in refused.stderr) == (2, True)


def test_a_translation_memory_and_xliff_are_trained_on(tmp_path):
    pairs = [line.split("\t") for line in LINES]
    tuv = '<tuv xml:lang="{}"><seg>{}</seg></tuv>'
    units = [f"<tu>{tuv.format('en', s)}{tuv.format('pt', t)}</tu>" for s, t in pairs]
    lines = ["<tmx><header/><body>", *units, "</body></tmx>"]
    result, out = train(tmp_path, lines, "--columns", "en,pt", name="a.tmx")
    assert result.exit_code == 0, result.output
    assert size(out) == 40
    units = [f"<trans-unit><source>{s}</source><target>{t}</target></trans-unit>" for s, t in pairs]
    result, out = train(tmp_path, ["<xliff>", *units, "</xliff>"], name="a.xlf")
    assert result.exit_code == 0, result.output
    assert size(out) == 40
    assert "protected" in result.stderr
