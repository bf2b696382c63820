"""Every command in poor surroundings: few open files, no home, no language, no shared memory."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from report_pages import example_results
from saved_model import saved
from small_answerer import answerer

from askew._files import write_json

pytestmark = pytest.mark.slow

TINY = ["--preset", "tiny", "--vocab-size", "300", "--quiet", "--steps", "2"]
TINY += ["--set", "encoder.num_layers=1"]
DRIVER = """
import json, sys, traceback
from askew.cli import app

failed = {}
for words in json.load(open(sys.argv[1], encoding="utf-8")):
    try:
        app(words)
    except SystemExit as end:
        if end.code:
            failed[" ".join(words)] = f"exit code {end.code}"
    except BaseException:
        failed[" ".join(words)] = traceback.format_exc()
print(json.dumps(failed), file=sys.stderr)
"""
"""Runs all commands in one process: it starts once."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with models, data and a comparison."""
    folder = tmp_path_factory.mktemp("made")
    saved(folder / "translator")
    reader = answerer()
    reader.model.save_pretrained(folder / "reader")
    for name in ("tokenizer.json", "question_tokenizer.json"):
        reader.context_tokenizer.tokenizer.save(str(folder / "reader" / name))
    (folder / "compared").mkdir()
    write_json(folder / "compared" / "results.json", example_results())
    lines = [f"three {i} caf\u00e9\ttr\u00eas {i} caf\u00e9\n" for i in range(60)]
    (folder / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "lines.txt").write_text("three caf\u00e9s\n", encoding="utf-8")
    (folder / "doc.md").write_text("Anna lives in the red house in \u00c5s.", encoding="utf-8")
    (folder / "own.csv").write_text(
        "a,b,high\n" + "".join(f"{i % 7},{i % 5},{int(i % 7 > 3)}\n" for i in range(120))
    )
    return folder


def commands(made, out):
    table = ["compare", "imbalanced", "--data", made / "own.csv", "--labels", "high", "--quiet"]
    search = ["find", *table[1:]]
    return [
        ["train", "translation", "--data", made / "pairs.tsv", "--out", out / "model", *TINY],
        [*table, "--out", out / "c", "--seeds", 1, "--steps", 5, "--tune", 1, "--jobs", 1],
        [*search, "--out", out / "f", "--steps", 9, "--candidates", 6, "--seeds", 1, "--jobs", 1],
        ["translate", made / "translator", made / "lines.txt", "--out", out / "lines.txt"],
        ["evaluate", made / "translator", "--data", made / "pairs.tsv", "--quiet"],
        ["answer", made / "reader", "who", "--context", made / "doc.md", "--index", out / "index"],
        ["export", made / "translator", "--out", out / "export"],
        ["inspect", made / "translator", "--text", "three", "--out", out / "page.html"],
        ["parts", made / "translator", "--lr", "model=1"],
        ["report", made / "compared", "--out", out / "report.html"],
        ["doctor"],
    ]


def surroundings(name, tmp_path):
    """Return what stands before a command, and changes of its environment."""
    home = tmp_path / "home"
    home.mkdir()
    if name == "few files":
        return ["bash", "-c", 'ulimit -n 64; exec "$@"', "-"], {}
    if name == "no language":
        return [], {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if name == "no home":
        return [], {"HOME": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None}
    if name == "a home that cannot be written":
        return [], {"HOME": "/proc/sys", "XDG_CACHE_HOME": None}
    if name == "no shared memory":
        if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"]).returncode:
            pytest.skip("only root may mount something over /dev/shm, and only with unshare")
        hide = "mount -t tmpfs -o ro none /dev/shm"
        return ["unshare", "-m", "bash", "-c", f'{hide}; exec "$@"', "-"], {}
    return [], {}


@pytest.mark.parametrize(
    "name",
    [
        *("few files", "no language", "no home", "a home that cannot be written"),
        *("another folder", "no shared memory"),
    ],
)
def test_every_command_works(name, made, tmp_path):
    before, changes = surroundings(name, tmp_path)
    out, where = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    where.mkdir()
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment = {k: v for k, v in (os.environ | path | changes).items() if v is not None}
    words = [
        [os.path.relpath(a, where) if isinstance(a, Path) else str(a) for a in arguments]
        for arguments in commands(made, out)
    ]
    (tmp_path / "commands.json").write_text(json.dumps(words))
    done = subprocess.run(
        [*before, sys.executable, "-c", DRIVER, str(tmp_path / "commands.json")],
        cwd=where, env=environment, capture_output=True, timeout=900,
    )  # fmt: skip
    *said, failed = done.stderr.decode("utf-8", "replace").splitlines()
    if name == "no shared memory":  # only a comparison and a search start processes
        assert list(json.loads(failed).values()) == ["exit code 2"] * 2, said
        assert "trials run in processes, which need shared memory; got" in "".join(said)
        assert not (out / "c").exists()
    else:
        assert json.loads(failed) == {}, said
    assert "Traceback" not in "".join(said)
    assert list(where.iterdir()) == []
