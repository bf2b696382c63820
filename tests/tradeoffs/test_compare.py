import csv
import dataclasses
import json
import math
import shutil
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from stub_task import StubTask, line_config

from askew.tradeoffs import (
    SPEED_METRICS,
    Arm,
    Budget,
    Comparison,
    Evaluation,
    Metric,
    Range,
    Row,
    Task,
    Trial,
    Tuning,
    Watcher,
    analyze,
    compare,
    interim_schedule,
    load_trial,
    prepare_comparison,
    tune,
    write_report,
)
from askew.tradeoffs._measured_twin import latencies
from askew.tradeoffs._report.summary import pairs_line
from askew.tradeoffs._running.trial import learning_curve

ARMS = [Arm(name="wide", config=line_config(8)), Arm(name="narrow", config=line_config(2))]
BUDGET = Budget(steps=12)
BOTH = (("a", 4.0), ("b", 2.0))
FILES = ["comparison.json", "costs.json", "results.json", "trials", "trials.csv", "work"]


def run(out, task=None, seeds=(0, 1), arms=ARMS, budget=BUDGET, **settings) -> Comparison:
    return compare(task or StubTask(), arms, seeds, budget=budget, out=out, jobs=2, **settings)


def scores(results):
    return {(t["arm"], t["seed"]): (t["metrics"]["fit"], t["curve"]) for t in results["trials"]}


