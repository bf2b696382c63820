"""A comparison asks nothing of a config but that it is a dataclass that its task can build."""

import csv
import inspect
import io
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from regressor_task import BranchConfig, CostlyRegressorTask, RegressorConfig, RegressorTask
from rich.console import Console

from askew.tradeoffs import (
    SPEED_METRICS,
    Arm,
    Budget,
    Cost,
    Task,
    compare,
    print_results,
    write_report,
)

ASYMMETRIC = RegressorConfig(left=BranchConfig((5, 3)), right=BranchConfig(()))
SYMMETRIC = RegressorConfig(left=BranchConfig((4,)), right=BranchConfig((4,)))
ARMS = [
    Arm(name="asymmetric", config=ASYMMETRIC, training={"lr": 0.1}),
    Arm(name="symmetric", config=SYMMETRIC),
]
GUIDE = Path(__file__).parents[2] / "docs" / "tasks.md"
BUDGET = Budget(steps=6)


def run(task, out, seeds=(0, 1)):
    return compare(task, ARMS, seeds, budget=BUDGET, out=out, jobs=2)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, all_in_process):
    return run(RegressorTask(), tmp_path_factory.mktemp("plain") / "out")


@pytest.fixture(scope="module")
def costly(tmp_path_factory, all_in_process):
    return run(CostlyRegressorTask(), tmp_path_factory.mktemp("costly") / "out", seeds=range(5))


def test_a_config_of_ones_own_is_compared_and_gone_on_with(plain, all_in_process):
    results = plain.results
    assert [arm["costs"]["parameters"] for arm in results["arms"]] == [34, 26]
    assert results["arms"][0]["config"] == {
        "left": {"widths": [5, 3]},
        "right": {"widths": []},
        "bias": True,
    }
    assert "own" not in json.loads((plain.folder / "costs.json").read_text())
    again = run(RegressorTask(), plain.folder)
    assert again.results == results


def test_the_task_names_its_speeds(plain):
    labels = {metric["name"]: metric["label"] for metric in plain.results["metrics"]}
    assert labels["throughput"] == "points answered"
    assert labels["latency_ms"] == "time per point"
    usual = {metric.name: metric.label for metric in SPEED_METRICS}
    assert labels["train_seconds"] == usual["train_seconds"]
    assert "decoding" not in json.dumps(plain.results)


def printed(results):
    console = Console(file=io.StringIO(), width=80)
    print_results(results, console)
    return console.file.getvalue()


def test_the_report_shows_it(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    write_report(plain.results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in ("time per point", "points answered", "left.widths", "[5, 3]"):
        assert words in page
    assert "time per point" in printed(plain.results)


def test_figures_of_the_task_are_shown_and_those_that_ask_for_it_are_judged(costly):
    results = costly.results
    verdicts = {verdict.metric: verdict for verdict in costly.verdicts}
    assert list(verdicts) == ["error", *(m.name for m in SPEED_METRICS), "spread"]
    assert [arm["costs"]["bytes"] for arm in results["arms"]] == [4 * 34, 4 * 26]
    spread = {(t["arm"], t["seed"]): t["metrics"]["spread"] for t in results["trials"]}
    expected = [
        -math.log(spread["asymmetric", seed] / spread["symmetric", seed]) for seed in range(5)
    ]
    assert verdicts["spread"].seed_differences == pytest.approx(expected)
    assert [t["metrics"]["bytes"] for t in results["trials"][:2]] == [4 * 34, 4 * 26]
    mean = sum(spread["symmetric", seed] for seed in range(5)) / 5
    assert results["arms"][1]["costs"]["spread"] == pytest.approx(mean)
    with (costly.folder / "trials.csv").open(newline="") as file:
        assert {"bytes", "spread"} <= next(csv.DictReader(file)).keys()
    known = {metric["name"]: metric for metric in results["metrics"]}
    assert known["bytes"] == {
        "name": "bytes",
        "label": "stored size",
        "better": "lower",
        "scale": "ratio",
        "equivalence": 0.05,
        "unit": "bytes",
    }


def test_figures_of_the_task_reach_table_and_page(costly, tmp_path, monkeypatch):
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    write_report(costly.results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in (page, printed(costly.results)):
        assert "stored size, bytes" in words
        assert "spread of weights" in words
    assert "error against stored size" in page, "quality is drawn against it"


def test_figures_are_added_to_a_comparison_that_had_none(plain, tmp_path):
    import shutil

    shutil.copytree(plain.folder, tmp_path / "out")
    before = json.loads((tmp_path / "out" / "costs.json").read_text())
    results = run(CostlyRegressorTask(), tmp_path / "out").results
    after = json.loads((tmp_path / "out" / "costs.json").read_text())
    assert after["speed"] == before["speed"], "not timed again"
    assert results["arms"][0]["costs"]["bytes"] == 4 * 34


@pytest.mark.parametrize("name", ["error", "latency_ms", "parameters"])
def test_a_figure_must_not_bear_a_name_that_is_taken(costly, name, in_process):
    (costly.folder / "costs.json").unlink()
    with pytest.raises(ValueError, match=rf"compare: a cost of the task .* new name; got {name}"):
        run(replace(CostlyRegressorTask(), clash=name), costly.folder, seeds=[0])


def test_every_model_must_have_the_same_figures(costly, in_process):
    (costly.folder / "costs.json").unlink(missing_ok=True)
    with pytest.raises(
        ValueError, match=r"same costs; got \['bytes'\] of symmetric, seed 0, and \["
    ):
        run(replace(CostlyRegressorTask(), quiet_at=26), costly.folder, seeds=[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": -1.0}, r"value must be finite and >= 0; got value -1\.0"),
        ({"value": math.nan}, "value must be finite and >= 0; got value nan"),
        ({"value": 0, "judged": True}, "a judged value must be > 0; got value 0"),
        ({"better": "fewer"}, "better must be 'higher' or 'lower'; got better 'fewer'"),
    ],
)
def test_a_cost_refuses_what_cannot_be_shown(changes, message):
    with pytest.raises(ValueError, match=f"Cost: {message}"):
        Cost(**asdict(Cost(value=1.0, label="size")) | changes)


def test_what_is_no_task_is_refused(tmp_path):
    class Unfinished(RegressorTask):
        load = Task.load

    with pytest.raises(TypeError, match="abstract method"):
        Unfinished()
    with pytest.raises(ValueError, match=r"must be derived from askew\.tradeoffs\.Task; got"):
        run(object(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_optional_answers_of_a_task_have_defaults():
    task = RegressorTask()
    answers = [task.signatures(), task.search_space(), task.baselines(), task.costs(None)]
    assert answers == [{}] * 4
    assert task.check_training({"unheard": 1}) is None
    assert task.validate(None) is None
    assert task.train_score(None) is None
    assert not task.distributed


def test_the_guide_names_all_that_is_asked_of_a_task():
    rows = re.findall(r"`(\w+)\(", GUIDE.read_text("utf-8"))
    methods = [name for name, value in vars(Task).items() if inspect.isfunction(value)]
    assert {name for name in methods if not name.startswith("_")} <= set(rows)


def test_the_task_of_the_guide_is_compared(tmp_path, in_process):
    text = GUIDE.read_text("utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(code, GUIDE.name, "exec"), names)
    results = compare(
        names["task"], names["arms"], (0, 1), budget=BUDGET, out=tmp_path / "out"
    ).results
    assert [arm["costs"]["parameters"] for arm in results["arms"]] == [98, 98]
    assert results["baselines"]["mean"].keys() == {"error"}
    assert names["task"].search_space().keys() == {"training.lr"}
