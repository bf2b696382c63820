"""Where trials run, and what happens to those whose process is lost."""

import dataclasses
import os
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import ModuleType

import pytest
from stub_task import StubTask, line_config
from tradeoffs.conftest import InProcess

from askew.tasks import APPLICATIONS, translation_task
from askew.text import ParallelText, SplitText
from askew.tradeoffs import Arm, Budget, compare
from askew.tradeoffs._running import trials as engine
from askew.training import TrainingConfig

TranslationComparison = APPLICATIONS["translation"].options

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn"]
WORDS = [f"{a} {b}" for a in NUMBERS for b in NUMBERS]
ZAHLEN = [f"{a} {b}" for a in GERMAN for b in GERMAN]


class SharedTask(StubTask):
    """Says that processes could share its training."""

    distributed = True


ARMS = [Arm(name="wide", config=line_config(8)), Arm(name="narrow", config=line_config(2))]
SEEDS = range(3)


def run(out, task=None, **settings):
    settings = {"budget": Budget(steps=12), "out": out, "jobs": 2} | settings
    return compare(task or StubTask(), ARMS, SEEDS, **settings)


def scores(comparison):
    return {(t["arm"], t["seed"]): t["metrics"]["fit"] for t in comparison.results["trials"]}


@pytest.fixture
def expected(tmp_path, in_process):
    return scores(run(tmp_path / "expected"))