def stamps(out):
    return {p: p.stat().st_mtime_ns for p in (out / "trials").rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def five_seeds(tmp_path_factory):
    out = tmp_path_factory.mktemp("five") / "out"
    return run(out, seeds=range(5), command="askew compare", settings={"match": "nothing"})


def test_results_have_what_version_1_promises(five_seeds):
    results = json.loads((five_seeds.folder / "results.json").read_text())
    assert results["version"] == 1
    assert results["task"] == "line"
    assert results["settings"]["match"] == "nothing"
    assert results["settings"]["command"] == "askew compare"
    assert results["settings"]["steps"] == {"wide": 12, "narrow": 12}
    assert [arm["name"] for arm in results["arms"]] == ["wide", "narrow"]
    for arm in results["arms"]:
        costs = arm["costs"]
        assert costs["flops_per_step"] == 192 * arm["config"]["encoder"]["d_model"]
        assert costs["parameters"] > 0
        assert costs["train_seconds"] == 12 / 8
        assert costs["latency_ms"] > 0
        assert costs["throughput"] > 0
        assert costs["peak_memory_mb"] >= 0
    assert results["baselines"] == {"zero": {"fit": -2.5, "sign": 0.0}}
    assert len(results["trials"]) == 10
    assert results["trials"][0]["curve"][-1] == {
        "step": 12,
        "train_seconds": 1.5,
        "train_loss": results["trials"][0]["curve"][-1]["train_loss"],
        "valid_loss": 0.5,
    }
    fields = {"metric", "challenger", "baseline", "verdict", "difference", "low", "high"}
    fields |= {"equivalence", "equivalent", "minimum_detectable", "seeds"}
    assert all(fields <= verdict.keys() for verdict in results["verdicts"])


def test_verdicts_follow_from_the_trials(five_seeds):
    verdicts = {verdict.metric: verdict for verdict in five_seeds.verdicts}
    assert list(verdicts) == ["fit", "sign", *(metric.name for metric in SPEED_METRICS)]
    assert verdicts["fit"].verdict in ("pays", "does not pay", "cannot tell")
    by_seed = scores(five_seeds.results)
    differences = [by_seed["wide", s][0] - by_seed["narrow", s][0] for s in range(5)]
    assert verdicts["fit"].seed_differences == pytest.approx(differences)
    assert verdicts["fit"].difference == pytest.approx(math.fsum(differences) / 5)
    assert verdicts["train_seconds"].difference == 0
    assert verdicts["train_seconds"].equivalent
    assert "wide" in five_seeds.results["summary"]
    assert "fit" in five_seeds.results["summary"]
    assert "training time" not in five_seeds.results["summary"]


def test_trials_csv_has_one_line_for_each_trial(five_seeds):
    with (five_seeds.folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row, trial in zip(rows, five_seeds.results["trials"], strict=True):
        assert (row["arm"], int(row["seed"])) == (trial["arm"], trial["seed"])
        assert float(row["fit"]) == trial["metrics"]["fit"]


def test_a_comparison_that_died_goes_on_where_it_stopped(tmp_path, five_seeds, in_process):
    expected = scores(five_seeds.results)
    out = tmp_path / "out"
    dying = dataclasses.replace(StubTask(), crash_at="narrow-seed1")
    with pytest.raises(ValueError, match="crashed on purpose"):
        compare(dying, ARMS, (0, 1), budget=BUDGET, out=out, jobs=1)
    before = stamps(out)
    assert {p.parent.name for p in before if p.name == "trial.json"} == {
        "wide-seed0",
        "narrow-seed0",
        "wide-seed1",
    }
    results = run(out).results
    assert scores(results) == {trial: expected[trial] for trial in scores(results)}
    after = stamps(out)
    assert {path: after[path] for path in before} == before
    assert not any((out / "work").iterdir())


def test_what_a_killed_run_left_is_taken_up_or_cleared(tmp_path, five_seeds, in_process):
    out = tmp_path / "out"
    (out / "work" / "tmpcalibration").mkdir(parents=True)
    (out / ".lock").touch()
    (out / ".comparison.json.partial").write_text("{")
    run(out)
    assert sorted(path.name for path in out.iterdir()) == FILES
    left = out / "work" / "wide-seed1" / "checkpoint-3"
    left.mkdir(parents=True)  # killed while the work of a finished trial was cleared
    (out / "work" / "wide-seed7").mkdir()
    (out / ".costs.json.partial").write_text("{")
    again = run(out).results
    expected = scores(five_seeds.results)
    assert scores(again) == {trial: expected[trial] for trial in scores(again)}
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert [path.name for path in (out / "work").iterdir()] == ["wide-seed7"], "not finished yet"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("costs.json", '{"version": 2}', "must be of version 1; got version 2 in .*costs.json"),
        ("trials/wide-seed1/trial.json", '{"version": 1}', "a trial must be whole; got .*trial.js"),
    ],
)
def test_stored_files_that_cannot_be_used_are_refused_first(
    tmp_path, five_seeds, file, text, message
):
    out = tmp_path / "out"
    shutil.copytree(five_seeds.folder, out)
    (out / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        prepare_comparison(
            StubTask(),
            ARMS,
            range(6),
            budget=BUDGET,
            out=out,
            threads=1,
            settings={"match": "nothing"},
        )


def test_processes_and_jobs_do_not_change_the_scores(tmp_path, five_seeds, in_process):
    alone = compare(StubTask(), ARMS, (0, 1), budget=BUDGET, out=tmp_path / "out", jobs=1).results
    expected = scores(five_seeds.results)
    assert scores(alone) == {trial: expected[trial] for trial in scores(alone)}


def test_more_seeds_are_added_to_what_is_there(tmp_path, in_process):
    run(tmp_path / "out", seeds=[0])
    before = stamps(tmp_path / "out")
    results = run(tmp_path / "out", seeds=[0, 1, 2]).results
    assert {t["seed"] for t in results["trials"]} == {0, 1, 2}
    after = stamps(tmp_path / "out")
    assert {path: after[path] for path in before} == before


def test_it_stops_once_it_is_decided(tmp_path, in_process):
    looks = interim_schedule(8)
    undecided = run(tmp_path / "out", seeds=range(8), looks=looks)
    settings = undecided.results["settings"]
    assert settings["looks"] == [5, 8]
    assert len(settings["seeds"]) == 8
    coarse = dataclasses.replace(StubTask.metrics[0], equivalence=3.0)
    task = StubTask(metrics=(coarse, StubTask.metrics[1]))
    growing = run(tmp_path / "out", task, seeds=range(8), looks=looks)
    assert growing.results["settings"]["seeds"] == [0, 1, 2, 3, 4], "the same to within 3"
    alone = run(tmp_path / "out", seeds=range(5))
    ours, theirs = (c.verdicts[0] for c in (growing, alone))
    assert ours.difference == theirs.difference
    assert ours.high - ours.low > theirs.high - theirs.low, "the price of looking twice"
    with pytest.raises(ValueError, match=r"last look must be at all 6 seeds; got looks \[5, 8\]"):
        run(tmp_path / "other", seeds=range(6), looks=looks)


def test_more_arms_than_looks_can_be_judged_with_are_refused_before_any_work(tmp_path):
    arms = [dataclasses.replace(ARMS[0], name=f"arm{place}") for place in range(53)]
    with pytest.raises(ValueError, match=r"in \[0.5, 0.999\] with several looks; got .* 0.99903"):
        run(tmp_path / "out", arms=arms, seeds=range(8), looks=[5, 8])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_many_arms_are_judged_at_one_look(tmp_path, in_process):
    arms = [dataclasses.replace(ARMS[0], name=f"arm{place}") for place in range(53)]
    verdicts = run(tmp_path / "out", arms=arms, seeds=range(2), budget=Budget(steps=1)).verdicts
    assert len({verdict.challenger for verdict in verdicts}) == 52
    assert {verdict.confidence for verdict in verdicts} == {1 - 0.05 / 52}


def test_figures_of_numpy_and_torch_are_stored(tmp_path, in_process):
    class Figures(StubTask):
        def evaluate(self, model):
            plain = super().evaluate(model)
            kinds = zip(plain.metrics.items(), (np.float32, torch.tensor), strict=True)
            return plain._replace(metrics={name: kind(value) for (name, value), kind in kinds})

    trial = run(tmp_path / "out", Figures(), seeds=[0]).results["trials"][0]
    assert all(type(value) is float for value in trial["metrics"].values())


def test_a_model_against_itself_starts_from_other_weights(tmp_path, in_process):
    arms = [dataclasses.replace(ARMS[1], name="again", init_offset=10_000), ARMS[1]]
    results = run(tmp_path / "out", arms=arms, seeds=[0]).results
    assert len({fit for fit, _ in scores(results).values()}) == 2
    same = [dataclasses.replace(ARMS[1], name="again"), ARMS[1]]
    results = run(tmp_path / "same", arms=same, seeds=[0]).results
    assert len({fit for fit, _ in scores(results).values()}) == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedTask(StubTask):
    """A task whose speed is that of something made of the model."""

    def deploy(self, model):
        return [model]

    def predict(self, model, *, items, batch_size):
        (inner,) = model
        super().predict(inner, items=items, batch_size=batch_size)


def test_speed_is_measured_of_what_is_deployed(tmp_path, in_process):
    comparison = run(tmp_path / "out", ServedTask(), seeds=[0])
    assert all(trial["metrics"]["throughput"] > 0 for trial in comparison.results["trials"])
    assert all(seconds > 0 for seconds in latencies(ServedTask(), *(arm.config for arm in ARMS)))


def test_a_folder_may_be_named_by_a_string(tmp_path, in_process, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compared = run("out", seeds=[0])
    assert compared.folder == Path("out")
    assert (tmp_path / "out" / "results.json").is_file()
    write_report(compared.results, "page.html")
    assert (tmp_path / "page.html").is_file()
    tuning = Tuning(draws=1, space={"encoder.dropout": Range(low=0.1, high=0.2)})
    assert len(tune(StubTask(), ARMS, tuning, steps={"wide": 1, "narrow": 1}, out="tuned")) == 2


def test_minutes_become_steps_once(tmp_path, in_process):
    """The stub claims an eighth of a CPU-second for each step."""
    results = run(tmp_path / "out", seeds=[0], budget=Budget(minutes=0.1)).results
    assert results["settings"]["steps"] == {"wide": 48, "narrow": 48}
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text())
    stored["steps"] = {"wide": 5, "narrow": 5}
    (tmp_path / "out" / "comparison.json").write_text(json.dumps(stored))
    again = run(tmp_path / "out", seeds=[0, 1], budget=Budget(minutes=0.1)).results
    assert again["settings"]["steps"] == {"wide": 5, "narrow": 5}
    assert len(scores(again)["wide", 1][1]) == 5


def test_the_watcher_hears_of_everything(tmp_path, in_process):
    class Listener(Watcher):
        def __init__(self):
            self.stages, self.done, self.measured = [], {}, None

        def stage(self, name):
            self.stages.append(name)

        def trials(self, done, steps):
            self.done = dict(done)

        def costs(self, done, total):
            self.measured = (done, total)

    listener = Listener()
    run(tmp_path / "out", seeds=[0], watcher=listener)
    assert listener.stages == ["starting", "training", "measuring speed and memory"]
    assert listener.done == {("wide", 0): 12, ("narrow", 0): 12}
    assert listener.measured == (3, 3)


class Lines(Watcher):
    def __init__(self):
        self.lines = []

    def so_far(self, text):
        self.lines.append(text)


def test_every_finished_pair_says_what_is_known_so_far(tmp_path, in_process):
    watcher = Lines()
    comparison = run(tmp_path / "out", seeds=[0], watcher=watcher)
    difference = comparison.verdicts[0].difference
    (first,) = watcher.lines
    assert first.startswith("after 1 pair, fit of wide against narrow: ")
    assert float(first.split(": ")[1].split(";")[0]) == pytest.approx(difference, rel=0.01)
    assert first.endswith("; 5 seeds are needed for a verdict, 2 for an interval; got 1")
    watcher = Lines()
    verdict = run(tmp_path / "out", seeds=range(5), watcher=watcher).verdicts[0]
    assert watcher.lines[-1] == pairs_line(verdict, StubTask.metrics[0])
    assert "after 5 pairs" in watcher.lines[-1]
    assert "seeds are needed" not in watcher.lines[-1]


def test_what_is_known_so_far_has_a_sign_and_an_interval():
    rows = [Row(arm, seed, "", "ms", value + seed) for arm, value in BOTH for seed in range(3)]
    better = {"name": "ms", "label": "time", "equivalence": 0.1, "better": "lower"}
    lines = []
    for scale in ("difference", "ratio"):
        metric = Metric(**better, scale=scale)
        lines.append(pairs_line(analyze(rows, baseline="b", metrics=[metric])[0], metric))
    assert lines[0] == (
        "after 3 pairs, time of a against b: -2.00 (-2.00 to -2.00); "
        "5 seeds are needed for a verdict; got 3"
    )
    assert lines[1].startswith("after 3 pairs, time of a against b: 1.7 times (1.2 to 2.5); ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ARMS[:1]}, r"two or more with different names; got \['wide'\]"),
        ({"arms": [ARMS[0], ARMS[0]]}, r"different names; got \['wide', 'wide'\]"),
        ({"seeds": [3, 3]}, r"seeds must be one or more and different; got \[3, 3\]"),
        (
            {"arms": [Arm(name="a", config=Arm(name="b", config=line_config(2))), ARMS[0]]},
            r"not have the fields of its arm; got \['init_offset', 'training'\] of a",
        ),
        ({"seeds": []}, r"seeds must be one or more and different; got \[\]"),
    ],
)
def test_refuses_before_any_work(tmp_path, change, message):
    call = {"arms": ARMS, "seeds": [0]} | change
    with pytest.raises(ValueError, match=f"compare: .*{message}"):
        prepare_comparison(
            StubTask(), **call, budget=BUDGET, out=tmp_path / "out", threads=1, settings={}
        )
    assert list(tmp_path.iterdir()) == []


