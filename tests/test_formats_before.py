"""What the version before wrote is read, resumed and judged as before; see formats_before/."""

import functools
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import loky
import numpy as np
import pytest
from safetensors.numpy import load_file
from tradeoffs.conftest import InProcess
from typer.testing import CliRunner

from askew._folders import LATER
from askew.cli import app
from askew.tradeoffs import read_run

FIXTURES = Path(__file__).parent / "formats_before"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
TINY = (
    "--preset tiny --vocab-size 300 "
    "--set encoder.d_model=16 --set encoder.num_layers=2 --set encoder.num_heads=2 "
    "--set encoder.d_ff=32 --set decoder.d_model=8 --set decoder.num_layers=1 "
    "--set decoder.num_heads=2 --set decoder.d_ff=16"
)
TINY_QA = (
    "--preset tiny --vocab-size 300 --set question.d_model=16 --set question.num_layers=1 "
    "--set question.num_heads=2 --set question.d_ff=32 --set context.d_model=16 "
    "--set context.num_layers=2 --set context.num_heads=2 --set context.d_ff=32 "
    "--set reader.d_model=16 --set reader.d_ff=16 --set reader.d_key=16 "
    "--set reader.num_layers=1 --set reader.d_span=8 --set d_pool=16"
)
TABLE = "--results table.csv --metric f1=1.0 --metric latency=lower,ratio,0.05"
SIGNS = "mine.py:made --tune 2 --until-decided --max-seeds 8"
newer_numpy = pytest.mark.skipif(
    np.__version__.startswith("1."), reason="the random state in a checkpoint is of numpy 2"
)
FINISHED = {
    "translation": f"--data pairs.tsv {TINY} --steps 4 --seeds 2 --out translation",
    "imbalanced": "imbalanced --data rows.csv --labels rare --set width=8 --steps 40 --tune 2 "
    "--seeds 5 --out imbalanced",
    # without --out: the same command must find the same folder
    "askew-runs/multilabel-asl-62e1100e": "multilabel --data labels.csv --labels 3 --set width=8 "
    "--steps 4 --seeds 1",
    "askew-runs/qa-asymmetric-a1049494": f"qa --data questions.jsonl {TINY_QA} --steps 4 --seeds 1",
    "askew-runs/retrieval-unequal-scales-e736a98d": "retrieval --set width=8 --steps 4 --seeds 1",
    "askew-runs/signs-wide-877afc70": SIGNS,
    # a twin that was found by timing lies in a file beside it
    "askew-runs/translation-deep-shallow-422f2823": f"--data pairs.tsv {TINY} --match latency "
    "--steps 4 --seeds 1",
}
UNFINISHED = f"--data pairs.tsv {TINY} --minutes 0.05 --seeds 2 --out unfinished"
TRAIN = f"train translation --data pairs.tsv {TINY} --set training.lr=0.01 --steps 400"
STUDY = f"train translation --data pairs.tsv {TINY} --teacher model --steps 4"
TRAIN_QA = f"train qa --data questions.jsonl {TINY_QA} --set training.lr=0.01 --steps 200"


