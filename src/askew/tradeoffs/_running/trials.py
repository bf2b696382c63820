"""Run the trials of a comparison side by side, and only those that are not done."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from loky import ProcessPoolExecutor

from askew._check import require
from askew.tradeoffs._running.ray import run_on_ray
from askew.tradeoffs._running.torchrun import run_shared_trial
from askew.tradeoffs._running.trial import (
    is_finished,
    read_progress,
    run_trial,
    start_worker,
    trial_name,
)
from askew.tradeoffs._task import Arm, Model, Task

_CALIBRATION_STEPS = 40
_POLL_SECONDS = 0.5
_LOSSES = 3

TrialProgress = Callable[[Mapping[tuple[str, int], int]], None]


def run_trials(
    task: Task[Model],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    steps: Mapping[str, int],
    out: Path,
    jobs: int,
    threads: int,
    progress: TrialProgress,
    cluster: str | None = None,
    processes: int = 1,
) -> None:
    """Train every arm with every seed; what is finished on disk is left alone.

    The arms alternate, so that both see the same state of the machine. A trial that fails
    stops the comparison; the others' results stay. Where a process is lost, all that ran go on
    from their checkpoints; after a second loss one at a time, so that the one to blame is known.

    Args:
        task: The task.
        arms: All arms.
        seeds: All seeds.
        steps: Training budget of each arm.
        out: Folder of the comparison.
        jobs: Trials at the same time.
        threads: Threads of PyTorch in each.
        cluster: None for processes of this machine, else as `run_on_ray` takes it.
        processes: Processes that share the training of a trial, on this machine.
        progress: Called about twice a second with the steps done of every trial.

    Raises:
        RuntimeError: If the process of a trial was lost three times.
    """

    def told() -> None:
        trials = [(arm, seed) for seed in seeds for arm in arms]
        progress({(arm.name, seed): _steps_done(out, arm, seed, steps) for arm, seed in trials})

    missing = _missing(arms, seeds, out)
    if missing and cluster is not None:
        run_on_ray(
            task,
            missing,
            cluster=cluster,
            steps=steps,
            out=out,
            jobs=jobs,
            threads=threads,
            progress=told,
        )
    lost: Counter[str] = Counter()
    while missing := _missing(arms, seeds, out):
        names = [trial_name(arm.name, seed) for arm, seed in missing]
        alone = max(lost[name] for name in names) >= _LOSSES - 1
        try:
            _run_here(
                task,
                missing[:1] if alone else missing,
                steps=steps,
                out=out,
                jobs=1 if alone else min(jobs, len(missing)),
                threads=threads,
                processes=processes,
                told=told,
            )
        except BrokenProcessPool as error:
            begun = [name for name in names if (out / "work" / name).exists()]
            lost.update(begun[: 1 if alone else jobs] or names[:1])
            name, times = lost.most_common(1)[0]
            if times >= _LOSSES:
                raise RuntimeError(
                    f"compare: the process of {name} was lost {times} times, killed from outside "
                    "or out of memory"
                ) from error


def _run_here(
    task: Task[Model],
    trials: Sequence[tuple[Arm, int]],
    *,
    steps: Mapping[str, int],
    out: Path,
    jobs: int,
    threads: int,
    processes: int,
    told: Callable[[], None],
) -> None:
    """Run trials in processes of this machine."""
    shared = {"processes": processes, "threads": threads} if processes > 1 else {}
    run = run_shared_trial if processes > 1 else run_trial
    with trial_processes(jobs, threads) as executor:
        futures = [
            executor.submit(run, task, arm, seed, steps=steps[arm.name], out=out, **shared)
            for arm, seed in trials
        ]
        while futures:
            finished, running = wait(futures, _POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
            futures = list(running)
            told()


def _missing(arms: Sequence[Arm], seeds: Sequence[int], out: Path) -> list[tuple[Arm, int]]:
    trials = [(arm, seed) for seed in seeds for arm in arms]
    return [(arm, seed) for arm, seed in trials if not is_finished(out, arm.name, seed)]


def calibrate(
    task: Task[Model], arms: Sequence[Arm], *, minutes: float, jobs: int, threads: int
) -> dict[str, int]:
    """Turn a training budget in CPU-minutes into steps, once, before the first trial.

    Each arm trains for a few steps while as many others do as will later; equal models get
    equal budgets.

    Args:
        task: The task.
        arms: All arms.
        minutes: CPU-minutes of training per trial.
        jobs: Trials that will run at the same time.
        threads: Threads of PyTorch in each.

    Returns:
        Steps of each arm.

    Example:
        >>> calibrate(None, [], minutes=1.0, jobs=1, threads=1)  # no arm, no steps
        {}
    """
    different: list[Arm] = []
    for arm in arms:
        if all(_work(arm) != _work(other) for other in different):
            different.append(arm)
    with trial_processes(jobs, threads) as executor:
        runs: list[list[Future[float]]] = [
            [executor.submit(_seconds_per_step, task, arm) for _ in range(max(1, jobs))]
            for arm in different
        ]
        rates = [max(future.result() for future in run) for run in runs]
    works = [_work(arm) for arm in different]
    return {arm.name: max(1, round(60 * minutes / rates[works.index(_work(arm))])) for arm in arms}


def _work(arm: Arm) -> tuple[object, object]:
    """What decides how long a step takes."""
    return arm.config, arm.training


def _seconds_per_step(task: Task[Model], arm: Arm) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return step_seconds(task, arm, Path(folder))


def step_seconds(task: Task[Model], arm: Arm, folder: Path) -> float:
    """Train for a few steps and give the mean CPU-seconds of those after the first records.

    Args:
        task: The task.
        arm: What is trained, from seed 0.
        folder: An empty folder, for what training leaves behind.

    Returns:
        Seconds per step.

    Raises:
        ValueError: If the training records do not tell the time of two steps or more.
    """
    records = task.train(
        task.build(arm.config, 0),
        training=arm.training,
        steps=_CALIBRATION_STEPS,
        seed=0,
        folder=folder,
        progress=lambda step, steps: None,
    )
    timed = [r for r in records if "loss" in r]
    require(
        len({r["step"] for r in timed}) > 1,
        "calibrate: a budget in minutes needs training records with the loss of two steps or more; "
        f"got {len(timed)} of {arm.name}. Give the budget in steps",
    )
    first, last = timed[0], timed[-1]
    return (last["train_seconds"] - first["train_seconds"]) / (last["step"] - first["step"])


@contextmanager
def trial_processes(jobs: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes for trials, which end with this one.

    They are killed in the middle of their work where something is raised within, and end in
    order otherwise: what is killed leaves semaphores behind, of which Python would complain.
    """
    executor = ProcessPoolExecutor(
        jobs, initializer=start_worker, initargs=(os.getpid(), threads), timeout=600
    )
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=True, kill_workers=True)
        raise
    executor.shutdown(wait=True)


def _steps_done(out: Path, arm: Arm, seed: int, steps: Mapping[str, int]) -> int:
    if is_finished(out, arm.name, seed):
        return steps[arm.name]
    return min(read_progress(out, arm.name, seed), steps[arm.name] - 1)
