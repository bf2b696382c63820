"""Candidates of a search, trained rung by rung; a promoted one is trained further."""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from askew._files import read_json, write_json
from askew._folders import WORK
from askew.tradeoffs._running.ray import RayCluster
from askew.tradeoffs._running.trial import (
    ProgressFile,
    check_training,
    errors_name,
    learning_curve,
    validation_score,
)
from askew.tradeoffs._running.trials import run_side_by_side
from askew.tradeoffs._running.work import Work
from askew.tradeoffs._task import Arm, Model, Task

FIRST_SEARCH_SEED = 2_000_000
"""Seeds from here on are those of searches: far from the seeds of trials and of tuning."""


class Rung(NamedTuple):
    """A length of training after which candidates are compared.

    Attributes:
        number: From 0.
        steps: Optimizer steps from the beginning of the training.
        seed: Of the data order: the same for all candidates, another one on every rung.
        items: Validation items on which the deciding metric is computed; 0 leaves it out.
        full_steps: Of a full training, that of the last rung.
    """

    number: int
    steps: int
    seed: int
    items: int
    full_steps: int = 0


class RungResult(NamedTuple):
    """What a candidate reached on a rung.

    Attributes:
        score: On validation data, higher is better; None if the training diverged.
        quality: The deciding metric on validation items, higher is better; None where it was not
            computed.
        train_seconds: CPU time of the whole training up to here.
        curve: Losses by step.
    """

    score: float | None
    quality: float | None
    train_seconds: float
    curve: list[dict[str, float]]


def climb(
    task: Task[Model],
    candidates: Sequence[Arm],
    rung: Rung,
    *,
    out: Path,
    jobs: int,
    threads: int,
    progress: Callable[[int], None],
    cluster: RayCluster | None = None,
) -> dict[str, RungResult]:
    """Train candidates up to a rung, side by side; what is stored of earlier runs is read.

    If a process is lost, its candidate continues from its last checkpoint.

    Args:
        task: Data, training and scoring.
        candidates: Arms with different names.
        rung: The rung.
        out: Folder of the search.
        jobs: Candidates at the same time.
        threads: Threads of PyTorch in each.
        progress: Called with the number of candidates that are done.
        cluster: Trains them if given.

    Returns:
        The result of every candidate, by its name.

    Raises:
        RuntimeError: If the process of a candidate was lost three times.
    """

    def missing() -> list[Work]:
        return [
            Work(candidate.name, run_rung, (task, candidate, rung), {})
            for candidate in candidates
            if not result_path(out, candidate.name, rung).is_file()
        ]

    run_side_by_side(
        missing,
        caller="find",
        out=out,
        jobs=jobs,
        threads=threads,
        report_progress=lambda: progress(len(candidates) - len(missing())),
        cluster=cluster,
    )
    progress(len(candidates))
    return {candidate.name: read_result(out, candidate.name, rung) for candidate in candidates}


def run_rung(task: Task[Model], arm: Arm, rung: Rung, *, out: Path) -> None:
    """Train one candidate up to a rung and store its result; a killed one resumes."""
    with errors_name(f"{arm.name}, rung {rung.number + 1}", caller="find"):
        _run_rung(task, arm, rung, out)


def _run_rung(task: Task[Model], arm: Arm, rung: Rung, out: Path) -> None:
    work = out / WORK / arm.name
    work.mkdir(parents=True, exist_ok=True)
    model = task.build(arm.config, FIRST_SEARCH_SEED + arm.init_offset)
    try:
        records = task.train(
            model,
            training={**arm.training, **task.rung_training(rung.full_steps)},
            steps=rung.steps,
            seed=rung.seed,
            folder=work,
            progress=ProgressFile(work / "progress"),
        )
        check_training(model, records)
        score = validation_score(task, model, records, of=arm.name, caller="find")
        quality = task.validation_quality(model, items=rung.items) if rung.items else None
    except FloatingPointError:
        _store(out, arm, rung, RungResult(None, None, 0.0, []))
        return
    finite = math.isfinite(score) and (quality is None or math.isfinite(quality))
    seconds = max(record["train_seconds"] for record in records)
    result = RungResult(score if finite else None, quality, seconds, learning_curve(records))
    _store(out, arm, rung, result)


def _store(out: Path, arm: Arm, rung: Rung, result: RungResult) -> None:
    path = result_path(out, arm.name, rung)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": 1, **result._asdict()})


def result_path(out: Path, candidate: str, rung: Rung) -> Path:
    """Return the file that holds a finished rung of a candidate."""
    return out / "rungs" / f"{candidate}-{rung.number}.json"


def read_result(out: Path, candidate: str, rung: Rung) -> RungResult:
    """Read a finished rung of a candidate."""
    stored = read_json(result_path(out, candidate, rung))
    return RungResult(*(stored[name] for name in RungResult._fields))


def drop_training(out: Path, candidates: Sequence[Arm]) -> None:
    """Remove the checkpoints of candidates that are not trained further."""
    for candidate in candidates:
        shutil.rmtree(out / WORK / candidate.name, ignore_errors=True)
