"""The main job: train an asymmetric model and its twin, and say whether the asymmetry pays."""

import csv
import io
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import filelock

from askew._check import require
from askew._config import to_dict
from askew.tradeoffs._files import check_resumable, read_json, write_json, write_text
from askew.tradeoffs._measure import measure_costs
from askew.tradeoffs._own_costs import is_judged, own_means, own_metrics, own_values
from askew.tradeoffs._run import calibrate, run_trials
from askew.tradeoffs._stats import Metric, Row, Verdict, analyze
from askew.tradeoffs._task import Arm, Model, Task
from askew.tradeoffs._trial import Trial, load_trial
from askew.tradeoffs._words import summary_sentence

SPEED_METRICS = (
    Metric(
        name="throughput",
        label="throughput",
        scale="ratio",
        equivalence=0.05,
        unit="items/s",
    ),
    Metric(
        name="latency_ms",
        label="latency, batch 1",
        better="lower",
        scale="ratio",
        equivalence=0.05,
        unit="ms",
    ),
    Metric(
        name="train_seconds",
        label="training time",
        better="lower",
        scale="ratio",
        equivalence=0.05,
        unit="CPU-s",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long every trial trains: a number of steps, or CPU-minutes turned into steps once.

    Attributes:
        steps: Optimizer steps.
        minutes: CPU-minutes of training, > 0.

    Raises:
        ValueError: Unless exactly one is given, and positive.
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.minutes) if value is not None]
        require(
            len(given) == 1 and given[0] > 0,
            "Budget: exactly one of steps and minutes must be given, and positive; "
            f"got steps {self.steps}, minutes {self.minutes}",
        )


class Comparison(NamedTuple):
    """What a comparison found: verdicts, everything in results.json, and where it lies."""

    verdicts: list[Verdict]
    results: dict
    folder: Path


class Watcher:
    """Told how far a comparison is; this one does not care."""

    def stage(self, name: str) -> None:
        """Hear what is done now.

        Args:
            name: What is done now.
        """

    def trials(self, done: Mapping[tuple[str, int], int], steps: Mapping[str, int]) -> None:
        """Hear how far the trials are.

        Args:
            done: Steps done by arm and seed.
            steps: Steps in all by arm.
        """

    def costs(self, done: int, total: int) -> None:
        """Hear how far the measuring is.

        Args:
            done: Measurements done.
            total: Measurements in all.
        """


def prepare_comparison(
    task: Task[Model],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    budget: Budget,
    out: Path,
    threads: int,
    settings: Mapping[str, object],
) -> dict:
    """Check that a comparison can run in this folder, before any work and without a trace.

    Args:
        task: The task.
        arms: The baseline last.
        seeds: All seeds, different from each other.
        budget: Of every trial.
        out: Folder of the comparison; an unfinished or finished one of the same settings
            is gone on with.
        threads: Threads of PyTorch in each trial.
        settings: More to tell in the results, such as how the arms were matched.

    Returns:
        The settings that identify the comparison.

    Raises:
        ValueError: If seeds or arms repeat, the folder cannot be written, or it holds
            another comparison.
    """
    names = [arm.name for arm in arms]
    require(
        len(names) >= 2 and len(set(names)) == len(names),
        f"compare: arms must be two or more with different names; got {names}",
    )
    require(
        len(seeds) >= 1 and len(set(seeds)) == len(seeds),
        f"compare: seeds must be one or more and different; got {list(seeds)}",
    )
    for arm in arms:
        taken = sorted({"init_offset", "training"} & to_dict(arm.config).keys())
        require(
            not taken,
            f"compare: a config must not have the fields of its arm; got {taken} of {arm.name}",
        )
    identity = {
        "version": 1,
        "task": task.name,
        "data": dict(task.describe()),
        "arms": {arm.name: _identity(arm) for arm in arms},
        "baseline": names[-1],
        "budget": asdict(budget),
        "threads": threads,
        "settings": dict(settings),
    }
    check_resumable(out, "comparison.json", identity, caller="compare")
    return identity


