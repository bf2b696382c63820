"""The trials of a comparison that are not finished, run side by side."""

import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from loky import ProcessPoolExecutor

from askew._check import require
from askew._folders import WORK
from askew.tradeoffs._running.plan import RunPlan
from askew.tradeoffs._running.ray import RayCluster
from askew.tradeoffs._running.torchrun import run_shared_trial
from askew.tradeoffs._running.trial import (
    errors_name,
    is_finished,
    read_progress,
    run_trial,
    start_worker,
    trial_name,
)
from askew.tradeoffs._running.work import Work
from askew.tradeoffs._task import Arm, Model, Task

_CALIBRATION_STEPS = 40
_POLL_SECONDS = 0.5
_MAX_LOSSES = 3

TrialProgress = Callable[[Mapping[tuple[str, int], int]], None]


def run_trials(plan: RunPlan[Model], progress: TrialProgress) -> None:
    """Train every arm with every seed; finished trials on disk are not run again.

    A trial that fails stops the comparison; the results of the others stay.

    Args:
        plan: What to run.
        progress: Called about twice a second with the steps done of every trial.

    Raises:
        RuntimeError: If the process of a trial was lost three times.
    """

    def report_progress() -> None:
        progress({(arm.name, seed): _steps_done(plan, arm, seed) for arm, seed in plan.trials})

    shared = plan.processes > 1
    settings = {"processes": plan.processes, "threads": plan.threads} if shared else {}
    run = run_shared_trial if shared else run_trial

    def missing_work() -> list[Work]:
        return [
            Work(
                trial_name(arm.name, seed),
                run,
                (plan.task, arm, seed),
                {"steps": plan.steps[arm.name], **settings},
            )
            for arm, seed in _missing(plan)
        ]

    with on_cluster(
        plan.cluster, caller="compare", jobs=plan.jobs, threads=plan.threads
    ) as cluster:
        run_side_by_side(
            missing_work,
            caller="compare",
            out=plan.out,
            jobs=plan.jobs,
            threads=plan.threads,
            report_progress=report_progress,
            cluster=cluster,
        )


def on_cluster(
    address: str | None, *, caller: str, jobs: int, threads: int
) -> AbstractContextManager[RayCluster | None]:
    """Return the cluster of an address, which ends with the context; None for no address."""
    if address is None:
        return nullcontext()
    return RayCluster(address, caller=caller, jobs=jobs, threads=threads)


def run_side_by_side(
    missing: Callable[[], Sequence[Work]],
    *,
    caller: str,
    out: Path,
    jobs: int,
    threads: int,
    report_progress: Callable[[], None],
    cluster: RayCluster | None = None,
) -> None:
    """Do work in processes of this machine, or on a cluster, until none is missing.

    If a process is lost, all work that ran continues from its checkpoints; after the second loss
    it runs one at a time, so that the one to blame is known.

    Args:
        missing: Lists the work whose result is not stored yet.
        caller: What messages name.
        out: Folder of the run.
        jobs: Processes at the same time.
        threads: Threads of PyTorch in each.
        report_progress: Called about twice a second.
        cluster: Does the work if given.

    Raises:
        RuntimeError: If the process of one work was lost three times.
    """
    if cluster is not None and (work := missing()):
        cluster.run(work, out=out, report_progress=report_progress)
    losses: Counter[str] = Counter()
    while work := missing():
        names = [each.name for each in work]
        alone = max(losses[name] for name in names) >= _MAX_LOSSES - 1
        batch = work[:1] if alone else work
        try:
            with trial_processes(min(jobs, len(batch)), threads) as executor:
                futures = [
                    executor.submit(each.run, *each.arguments, out=out, **each.settings)
                    for each in batch
                ]
                while futures:
                    finished, running = wait(futures, _POLL_SECONDS, return_when=FIRST_COMPLETED)
                    for future in finished:
                        future.result()
                    futures = list(running)
                    report_progress()
        except BrokenProcessPool as error:
            begun = [name for name in names if (out / WORK / name).exists()]
            losses.update(begun[: 1 if alone else jobs] or names[:1])
            name, times = losses.most_common(1)[0]
            if times >= _MAX_LOSSES:
                raise RuntimeError(
                    f"{caller}: the process of {name} was lost {times} times, killed from outside "
                    "or out of memory; called again, the work continues"
                ) from error


