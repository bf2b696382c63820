"""The command `askew find`: search for the asymmetry that pays, and confirm it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from askew._budget import Choice, Range, SearchBudget
from askew._check import require, requires_extra
from askew._config import parse_setting
from askew._devices import on_device, use_device
from askew._files import to_json
from askew._folders import one_writer
from askew.cli._compare import (
    ExperimentOptions,
    VerdictOptions,
    check_report,
    command_line,
    run_teacher,
)
from askew.cli._exits import (
    exit_on_interrupt,
    exit_on_user_error,
    print_notes,
    set_up_torch,
    tell_read,
)
from askew.cli._options import (
    AnyOrder,
    DeviceOptions,
    OneLineCommand,
    make_command,
    paragraphs,
    refuse_device,
)
from askew.cli._report import show_results, write_page
from askew.cli._requests import by_name, load_experiment, parse_bound, parse_searched, read_space
from askew.cli._streams import make_console, show
from askew.tasks import Application, option

if TYPE_CHECKING:
    from askew.tradeoffs import Arm, Found, Space, Task

_SEARCHED = """

    Asymmetric and symmetric models are searched with equal effort, on training and validation data.
    The best asymmetric ones then meet the best symmetric one on fresh seeds and on the test data.
    The report says whether it pays. A search that was killed resumes when the same command is
    typed again.

    Exit codes: 0 done, 1 failed while running, 2 bad input or no verdict, 130 interrupted.
    """


@dataclass(frozen=True, kw_only=True)
class SearchOptions(VerdictOptions, DeviceOptions):
    """Options for a search."""

    minutes: float | None = option(
        None,
        "CPU-minutes of all training, 60 % for the search and 40 % for its confirmation; 28 by "
        "default. Without them and without data, the numbers below are the same everywhere.",
        show_default=False,
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
    finalists: int | None = option(
        None,
        "Candidates that are confirmed, 3 at most; 2 by default.",
        minimum=1,
        show_default=False,
    )
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
    cluster: str | None = option(
        None,
        "Run trainings on a Ray cluster: local (this machine, --jobs at once), auto or an address.",
        show_default=False,
    )

    def __post_init__(self) -> None:
        _ = self.budget_like(SearchBudget()), self.bounds
        both = sorted(self.numbers.keys() & self.frozen.keys())
        require(
            not both,
            f"find: --search and --freeze must name different numbers; got {', '.join(both)}",
        )
        refuse_device(self.device if self.cluster else "auto", "find", "--cluster")

    def budget_like(self, usual: SearchBudget) -> SearchBudget:
        """Return what the search may spend: the usual budget with the numbers that are given."""
        given = {field.name: getattr(self, field.name) for field in fields(SearchBudget)}
        given = {name: number for name, number in given.items() if number is not None}
        return replace(SearchBudget() if self.minutes is not None else usual, **given)

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds of --at-most."""
        return by_name("find", "--at-most", map(parse_bound, self.at_most or ()))

    @property
    def numbers(self) -> dict[str, Range | Choice]:
        """The numbers of --search."""
        return parse_searched("find", self.search or ())

    @property
    def frozen(self) -> dict[str, Any]:
        """The numbers of --freeze, by dotted name."""
        return by_name("find", "--freeze", map(_frozen, self.freeze or ()))

    def space_of(self, usual: "Space | None") -> "Space":
        """Return the space of the options, from the usual one of the application if it has one.

        Raises:
            ValueError: If there is none.
        """
        space = usual if self.space is None else read_space(self.space)
        if space is None:
            raise ValueError(
                "find: an Experiment must have a space; got none. Write space=Space(…), or use "
                "--space FILE.toml"
            )
        space = replace(space, numbers={**space.numbers, **self.numbers})
        return space.frozen(self.frozen)


@dataclass(frozen=True, kw_only=True)
class SearchedExperimentOptions(ExperimentOptions):
    """The experiment to search in."""

    match: Literal["parameters", "flops", "latency", "nothing"] = option(
        "parameters", "Cost that all candidates have in common with the first model."
    )


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
            command = make_command(
                partial(_find_application, application), application.options, SearchOptions
            )
            text = paragraphs(application.help + _SEARCHED)
            app.command(name, cls=OneLineCommand, help=text)(command)
    app.command(
        "experiment",
        cls=OneLineCommand,
        help="Search among your own models: MODULE:NAME or FILE.py:NAME is an Experiment with a "
        "space." + paragraphs(_SEARCHED),
    )(make_command(_find_experiment, SearchedExperimentOptions, SearchOptions))
    return app


