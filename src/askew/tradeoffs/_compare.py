"""The main job: train an asymmetric model and its twin, and say whether the asymmetry pays."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import filelock

from askew._check import require
from askew._config import to_dict
from askew._files import read_json, write_json, write_text
from askew._folders import check_resumable
from askew.tradeoffs._results import results_of, trials_csv
from askew.tradeoffs._running.budget import Budget, Watcher
from askew.tradeoffs._running.cost_measurement import measure_costs
from askew.tradeoffs._running.trial import load_trial
from askew.tradeoffs._running.trials import calibrate, run_trials
from askew.tradeoffs._running.tuning import Tuned, Tuning, check_space, tune
from askew.tradeoffs._statistics.sequential import sequential_confidence
from askew.tradeoffs._statistics.verdicts import Metric, Verdict
from askew.tradeoffs._task import Arm, Model, Task


class Comparison(NamedTuple):
    """What a comparison found: verdicts, everything in results.json, and where it lies.

    Args:
        verdicts: One per challenger and metric.
        results: What results.json holds.
        folder: Where trials and results lie.

    Example:
        >>> Comparison(verdicts=[], results={"version": 1}, folder=Path("out")).results["version"]
        1
    """

    verdicts: list[Verdict]
    results: dict
    folder: Path


def prepare_comparison(
    task: Task[Model],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    budget: Budget,
    out: Path,
    threads: int,
    settings: Mapping[str, object],
    tuning: Tuning | None = None,
    processes: int = 1,
    cluster: str | None = None,
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
        tuning: How the arms are tuned before.
        processes: Processes that share the training of each trial.
        cluster: Where trials run.

    Returns:
        The settings that identify the comparison.

    Raises:
        ValueError: If seeds or arms repeat, the folder cannot be written, or it holds
            another comparison.

    Example:
        >>> import tempfile
        >>> from askew.tasks import table_arms, table_task
        >>> task = table_task("imbalanced", None, None, {})
        >>> arms, _ = table_arms(task, "asl", "bce", {})
        >>> run = {"budget": Budget(steps=9), "threads": 1, "settings": {}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     prepare_comparison(task, arms, range(5), out=Path(folder) / "new", **run)["version"]
        1
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
    _check_processes(task, processes, budget, tuning, cluster)
    if processes > 1:
        settings = {**settings, "processes": processes}
    if tuning is not None:
        check_space(arms, tuning)
        settings = {**settings, "tuning": to_dict(tuning)}
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
    looks: Sequence[int] | None = None,
    tuning: Tuning | None = None,
    cluster: str | None = None,
    processes: int = 1,
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
        looks: Numbers of seeds after which the arms are judged, as `looks_of` gives them. The
            comparison ends at the first look at which the task's first metric pays, does not
            pay or is equivalent, with intervals of `sequential_confidence`; by default there
            is one look, after all seeds.
        tuning: How the arms are tuned before their trials, all by the same draws; the best on
            validation data is what is compared.
        cluster: Where trials run: None for processes of this machine, "local" for a Ray cluster of
            it, "auto" or an address for another. Tuning and measuring stay here.
        processes: Processes that share the training of each trial by torchrun, on this machine, for
            tasks whose `distributed` is true; the budget is then in steps.

    Returns:
        Verdicts and results; the folder holds results.json and trials.csv.

    Raises:
        ValueError: If settings do not fit, the last look is not at all seeds, or the folder
            holds another comparison.
        RuntimeError: If another process runs a comparison in this folder.

    Example:
        >>> from askew.tasks import table_arms, table_task
        >>> task = table_task("imbalanced", None, None, {})
        >>> arms, _ = table_arms(task, "asl", "bce", {})
        >>> compare(task, arms[:1], range(5), budget=Budget(steps=9), out=Path("runs"))
        Traceback (most recent call last):
        ValueError: compare: arms must be two or more with different names; got ['asl']
    """
    settings = {} if settings is None else settings
    looks = [len(seeds)] if looks is None else list(looks)
    require(
        bool(looks) and looks[-1] == len(seeds),
        f"compare: the last look must be at all {len(seeds)} seeds; got looks {looks}",
    )
    sequential_confidence(looks)  # refuses looks that cannot be
    identity = prepare_comparison(
        task,
        arms,
        seeds,
        budget=budget,
        out=out,
        threads=threads,
        settings=settings,
        tuning=tuning,
        processes=processes,
        cluster=cluster,
    )
    out.mkdir(parents=True, exist_ok=True)
    watcher = watcher or Watcher()
    try:
        with filelock.FileLock(out / ".lock", timeout=0):
            steps = _stored_steps(task, arms, identity, budget, out, jobs, watcher)
            tuned: list[Tuned] = []
            if tuning is not None:
                watcher.stage("tuning")
                tuned = tune(
                    task,
                    arms,
                    tuning,
                    steps=steps,
                    out=out,
                    jobs=jobs,
                    threads=threads,
                    told=watcher.costs,
                )
            for look in looks:
                found = _look(
                    task,
                    [t.arm for t in tuned] or arms,
                    seeds[:look],
                    identity | {"steps": steps},
                    out,
                    jobs,
                    command,
                    watcher,
                    looks,
                    tuned,
                    cluster,
                    processes,
                )
                if look == looks[-1] or _is_decided(found.verdicts, task.metrics[0]):
                    break
            write_text(out / "trials.csv", trials_csv(found.results["trials"]))
            write_json(out / "results.json", found.results)
            return found
    except filelock.Timeout:
        raise RuntimeError(f"compare: another process is at work in {out}") from None


