"""Runs killed with SIGKILL at random moments: the same command ends as if nothing had been.

`KILLS=600 pytest -m slow -n 0 -s tests/fuzz/test_killed_runs.py` kills more often than the usual
hundred times; `KILL_SEED` chooses other moments. Each run is a fork of this process, which has
imported everything, so that most of its time is work; trials run within it.
"""

import json
import os
import random
import signal
import tempfile
import time

import pytest
from report_pages import example_results
from saved_model import saved
from small_answerer import answerer

from askew._files import write_json

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "100"))
SEED = int(os.environ.get("KILL_SEED", "0"))
TIMED = (
    "latency_ms",
    "latency_ratio",
    "throughput",
    "train_seconds",
    "peak_memory_mb",
    "tokens_per_second",
)
SMALL = ["--preset", "tiny", "--vocab-size", "300", "--quiet"]
SMALL += ["--set", "encoder.num_layers=1", "--set", "training.batch_tokens=64"]


def pairs(folder):
    rows = (f"one {a} and {b}\tum {a} e {b}\n" for a in range(9) for b in range(9))
    (folder / "pairs.tsv").write_text("".join(rows))


def labelled(folder):
    rows = (f"one {a} and {b}\tfirst{a % 3},last{b % 2}\n" for a in range(9) for b in range(9))
    (folder / "rows.tsv").write_text("".join(rows))


def table(folder):
    rows = "".join(f"{i % 7},{i % 5},{int(i % 7 > 3)}\n" for i in range(120))
    (folder / "own.csv").write_text("a,b,high\n" + rows)


def documents(folder):
    made = answerer()
    made.model.save_pretrained(folder / "model")
    for name in ("tokenizer.json", "question_tokenizer.json"):
        made.context_tokenizer.tokenizer.save(str(folder / "model" / name))
    (folder / "docs").mkdir()
    for i in range(20):
        (folder / "docs" / f"{i}.txt").write_text(f"Anna {i} lives in the red house. " * 40)


def followed(folder):
    documents(folder)
    assert run(folder, COMMANDS["answer"][1]).wait() == 0
    (folder / "docs" / "0.txt").write_text("Ben lives in the blue house. " * 400)
    (folder / "docs" / "1.txt").unlink()
    (folder / "docs" / "2.txt").rename(folder / "docs" / "two.txt")


def exported(folder):
    pytest.importorskip("ctranslate2")
    saved(folder / "model")
    assert run(folder, COMMANDS["export"][1]).wait() == 0  # it is replaced by those killed


def taught(folder):
    pairs(folder)
    saved(folder / "model")


def results(folder):
    (folder / "done").mkdir()
    write_json(folder / "done" / "results.json", example_results())


TABLE = ["compare", "imbalanced", "--data", "own.csv", "--labels", "high", "--quiet"]
TABLE += ["--seeds", "1", "--set", "width=8", "--out", "out"]
FIND = ["find", "imbalanced", "--data", "own.csv", "--labels", "high", "--quiet", "--jobs", "1"]
FIND += ["--set", "width=8", "--steps", "40", "--candidates", "12", "--seeds", "1", "--out", "out"]
SHRINK = ["shrink", "model", "--decoder-layers", "1", "--data", "pairs.tsv", "--out", "out"]
SHRINK += ["--steps", "12", "--quiet"]
TRAINED = ["--data", "pairs.tsv", "--out", "out", *SMALL]
LABELS = ["train", "labels", "--data", "rows.tsv", "--out", "out", *SMALL, "--loss", "splc"]
COMMANDS = {
    "labels": (labelled, [*LABELS, "--steps", "12", "--set", "training.thresholds=label"]),
    "compare": (pairs, ["compare", *TRAINED, "--seeds", "1", "--steps", "6"]),
    "calibrate": (table, [*TABLE, "--minutes", "0.0005"]),
    "train": (pairs, ["train", "translation", *TRAINED, "--steps", "12"]),
    "answer": (documents, ["answer", "model", "who", "--context", "docs", "--index", "i"]),
    "follow": (followed, ["answer", "model", "who", "--context", "docs", "--index", "i"]),
    "export": (exported, ["export", "model"]),
    "tune": (table, [*TABLE, "--steps", "20", "--tune", "3"]),
    "report": (results, ["report", "done"]),
    "find": (table, FIND),
    "shrink": (taught, SHRINK),
}


