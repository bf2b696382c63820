"""Train one model into a folder, and go on after a crash."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from askew._check import require
from askew._config import to_dict
from askew._files import read_json, write_json
from askew._folders import check_resumable
from askew.tradeoffs import Arm, Budget, OnRecord, Progress, Task, calibrate


def prepare_training(
    task: Task[Any],
    config: Any,
    *,
    budget: Budget,
    seed: int,
    threads: int,
    out: Path,
    training: Mapping[str, object] | None = None,
) -> dict:
    """Check that a training can run in this folder, before any work and without a trace.

    Args:
        task: Data and training numbers.
        config: The model.
        budget: How long to train.
        seed: Of everything random.
        threads: Threads of PyTorch.
        out: Folder of the model; an unfinished training of the same settings is gone on with.
        training: Numbers of training besides those of the task.

    Returns:
        The settings that identify the training.

    Raises:
        ValueError: If the folder cannot be written or holds something else.

    Example:
        >>> import tempfile
        >>> from askew.tasks import translation_preset, translation_task
        >>> from askew.text import localisation_phrases
        >>> text = localisation_phrases(num_train=200, num_valid=20, num_test=20)
        >>> task = translation_task("phrases", text, vocab_size=400)
        >>> model = translation_preset("deep-shallow", "tiny", vocab_size=task.vocabularies())
        >>> run = {"budget": Budget(steps=9), "seed": 0, "threads": 1}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     prepare_training(task, model, out=Path(folder) / "new", **run)["seed"]
        0
    """
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
    return identity


def is_first_process() -> bool:
    """Tell whether this is the one process, or the first of several, that speaks and writes.

    Returns:
        True outside torchrun and accelerate.

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
    out: Path,
    progress: Progress,
    training: Mapping[str, object] | None = None,
    on_record: OnRecord | None = None,
    tensorboard: Path | None = None,
) -> dict[str, float]:
    """Train a model, score it on the test set and write all that the commands read.

    Args:
        task: Data and training numbers; translations of a teacher made.
        config: The model.
        identity: What `prepare_training` gave.
        budget: How long to train.
        seed: Of everything random.
        threads: Threads of PyTorch.
        out: Folder of the model.
        progress: Called with steps done and steps in all.
        training: Numbers of training besides those of the task.
        on_record: Called with each record of the training.
        tensorboard: Folder of curves for TensorBoard.

    Returns:
        Scores on the test set; of several processes the first alone saves and scores, and the
        others give none.

    Example:
        >>> from askew.tasks import translation_preset, translation_task
        >>> from askew.text import localisation_phrases
        >>> text = localisation_phrases(num_train=200, num_valid=20, num_test=20)
        >>> task = translation_task("phrases", text, vocab_size=400)
        >>> model = translation_preset("deep-shallow", "tiny", vocab_size=task.vocabularies())
        >>> run = {"budget": Budget(steps=2), "seed": 0, "threads": 1}
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run["out"] = Path(folder) / "model"
        ...     identity = prepare_training(task, model, **run)
        ...     sorted(train_into(task, model, identity, progress=lambda *_: None, **run))
        ['bleu', 'chrf', 'exact_match']
    """
    scores, stored = out / "scores.json", out / "training.json"
    if scores.is_file():
        return read_json(scores)["scores"]
    training = dict(training or {})
    with PartialState(cpu=not torch.accelerator.is_available()).main_process_first():
        if not stored.is_file():
            steps = budget.steps
            if budget.minutes is not None:
                arm = Arm(name="model", config=config, training=training)
                minutes = budget.minutes
                steps = calibrate(task, [arm], minutes=minutes, jobs=1, threads=threads)["model"]
            out.mkdir(parents=True, exist_ok=True)
            write_json(stored, {**identity, "steps": steps})
    steps = int(read_json(stored)["steps"])
    model = task.build(config, seed)
    checkpoints = out / "checkpoints"
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
    task.save(model, out)
    write_json(out / "curve.json", {"version": 1, "records": list(records)})
    found = dict(task.evaluate(model).metrics)
    write_json(scores, {"version": 1, "scores": found, "signatures": task.signatures()})
    if checkpoints.exists():  # a task need not keep any
        shutil.rmtree(checkpoints)
    return found
