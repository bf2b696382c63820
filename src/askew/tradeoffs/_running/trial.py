"""One arm trained with one seed: whole on disk, or not there."""

import math
import os
import shutil
import signal
import site
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from askew._check import require
from askew._files import check_name, existing_file, in_short, is_name, read_json, write_json
from askew._folders import WORK
from askew.tradeoffs._results_schema import trial_fault
from askew.tradeoffs._task import Arm, Evaluation, Model, Records, Task

if TYPE_CHECKING:
    from torch import nn

GAP = "generalisation_gap"
_LARGEST = 1e100
_SEED = "-seed"
_PACKAGE = Path(__file__).parents[2]


class Trial(NamedTuple):
    """A finished trial, as its folder holds it.

    Args:
        arm: Its arm.
        seed: Its seed.
        metrics: Scores of the whole test set.
        items: One score per test item, by metric.
        train_seconds: CPU time of the training.
        curve: Losses by step.
        model: Folder of the trained weights.
        diverged: What was not finite if the training diverged, which then has no metrics, items
            and weights; "" if it did not.

    Example:
        >>> trial = Trial("plain", 0, {"f1": 80.0}, {}, 1.5, [], Path("out/trials/plain-0/model"))
        >>> trial.metrics["f1"]
        80.0
    """

    arm: str
    seed: int
    metrics: Mapping[str, float]
    items: Mapping[str, np.ndarray]
    train_seconds: float
    curve: list[dict[str, float]]
    model: Path
    diverged: str = ""


def trial_name(arm: str, seed: int) -> str:
    """Name the folder of a trial.

    Raises:
        ValueError: If the name of the arm leads out of a folder.
    """
    check_name("trial_name", "arm", arm)
    return f"{arm}{_SEED}{seed}"


def is_finished(out: Path, arm: str, seed: int) -> bool:
    """Return whether a finished trial is on disk, so that it need not run again."""
    return is_name(arm) and (out / "trials" / trial_name(arm, seed) / "trial.json").is_file()


def unfinished(out: Path, arms: Sequence[str]) -> list[str]:
    """Name the trials of some arms whose work is not finished and can be continued."""
    names = []
    for path in (out / WORK).glob("*"):
        arm, _, seed = path.name.rpartition(_SEED)
        if arm in arms and seed.isdecimal() and not is_finished(out, arm, int(seed)):
            names.append(path.name)
    return names


def start_worker(parent: int, threads: int) -> None:
    """Prepare a process that runs trials: set its threads, and end it when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C for all
    import torch

    torch.set_num_threads(threads)
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # set before transformers is imported
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


@contextmanager
def errors_name(trial: str, *, caller: str = "compare") -> Iterator[None]:
    """Add the trial and the place in the user's code to what PyTorch says of a model."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"{caller}: {trial}{_place(error)}: {error}") from error


def _place(error: Exception) -> str:
    """Name the innermost line of an error that is in no package."""
    packages = (*site.getsitepackages(), sysconfig.get_path("stdlib"), str(_PACKAGE), "<")
    for frame in reversed(extract_tb(error.__traceback__)):
        if not frame.filename.startswith(packages):
            return f", {Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return ""


def run_trial(task: Task[Model], arm: Arm, seed: int, *, steps: int, out: Path) -> None:
    """Train, score and store one trial; called again after a crash, continue.

    The seed is that of the data order, of dropout and, with the arm's offset, of the weights.

    Raises:
        RuntimeError: What PyTorch raises, with arm, seed and the place in the user's code.
    """
    with errors_name(f"{arm.name}, seed {seed}"):
        _run_trial(task, arm, seed, steps=steps, out=out)