def _missing(plan: RunPlan[Model]) -> list[tuple[Arm, int]]:
    return [(arm, seed) for arm, seed in plan.trials if not is_finished(plan.out, arm.name, seed)]


def calibrate(
    task: Task[Model],
    arms: Sequence[Arm],
    *,
    minutes: float,
    jobs: int,
    threads: int,
    folder: str | Path | None = None,
) -> dict[str, int]:
    """Turn a training budget in CPU-minutes into steps, once, before the first trial.

    Each arm trains for a few steps in as many processes as there will be later; equal models get
    equal budgets.

    Args:
        task: The task.
        arms: All arms.
        minutes: CPU-minutes of training per trial.
        jobs: Trials that will run at the same time.
        threads: Threads of PyTorch in each.
        folder: Where checkpoints are written meanwhile; by default that of temporary files.

    Returns:
        Steps of each arm.

    Example:
        >>> calibrate(None, [], minutes=1.0, jobs=1, threads=1)  # no arm, no steps
        {}
    """
    folder = None if folder is None else Path(folder)
    different: list[Arm] = []
    for arm in arms:
        if all(_work(arm) != _work(other) for other in different):
            different.append(arm)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with trial_processes(jobs, threads) as executor:
        runs: list[list[Future[float]]] = [
            [executor.submit(_seconds_per_step, task, arm, folder) for _ in range(max(1, jobs))]
            for arm in different
        ]
        rates = [max(future.result() for future in run) for run in runs]
    works = [_work(arm) for arm in different]
    return {arm.name: max(1, round(60 * minutes / rates[works.index(_work(arm))])) for arm in arms}


def _work(arm: Arm) -> tuple[object, object]:
    """Return what the time of a step depends on."""
    return arm.config, arm.training


def _seconds_per_step(task: Task[Model], arm: Arm, parent: Path | None) -> float:
    with errors_name(f"{arm.name}, seed 0"), tempfile.TemporaryDirectory(dir=parent) as folder:
        return step_seconds(task, arm, Path(folder))


def step_seconds(task: Task[Model], arm: Arm, folder: Path) -> float:
    """Train an arm from seed 0, and return the CPU-seconds per step after the first record.

    Raises:
        ValueError: If the training diverges, or its records have the time of fewer than two steps.
    """
    try:
        records = task.train(
            task.build(arm.config, 0),
            training=arm.training,
            steps=_CALIBRATION_STEPS,
            seed=0,
            folder=folder,
            progress=lambda step, steps: None,
        )
    except FloatingPointError as error:
        raise ValueError(
            f"calibrate: a training must stay finite to be timed; got {arm.name}: {error}. "
            "Give the budget in steps"
        ) from None
    timed = [r for r in records if "loss" in r]
    require(
        len({r["step"] for r in timed}) > 1,
        "calibrate: a budget in minutes needs training records with the loss of two steps or more; "
        f"got {len(timed)} of {arm.name}. Give the budget in steps",
    )
    first, last = timed[0], timed[-1]
    return (last["train_seconds"] - first["train_seconds"]) / (last["step"] - first["step"])


def check_processes() -> None:
    """Refuse a machine on which processes cannot share semaphores, before any work.

    Raises:
        ValueError: If one cannot be made, as in a container without shared memory.
    """
    try:
        multiprocessing.get_context("fork").Lock()
    except OSError as error:
        raise ValueError(
            "compare: trials run in processes, which need shared memory; "
            f"got {error.strerror}. Mount /dev/shm"
        ) from None


@contextmanager
def trial_processes(jobs: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes for trials, which end with this one.

    They are killed in the middle of their work if an exception is raised within, and end in order
    otherwise: killed processes leave semaphores open, about which Python would warn.
    """
    check_processes()
    executor = ProcessPoolExecutor(
        jobs, initializer=start_worker, initargs=(os.getpid(), threads), timeout=600
    )
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=True, kill_workers=True)
        raise
    executor.shutdown(wait=True)


def _steps_done(plan: RunPlan[Model], arm: Arm, seed: int) -> int:
    steps = plan.steps[arm.name]
    if is_finished(plan.out, arm.name, seed):
        return steps
    return min(read_progress(plan.out, arm.name, seed), steps - 1)
