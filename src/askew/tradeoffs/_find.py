"""A search: which asymmetry pays here, with a verdict on fresh seeds and untouched test data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from askew._budget import SearchBudget
from askew._check import require, requires_extra
from askew._config import to_dict
from askew._files import read_json, write_json, write_text
from askew._folders import WORK, check_resumable, clear_work, one_writer
from askew._threads import use_threads
from askew.tradeoffs._compare import Comparison, compare
from askew.tradeoffs._report.search_summary import search_sentence
from askew.tradeoffs._results import trials_csv
from askew.tradeoffs._running.candidates import FAMILIES, Candidate, Searched, found_toml
from askew.tradeoffs._running.importance import importances
from askew.tradeoffs._running.promotion import Standing, choose_finalists, pareto_ranks
from askew.tradeoffs._running.ray import import_ray
from askew.tradeoffs._running.search import search
from askew.tradeoffs._running.search_plan import Schedule, SearchPlan, schedule_of
from askew.tradeoffs._running.trials import calibrate, check_processes, on_cluster
from askew.tradeoffs._running.tuning import with_values
from askew.tradeoffs._running.watcher import Watcher
from askew.tradeoffs._space import Space
from askew.tradeoffs._statistics.verdicts import Verdict
from askew.tradeoffs._task import Arm, Model, Task

_DRAWS_TRIED = 50
_OTHER_WEIGHTS = 10_000
_FEW_STEPS = 30  # within a usual warm-up
"""Added to the seed of the initial weights where an arm equals its baseline."""


class Found(NamedTuple):
    """The outcome of a search.

    Attributes:
        space: What was searched.
        candidates: All candidates, with their rungs, as results.json holds them.
        fronts: Names of the candidates of the last rung that no other one of their family beats in
            quality and latency, by family: "asymmetric" and "symmetric".
        finalists: Names of those that were confirmed, the best of the search first.
        comparison: The confirmation.
        sentence: The answer in words.

    Example:
        >>> Found._fields[-1]
        'sentence'
    """

    space: Space
    candidates: list[dict]
    fronts: dict[str, list[str]]
    finalists: list[str]
    comparison: Comparison
    sentence: str


def find(
    task: Task[Model],
    space: Space,
    start: Sequence[Arm],
    *,
    out: str | Path,
    budget: SearchBudget | None = None,
    match: str = "parameters",
    at_most: Mapping[str, float] | None = None,
    jobs: int = 1,
    threads: int = 1,
    settings: Mapping[str, object] | None = None,
    command: str = "",
    watcher: Watcher | None = None,
    cluster: str | None = None,
) -> Found:
    r"""Search for the asymmetry that pays, and confirm it on fresh seeds.

    Two families are searched with equal effort: asymmetric candidates, and symmetric ones of the
    same space. All train for a quarter of the steps; the better third of each family trains on to
    half of them, and the better third of these to the end. Half of the candidates are drawn at
    random, the others are proposed by what the first half reached. Candidates of a rung share their
    seed, every rung has another one, and a promoted training continues from its checkpoint where
    the task keeps one.

    The search sees training and validation data alone. At most three asymmetric candidates
    (the best, the fastest within the equivalence margin, the knee of the Pareto front) then meet
    the best symmetric one on seeds that the search did not use and on the test data, by `compare`.

    Args:
        task: Data, training and scoring.
        space: What candidates differ in.
        start: Arms that are among the candidates if they meet the limits; all others have the
            settings of the first.
        out: Folder of the search; called again with the same settings, it is continued.
        budget: What it may spend; 28 CPU-minutes by default.
        match: What all candidates have in common with the first of `start`: "parameters" or
            "flops" within 1 %, at most its "latency", or "nothing".
        at_most: Upper bounds of "parameters", "flops" (of a training step), "latency_ms",
            "memory_mb" (of answering) or what the task adds, such as "index_bytes".
        jobs: Trainings at the same time.
        threads: Threads of PyTorch in each.
        settings: More to write into the results.
        command: What to type to get these results again.
        watcher: Receives the progress.
        cluster: Where candidates and finalists are trained, as for `compare`: None for processes of
            this machine. Calibrating and measuring run here.

    Returns:
        The candidates, the comparison that confirms the finalists, and the answer in words. The
        folder holds search.json, results.json, trials.csv and, if a finalist pays, found.toml.

    Raises:
        ValueError: If settings do not fit, no model meets the limits, or the folder holds another
            search.
        RuntimeError: If another process runs a search in this folder.
        ModuleNotFoundError: If optuna, or ray for a cluster, is not installed.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, _, _ = application.setup(application.options())
        >>> space = application.space(task, application.options())
        >>> find(task, space, arms, out=Path("search"), match="weight")
        Traceback (most recent call last):
        ValueError: find: match must be parameters, flops, latency, nothing; got match 'weight'

    References:
        A System for Massively Parallel Hyperparameter Tuning, 2020, Li et al. (successive halving).
    """
    out = Path(out)
    with requires_extra("find", "sweep"):
        import optuna  # noqa: F401
    if cluster is not None:
        import_ray()
    plan = SearchPlan(
        task=task,
        space=space,
        start=start,
        budget=budget or SearchBudget(),
        match=match,
        at_most=at_most or {},
        out=out,
        jobs=jobs,
        threads=threads,
        settings=settings or {},
        command=command,
        cluster=cluster,
    )
    identity = _prepare(plan)
    watcher = watcher or Watcher()
    with use_threads("find", threads), one_writer(out, caller="find"):
        clear_work(out, keep=[path.name for path in (out / WORK).glob("*symmetric-*")])
        return _run(_scheduled(plan, identity, watcher), watcher)


def prepare_search(
    task: Task[Model],
    space: Space,
    start: Sequence[Arm],
    *,
    out: str | Path,
    budget: SearchBudget,
    match: str,
    at_most: Mapping[str, float],
    threads: int,
) -> dict:
    """Check that a search can run in a folder, before any work and without a trace.

    Args:
        task: As for `find`, and so are all others.
        space: What candidates differ in.
        start: As in `find`.
        out: Folder of the search.
        budget: What it may spend.
        match: The cost that candidates have in common.
        at_most: Upper bounds of costs.
        threads: Threads of PyTorch in each training.

    Returns:
        The settings that identify the search.

    Raises:
        ValueError: If they do not fit, or the folder holds something else.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, _, _ = application.setup(application.options())
        >>> settings = {"match": "nothing", "at_most": {}, "threads": 1}
        >>> space = application.space(task, application.options())
        >>> budget = SearchBudget(minutes=5.0)
        >>> out = Path("new-folder")
        >>> prepare_search(task, space, arms, out=out, budget=budget, **settings)["version"]
        1
    """
    out = Path(out)
    plan = SearchPlan(
        task=task,
        space=space,
        start=start,
        out=out,
        budget=budget,
        match=match,
        at_most=at_most,
        threads=threads,
    )
    return _prepare(plan)


def _prepare(plan: SearchPlan[Model]) -> dict:
    plan.check()
    check_processes()
    _check_numbers(plan)
    identity = plan.identity()
    check_resumable(plan.out, "search.json", identity, caller="find")
    return identity


def _check_numbers(plan: SearchPlan[Model]) -> None:
    """Refuse a space none of whose draws is a model, such as one with an unknown number."""
    generator, fault = np.random.default_rng(0), None
    for _ in range(_DRAWS_TRIED):
        values = plan.space.draw(generator, symmetric=False)
        try:
            with_values(plan.space.base_of(plan.start[0]), values)
        except ValueError as error:
            fault = error
        else:
            return
    if fault is not None:
        raise fault


def _scheduled(plan: SearchPlan[Model], identity: dict, watcher: Watcher) -> SearchPlan[Model]:
    """Return the plan with its numbers, which are found once and stored before any training."""
    path = plan.out / "search.json"
    if path.is_file():
        schedule = Schedule(**read_json(path)["schedule"])
    else:
        budget = plan.budget
        if budget.steps and budget.candidates and budget.seeds:
            schedule = Schedule(budget.steps, budget.candidates, budget.seeds)
        else:
            watcher.stage("calibrating")
            arm = plan.start[0]
            steps = calibrate(
                plan.task,
                [arm],
                minutes=1.0,
                jobs=plan.jobs,
                threads=plan.threads,
                folder=plan.out / WORK,
            )
            schedule = schedule_of(budget, steps[arm.name])
        rungs = replace(plan, steps=schedule.steps).rungs
        stored = {"schedule": schedule._asdict(), "rungs": [rung._asdict() for rung in rungs]}
        write_json(path, {**identity, **stored})
    watcher.stage(
        f"{schedule.candidates} candidates, {schedule.steps} steps each at most; then at most "
        f"{plan.budget.finalists} finalists on {schedule.seeds} fresh seeds"
    )
    if schedule.steps < _FEW_STEPS:
        watcher.stage(
            f"{schedule.steps} steps are too few to tell candidates apart; give more --minutes"
        )
    return replace(
        plan, steps=schedule.steps, candidates=schedule.candidates, seeds=range(schedule.seeds)
    )


def _run(plan: SearchPlan[Model], watcher: Watcher) -> Found:
    with on_cluster(plan.cluster, caller="find", jobs=plan.jobs, threads=plan.threads) as cluster:
        searched = search(plan, cluster, watcher)
    last = {symmetric: _last_rung(plan, searched, symmetric) for symmetric in (False, True)}
    fronts = {name: _front(last[name == "symmetric"]) for name in FAMILIES}
    margin = plan.task.metrics[0].equivalence
    finalists = choose_finalists(last[False], plan.budget.finalists, margin=margin)
    control = max(last[True], key=lambda one: (one.score, -one.cost)).name
    by_name = {one.arm.name: one for one in searched.candidates}
    arms = [by_name[name].arm for name in finalists if not _is_same(by_name, name, control)]
    if not arms:  # the best asymmetric candidate is the best symmetric one
        arms = [replace(by_name[finalists[0]].arm, init_offset=_OTHER_WEIGHTS)]
    finalists = [arm.name for arm in arms]
    comparison = _confirm(plan, [*arms, by_name[control].arm], watcher)
    entries = [_entry(plan, one, searched) for one in searched.candidates]
    watcher.stage("computing what mattered")
    results = {
        "space": to_dict(plan.space),
        "rungs": [rung.steps for rung in plan.rungs],
        "candidates": entries,
        "rank_correlations": searched.correlations,
        "promoted_one_in": searched.shares,
        "exhausted": searched.exhausted,
        "importances": {name: _importances(plan, entries, name) for name in FAMILIES},
        "fronts": fronts,
        "finalists": finalists,
        "control": control,
        "train_seconds": sum(entry["train_seconds"] for entry in entries),
    }
    sentence = search_sentence(results, comparison.verdicts, plan.task.metrics)
    comparison.results.update(version=2, search={"sentence": sentence, **results})
    write_text(plan.out / "trials.csv", trials_csv(comparison.results["trials"]))
    winner = winner_of(comparison.verdicts, plan.task.metrics[0].name)
    if winner is not None:
        write_text(plan.out / "found.toml", found_toml(by_name[winner]))
    write_json(plan.out / "results.json", comparison.results)
    return Found(
        plan.space, entries, fronts, finalists, comparison._replace(folder=plan.out), sentence
    )


def _last_rung(plan: SearchPlan[Model], searched: Searched, symmetric: bool) -> list[Standing]:
    """Return the candidates of a family that were trained fully, by the metric that decides."""
    standings = []
    for one in searched.candidates:
        results = searched.results[one.arm.name]
        if one.symmetric != symmetric or len(results) < len(plan.rungs):
            continue
        last = results[-1]
        score = last.score if last.quality is None else last.quality
        if score is not None:
            standings.append(Standing(one.arm.name, score, one.latency_ms))
    require(
        bool(standings),
        f"find: a training must not diverge; got {FAMILIES[symmetric]} candidates of the last rung "
        "that all did. Lower the learning rates of the space",
    )
    return standings


def _front(standings: Sequence[Standing]) -> list[str]:
    ranks = pareto_ranks(standings)
    return [one.name for one, rank in zip(standings, ranks, strict=True) if rank == 0]


def _is_same(candidates: Mapping[str, Candidate], name: str, other: str) -> bool:
    one, two = candidates[name].arm, candidates[other].arm
    return (one.config, one.training) == (two.config, two.training)


def _confirm(plan: SearchPlan[Model], arms: Sequence[Arm], watcher: Watcher) -> Comparison:
    """Compare the finalists with the best symmetric candidate on seeds that no search uses."""
    run = plan.confirmation(arms)
    return compare(
        run.task,
        run.arms,
        run.seeds,
        budget=run.budget,
        out=run.out,
        jobs=run.jobs,
        threads=run.threads,
        settings=run.settings,
        command=run.command,
        watcher=watcher,
        cluster=run.cluster,
    )


def _importances(plan: SearchPlan[Model], entries: Sequence[dict], family: str) -> dict:
    """Compute the importance of each number from the first rung, which all candidates reach."""
    symmetric = family == "symmetric"
    scored = [(e["values"], e["scores"][0]) for e in entries if e["symmetric"] == symmetric]
    return importances(plan.open_space, scored, symmetric=symmetric)


def _entry(plan: SearchPlan[Model], candidate: Candidate, searched: Searched) -> dict:
    """Describe a candidate as results.json holds it."""
    results = searched.results[candidate.arm.name]
    return {
        "name": candidate.arm.name,
        "symmetric": candidate.symmetric,
        "origin": candidate.origin,
        "values": dict(candidate.values),
        "parameters": plan.task.parameters(candidate.arm.config),
        "side_parameters": dict(plan.task.side_parameters(candidate.arm.config)),
        "latency_ms": candidate.latency_ms,
        "costs": dict(candidate.costs),
        "scores": [result.score for result in results],
        "quality": results[-1].quality,
        "train_seconds": results[-1].train_seconds,
        "curve": results[-1].curve,
    }


def winner_of(verdicts: Sequence[Verdict], metric: str) -> str | None:
    """Return the finalist with the largest confirmed gain; None if none pays.

    Args:
        verdicts: Of the confirmation.
        metric: Name of the metric that decides.

    Returns:
        Its name.
    """
    paying = [v for v in verdicts if v.metric == metric and v.verdict == "pays"]
    return max(paying, key=lambda v: v.difference or 0.0).challenger if paying else None
