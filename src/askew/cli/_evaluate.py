"""The command `askew evaluate`: score a trained model of any application."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import typer

from askew._files import to_json, write_text
from askew._folders import check_output
from askew.cli._exits import (
    check_paths,
    exit_on_failure,
    exit_on_user_error,
    print_notes,
    set_up_torch,
    tell_read,
)
from askew.cli._options import OneLineCommand, OutputOptions, make_command
from askew.cli._streams import show
from askew.tasks import Application, option


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(OutputOptions):
    """The model to score, and where its outputs go."""

    folder: Path = option(..., "A folder that training wrote.", positional=True)
    out: Path | None = option(None, "Also write the outputs of the model here, one per line.")


def add_evaluate_command(app: typer.Typer, applications: Mapping[str, Application]) -> None:
    """Add `askew evaluate` with the options of every application that scores its models."""
    scored = {
        name: application.evaluate
        for name, application in applications.items()
        if application.evaluate is not None
    }
    command = make_command(
        partial(_evaluate, scored),
        EvaluateOptions,
        *(scoring.options for scoring in scored.values()),
    )
    metrics = " ".join(scoring.help for scoring in scored.values())
    app.command(
        "evaluate",
        cls=OneLineCommand,
        help="Score a trained model on test data, by the metrics of its kind.\n\n"
        f"{metrics} An option for another kind of model is refused.",
    )(command)


def _evaluate(scored: Mapping[str, Any], run: EvaluateOptions, *each: Any) -> None:
    with exit_on_user_error():
        check_paths()
        name = _application_of(run.folder)
        options = dict(zip(scored, each, strict=True))
        if run.out is not None:
            named = [getattr(options[name], one.name) for one in fields(options[name])]
            files = [value for value in named if isinstance(value, Path)]
            check_output(run.out, caller="evaluate", reads=[run.folder, *files])
        _check_options(name, options)
        set_up_torch(options[name].threads)
        scorer = scored[name].score(run.folder, options[name])
    from askew.cli._progress import LineProgress

    tell_read(scorer.read, quiet=run.quiet)
    print_notes(scorer.notes)
    with exit_on_failure(), LineProgress("evaluating", quiet=run.quiet) as progress:
        outputs, results, lines = scorer.score(progress.reach)
    if run.out is not None:
        texts = (" ".join(text.splitlines()) + "\n" for text in outputs)
        write_text(run.out, "".join(texts))
    if run.as_json:
        show(to_json(results))
    else:
        show("\n".join(lines))


def _application_of(folder: Path) -> str:
    from askew.models import model_kind

    kind = model_kind(folder)
    if kind.application is None:
        kind.load(folder)  # the error describes a damaged folder
        raise ValueError(f"evaluate: the model must be one that askew trained; got {folder}")
    return kind.application


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options for another kind of model."""
    known = {one.name for one in fields(options[name])}
    for other, values in options.items():
        for one in fields(values):
            value = getattr(values, one.name)
            if one.name not in known and value != one.default:
                raise ValueError(
                    f"evaluate: --{one.name.replace('_', '-')} must be left out for a model of "
                    f"{name}; got {value}. It is an option of {other}"
                )
