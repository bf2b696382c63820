"""Train one model into a folder, and resume after a crash."""

import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate import PartialState

from askew._check import require
from askew._config import to_dict
from askew._devices import trains_on_cpu
from askew._files import read_json, write_json
from askew._folders import WORK, check_resumable, one_writer
from askew._threads import use_threads
from askew.tasks._applications import APPLICATIONS
from askew.tasks._model_card import card_of_training
from askew.tradeoffs import Arm, Budget, OnRecord, Progress, Task, calibrate

_SCORES = "scores.json"


def prepare_training(
    task: Task[Any],
    config: Any,
    *,
    budget: Budget,
    seed: int,
    threads: int,
    out: str | Path,
    training: Mapping[str, object] | None = None,
) -> dict:
    """Check that a training can run in this folder, without writing anything.

    Args:
        task: Data and training numbers.
        config: The config of the model.
        budget: How long to train.
        seed: Seed of everything random.
        threads: Threads of PyTorch.
        out: Folder of the model; an unfinished training with the same settings will be resumed.
        training: Changes of the task's numbers of training.

    Returns:
        The settings that identify the training.

    Raises:
        ValueError: If the folder cannot be written, holds something else, or has scores of another
            version.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, budget, _ = application.setup(application.options())
        >>> run = {"budget": budget, "seed": 3, "threads": 1, "out": Path("new-model")}
        >>> prepare_training(task, arms[0].config, **run)["seed"]
        3
    """
    out = Path(out)
    identity = {
        "version": 1,
        "task": task.name,
        "data": dict(task.describe()),
        "model": to_dict(config),
        "budget": to_dict(budget),
        "seed": seed,
        "threads": threads,
        **({"training": dict(training)} if training else {}),
    }
    require(
        budget.minutes is None or int(os.environ.get("WORLD_SIZE", "1")) == 1,
        "train: several processes need a number of steps; "
        f"got minutes {budget.minutes}, {os.environ.get('WORLD_SIZE')} processes. Give --steps",
    )
    check_resumable(out, "training.json", identity, caller="train")
    if (out / _SCORES).is_file():
        read_json(out / _SCORES)
    return identity


def is_first_process() -> bool:
    """Return whether this process is the first, which alone prints and writes.

    Returns:
        True without torchrun or accelerate.

    Example:
        >>> is_first_process()
        True
    """
    return int(os.environ.get("RANK", "0")) == 0


def train_into(
    task: Task[Any],
    config: Any,
    identity: Mapping[str, object],
    *,
    budget: Budget,
    seed: int,
    threads: int,
    out: str | Path,
    progress: Progress,
    training: Mapping[str, object] | None = None,
    on_record: OnRecord | None = None,
    tensorboard: str | Path | None = None,
) -> dict[str, float]:
    """Train a model, score it on the test set, and write a folder that the commands read.

    Args:
        task: Data and training numbers, with the translations of a teacher if it has one.
        config: The config of the model.
        identity: The result of `prepare_training`.
        budget: How long to train.
        seed: Seed of everything random.
        threads: Threads of PyTorch.
        out: Folder of the model.
        progress: Called with the number of steps done and of all.
        training: Changes of the task's numbers of training.
        on_record: Called with each record of the training.
        tensorboard: Folder of curves for TensorBoard.

    Returns:
        Scores on the test set. Of several processes only the first saves and scores; the others
        return {}.

    Raises:
        RuntimeError: If another process trains in this folder.

    Example:
        >>> import tempfile
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, budget, _ = application.setup(application.options(), Budget(steps=2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = {"budget": budget, "seed": 0, "threads": 1, "out": Path(folder) / "model"}
        ...     identity = prepare_training(task, arms[0].config, **run)
        ...     sorted(train_into(task, arms[0].config, identity, progress=lambda *_: None, **run))
        ['ap', 'balanced_accuracy', 'f1']
    """
    out = Path(out)
    tensorboard = None if tensorboard is None else Path(tensorboard)
    scores, checkpoints = out / _SCORES, out / "checkpoints"
    training = dict(training or {})
    writer = one_writer(out, caller="train") if is_first_process() else nullcontext()
    with use_threads("train_into", threads), writer as was_killed:
        if was_killed:
            shutil.rmtree(out / WORK, ignore_errors=True)
        if scores.is_file():
            metrics = read_json(scores)["scores"]
        else:
            steps = _stored_steps(task, config, identity, budget, threads, out, training)
            model = task.build(config, seed)
            records = task.train(
                model,
                training=training,
                steps=steps,
                seed=seed,
                folder=checkpoints,
                progress=progress,
                on_record=on_record,
                tensorboard=tensorboard,
            )
            if not is_first_process():
                return {}
            task.complete(model)
            task.save(model, out)
            write_json(out / "curve.json", {"version": 1, "records": list(records)})
            metrics = dict(task.evaluate(model).metrics)
            stored = {
                "version": 1,
                "scores": metrics,
                "baselines": task.baselines(),
                "signatures": task.signatures(),
            }
            card_of_training(
                identity,
                labels={metric.name: metric.label for metric in task.metrics},
                scores=metrics,
                baselines=stored["baselines"],
                parameters=sum(weight.numel() for weight in model.parameters()),
                steps=steps,
                training=APPLICATIONS[task.name].train if task.name in APPLICATIONS else None,
            ).write(out)
            write_json(scores, stored)
        if is_first_process() and checkpoints.exists():  # not every task writes them
            shutil.rmtree(checkpoints)
    return metrics


def _stored_steps(
    task: Task[Any],
    config: Any,
    identity: Mapping[str, object],
    budget: Budget,
    threads: int,
    out: Path,
    training: Mapping[str, object],
) -> int:
    """Read the steps of the training, or find them once and store them."""
    stored = out / "training.json"
    with PartialState(cpu=trains_on_cpu()).main_process_first():
        if not stored.is_file():
            steps = budget.steps
            if budget.minutes is not None:
                arms = [Arm(name="model", config=config, training=training)]
                run = {"minutes": budget.minutes, "jobs": 1, "threads": threads}
                steps = calibrate(task, arms, folder=out / WORK, **run)["model"]
                shutil.rmtree(out / WORK, ignore_errors=True)
            write_json(stored, {**identity, "steps": steps})
    return int(read_json(stored)["steps"])
