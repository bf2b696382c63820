import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askew._commit import commit
from askew.cli import app

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZAHLEN = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
TINY = ["--preset", "tiny", "--vocab-size", "300", "--set", "encoder.num_layers=1"]
TINY += ["--set", "training.batch_tokens=128", "--set", "training.warmup_steps=5"]


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def command(*arguments):
    return [sys.executable, "-m", "askew", *map(str, arguments)]


def test_version_and_commit_are_told():
    result = run("--version")
    built = f" ({commit()})" if commit() else ""
    assert (result.exit_code, result.stdout) == (0, f"askew {metadata.version('askew')}{built}\n")


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    rows = [
        f"{NUMBERS[a]} {NUMBERS[b]}\t{ZAHLEN[a]} {ZAHLEN[b]}\n"
        for a in range(10)
        for b in range(10)
    ]
    path.write_text("".join(rows), encoding="utf-8")
    return path


def snapshot(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in Path(folder).rglob("*")}


def test_help_teaches():
    for arguments in (["--help"], ["compare", "--help"], ["train", "translation", "--help"]):
        result = run(*arguments)
        assert result.exit_code == 0
        assert "Usage" in result.output
    assert "pays, does not pay, or" in re.sub(r"\s+", " ", run("compare", "--help").output)


def bad_inputs(tmp_path, pairs):
    (tmp_path / "a.en").write_text("one\ntwo\n")
    (tmp_path / "a.de").write_text("eins\n")
    (tmp_path / "empty.tsv").write_text("")
    (tmp_path / "binary.tsv").write_bytes(b"\x00\x01\xff\tx\n")
    (tmp_path / "latin.tsv").write_bytes("one\teins\nfive\tfünf\n".encode("latin-1"))
    (tmp_path / "file").write_text("x")
    other = tmp_path / "other"
    other.mkdir()
    (other / "comparison.json").write_text('{"version": 1, "task": "other"}')
    out = ["--out", tmp_path / "out"]
    return {
        "missing file": (["--data", tmp_path / "no.tsv", *out], r"no\.tsv"),
        "unaligned": (
            ["--source", tmp_path / "a.en", "--target", tmp_path / "a.de", *out],
            r"2.*1",
        ),
        "one of two": (["--source", tmp_path / "a.en", *out], "source and target go together"),
        "empty set": (["--data", tmp_path / "empty.tsv", *out], r"empty\.tsv"),
        "binary": (["--data", tmp_path / "binary.tsv", *out], r"binary\.tsv"),
        "encoding": (["--data", tmp_path / "latin.tsv", *out], r"latin\.tsv.*2"),
        "language": (["--pair", "en-xx", *out], "xx"),
        "unwritable": (["--data", pairs, "--out", tmp_path / "file" / "out"], "must be writable"),
        "other run": (["--data", pairs, "--out", other], "with other task and data and arms"),
        "verdict": (["--data", pairs, "--seeds", 2, "--require-verdict", *out], "got --seeds 2"),
        "key": (["--data", pairs, "--set", "encoder.num_layer=2", *out], "encoder.num_layers"),
        "task": (["chess", *out], "got 'chess'"),
        "preset": (["--data", pairs, "--preset", "huge", *out], "'huge' is not one of"),
        "shape": (["--data", pairs, "--challenger", "round", *out], "got 'round'"),
        "budget": (["--data", pairs, "--steps", 3, "--minutes", 1, *out], "exactly one of steps"),
    }


def test_bad_input_gives_one_line_and_leaves_no_trace(tmp_path, pairs):
    for name, (arguments, message) in bad_inputs(tmp_path, pairs).items():
        before = snapshot(tmp_path)
        result = run("compare", *arguments)
        assert result.exit_code == 2, (name, result.output)
        assert result.stderr.count("\n") == 1, (name, result.stderr)
        assert re.search(message, result.stderr), (name, result.stderr)
        assert snapshot(tmp_path) == before, name


def test_a_missing_package_is_named_before_any_work(tmp_path, pairs, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    result = run("compare", "--data", pairs, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "plotly" in result.stderr
    assert "pip install 'askew[report]'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_train_and_translate(tmp_path, pairs):
    model = tmp_path / "model"
    train = ["train", "translation", "--data", pairs, "--out", model, "--steps", 150, *TINY]
    result = run(*train, "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    assert set(scores) == {"chrf", "bleu", "exact_match"}
    assert {p.name for p in model.iterdir()} == {
        "README.md",
        "checksums.json",
        "config.json",
        "curve.json",
        "generation_config.json",
        "model.safetensors",
        "scores.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    }
    stamp = (model / "model.safetensors").stat().st_mtime_ns
    assert run(*train).exit_code == 0
    assert (model / "model.safetensors").stat().st_mtime_ns == stamp
    result = run(*train, "--seed", 3)
    assert result.exit_code == 2
    assert "with other seed" in result.stderr

    lines = tmp_path / "lines.txt"
    lines.write_text("one two\n\nnine nine\r\n", encoding="utf-8")
    from_file = run("translate", model, lines)
    assert from_file.exit_code == 0
    assert from_file.stdout.split("\n")[1] == ""
    assert from_file.stdout.count("\n") == 3
    assert run("translate", model, stdin=lines.read_bytes()).stdout == from_file.stdout
    assert run("translate", model, lines, "--beams", 3, "--batch-size", 1).stdout.count("\n") == 3
    assert run("translate", model, stdin=b"").stdout == ""


def test_translate_refuses(tmp_path):
    result = run("translate", tmp_path, stdin="one\n")
    assert result.exit_code == 2
    assert "a model folder holds config.json" in result.stderr


@pytest.mark.slow
def test_a_killed_comparison_ends_like_an_undisturbed_one(tmp_path, pairs):
    arguments = ["compare", "--data", pairs, "--seeds", 2, "--steps", 400, "--jobs", 1, *TINY]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(*arguments, "--out", whole), check=True)
    process = subprocess.Popen(command(*arguments, "--out", killed), start_new_session=True)
    deadline = time.monotonic() + 300
    in_the_middle = killed / "work" / "twin-seed0" / "checkpoint-160" / "complete"
    while not in_the_middle.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(2)
    first = (killed / "trials" / "deep-shallow-seed0" / "trial.json").stat().st_mtime_ns
    assert not (killed / "trials" / "twin-seed0").exists()
    subprocess.run(command(*arguments, "--out", killed), check=True)
    assert (killed / "trials" / "deep-shallow-seed0" / "trial.json").stat().st_mtime_ns == first

    def outcome(out):
        trials = json.loads((out / "results.json").read_text())["trials"]
        timed = ("latency_ms", "throughput", "train_seconds")
        return [
            (
                t["arm"],
                t["seed"],
                {name: value for name, value in t["metrics"].items() if name not in timed},
                [(p["step"], p.get("train_loss"), p.get("valid_loss")) for p in t["curve"]],
            )
            for t in trials
        ]

    assert outcome(killed) == outcome(whole)
    for name in ("twin-seed0", "deep-shallow-seed1"):
        weights = [o / "trials" / name / "model" / "model.safetensors" for o in (killed, whole)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