def _find_application(application: Application, options: Any, run: SearchOptions) -> None:
    if run.show is not None:
        _show(run.show, run, alone=options == application.options())
        return
    with exit_on_user_error():
        if getattr(options, "match", "") == "time":
            raise ValueError("find: --match must be parameters, flops or latency; got time")
        use_device("find", run.device)
        _check_packages(run)
        set_up_torch(run.threads)
        options = application.search_options(options)
        setup = application.search_setup(options, run.bounds)
        setup = setup._replace(task=on_device(setup.task, run.device))
        assert application.space is not None
        call = _call(
            run.space_of(application.space(setup.task, options)),
            setup.arms,
            setup.settings,
            application.search_budget(options),
            run,
        )
        folder = _prepare(setup.task, call, run)
    tell_read(application.read(setup.task, options), quiet=run.quiet)
    print_notes(application.notes(setup.task, options))
    teach = application.teach(setup.task, options)
    with exit_on_interrupt(folder), one_writer(folder, caller="find"):
        if teach is not None:
            setup = setup._replace(task=run_teacher(teach, folder, quiet=run.quiet))
        found = _run(setup.task, call, setup.settings, folder, run)
    _finish(found, folder, run)


def _find_experiment(options: SearchedExperimentOptions, run: SearchOptions) -> None:
    if run.show is not None:
        given = SearchedExperimentOptions(experiment=options.experiment)
        _show(run.show, run, alone=options == given)
        return
    with exit_on_user_error():
        use_device("find", run.device)
        _check_packages(run)
        given = on_device(load_experiment(options.experiment, "find"), run.device)
        experiment = replace(given, space=run.space_of(given.space))
        assert experiment.space is not None
        matched = {"match": options.match}
        call = _call(experiment.space, experiment.arms, matched, SearchBudget(), run)
        folder = _prepare(experiment, call, run)
    set_up_torch(run.threads)
    with exit_on_interrupt(folder):
        found = _run(experiment, call, {}, folder, run)
    _finish(found, folder, run)


def _check_packages(run: SearchOptions) -> None:
    check_report()
    with requires_extra("find", "sweep"):
        import optuna  # noqa: F401
    if run.cluster:
        with requires_extra("find", "cluster"):
            import_module("ray")


def _call(
    space: "Space",
    start: "Sequence[Arm]",
    settings: Mapping[str, Any],
    usual: SearchBudget,
    run: SearchOptions,
) -> dict[str, Any]:
    """Return the arguments of a search besides task, folder and what its end does not depend on."""
    return {
        "space": space,
        "start": start,
        "budget": run.budget_like(usual),
        "match": "nothing" if run.at_most else str(settings["match"]),
        "at_most": run.bounds or settings.get("at_most", {}),
        "threads": run.threads,
    }


def _prepare(task: "Task[Any]", call: Mapping[str, Any], run: SearchOptions) -> Path:
    """Refuse a search that cannot run, and return its folder."""
    from askew import tradeoffs
    from askew.tasks import search_folder

    folder = run.out or search_folder(task, **call)
    tradeoffs.prepare_search(task, out=folder, **call)
    return folder


def _run(
    task: "Task[Any]",
    call: Mapping[str, Any],
    settings: Mapping[str, object],
    folder: Path,
    run: SearchOptions,
) -> "Found":
    from askew import tradeoffs
    from askew.cli._progress import SearchProgress

    with SearchProgress(quiet=run.quiet) as watcher:
        found = tradeoffs.find(
            task,
            out=folder,
            jobs=run.jobs or os.cpu_count() or 1,
            settings=settings,
            command=command_line(),
            watcher=watcher,
            cluster=run.cluster,
            **call,
        )
    write_page(found.comparison.results, folder, run.report_language)
    return found


def _finish(found: "Found", folder: Path, run: SearchOptions) -> None:
    show_results(found.comparison.results, folder, run.report_language, as_json=run.as_json)
    if run.require_verdict and any(v.verdict is None for v in found.comparison.verdicts):
        raise typer.Exit(2)


def _show(folder: Path, run: SearchOptions, *, alone: bool) -> None:
    """Print where a search stands; `alone` says that no option of the task is given."""
    with exit_on_user_error():
        printing = SearchOptions(show=folder, quiet=run.quiet, as_json=run.as_json)
        if not alone or run != replace(printing, report_language=run.report_language):
            raise ValueError(
                "find: --show stands alone, or with --json or --report-language; got more options. "
                "Leave them out"
            )

        from askew.tradeoffs import print_search, search_status

        status = search_status(folder, language=run.report_language)
    if run.as_json:
        show(to_json(status._asdict()))
    else:
        print_search(status, make_console(), language=run.report_language)


def _frozen(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE, where the key may have dots."""
    value: Any = parse_setting(text)
    keys = [key.strip() for key in text.partition("=")[0].split(".")]
    for key in keys:
        value = value[key]
    return ".".join(keys), value
