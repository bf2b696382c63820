"""`askew compare` on models of a user's own, on results measured elsewhere, and tuned."""

import csv
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from askew import tradeoffs
from askew.cli import app

EXPERIMENT = """
import torch
from torch import nn
from askew.tradeoffs import Experiment, Range

x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
data = (x, (x[:, 0] > 0).long())


def wide():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def line():
    return nn.Linear(4, 2)


def made():
    return Experiment(
        name="signs", models={"wide": wide, "line": line}, train_data=data, test_data=data,
        valid_data=data, steps=4, search={"lr": Range(low=0.01, high=0.1)},
    )


ready = made()
number = 3
"""


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def mine(tmp_path, monkeypatch, request):
    name = f"mine_{request.node.name.translate(dict.fromkeys(map(ord, '[]:.- '), '_'))}"
    (tmp_path / f"{name}.py").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("form", ["{}:made", "{}:ready", "{}.py:made"])
def test_models_of_ones_own(mine, form, in_process):
    result = run(form.format(mine), "--seeds", 5, "--jobs", 1, "--quiet", "--json")
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert [arm["name"] for arm in outcome["arms"]] == ["wide", "line"]
    assert outcome["settings"]["budget"] == {"steps": 4, "minutes": None}
    assert len(outcome["trials"]) == 10
    assert outcome["verdicts"][0]["verdict"]


def test_they_are_tuned(mine, in_process, tmp_path):
    result = run(f"{mine}:made", "--seeds", 1, "--tune", 2, "--out", "out", "--quiet", "--json")
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert len(outcome["tuning"]["wide"]["draws"]) == 2
    assert outcome["settings"]["tuning"]["space"]["training.lr"]["high"] == 0.1
    assert (tmp_path / "out" / "tuning.journal").is_file()


BROKEN = """

def broken():
    return nn.Sequential(nn.Linear(4, 8), Picky())


class Picky(nn.Module):
    def forward(self, x):
        return x @ torch.ones(3, 2, requires_grad=True)  # it has 8 columns


failing = Experiment(
    name="signs", models={"picky": broken, "line": line}, train_data=data, test_data=data,
    valid_data=data, steps=4, search={"lr": Range(low=0.01, high=0.1)},
    optimizer=lambda model, **_: torch.optim.SGD([torch.zeros(1, requires_grad=True)]),
)
"""


@pytest.mark.parametrize(
    ("settings", "trial"), [([], "picky, seed 0"), (["--tune", 2], r"picky, draw \d")]
)
def test_an_error_of_ones_own_model_names_arm_seed_and_place(mine, in_process, settings, trial):
    path = Path(f"{mine}.py")
    path.write_text(EXPERIMENT + BROKEN)
    line = (
        path.read_text()
        .splitlines()
        .index("        return x @ torch.ones(3, 2, requires_grad=True)  # it has 8 columns")
    )
    result = run(f"{mine}:failing", "--seeds", 1, "--out", "out", "--quiet", *settings)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    place = re.escape(f"{mine}.py:{line + 1} in forward: ") + "(mm: )?mat1 and mat2"
    assert re.search(f"askew compare experiment: {trial}, {place}", result.stderr)
    assert result.stderr.endswith("finished work is kept in out\n")


