"""A comparison: train every arm with every seed, measure, and judge whether the asymmetry pays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from askew._budget import Budget, Tuning
from askew._check import require
from askew._files import read_json, write_json, write_text
from askew._folders import WORK, check_resumable, clear_work, one_writer
from askew._threads import use_threads
from askew.tradeoffs._report.summary import pairs_line
from askew.tradeoffs._results import pairs_so_far, results_of, trials_csv
from askew.tradeoffs._running.cost_measurement import measure_costs, read_costs
from askew.tradeoffs._running.plan import RunPlan
from askew.tradeoffs._running.trial import is_finished, load_trial, unfinished
from askew.tradeoffs._running.trials import calibrate, check_processes, run_trials
from askew.tradeoffs._running.tuning import Tuned, check_draws, tune
from askew.tradeoffs._running.tuning_journal import check_journal
from askew.tradeoffs._running.watcher import Watcher
from askew.tradeoffs._statistics.verdicts import Metric, Verdict
from askew.tradeoffs._task import Arm, Model, Task


class Comparison(NamedTuple):
    """The outcome of a comparison: verdicts, all that results.json holds, and the folder.

    Args:
        verdicts: One per challenger and metric.
        results: What results.json holds.
        folder: With the trials, results.json and trials.csv.

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
    out: str | Path,
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
        out: Folder of the comparison; one of the same settings, unfinished or finished, is
            continued.
        threads: Threads of PyTorch in each trial.
        settings: More to write into the results, such as how the arms were matched.
        tuning: How the arms are tuned before their trials.
        processes: Processes that share the training of each trial.
        cluster: Where trials run.

    Returns:
        The settings that identify the comparison.

    Raises:
        ValueError: If seeds or arms repeat, the folder cannot be written, or it holds
            another comparison.

    Example:
        >>> import tempfile
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, _, _ = application.setup(application.options())
        >>> run = {"budget": Budget(steps=9), "threads": 1, "settings": {}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     prepare_comparison(task, arms, range(5), out=Path(folder) / "new", **run)["version"]
        1
    """
    out = Path(out)
    return _prepare(
        RunPlan(
            task=task,
            arms=arms,
            seeds=seeds,
            budget=budget,
            out=out,
            threads=threads,
            settings=settings,
            tuning=tuning,
            processes=processes,
            cluster=cluster,
        )
    )


def _prepare(plan: RunPlan[Model]) -> dict:
    plan.check()
    check_processes()
    if plan.tuning is not None:
        check_draws(plan.task, plan.arms, plan.tuning)
    identity = plan.identity()
    check_resumable(plan.out, "comparison.json", identity, caller="compare")
    _check_stored(plan)
    return identity


def _check_stored(plan: RunPlan[Model]) -> None:
    """Refuse files of an earlier run that cannot be used, before the first new trial."""
    if plan.tuning is not None:
        check_journal(plan.out)
    for arm, seed in plan.trials:
        if is_finished(plan.out, arm.name, seed):
            load_trial(plan.out, arm.name, seed)
    read_costs(plan.out)


def compare(
    task: Task[Model],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    budget: Budget,
    out: str | Path,
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
    continues where it stopped; with more seeds it adds them.

    Args:
        task: Data, training and scoring.
        arms: Challengers, and the baseline last.
        seeds: One trial per arm and seed; five or more give verdicts.
        budget: Of every trial.
        out: Folder of the comparison.
        jobs: Trials at the same time.
        threads: Threads of PyTorch in each.
        settings: More to write into the results, such as how the arms were matched.
        command: What to type to get these results again.
        watcher: Receives the progress.
        looks: Numbers of seeds after which the arms are judged, such as those of
            `interim_schedule`. The comparison ends at the first look at which every verdict on the
            task's first metric is "pays", "does not pay" or equivalent, with the confidence of
            `sequential_confidence`. By default there is one look, after all seeds.
        tuning: How the arms are tuned before their trials, all by the same draws; the settings
            that are best on validation data are compared.
        cluster: Where trials and tries of tuning run: None for processes of this machine, "local"
            for a Ray cluster on it, "auto" or an address for another cluster. Measuring runs here.
        processes: Processes that share the training of each trial by torchrun, on this machine, for
            tasks whose `distributed` is true; the budget is then in steps.

    Returns:
        Verdicts and results; the folder holds results.json and trials.csv.

    Raises:
        ValueError: If settings do not fit, the last look is not at all seeds, or the folder
            holds another comparison.
        RuntimeError: If another process runs a comparison in this folder, or a trial fails; its
            message then names arm, seed, and the place in your code.
        FloatingPointError: If every training diverged. An arm with a training that diverged gets
            no verdict, the others keep theirs.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, _, _ = application.setup(application.options())
        >>> compare(task, arms[:1], range(5), budget=Budget(steps=9), out=Path("runs"))
        Traceback (most recent call last):
        ValueError: compare: arms must be two or more with different names; got ['asl']
    """
    out = Path(out)
    plan = RunPlan(
        task=task,
        arms=arms,
        seeds=seeds,
        budget=budget,
        out=out,
        threads=threads,
        jobs=jobs,
        settings=settings or {},
        command=command,
        looks=[len(seeds)] if looks is None else list(looks),
        tuning=tuning,
        cluster=cluster,
        processes=processes,
    )
    require(
        bool(plan.looks) and plan.looks[-1] == len(seeds),
        f"compare: the last look must be at all {len(seeds)} seeds; got looks {plan.looks}",
    )
    plan.interval_confidence()  # refuses looks, and too many arms for several looks
    identity = _prepare(plan)
    with use_threads("compare", threads), one_writer(out, caller="compare"):
        clear_work(out, keep=unfinished(out, [arm.name for arm in arms]))
        return _run(plan, identity, watcher or Watcher())


def _run(plan: RunPlan[Model], identity: dict, watcher: Watcher) -> Comparison:
    plan = replace(plan, steps=_stored_steps(plan, identity, watcher))
    tuned: list[Tuned] = []
    if plan.tuning is not None:
        watcher.stage("tuning")
        tuned = tune(
            plan.task,
            plan.arms,
            plan.tuning,
            steps=plan.steps,
            out=plan.out,
            jobs=plan.jobs,
            threads=plan.threads,
            progress=watcher.costs,
            cluster=plan.cluster,
        )
        plan = replace(plan, arms=[each.arm for each in tuned])
    for look in plan.looks:
        comparison = _look(replace(plan, seeds=plan.seeds[:look]), tuned, watcher)
        if _is_decided(comparison.verdicts, plan.task.metrics[0]):
            break
    write_text(plan.out / "trials.csv", trials_csv(comparison.results["trials"]))
    write_json(plan.out / "results.json", comparison.results)
    return comparison


def _stored_steps(plan: RunPlan[Model], identity: dict, watcher: Watcher) -> dict[str, int]:
    """Read the steps of each arm, or find them once and store them."""
    stored = plan.out / "comparison.json"
    if stored.is_file():
        return read_json(stored)["steps"]
    minutes = plan.budget.minutes
    watcher.stage("starting" if minutes is None else "calibrating")
    if minutes is None:
        steps = {arm.name: int(plan.budget.steps or 0) for arm in plan.arms}
    else:
        steps = calibrate(
            plan.task,
            plan.arms,
            minutes=minutes,
            jobs=plan.jobs,
            threads=plan.threads,
            folder=plan.out / WORK,
        )
    write_json(stored, identity | {"steps": steps})
    return steps


_DECIDED = ("pays", "does not pay")


def _is_decided(verdicts: Sequence[Verdict], metric: Metric) -> bool:
    return all(
        # More seeds cannot decide about an arm whose training diverged.
        verdict.equivalent or verdict.difference is None or verdict.verdict in _DECIDED
        for verdict in verdicts
        if verdict.metric == metric.name
    )


def _look(plan: RunPlan[Model], tuned: Sequence[Tuned], watcher: Watcher) -> Comparison:
    """Run the trials and measurements of the plan that are not done yet, and judge them all."""
    watcher.stage("training")
    run_trials(plan, _telling(plan, watcher))
    watcher.stage("measuring speed and memory")
    costs = measure_costs(plan, watcher.costs)
    trials = [load_trial(plan.out, arm.name, seed) for arm, seed in plan.trials]
    verdicts, results = results_of(plan, trials, costs, tuned)
    return Comparison(verdicts, results, plan.out)


def _telling(plan: RunPlan[Model], watcher: Watcher) -> Callable[[Mapping], None]:
    """Return what passes the progress of the trials on, and what finished pairs say so far."""
    told: list[int] = []

    def tell(done: Mapping[tuple[str, int], int]) -> None:
        watcher.trials(done, plan.steps)
        paired = [
            seed
            for seed in plan.seeds
            if all(done[arm.name, seed] == plan.steps[arm.name] for arm in plan.arms)
        ]
        if len(paired) > len(told):
            told[:] = paired
            trials = [load_trial(plan.out, arm.name, seed) for seed in paired for arm in plan.arms]
            for verdict in pairs_so_far(plan, trials):
                watcher.so_far(pairs_line(verdict, plan.task.metrics[0]))

    return tell
