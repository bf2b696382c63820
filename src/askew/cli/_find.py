"""The command `askew find`: search for the asymmetry that pays, and confirm it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from askew._budget import Choice, Range, SearchBudget
from askew._check import requires_extra
from askew._config import parse_setting
from askew._files import to_json
from askew._folders import one_writer
from askew.cli._compare import AnyOrder, VerdictOptions, check_report, command_line, run_teacher
from askew.cli._exits import exit_on_interrupt, exit_on_user_error, print_notes, set_up_torch
from askew.cli._options import OneLineCommand, make_command, paragraphs
from askew.cli._report import show_results, write_page
from askew.cli._requests import parse_bound, parse_numbers, read_space
from askew.cli._streams import show
from askew.tasks import Application, option

if TYPE_CHECKING:
    from askew.tradeoffs import Space

_SEARCHED = """

    Asymmetric and symmetric models are searched with equal effort, on training and validation data.
    The best asymmetric ones then meet the best symmetric one on fresh seeds and on the test data.
    The report says whether it pays. A search that was killed resumes when the same command is
    typed again.

    Exit codes: 0 done, 1 failed while running, 2 bad input or no verdict, 130 interrupted.
    """


@dataclass(frozen=True, kw_only=True)
class SearchOptions(VerdictOptions):
    """Options for a search."""

    minutes: float = option(
        40.0, "CPU-minutes of all training, 60 % for the search and 40 % for its confirmation."
    )
    steps: int | None = option(
        None,
        "Training steps of a candidate that is trained fully; by default a fortieth of the "
        "minutes.",
        minimum=1,
        show_default=False,
    )
    candidates: int | None = option(
        None, "Number of candidates; by default what the minutes buy.", show_default=False
    )
    finalists: int = option(2, "Candidates that are confirmed, 3 at most.", minimum=1)
    seeds: int | None = option(
        None,
        "Fresh seeds of the confirmation; five or more give verdicts; by default what the minutes "
        "buy.",
        minimum=1,
        show_default=False,
    )
    at_most: list[str] | None = option(
        None,
        "Upper bound of a cost: parameters=N, flops=N (of a training step), latency_ms=N, "
        "memory_mb=N (of answering) or, for questions, index_bytes=N (of a context). May be "
        "repeated; nothing is matched then.",
    )
    search: list[str] | None = option(
        None,
        "A number to search, in addition to the usual ones: KEY=LOW..HIGH, with :log, :int or "
        ":step=16 after it, or KEY=a,b,c. May be repeated.",
    )
    freeze: list[str] | None = option(
        None, "A number that is not searched: KEY=VALUE. May be repeated."
    )
    space: Path | None = option(None, "A TOML file with the numbers to search, instead.")
    show: Path | None = option(
        None, "Print where the search in this folder stands, and do nothing else."
    )
    jobs: int = option(0, "Trainings at the same time; 0 means one per core.", minimum=0)
    threads: int = option(1, "Threads of each training.", minimum=1)

    def __post_init__(self) -> None:
        _ = self.budget, self.bounds, self.numbers, self.frozen

    @property
    def budget(self) -> SearchBudget:
        """What the search may spend."""
        return SearchBudget(
            minutes=self.minutes,
            steps=self.steps,
            candidates=self.candidates,
            finalists=self.finalists,
            seeds=self.seeds,
        )

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds of --at-most."""
        return dict(map(parse_bound, self.at_most or ()))

    @property
    def numbers(self) -> dict[str, Range | Choice]:
        """The numbers of --search."""
        return dict(parse_numbers("find", text) for text in self.search or ())

    @property
    def frozen(self) -> dict[str, Any]:
        """The numbers of --freeze, by dotted name."""
        return {text.partition("=")[0]: _leaf(parse_setting(text)) for text in self.freeze or ()}

    def space_of(self, usual: "Space") -> "Space":
        """Return the space of the options, from the usual one of the application."""
        space = usual if self.space is None else read_space(self.space)
        space = replace(space, numbers={**space.numbers, **self.numbers})
        return space.frozen(self.frozen)


def make_find_app(applications: Mapping[str, Application]) -> typer.Typer:
    """Make `askew find`: a sub-command for every application that has a space."""
    app = typer.Typer(
        cls=AnyOrder,
        no_args_is_help=False,
        help="Search for the asymmetry that pays, and confirm it on fresh seeds.\n\n"
        f"Without a name it is {next(iter(applications))}; `askew find NAME --help` shows the "
        "options of each.",
    )
    for name, application in applications.items():
        if application.space is not None:
            command = make_command(partial(_find, application), application.options, SearchOptions)
            text = paragraphs(application.help + _SEARCHED)
            app.command(name, cls=OneLineCommand, help=text)(command)
    return app


def _find(application: Application, options: Any, run: SearchOptions) -> None:
    if run.show is not None:
        _show(run.show, application, options, run)
        return
    with exit_on_user_error():
        check_report()
        with requires_extra("find", "sweep"):
            import optuna  # noqa: F401
        from askew import tradeoffs
        from askew.tasks import search_folder

        setup = application.setup(options)
        assert application.space is not None
        call = {
            "space": run.space_of(application.space(setup.task, options)),
            "start": setup.arms,
            "budget": run.budget,
            "match": "nothing" if run.at_most else str(setup.settings["match"]),
            "at_most": run.bounds,
            "threads": run.threads,
        }
        folder = run.out or search_folder(setup.task, **call)
        tradeoffs.prepare_search(setup.task, out=folder, **call)
    print_notes(application.notes(setup.task, options))
    set_up_torch(run.threads)
    from askew.cli._progress import SearchProgress

    teach = application.teach(setup.task, options)
    with exit_on_interrupt(folder), one_writer(folder, caller="find"):
        if teach is not None:
            setup = setup._replace(task=run_teacher(teach, folder, quiet=run.quiet))
        with SearchProgress(quiet=run.quiet) as watcher:
            found = tradeoffs.find(
                setup.task,
                out=folder,
                jobs=run.jobs or os.cpu_count() or 1,
                settings=setup.settings,
                command=command_line(),
                watcher=watcher,
                **call,
            )
        write_page(found.comparison.results, folder, run.report_language)
    show_results(found.comparison.results, folder, run.report_language, as_json=run.as_json)
    if run.require_verdict and any(v.verdict is None for v in found.comparison.verdicts):
        raise typer.Exit(2)


def _show(folder: Path, application: Application, options: Any, run: SearchOptions) -> None:
    """Print where a search stands."""
    with exit_on_user_error():
        printing = SearchOptions(show=folder, quiet=run.quiet, as_json=run.as_json)
        if run != replace(printing, report_language=run.report_language) or (
            options != application.options()
        ):
            raise ValueError(
                "find: --show stands alone, or with --json or --report-language; got more options. "
                "Leave them out"
            )
        from rich.console import Console

        from askew.tradeoffs import print_search, search_status

        status = search_status(folder, language=run.report_language)
    if run.as_json:
        show(to_json(status._asdict()))
    else:
        print_search(status, Console(), language=run.report_language)


def _leaf(setting: Mapping[str, Any]) -> Any:
    (value,) = setting.values()
    return _leaf(value) if isinstance(value, Mapping) else value
