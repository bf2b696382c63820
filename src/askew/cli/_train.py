"""The command `askew train`: train one model of an application."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer

from askew._check import requires_extra
from askew._devices import on_device, use_device
from askew._files import to_json
from askew._folders import check_writable, one_writer
from askew.cli._compare import run_teacher
from askew.cli._exits import (
    exit_on_interrupt,
    exit_on_user_error,
    print_notes,
    set_up_torch,
    tell_read,
)
from askew.cli._options import (
    MAX_SEED,
    BudgetOptions,
    DeviceOptions,
    OneLineCommand,
    OutputOptions,
    make_command,
    paragraphs,
)
from askew.cli._streams import show
from askew.tasks import Application, Training, option


@dataclass(frozen=True, kw_only=True)
class RunOptions(OutputOptions, DeviceOptions, BudgetOptions):
    """Options for one training."""

    out: Path = option(..., "Folder of the model.")
    seed: int = option(0, "Seed of everything random.", minimum=0, maximum=MAX_SEED)
    threads: int = option(1, "Threads.", minimum=1)
    tensorboard: Path | None = option(None, "Folder for curves of TensorBoard.")


def make_train_app(applications: Mapping[str, Application]) -> typer.Typer:
    """Make `askew train`: a sub-command per application that trains one model."""
    app = typer.Typer(help="Train one model.", no_args_is_help=True)
    for name, application in applications.items():
        if application.train is not None:
            command = make_command(
                partial(_train, application, application.train),
                application.train.options,
                RunOptions,
            )
            app.command(name, cls=OneLineCommand, help=paragraphs(application.train.help))(command)
    return app


def _train(application: Application, training: Training, options: Any, run: RunOptions) -> None:
    """Train into a folder; the first process prints the scores."""
    with exit_on_user_error():
        use_device("train", run.device)
        if run.tensorboard is not None:
            with requires_extra("train", "track"):
                import tensorboard  # noqa: F401
            check_writable(run.tensorboard, option="--tensorboard")
        set_up_torch(run.threads)
        from askew import tasks

        task = on_device(application.make_task(options), run.device)
        config, numbers = training.make_model(task, options)
        call = {
            "budget": run.budget() or application.budget(options),
            "seed": run.seed,
            "threads": run.threads,
            "out": run.out,
            "training": numbers,
        }
        identity = tasks.prepare_training(task, config, **call)
    from askew.cli._progress import TrainingProgress

    is_first = tasks.is_first_process()
    quiet = run.quiet or not is_first
    if is_first:
        tell_read(application.read(task, options), quiet=quiet)
        print_notes(application.notes(task, options))
    teach = application.teach(task, options)
    held = one_writer(run.out, caller="train") if is_first else nullcontext()
    with exit_on_interrupt(run.out), held:
        if teach is not None:
            task = run_teacher(teach, run.out, quiet=quiet)
        with TrainingProgress(quiet=quiet) as progress:
            scores = tasks.train_into(
                task,
                config,
                identity,
                progress=progress,
                on_record=progress.record,
                tensorboard=run.tensorboard,
                **call,
            )
    if is_first:
        _print_scores(scores, run)


def _print_scores(scores: Mapping[str, float], run: RunOptions) -> None:
    if run.as_json:
        show(to_json(scores))
    else:
        show("test set: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        show(f"model: {run.out}")