def compare(
    task: Task[Model],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    budget: Budget,
    out: Path,
    jobs: int = 1,
    threads: int = 1,
    settings: Mapping[str, object] | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> Comparison:
    """Train every arm with every seed, measure, and judge each challenger against the baseline.

    Every (arm, seed) is a trial: the same data order and initial seed on all arms, written
    whole when it ends. Called again with the same settings after a crash, the comparison
    goes on where it stopped; with more seeds it adds them.

    Args:
        task: Data, training and scoring.
        arms: Challengers, and the baseline last.
        seeds: One trial per arm and seed; five or more give verdicts.
        budget: Of every trial.
        out: Folder of the comparison.
        jobs: Trials at the same time.
        threads: Threads of PyTorch in each.
        settings: More to tell in the results, such as how the arms were matched.
        command: What to type to get these results again.
        watcher: Told of the progress.

    Returns:
        Verdicts and results; the folder holds results.json and trials.csv.

    Raises:
        ValueError: If settings do not fit or the folder holds another comparison.
        RuntimeError: If another process runs a comparison in this folder.
    """
    settings = {} if settings is None else settings
    identity = prepare_comparison(
        task, arms, seeds, budget=budget, out=out, threads=threads, settings=settings
    )
    out.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(out / ".lock", timeout=0):
            return _compare(
                task, arms, seeds, identity, budget, out, jobs, command, watcher or Watcher()
            )
    except filelock.Timeout:
        raise RuntimeError(f"compare: another process is at work in {out}") from None


def _compare(
    task: Task[Model],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    identity: dict,
    budget: Budget,
    out: Path,
    jobs: int,
    command: str,
    watcher: Watcher,
) -> Comparison:
    threads = identity["threads"]
    stored = out / "comparison.json"
    if stored.is_file():
        steps = read_json(stored)["steps"]
    else:
        watcher.stage("calibrating" if budget.minutes is not None else "starting")
        steps = _steps(task, arms, budget, jobs, threads)
        write_json(stored, identity | {"steps": steps})
    watcher.stage("training")
    run_trials(
        task,
        arms,
        seeds,
        steps=steps,
        out=out,
        jobs=jobs,
        threads=threads,
        progress=lambda done: watcher.trials(done, steps),
    )
    watcher.stage("measuring speed and memory")
    costs = measure_costs(task, arms, seeds, out=out, threads=threads, progress=watcher.costs)
    trials = [load_trial(out, arm.name, seed) for seed in seeds for arm in arms]
    metrics = (*task.metrics, *_speed_metrics(task))
    metrics = (*metrics, *own_metrics(costs, trials, metrics))
    judged = [m for m in metrics if is_judged(costs, m.name)]
    verdicts = analyze(_rows(trials, costs), baseline=arms[-1].name, metrics=judged)
    results = {
        "version": 1,
        "task": task.name,
        "summary": _headline(verdicts, metrics),
        "settings": {
            "data": identity["data"],
            **identity["settings"],
            "seeds": list(seeds),
            "budget": identity["budget"],
            "steps": steps,
            "jobs": jobs,
            "threads": threads,
            "command": command,
        },
        "versions": _versions(),
        "metrics": [asdict(metric) for metric in metrics],
        "arms": [_arm_entry(task, arm, trials, costs) for arm in arms],
        "baselines": {name: dict(scores) for name, scores in task.baselines().items()},
        "trials": [_trial_entry(trial, costs) for trial in trials],
        "verdicts": [verdict._asdict() for verdict in verdicts],
    }
    write_text(out / "trials.csv", _trials_csv(results["trials"]))
    write_json(out / "results.json", results)
    return Comparison(verdicts, results, out)


def _identity(arm: Arm) -> dict[str, object]:
    own = {"training": dict(arm.training)} if arm.training else {}
    return {**to_dict(arm.config), "init_offset": arm.init_offset, **own}


def _steps(
    task: Task[Model], arms: Sequence[Arm], budget: Budget, jobs: int, threads: int
) -> dict[str, int]:
    if budget.minutes is not None:
        return calibrate(task, arms, minutes=budget.minutes, jobs=jobs, threads=threads)
    return {arm.name: int(budget.steps or 0) for arm in arms}


def _rows(trials: Sequence[Trial], costs: dict) -> list[Row]:
    rows = []
    for trial in trials:
        rows += [
            Row(trial.arm, trial.seed, "", name, value)
            for name, value in _figures(trial, costs).items()
            if is_judged(costs, name)
        ]
        rows += [
            Row(trial.arm, trial.seed, str(item), name, float(value))
            for name, values in trial.items.items()
            for item, value in enumerate(values)
        ]
    return rows


def _figures(trial: Trial, costs: dict) -> dict[str, float]:
    speed = costs["speed"][str(trial.seed)][trial.arm]
    seconds = {"train_seconds": trial.train_seconds}
    return {**trial.metrics, **speed, **seconds, **own_values(costs, trial)}


def _arm_entry(task: Task[Model], arm: Arm, trials: Sequence[Trial], costs: dict) -> dict:
    own = [trial for trial in trials if trial.arm == arm.name]
    speeds = [costs["speed"][str(trial.seed)][arm.name] for trial in own]
    return {
        "name": arm.name,
        "config": to_dict(arm.config),
        "training": dict(arm.training),
        "costs": {
            "parameters": task.parameters(arm.config),
            "flops_per_step": task.flops_per_step(arm.config),
            "train_seconds": _mean([trial.train_seconds for trial in own]),
            "latency_ms": _mean([speed["latency_ms"] for speed in speeds]),
            "throughput": _mean([speed["throughput"] for speed in speeds]),
            "peak_memory_mb": costs["peak_memory_mb"][arm.name],
            **own_means(costs, own),
        },
    }


def _trial_entry(trial: Trial, costs: dict) -> dict:
    return {
        "arm": trial.arm,
        "seed": trial.seed,
        "metrics": _figures(trial, costs),
        "train_seconds": trial.train_seconds,
        "curve": trial.curve,
    }


def _trials_csv(trials: Sequence[dict]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    names = list(trials[0]["metrics"])
    writer.writerow(["arm", "seed", *names])
    for trial in trials:
        writer.writerow([trial["arm"], trial["seed"], *(trial["metrics"][n] for n in names)])
    return text.getvalue()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _headline(verdicts: Sequence[Verdict], metrics: Sequence[Metric]) -> str:
    """Say what the first quality metric and the speed of answering show; tables have the rest."""
    told = (metrics[0].name, "throughput", "latency_ms")
    return summary_sentence([v for v in verdicts if v.metric in told], metrics)


def _speed_metrics(task: Task[Model]) -> tuple[Metric, ...]:
    """The costs that are compared, by the names that the task has for them."""
    return tuple(replace(m, label=task.speeds.get(m.name, m.label)) for m in SPEED_METRICS)


def _versions() -> dict[str, str]:
    packages = ("askew", "torch", "transformers", "tokenizers", "sacrebleu", "numpy", "scipy")
    return {
        "python": sys.version.split()[0],
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
    }
