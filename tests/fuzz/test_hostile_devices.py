"""Pipes that nobody feeds, and devices that never end, in place of files."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rules import every_day_each_once
from saved_model import saved
from small_answerer import TOKENIZER, answerer
from typer.testing import CliRunner

from askew._files import existing_file, is_open_pipe
from askew.cli import app
from askew.models import write_checksums

COMMANDS = {
    "train translation --data {} --out out": [".tsv", ".po", ".gz", ""],
    "train translation --source {} --target {} --out out": [".en"],
    "train translation --data pairs.tsv --config {} --out out": [".toml"],
    "train qa --data {} --out out": [".json", ".jsonl", ".gz"],
    "compare --data pairs.tsv --challenger {} --out out": [".toml"],
    "compare multilabel --data {} --labels 2 --out out": [".csv", ".arff"],
    "compare --results {} --baseline a": [".csv"],
    "evaluate model --data {}": [".tsv"],
    "evaluate answerer --data {}": [".json", ".jsonl"],
    "evaluate model --test-source {} --test-target {}": [".en"],
    "translate model {}": ["", ".po", ".gz"],
    "answer answerer --context {} who": [".md", ".txt.gz"],
    "report {}": [""],
}
SECONDS = 20


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Models and data; a command that waits is stopped."""
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "model")
    one = answerer()
    one.model.save_pretrained(tmp_path / "answerer")
    for name in ("tokenizer", "question_tokenizer"):
        TOKENIZER.save(str(tmp_path / "answerer" / f"{name}.json"))
    (tmp_path / "pairs.tsv").write_text("".join(f"one {n}\tum {n}\n" for n in range(40)))

    def stop(*_):
        raise TimeoutError(f"the command still waited after {SECONDS} s")

    monkeypatch.setattr(signal, "default_int_handler", stop)
    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


def assert_refused(words):
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 2, (words, result.output, result.exception)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_nobody_feeds_is_refused(command, place):
    for ending in COMMANDS[command]:
        os.mkfifo(f"pipe{ending}")
        signal.alarm(SECONDS)
        assert_refused(command.replace("{}", f"pipe{ending}"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_never_ends_is_refused(command, place):
    for ending in COMMANDS[command]:
        Path(f"zero{ending}").symlink_to("/dev/zero")
        signal.alarm(SECONDS)
        assert_refused(command.replace("{}", f"zero{ending}"))


OPEN = {
    "model": ["translate model", "inspect model", "parts model --lr a=1 --rest a", "export model"],
    "answerer": ["answer answerer --context pairs.md who", "evaluate answerer"],
}


@pytest.mark.parametrize(("folder", "kind"), every_day_each_once([*OPEN], ["pipe", "zero"]))
def test_no_file_of_a_model_is_a_pipe_or_a_device(folder, kind, place):
    Path("pairs.md").write_text("anna lives in rome")
    write_checksums(folder)
    for path in sorted(Path(folder).iterdir()):
        kept = path.read_bytes()
        path.unlink()
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
        for command in OPEN[folder]:
            signal.alarm(SECONDS)
            result = CliRunner().invoke(app, command.split())
            # The sums may be missing, and neither `parts` nor a translation needs every file.
            needed = path.name in ("config.json", "model.safetensors") and "parts" not in command
            assert result.exit_code == 2 or not needed, (path, result.output)
            assert result.exception is None or isinstance(result.exception, SystemExit)
        path.unlink()
        path.write_bytes(kept)


def test_an_output_that_waits_for_a_reader_is_refused(place):
    os.mkfifo("pipe")
    for command in ("translate model pairs.tsv --out pipe", "inspect model --out pipe"):
        signal.alarm(SECONDS)
        assert_refused(command)


@pytest.mark.slow
def test_what_a_shell_puts_in_place_of_a_file_is_read(place):
    command = f"{sys.executable} -m askew translate model <(printf 'trees\\nbees\\n')"
    signal.alarm(0)
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    expected = CliRunner().invoke(app, ["translate", "model"], input="trees\nbees\n").stdout
    assert found.stdout == expected


def test_an_open_pipe_is_told_from_one_that_waits(tmp_path):
    read, write = os.pipe()
    with os.fdopen(read), os.fdopen(write, "w"):
        assert is_open_pipe(Path(f"/dev/fd/{read}"))
        existing_file("it", Path(f"/dev/fd/{read}"), pipe=True)
        with pytest.raises(ValueError, match=r"it: an ordinary file is needed; got /dev/fd/\d+, a"):
            existing_file("it", Path(f"/dev/fd/{read}"))
    os.mkfifo(tmp_path / "pipe")
    assert not is_open_pipe(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(
            ValueError, match=r"an ordinary file is needed; got \S+, a pipe or a dev"
        ):
            existing_file("it", path, pipe=True)
