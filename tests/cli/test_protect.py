"""Placeholders are protected where the data are catalogues, and the folder remembers it."""

import json

import pytest
from typer.testing import CliRunner

from askew.cli import app
from askew.models import Translator
from askew.text import is_protecting, load_tokenizers

TINY = ["--preset", "tiny", "--vocab-size", "400", "--steps", "2", "--shape", "symmetric"]
TINY += ["--set", "encoder.num_layers=1", "--set", "decoder.num_layers=1"]
NOTE = "placeholders and markup are protected"


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The same pairs as a catalogue and as lines."""
    folder = tmp_path_factory.mktemp("data")
    pairs = [(f"open %(name{i})s in ``x{i}``", f"abrir %(name{i})s em ``x{i}``") for i in range(40)]
    messages = [f'msgid "{source}"\nmsgstr "{target}"\n' for source, target in pairs]
    (folder / "pt.po").write_text("\n".join(messages), encoding="utf-8")
    lines = [f"{source}\t{target}\n" for source, target in pairs]
    (folder / "pt.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(data):
    result = run("train", "translation", "--data", data / "pt.po", "--out", data / "on", *TINY)
    assert result.exit_code == 0, result.output
    return result, data / "on"


def test_a_training_that_diverges_ends_in_one_line_and_writes_no_model(data, tmp_path):
    out = tmp_path / "broken"
    settings = ["--set", "training.lr=1e30", "--set", "training.warmup_steps=0", "--steps", 8]
    result = run("train", "translation", "--data", data / "pt.tsv", "--out", out, *TINY, *settings)
    assert result.exit_code == 1
    assert "must stay finite; got" in result.stderr
    assert f"finished work is kept in {out}" in result.stderr
    assert len([line for line in result.stderr.splitlines() if "finite" in line]) == 1
    assert not {"config.json", "model.safetensors", "scores.json"} & {p.name for p in out.iterdir()}


def reported(folder):
    return json.loads((folder / "training.json").read_text())["data"].get("protect", False)


def test_a_catalogue_is_protected_and_it_is_said(trained):
    result, folder = trained
    assert NOTE in result.stderr
    assert reported(folder)
    assert all(map(is_protecting, load_tokenizers(folder)))
    assert Translator.from_pretrained(folder).protects


@pytest.mark.parametrize(
    ("file", "flags", "on"),
    [("pt.po", ["--no-protect"], False), ("pt.tsv", [], False), ("pt.tsv", ["--protect"], True)],
)
def test_lines_are_not_unless_it_is_asked_for(data, tmp_path, file, flags, on):
    out = tmp_path / "model"
    result = run("train", "translation", "--data", data / file, "--out", out, *flags, *TINY)
    assert result.exit_code == 0, result.output
    assert (
        (NOTE in result.stderr) == reported(out) == Translator.from_pretrained(out).protects == on
    )


def test_a_training_is_not_gone_on_with_in_the_other_way(data, trained):
    call = ("train", "translation", "--data", data / "pt.po", "--out", trained[1], *TINY)
    assert run(*call).exit_code == 0
    result = run(*call, "--no-protect")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_a_training_goes_on_from_another_folder(data, trained, monkeypatch):
    monkeypatch.chdir(data)
    for path in ("pt.po", data / ".." / data.name / "pt.po"):
        result = run("train", "translation", "--data", path, "--out", trained[1], *TINY)
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("flag", ["--protect", "--no-protect"])
def test_what_a_teacher_that_protects_says_is_learnt(data, trained, tmp_path, flag):
    out = tmp_path / "student"
    call = ("train", "translation", "--data", data / "pt.po", "--out", out, flag, *TINY)
    result = run(*call, "--teacher", trained[1])
    assert result.exit_code == 0, result.output
    taught = json.loads(f"[{','.join((tmp_path / 'student-taught.jsonl').read_text().split())}]")
    assert not {c for text in taught for c in text if "\ufdd0" <= c <= "\ufddf"}
    assert Translator.from_pretrained(out).protects == (flag == "--protect")


def test_evaluate_counts_by_kind(data, trained):
    call = ("evaluate", trained[1], "--data", data / "pt.tsv")
    kept = json.loads(run(*call, "--json").stdout)["placeholders"]
    assert {kind: total for kind, (_, total) in kept["kinds"].items()} == {
        "printf": 40,
        "literal": 40,
    }
    printed = run(*call).stdout.splitlines()
    assert f"  printf {kept['kinds']['printf'][0]} of 40" in printed