def test_a_cluster_and_shared_trainings_are_refused_together(mine, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    Path("pairs.tsv").write_text("".join(f"one {n}\tum {n}\n" for n in range(40)))
    words = ["--data", "pairs.tsv", "--steps", 1, "--out", "out"]
    result = run("--processes", 2, "--cluster", "local", *words)
    assert result.exit_code == 2
    assert not Path("out").exists()
    assert "a trial on a cluster trains in one process; got processes 2" in result.stderr


def test_until_decided_ends_at_max_seeds(mine, in_process):
    settings = ["--until-decided", "--max-seeds", 6, "--quiet", "--json"]
    result = run(f"{mine}:made", "--steps", 1, *settings)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["settings"]["looks"] == [5, 6]


def table(path):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(tradeoffs.COLUMNS)
        for arm, shift in (("thin", 2), ("twin", 0)):
            for seed in range(5):
                writer.writerow([arm, seed, "", "f1", shift + seed % 2])
                writer.writerow([arm, seed, "", "latency", 1 + shift + seed])


def test_results_measured_elsewhere(tmp_path):
    table(tmp_path / "table.csv")
    settings = ["--metric", "f1=1.5", "--metric", "latency=lower,ratio,0.05"]
    out = tmp_path / "out"
    result = run("--results", tmp_path / "table.csv", *settings, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    f1, latency = json.loads(result.stdout)["verdicts"]
    assert (f1["metric"], f1["verdict"], f1["equivalence"]) == ("f1", "pays", 1.5)
    assert (latency["verdict"], latency["equivalence"]) == ("does not pay", 0.05)
    assert json.loads((out / "results.json").read_text())["verdicts"] == [f1, latency]
    assert "table.csv" in (out / "report.html").read_text(encoding="utf-8")
    shown = run("--results", tmp_path / "table.csv")
    assert "thin against twin" in shown.stdout
    assert "report:" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}:nobody"], "must be there to import; got module .* has no attribute 'nobody'"),
        (["no_such_module:made"], "must be there to import; got No module named 'no_such_module'"),
        (["absent.py:made"], "experiment: the file must exist; got absent.py"),
        (["{}:number"], "must be an Experiment or return one; got int"),
        (
            ["{}:made", "--data", "x.tsv"],
            "experiment: there is no --data here; it is",
        ),
        (["{}:made", "--set", "a=1"], "compare experiment: there is no --set here"),
        (["{}:made", "--tune", 2, "--search", "lr=0..1"], "--search is the experiment's own"),
        (["--search", "training.lr=1..2"], "--search goes with --tune"),
        (
            ["--tune", 2, "--search", "training.lr=a..2"],
            "must be KEY=LOW..HIGH, with .* got 'train",
        ),
        (["--tune", 2, "--search", "training.lr=0..1:log"], "low must be positive"),
        (["--until-decided", "--seeds", 7], "--seeds has no meaning with --until-decided"),
        (["--max-seeds", 7], "--max-seeds goes with --until-decided; got --max-seeds 7"),
        (
            ["--metric", "f1=lower"],
            "there is no --metric here; it is an option of results",
        ),
        (["--results", "table.csv", "--baseline", "x"], "arms .*Give one of these as baseline"),
        (["--results", "table.csv", "--metric", "f1=fewer"], "lower, higher, .* got 'fewer' in"),
        (["--results", "table.csv", "--metric", "rouge=0.1"], "metrics must be in the results"),
    ],
)
def test_refuses_in_one_line_and_leaves_no_trace(mine, tmp_path, arguments, message):
    table(tmp_path / "table.csv")
    before = sorted(path for path in tmp_path.iterdir() if path.name != "__pycache__")
    result = run(*(str(a).format(mine) for a in arguments))
    assert result.exit_code == 2, result.output
    assert re.search(message, result.stderr)
    assert result.stderr.count("\n") == 1
    assert before == sorted(path for path in tmp_path.iterdir() if path.name != "__pycache__")


def test_the_example_file_is_one_to_compare(tmp_path, in_process):
    example = Path(__file__).parents[2] / "examples" / "compare_two_models.py"
    out = ["--out", tmp_path / "out", "--quiet", "--json"]
    result = run(f"{example}:experiment", "--seeds", 1, "--steps", 3, *out)
    assert result.exit_code == 0, result.output
    assert [arm["name"] for arm in json.loads(result.stdout)["arms"]] == ["bottleneck", "even"]


def test_a_table_is_compared(tmp_path, in_process):
    rows = "".join(f"{i % 7},{i % 5},{int(i % 7 > 3)}\n" for i in range(120))
    (tmp_path / "own.csv").write_text("a,b,high\n" + rows)
    data = ["--data", tmp_path / "own.csv", "--labels", "high", "--set", "width=8"]
    out = ["--out", tmp_path / "out", "--quiet", "--json"]
    result = run("imbalanced", *data, "--seeds", 1, "--steps", 20, "--tune", 2, *out)
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert [arm["name"] for arm in outcome["arms"]] == ["asl", "bce"]
    assert outcome["arms"][0]["config"]["width"] == 8
    assert set(outcome["tuning"]) == {"asl", "bce"}
    assert "generalisation_gap" in outcome["trials"][0]["metrics"]