def test_training_that_the_task_refuses_is_refused_before_any_work(tmp_path):
    class Careful(StubTask):
        def check_training(self, training):
            raise ValueError(f"careful: lr must be small; got lr {training['lr']}")

    call = {"budget": BUDGET, "out": tmp_path / "out", "threads": 1, "settings": {}}
    arms = [dataclasses.replace(ARMS[0], training={"lr": 9}), ARMS[1]]
    with pytest.raises(ValueError, match=r"^careful: lr must be small; got lr 9$"):
        prepare_comparison(Careful(), arms, [0], **call)
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_folder_of_other_settings_and_a_busy_one(tmp_path, five_seeds):
    out = five_seeds.folder
    before = stamps(out)
    with pytest.raises(ValueError, match=r"with other budget and settings\. Choose another"):
        run(out, budget=Budget(steps=13))
    assert stamps(out) == before
    busy = tmp_path / "busy"
    busy.mkdir()
    with (
        filelock.FileLock(busy / ".lock"),
        pytest.raises((RuntimeError, ValueError), match=r"at work|must be new"),
    ):
        run(busy)


@pytest.mark.parametrize("budget", [{}, {"steps": 3, "minutes": 1.0}, {"steps": 0}])
def test_a_budget_is_one_positive_number(budget):
    with pytest.raises(ValueError, match=r"Budget: exactly one of steps and minutes .*; got steps"):
        Budget(**budget)