def _stored_steps(
    task: Task[Model],
    arms: Sequence[Arm],
    identity: dict,
    budget: Budget,
    out: Path,
    jobs: int,
    watcher: Watcher,
) -> dict[str, int]:
    stored = out / "comparison.json"
    if stored.is_file():
        return read_json(stored)["steps"]
    watcher.stage("calibrating" if budget.minutes is not None else "starting")
    steps = _steps(task, arms, budget, jobs, identity["threads"])
    write_json(stored, identity | {"steps": steps})
    return steps


def _check_processes(
    task: Task[Model],
    processes: int,
    budget: Budget,
    tuning: Tuning | None,
    cluster: str | None,
) -> None:
    require(processes >= 1, f"compare: processes must be >= 1; got processes {processes}")
    if processes == 1:
        return
    require(
        cluster is None,
        f"compare: a trial on a cluster trains in one process; got processes {processes}, "
        f"cluster {cluster!r}",
    )
    require(
        getattr(task, "distributed", False),
        f"compare: task {task.name} trains in one process; got processes {processes}",
    )
    require(
        budget.steps is not None and tuning is None,
        "compare: several processes need a budget in steps and no tuning, which are found with "
        f"one; got processes {processes}, {budget}",
    )


def _is_decided(verdicts: Sequence[Verdict], metric: Metric) -> bool:
    own = [verdict for verdict in verdicts if verdict.metric == metric.name]
    return all(v.equivalent or v.verdict in ("pays", "does not pay") for v in own)


def _look(
    task: Task[Model],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    identity: dict,
    out: Path,
    jobs: int,
    command: str,
    watcher: Watcher,
    looks: Sequence[int],
    tuned: Sequence[Tuned],
    cluster: str | None,
    processes: int,
) -> Comparison:
    threads, steps = identity["threads"], identity["steps"]
    watcher.stage("training")
    run_trials(
        task,
        arms,
        seeds,
        steps=steps,
        out=out,
        jobs=jobs,
        threads=threads,
        cluster=cluster,
        processes=processes,
        progress=lambda done: watcher.trials(done, steps),
    )
    watcher.stage("measuring speed and memory")
    costs = measure_costs(task, arms, seeds, out=out, threads=threads, progress=watcher.costs)
    trials = [load_trial(out, arm.name, seed) for seed in seeds for arm in arms]
    verdicts, results = results_of(
        task,
        arms,
        trials,
        costs,
        identity=identity,
        jobs=jobs,
        looks=looks,
        tuned=tuned,
        command=command,
    )
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