def test_a_machine_without_shared_memory_is_refused_before_any_work(tmp_path, monkeypatch):
    def lock(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("multiprocessing.synchronize.Lock", lock)
    with pytest.raises(ValueError, match=r"need shared memory; got Read-only file .* /dev/shm"):
        run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Losing(InProcess):
    """Loses the process of some trials: all that were not finished are lost with it."""

    losses: dict
    sizes: list

    def __init__(self, jobs, **_):
        self.sizes.append(jobs)
        self.broken = False

    def submit(self, fn, /, *args, **kwargs):
        name = f"{args[1].name}-seed{args[2]}" if len(args) > 2 else ""
        if self.losses.get(name, 0) and not self.broken:
            self.losses[name] -= 1
            self.broken = True
            (kwargs["out"] / "work" / name).mkdir(parents=True, exist_ok=True)
        if self.broken:
            future = Future()
            future.set_exception(BrokenProcessPool("a worker died"))
            return future
        return super().submit(fn, *args, **kwargs)


@pytest.fixture
def losing(monkeypatch):
    Losing.losses, Losing.sizes = {}, []
    monkeypatch.setattr(engine, "ProcessPoolExecutor", Losing)
    return Losing


@pytest.mark.parametrize("times", [1, 2])
def test_lost_trials_run_again_and_the_rest_is_left_alone(tmp_path, expected, losing, times):
    losing.losses = {"narrow-seed1": times}
    assert scores(run(tmp_path / "out")) == expected
    assert losing.losses == {"narrow-seed1": 0}
    assert not any((tmp_path / "out" / "work").iterdir())


def test_after_two_losses_trials_run_alone_until_the_one_to_blame_is_through(
    tmp_path, expected, losing
):
    losing.losses = {"narrow-seed1": 2}
    run(tmp_path / "out")
    assert losing.sizes[:2] == [2, 2]
    assert losing.sizes[2] == 1


def test_a_trial_that_loses_its_process_again_and_again_is_named(tmp_path, losing):
    losing.losses = {"narrow-seed1": 9}
    with pytest.raises(RuntimeError, match="process of narrow-seed1 was lost 3 times"):
        run(tmp_path / "out")
    done = sorted(path.name for path in (tmp_path / "out" / "trials").iterdir())
    assert done == ["narrow-seed0", "wide-seed0", "wide-seed1"]


def test_a_failure_of_the_trial_itself_is_not_tried_again(tmp_path, losing):
    with pytest.raises(ValueError, match="crashed on purpose"):
        run(tmp_path / "out", dataclasses.replace(StubTask(), crash_at="wide-seed1"))
    assert losing.sizes == [2]


@pytest.mark.slow
def test_processes_end_in_order_and_nothing_complains_of_what_they_left():
    program = (
        "from stub_task import StubTask, line_config\n"
        "from askew.tradeoffs import Arm, calibrate\n"
        "if __name__ == '__main__':\n"
        "    arm = Arm(name='line', config=line_config(2))\n"
        "    print(calibrate(StubTask(locks=True), [arm], minutes=1.0, jobs=1, threads=1))\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    call = [sys.executable, "-c", program]
    done = subprocess.run(call, capture_output=True, text=True, env=env, timeout=300)
    assert (done.stdout, done.stderr, done.returncode) == ("{'line': 480}\n", "", 0)


def test_processes_are_killed_in_the_middle_where_something_is_raised():
    futures = []

    def interrupt():
        with engine.trial_processes(1, 1) as processes:
            futures.append(processes.submit(time.sleep, 60))
            while not futures[0].running():
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert futures[0].exception() is not None


def test_a_cluster_needs_ray(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"ray must be installed; .*askew\[cluster\]"):
        run(tmp_path / "out", cluster="local")


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [None, pytest.param("local", marks=pytest.mark.slow)])
def test_a_process_that_is_killed_is_replaced(tmp_path, expected, monkeypatch, cluster):
    """By SIGKILL in the middle of a trial: nothing is lost, nothing there twice."""
    if cluster is not None:
        pytest.importorskip("ray")
    monkeypatch.undo()  # real processes
    task = dataclasses.replace(StubTask(), kill_at="narrow-seed1", mark=str(tmp_path))
    comparison = run(tmp_path / "out", task, cluster=cluster)
    assert scores(comparison) == expected
    assert (tmp_path / "killed").exists()
    assert len(list((tmp_path / "out" / "trials").iterdir())) == 6
    assert not any((tmp_path / "out" / "work").iterdir())


def test_a_cluster_that_is_not_there_is_named(tmp_path, monkeypatch):
    def init(**_):
        raise ConnectionError("nobody answers")

    ray = ModuleType("ray")
    ray.init = init
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(RuntimeError, match="cluster must be there; got cluster 'auto': nobody ans"):
        run(tmp_path / "out", cluster="auto")


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_results_as_processes(tmp_path, expected):
    pytest.importorskip("ray")
    assert scores(run(tmp_path / "out", cluster="local")) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processes": 2}, "task line trains in one process; got processes 2"),
        ({"processes": 0}, "processes must be >= 1; got processes 0"),
        (
            {"processes": 2, "budget": Budget(minutes=1), "task": SharedTask()},
            "several processes need a budget in steps and no tuning",
        ),
        (
            {"processes": 2, "cluster": "local", "task": SharedTask()},
            "a trial on a cluster trains in one process; got processes 2, cluster 'local'",
        ),
    ],
)
def test_processes_that_cannot_share_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"compare: {message}"):
        run(tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_trial_is_a_torchrun(tmp_path):
    """Two processes share the training; what they find is near what one finds alone."""
    text = SplitText(*(ParallelText(*pairs) for pairs in ((WORDS, ZAHLEN),) * 3))
    task = translation_task(
        "numbers",
        text,
        vocab_size=280,
        training=TrainingConfig(steps=1, batch_tokens=64, accumulate=4, evaluations=1),
    )
    arms, _ = APPLICATIONS["translation"].make_arms(task, TranslationComparison(preset="tiny"))
    settings = {"budget": Budget(steps=6), "jobs": 1}
    alone, shared = (
        compare(task, arms, [0], out=tmp_path / str(n), processes=n, **settings) for n in (1, 2)
    )
    assert shared.results["settings"]["processes"] == 2
    losses = [
        [point["train_loss"] for point in trial["curve"] if "train_loss" in point]
        for comparison in (alone, shared)
        for trial in comparison.results["trials"]
    ]
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)
    assert losses[0] != losses[2], "two sums of two batches round otherwise than a sum of four"
    assert not any((tmp_path / "2" / "work").iterdir())
