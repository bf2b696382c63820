"""Callbacks of a training: clock, average, early stopping, and marks of whole checkpoints."""

import time
from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from pathlib import Path

from accelerate import PartialState
from safetensors.torch import load_model, save_model
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from askew._files import parse_json, replacing, write_json
from askew.training._average import WeightAverage

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in total."""

_COMPLETE = "complete"
_BEST = "best.safetensors"


class Clock(TrainerCallback):
    """Counts CPU-seconds of batches and steps, also over a resume; reports the progress."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds = 0.0
        self.progress = progress

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        spent = [record.get("train_seconds", 0.0) for record in state.log_history]
        self.seconds = max(spent, default=0.0)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._started = time.process_time()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self.seconds += time.process_time() - self._started
        if self.progress is not None and state.is_world_process_zero:
            self.progress(state.global_step, state.max_steps)


class OwnIntervals(TrainerCallback):
    """Evaluates and saves as often as the arguments say; a resumed state brings its own numbers."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        state.compute_steps(args, state.max_steps)


class Averaging(TrainerCallback):
    """Keeps the running average of the weights up to date, and in every checkpoint."""

    def __init__(self, average: WeightAverage) -> None:
        self.average = average

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self.average.update(state.global_step)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero:
            self.average.save(_checkpoint(args, state))


class EarlyStopping(TrainerCallback):
    """Keeps the best weights; stops after `patience` evaluations that are no better."""

    def __init__(self, model: nn.Module, patience: int, margin: float) -> None:
        self.model = model
        self.patience, self.margin = patience, margin

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        records = state.log_history
        if evaluations_since_best(records) == 0 and state.is_world_process_zero:
            save_best(self.model, Path(str(args.output_dir)))
        if evaluations_since_best(records, margin=self.margin) >= self.patience:
            control.should_training_stop = True


class Divergence(TrainerCallback):
    """Ends a training that diverged before a checkpoint of it replaces a good one."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        for name in ("loss", "eval_loss"):
            value = (logs or {}).get(name, 0.0)
            if not isfinite(value):
                raise FloatingPointError(_diverged(f"{name} {value}", state))

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: object,
    ) -> None:
        if model is None or not (control.should_save or state.global_step == state.max_steps):
            return
        broken = [n for n, weight in model.named_parameters() if not weight.isfinite().all()]
        if broken:
            raise FloatingPointError(_diverged(f"{', '.join(broken[:3])} not finite", state))


def _diverged(what: str, state: TrainerState) -> str:
    return (
        f"train_model: losses and weights must stay finite; got {what} at step "
        f"{state.global_step}. Lower training.lr"
    )


class CompletionMark(TrainerCallback):
    """Marks a checkpoint once all of it is written; one without the mark is never resumed."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        PartialState().wait_for_everyone()  # every process writes its random state
        if state.is_world_process_zero:
            mark_complete(_checkpoint(args, state))


def mark_complete(checkpoint: Path) -> None:
    """Write the size of every file; a checkpoint whose files differ from it is not resumed."""
    sizes = {
        path.name: path.stat().st_size
        for path in checkpoint.iterdir()
        if path.is_file() and not path.name.startswith(".")  # of a crash while this was written
    }
    write_json(checkpoint / _COMPLETE, sizes)


def _is_whole(mark: Path) -> bool:
    try:
        sizes = parse_json(mark.read_text(encoding="utf-8"))
        return isinstance(sizes, dict) and all(
            name == Path(name).name and (mark.parent / name).stat().st_size == size
            for name, size in sizes.items()
        )
    except (OSError, ValueError):
        return False


def last_checkpoint(folder: str | Path) -> Path | None:
    """Find the newest checkpoint that was written whole and is still whole.

    Args:
        folder: Where a training run writes.

    Returns:
        Its folder, or None.

    Example:
        >>> last_checkpoint(Path("/nowhere")) is None
        True
    """
    folder = Path(folder)
    marks = folder.glob(f"checkpoint-*/{_COMPLETE}")
    complete = [mark.parent for mark in marks if _is_whole(mark)]
    return max(complete, key=lambda path: int(path.name.split("-")[1]), default=None)


def read_records(checkpoint: Path) -> list[Mapping[str, float]]:
    """Read what was logged up to a checkpoint."""
    state = parse_json((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return state["log_history"]


def evaluations_since_best(records: Sequence[Mapping[str, float]], *, margin: float = 0.0) -> int:
    """Count the evaluations after the last one that was better, by more than a margin.

    Small steps add up: a loss is compared with the last one that was better.

    Example:
        >>> records = [{"eval_loss": loss} for loss in (2.0, 1.5, 1.48, 1.46, 1.47)]
        >>> evaluations_since_best(records), evaluations_since_best(records, margin=0.1)
        (1, 3)
    """
    best, since = inf, 0
    for record in records:
        if "eval_loss" in record:
            is_better = record["eval_loss"] < best - margin
            best, since = (record["eval_loss"], 0) if is_better else (best, since + 1)
    return since


def save_best(model: nn.Module, folder: Path) -> None:
    """Write the weights, whole or not at all."""
    with replacing(folder / _BEST) as partial:
        save_model(model, str(partial))


def load_best(model: nn.Module, folder: Path) -> None:
    """Read what `save_best` wrote last."""
    load_model(model, folder / _BEST)


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