def test_the_stub_is_a_whole_task():
    wanted = {name for name in vars(Task) if not name.startswith("_")} | set(Task.__annotations__)
    assert {"build", "train", "evaluate", "predict", "metrics"} <= wanted
    assert not wanted - set(dir(StubTask))
    task = StubTask()
    assert isinstance(task.evaluate(task.build(line_config(2), 0)), Evaluation)


def test_curves_join_the_records_of_a_step():
    records = [
        {"step": 2, "loss": 3.0, "train_seconds": 1.0, "epoch": 0.1},
        {"step": 2, "eval_loss": 4.0, "train_seconds": 1.0},
        {"step": 1, "eval_loss": 5.0, "train_seconds": 0.5},
        {"step": 2, "train_runtime": 9.0, "train_seconds": 1.0},
    ]
    assert learning_curve(records) == [
        {"step": 1, "train_seconds": 0.5, "valid_loss": 5.0},
        {"step": 2, "train_seconds": 1.0, "train_loss": 3.0, "valid_loss": 4.0},
    ]


def test_a_stored_trial_comes_back(five_seeds):
    trial = load_trial(five_seeds.folder, "wide", 3)
    assert isinstance(trial, Trial)
    assert trial.items["fit"].shape == (20,)
    assert trial.items["fit"].mean() == pytest.approx(trial.metrics["fit"])
    assert StubTask().load(trial.model).in_features == 8