def _run_trial(task: Task[Model], arm: Arm, seed: int, *, steps: int, out: Path) -> None:
    name = trial_name(arm.name, seed)
    work, final = out / WORK / name, out / "trials" / name
    work.mkdir(parents=True, exist_ok=True)
    model = task.build(arm.config, seed + arm.init_offset)
    started, records, items, outcome = time.process_time(), [], {}, {}
    try:
        records = task.train(
            model,
            training=arm.training,
            steps=steps,
            seed=seed,
            folder=work,
            progress=ProgressFile(work / "progress"),
        )
        check_training(model, records)
        evaluation = task.evaluate(model)
        items = {metric: np.asarray(values, float) for metric, values in evaluation.items.items()}
        metrics = dict(evaluation.metrics) | _gap(task, model, evaluation)
        for name, value in metrics.items():
            _check_scores(name, np.append(items.get(name, ()), value))
        outcome["metrics"] = {name: float(value) for name, value in metrics.items()}
    except FloatingPointError as error:
        items, outcome = {}, {"metrics": {}, "diverged": in_short(error)}
    whole = work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    if "diverged" not in outcome:
        task.save(model, whole / "model")
    save_file(items, whole / "items.safetensors")
    spent = max(time.process_time() - started, 1e-6)
    values = {
        "version": 1,
        "arm": arm.name,
        "seed": seed,
        "steps": steps,
        **outcome,
        "train_seconds": max((r["train_seconds"] for r in records), default=spent),
        "curve": learning_curve(records),
    }
    write_json(whole / "trial.json", values)
    final.parent.mkdir(exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    whole.rename(final)
    shutil.rmtree(work)


def check_training(model: "nn.Module", records: Records) -> None:
    """Raise a FloatingPointError if a training diverged without a word."""
    for record in records:
        for name in ("loss", "eval_loss"):
            if not math.isfinite(record.get(name, 0.0)):
                raise FloatingPointError(f"{name} {record[name]} at step {record['step']}")
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise FloatingPointError(f"weights that are not finite in {', '.join(broken[:3])}")


def _check_scores(name: str, values: np.ndarray) -> None:
    """Raise a FloatingPointError if a score is NaN, or so large that its square could overflow."""
    bad = values[~(np.abs(values) <= _LARGEST)]
    if bad.size:
        raise FloatingPointError(f"{name} {bad[0]}, which is not finite or above {_LARGEST:g}")


def _gap(task: Task[Model], model: Model, evaluation: Evaluation) -> dict[str, float]:
    """Compute how much better the first metric is on training data, if the task scores these."""
    score = task.train_score(model)
    if score is None:
        return {}
    metric = task.metrics[0]
    gap = score - evaluation.metrics[metric.name]
    return {GAP: gap if metric.better == "higher" else -gap}


def validation_score(
    task: Task[Model], model: Model, records: Records, *, of: str, caller: str
) -> float:
    """Return the task's score on validation data, or the last loss there with its sign turned.

    Args:
        task: The task.
        model: A trained model.
        records: Of its training.
        of: What is trained, for the message.
        caller: What the message names.

    Returns:
        The score, higher is better; it may not be finite.

    Raises:
        ValueError: If the task gives no score and the training recorded no loss.
    """
    score = task.validate(model)
    if score is not None:
        return float(score)
    losses = [record["eval_loss"] for record in records if "eval_loss" in record]
    require(bool(losses), f"{caller}: training must record a validation loss; got none of {of}")
    return -float(losses[-1])


def load_trial(out: str | Path, arm: str, seed: int) -> Trial:
    """Read a finished trial.

    Args:
        out: Folder of the comparison.
        arm: The arm.
        seed: The seed.

    Returns:
        What was stored.

    Raises:
        ValueError: If it is not there, damaged or of another version.

    Example:
        >>> load_trial(Path("/nowhere"), "plain", 0)
        Traceback (most recent call last):
        ValueError: read_json: the file must exist; got /nowhere/trials/plain-seed0/trial.json
    """
    out = Path(out)
    folder = out / "trials" / trial_name(arm, seed)
    stored = read_json(folder / "trial.json")
    fault, items = trial_fault(stored), {}
    try:
        items = load_file(existing_file("load_trial", folder / "items.safetensors"))
    except (OSError, SafetensorError) as error:
        fault = fault or f"items.safetensors: {in_short(error)}"
    malformed = [
        name for name, values in items.items() if values.ndim != 1 or values.dtype != float
    ]
    fault = fault or ", ".join(f"items of {name} that are no list of numbers" for name in malformed)
    require(
        not fault,
        f"load_trial: a trial must be whole; got {folder / 'trial.json'}: {fault}. Remove its "
        "folder and run again",
    )
    return Trial(
        arm=arm,
        seed=seed,
        metrics=stored["metrics"],
        items=items,
        train_seconds=float(stored["train_seconds"]),
        curve=stored["curve"],
        model=folder / "model",
        diverged=stored.get("diverged", ""),
    )


def learning_curve(records: Records) -> list[dict[str, float]]:
    """Join the training and validation records of the same step.

    Each has `step`, `train_seconds`, and `train_loss` and `valid_loss` if recorded.
    """
    names = {"loss": "train_loss", "eval_loss": "valid_loss", "train_seconds": "train_seconds"}
    curve: dict[int, dict[str, float]] = {}
    for record in records:
        if "loss" in record or "eval_loss" in record:
            point = curve.setdefault(int(record["step"]), {"step": int(record["step"])})
            point.update({names[key]: value for key, value in record.items() if key in names})
    return [curve[step] for step in sorted(curve)]


class ProgressFile:
    """A file in which another process reads the steps done, written twice a second at most.

    Args:
        path: The file that holds the steps done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0.0

    def __call__(self, step: int, steps: int) -> None:
        """Write that `step` of `steps` are done."""
        if step == steps or time.monotonic() - self._written > 0.5:
            self._written = time.monotonic()
            self.path.write_text(str(step), encoding="ascii")


def read_progress(out: Path, arm: str, seed: int) -> int:
    """Read how many steps a running trial has done; 0 if there is no such file."""
    try:
        return int((out / WORK / trial_name(arm, seed) / "progress").read_text("ascii"))
    except (OSError, ValueError):
        return 0