@pytest.fixture(scope="session")
def version_of_scores() -> tuple[bytes, bytes]:
    """What the signatures of scores say of sacrebleu, then and now: they identify a run."""
    import sacrebleu

    return b"version:2.6.0", f"version:{sacrebleu.__version__}".encode()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, version_of_scores) -> Path:
    """The fixtures in a folder of their own, which is the current one."""
    with tarfile.open(FIXTURES / "runs.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    for path in tmp_path.rglob("*.json"):
        path.write_bytes(path.read_bytes().replace(*version_of_scores))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    yield tmp_path
    sys.modules.pop("mine", None)


class Processes:
    """Stands for the processes of trials: counts what is submitted, and runs it here."""

    def __init__(self) -> None:
        self.submitted = 0

    def __call__(self, *_, **__):
        executor = InProcess()
        submit = executor.submit

        @functools.wraps(submit)
        def counted(*arguments, **settings):
            self.submitted += 1
            return submit(*arguments, **settings)

        executor.submit = counted
        return executor


@pytest.fixture(autouse=True)
def processes(monkeypatch) -> Processes:
    counter, places = Processes(), 0
    for name, module in list(sys.modules.items()):
        if name.startswith("askew") and vars(module).get("ProcessPoolExecutor") is (
            loky.ProcessPoolExecutor
        ):
            monkeypatch.setattr(module, "ProcessPoolExecutor", counter)
            places += 1
    assert places, "no module of askew starts processes by loky's name: count them elsewhere"
    return counter


def run(arguments: str, *more: str) -> str:
    result = CliRunner().invoke(app, [*arguments.split(), *more])
    assert result.exit_code == 0, result.output
    return result.stdout


def compare(arguments: str) -> dict:
    return json.loads(run(f"compare {arguments} --jobs 1 --quiet --json"))


def contents(folder: str | Path = ".") -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def leaves(values: object, place: str = "") -> dict[str, object]:
    """Flatten nested values, for approximate comparison."""
    if isinstance(values, Mapping):
        pairs = values.items()
    elif isinstance(values, list):
        pairs = enumerate(values)
    else:
        return {place: values}
    return {k: v for key, inner in pairs for k, v in leaves(inner, f"{place}/{key}").items()}


def differences(found: object, expected: object, **tolerance: float) -> dict[str, tuple]:
    """Where two nested values differ by more than the tolerance of `pytest.approx`."""
    one, other = leaves(found), leaves(expected)
    return {
        place: (one.get(place, "missing"), other.get(place, "missing"))
        for place in one.keys() | other.keys()
        if one.get(place, "missing")
        != (
            pytest.approx(other[place], **tolerance)
            if isinstance(other.get(place), float)
            else other.get(place, "missing")
        )
    }


def as_judged(results: dict) -> dict:
    """Results without what tells of the run that printed them."""
    settings = {k: v for k, v in results["settings"].items() if k not in ("command", "jobs")}
    settings["data"] = {k: v for k, v in settings["data"].items() if k not in LATER}
    return results | {"settings": settings, "versions": None}


def checked_against_expected(results: dict, name: str) -> None:
    expected = EXPECTED["comparisons"][name]
    assert results["summary"] == expected["summary"]
    assert {v["metric"]: v["verdict"] for v in results["verdicts"]} == expected["verdicts"]


@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_comparison_is_read_again(name, processes):
    before, files = read_run(name).results, contents()
    found = compare(FINISHED[name])
    assert processes.submitted == 0, "trained, tuned or measured again"
    assert not differences(as_judged(read_run(name).results), as_judged(before), rel=1e-6)
    checked_against_expected(found, name)
    after = contents()
    assert after.keys() - files.keys() <= {f"{name}/report.html", f"{name}/.lock"}
    made_again = {f"{name}/{file}" for file in ("results.json", "trials.csv", "tuning.journal")}
    changed = {path for path in files if after[path] != files[path]}
    assert changed <= made_again
    assert EXPECTED["comparisons"][name]["summary"] in Path(name, "report.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["imbalanced", "measured"])
def test_its_report_says_the_same(name):
    run("report --quiet", name)
    assert EXPECTED["comparisons"][name]["summary"] in Path(name, "report.html").read_text("utf-8")


def test_reports_share_a_page():
    run("report --quiet --out joint.html", *FINISHED, "measured")
    page = Path("joint.html").read_text("utf-8")
    assert all(expected["summary"] in page for expected in EXPECTED["comparisons"].values())


def test_what_was_measured_elsewhere_is_judged_as_before():
    found = json.loads(run(f"compare {TABLE} --out again --quiet --json"))
    again, before = (as_judged(read_run(name).results) for name in ("again", "measured"))
    assert not differences(again, before, rel=1e-6)
    checked_against_expected(found, "measured")


@newer_numpy
def test_a_comparison_goes_on_where_it_was_killed(processes):
    files, killed = contents("unfinished/trials"), Path("unfinished/work/twin-seed1")
    state = json.loads((killed / "checkpoint-21/trainer_state.json").read_text())
    found = compare(UNFINISHED)
    assert processes.submitted == 1, "one trial was missing, and nothing else"
    assert files.items() <= contents("unfinished/trials").items()
    assert found["settings"]["steps"] == EXPECTED["resumed"]["steps"]
    trial = json.loads(Path("unfinished/trials/twin-seed1/trial.json").read_text())
    assert trial["steps"] == found["settings"]["steps"]["twin"]
    spent = next(r["train_seconds"] for r in state["log_history"] if "loss" in r)
    assert trial["curve"][0]["train_seconds"] == spent, "begun from its first step again"
    losses = {
        "train_loss": trial["curve"][-2]["train_loss"],
        "valid_loss": trial["curve"][-1]["valid_loss"],
    }
    assert losses == pytest.approx({name: EXPECTED["resumed"][name] for name in losses}, rel=0.02)
    assert [(t["arm"], t["seed"]) for t in found["trials"]] == [
        (arm, seed) for seed in (0, 1) for arm in ("deep-shallow", "twin")
    ]
    assert not killed.exists()


def test_the_journal_of_tuning_is_taken_up(processes):
    """A draw that was lost is tried again, the same one, and the others are not."""
    name = "askew-runs/signs-wide-877afc70"
    before, journal = read_run(name).results, Path(name, "tuning.journal")
    lines = journal.read_text().splitlines(keepends=True)
    assert '"op_code":6' in lines[-1]
    journal.write_text("".join(lines[:-1]))
    found = compare(SIGNS)
    assert processes.submitted == 1
    assert not differences(found["tuning"], before["tuning"], rel=1e-6)
    checked_against_expected(found, name)


@pytest.mark.parametrize(
    ("arguments", "name"), [(TRAIN, "model"), (STUDY, "student"), (TRAIN_QA, "answerer")]
)
def test_a_finished_training_is_read_again(arguments, name, processes):
    files = contents()
    found = json.loads(run(f"{arguments} --out {name} --quiet --json"))
    assert found == EXPECTED["scores"][name]
    assert contents() == files
    assert processes.submitted == 0


@newer_numpy
def test_a_training_goes_on_where_it_was_killed():
    """It ends where the one of the version before ended that nothing interrupted."""
    state = json.loads(Path("half/checkpoints/checkpoint-320/trainer_state.json").read_text())
    scores = json.loads(run(f"{TRAIN} --out half --quiet --json"))
    assert scores == pytest.approx(EXPECTED["scores"]["model"], abs=0.01)
    records = json.loads(Path("half/curve.json").read_text())["records"]
    assert records[: len(state["log_history"])] == state["log_history"]
    whole, resumed = (load_file(f"{name}/model.safetensors") for name in ("model", "half"))
    assert whole.keys() == resumed.keys()
    assert all(resumed[key] == pytest.approx(whole[key], abs=1e-3) for key in whole)
    assert not Path("half/checkpoints").exists()


def test_a_model_translates_as_before():
    lines = [json.loads(line) for line in run("translate model lines.txt --json").splitlines()]
    found = [hypothesis for line in lines for hypothesis in line["hypotheses"]]
    assert not differences(found, EXPECTED["translations"], abs=1e-3)


def test_an_exported_model_translates_as_before():
    pytest.importorskip("ctranslate2")
    found = run("translate model lines.txt --engine ctranslate2").splitlines()
    assert found == [expected["text"] for expected in EXPECTED["translations"]]


@pytest.mark.parametrize(
    ("name", "data"), [("model", "pairs.tsv"), ("answerer", "questions.jsonl")]
)
def test_a_model_scores_as_before(name, data):
    found = json.loads(run(f"evaluate {name} --data {data} --quiet --json"))["scores"]
    expected = EXPECTED["evaluate"][name]
    assert {key: found[key]["value"] for key in expected} == pytest.approx(expected, abs=0.01)


def test_an_index_answers_as_before():
    files = contents("index")
    found = json.loads(run("answer answerer --index index --json", "hu hep"))["answers"]
    new = [tuple(one.pop(key) for key in ("page", "heading", "retrieval")) for one in found]
    assert new == [(None, None, 0.0)] * len(found)
    assert not differences(found, EXPECTED["answers"], abs=0.02)
    assert contents("index") == files