def run(folder, command):
    """Start a command in a fork of this process, with its own folder of temporary files."""
    (folder / "tmp").mkdir(exist_ok=True)
    pid = os.fork()
    if pid:
        return Child(pid)
    code = 99
    try:
        os.chdir(folder)
        tempfile.tempdir = str(folder / "tmp")
        log = os.open(folder.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from tradeoffs.conftest import InProcess

        from askew.cli import app
        from askew.tradeoffs._running import candidate_costs, trials

        trials.ProcessPoolExecutor = InProcess
        candidate_costs.latencies = untimed_latencies
        app(command)
    except SystemExit as error:
        code = error.code or 0
    finally:
        os._exit(code)


def untimed_latencies(task, *configs, rounds=1):
    """Stand for the clock of a search, which decides between candidates of equal score."""
    return [0.001 * (1 + config.dropout) for config in configs]


class Child:
    def __init__(self, pid):
        self.pid = pid

    def wait(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()


def untimed(value):
    """Leave out what is measured by a clock, and the Trainer's own sum of a run."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in TIMED}
    if isinstance(value, list):
        return [untimed(one) for one in value if not is_timed(one)]
    return value


def is_timed(value):
    if not isinstance(value, dict):
        return False
    return "train_runtime" in value or (value.get("metric") or value.get("name")) in TIMED


def outcome(folder):
    """Return every file under a folder, without what a clock makes different."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file():
            files[name] = None
        elif path.name in ("results.json", "curve.json", "trial.json", "scores.json"):
            values = untimed(json.loads(path.read_text()))
            values.pop("summary", None)
            values.get("search", {}).pop("sentence", None)  # has the CPU time
            files[name] = values
        elif path.name == "comparison.json":
            files[name] = untimed(json.loads(path.read_text())) | {"steps": None}
        elif path.parent.name == "rungs":
            files[name] = untimed(json.loads(path.read_text()))
        elif path.name in ("costs.json", "trials.csv", "report.html", "tuning.journal"):
            files[name] = "there"
        else:
            files[name] = path.read_bytes().replace(os.fsencode(folder), b"")
    return files


@pytest.fixture(scope="module", autouse=True)
def imported():
    """Import in this process what every run would import."""
    import optuna  # noqa: F401
    import plotly.offline  # noqa: F401
    import sacrebleu  # noqa: F401
    import scipy.stats  # noqa: F401

    import askew.export
    import askew.tasks._tabular
    import askew.tasks._train
    import askew.training  # noqa: F401


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_ends_as_if_nothing_had_been(name, tmp_path):
    prepare, command = COMMANDS[name]
    whole = tmp_path / "whole"
    whole.mkdir()
    prepare(whole)
    started = time.monotonic()
    assert run(whole, command).wait() == 0, (tmp_path / "log").read_text()
    seconds = time.monotonic() - started
    expected = outcome(whole)
    draw, kills, cases = random.Random(f"{SEED} {name}"), 0, 0
    while kills < -(-KILLS // len(COMMANDS)):
        cases += 1
        folder = tmp_path / f"killed{cases}"
        folder.mkdir()
        prepare(folder)
        moments = [draw.uniform(0, seconds) for _ in range(draw.randint(1, 3))]
        for moment in moments:
            child = run(folder, command)
            time.sleep(moment)
            kills += child.kill() == -signal.SIGKILL
        (tmp_path / "log").unlink()
        assert run(folder, command).wait() == 0, (moments, (tmp_path / "log").read_text())
        found = outcome(folder)
        if name == "calibrate":  # the number of steps is measured by a clock
            assert found.keys() == expected.keys(), moments
            continue
        differing = [k for k in {*expected, *found} if expected.get(k, "") != found.get(k, "")]
        assert differing == [], (moments, [(expected.get(k), found.get(k)) for k in differing])
    print(f"{name}: {kills} kills in {cases} runs of {seconds:.1f} s")
