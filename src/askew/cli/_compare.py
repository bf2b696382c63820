"""The command `askew compare`: train, or read what was measured, and judge."""

import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer
from typer.core import TyperGroup

from askew._check import requires_extra
from askew.cli._exits import exit_on_interrupt, exit_on_user_error, fail, print_notes, set_up_torch
from askew.cli._options import (
    BudgetOptions,
    OneLineCommand,
    OutputOptions,
    make_command,
    paragraphs,
)
from askew.cli._report import show_results, write_page
from askew.cli._requests import NumberRange, load_experiment, parse_metric, parse_range
from askew.tasks import Application, option

if TYPE_CHECKING:
    from askew.tasks import Setup
    from askew.tradeoffs import Tuning, Verdict

_FEWEST_SEEDS = 5  # that give a verdict
_TRAINED = """

    Both arms are trained with the same seeds on the same data in the same order. The report says
    for quality and for speed: pays, does not pay, or cannot tell, each with its interval. A
    comparison that was killed goes on when the same command is typed again.

    Exit codes: 0 done, 1 failed while running, 2 bad input or no verdict, 130 interrupted.
    """


@dataclass(frozen=True, kw_only=True)
class VerdictOptions(OutputOptions):
    """What is done with the verdicts."""

    out: Path | None = option(None, "Folder of the results; by default one under askew-runs/.")
    require_verdict: bool = option(False, "Exit with 2 where no verdict can be given.")
    report_language: Literal["en", "pt"] = option(
        "en", "Language of the report and of what is printed."
    )


@dataclass(frozen=True, kw_only=True)
class TrialOptions(VerdictOptions, BudgetOptions):
    """How the trials of a comparison run."""

    tune: int = option(
        0,
        "Settings that each arm tries before, the same ones for all; the best on validation data "
        "are compared.",
        minimum=0,
    )
    search: list[str] | None = option(
        None,
        "What --tune draws instead of the usual: KEY=LOW..HIGH, KEY=LOW..HIGH:log for logarithms, "
        "e.g. training.lr=1e-4..1e-2:log. May be repeated.",
    )
    seeds: int | None = option(
        None,
        "Paired trials, 5 by default; five or more give verdicts.",
        minimum=1,
        show_default=False,
    )
    until_decided: bool = option(
        False,
        "Judge after 5, 8, 11 … seeds and stop once the first metric is decided; the intervals are "
        "wider, so that all looks together err as often as one.",
    )
    max_seeds: int | None = option(
        None,
        "Where --until-decided ends, 20 by default.",
        minimum=_FEWEST_SEEDS,
        show_default=False,
    )
    jobs: int = option(0, "Trials at the same time; 0 means one per core.", minimum=0)
    threads: int = option(1, "Threads of each trial.", minimum=1)
    cluster: str | None = option(
        None,
        "Run trials on a Ray cluster: local (of this machine, --jobs at once), auto or an address.",
        show_default=False,
    )
    processes: int = option(1, "Processes that share each training, by torchrun.", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(
            self.seeds if self.until_decided else None,
            "--seeds",
            "has no meaning with --until-decided, which has --max-seeds",
        )
        _refuse(
            None if self.until_decided else self.max_seeds,
            "--max-seeds",
            "goes with --until-decided",
        )
        _refuse(None if self.tune else self.search, "--search", "goes with --tune")
        _ = self.space
        if self.require_verdict and len(self.seed_numbers) < _FEWEST_SEEDS:
            raise ValueError(
                f"compare: --require-verdict needs five seeds or more; got --seeds {self.seeds}"
            )

    @property
    def seed_numbers(self) -> list[int]:
        """The seeds of all trials."""
        return list(range((self.max_seeds or 20) if self.until_decided else (self.seeds or 5)))

    @property
    def space(self) -> dict[str, NumberRange]:
        """What tuning draws, where that was said."""
        return dict(map(parse_range, self.search or ()))


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """Which experiment is compared."""

    experiment: str = option(
        ...,
        "An Experiment of yours, or a function that returns one: MODULE:NAME or FILE.py:NAME.",
        positional=True,
    )


@dataclass(frozen=True, kw_only=True)
class ResultOptions(VerdictOptions):
    """Which results are judged."""

    results: Path = option(..., "A CSV file with the header arm,seed,item,metric,value.")
    baseline: str = option("twin", "The arm that all others are compared with.")
    metric: list[str] | None = option(
        None,
        "What is known of a metric: NAME=WORDS with lower (is better), ratio (compared as), and "
        "the half width of equivalence, e.g. latency=lower,ratio,0.05. May be repeated, the most "
        "important first.",
    )

    def __post_init__(self) -> None:
        _ = self.metrics

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What is known of the metrics."""
        return list(map(parse_metric, self.metric or ()))


def make_compare_app(applications: Mapping[str, Application]) -> typer.Typer:
    """Make `askew compare`: a sub-command for each application, and two for what is the user's."""
    app = typer.Typer(
        cls=_AnyOrder,
        no_args_is_help=False,
        help="Train an asymmetric model and its symmetric twin, and say whether the asymmetry "
        "pays.\n\nThe report says for quality and for speed: pays, does not pay, or cannot tell, "
        "each with its interval. Without a name it is translation; `askew compare NAME --help` "
        "shows the options of each.",
    )
    for name, application in applications.items():
        command = make_command(
            partial(_compare_application, application), application.options, TrialOptions
        )
        app.command(name, cls=OneLineCommand, help=paragraphs(application.help + _TRAINED))(command)
    app.command(
        "experiment",
        cls=OneLineCommand,
        help="Models of your own: MODULE:NAME or FILE.py:NAME names an Experiment."
        + paragraphs(_TRAINED),
    )(make_command(_compare_experiment, ExperimentOptions, TrialOptions))
    app.command(
        "results",
        cls=OneLineCommand,
        help="Judge what was measured elsewhere: --results TABLE.csv.\n\n--baseline names an arm.",
    )(make_command(_judge, ResultOptions))
    return app


class _AnyOrder(TyperGroup):
    """Lets the name of what is compared stand anywhere, and be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the sub-command first."""
        return super().parse_args(ctx, args if args == ["--help"] else self._named(args))

    def _named(self, args: list[str]) -> list[str]:
        """Find the name among the options, some of which have a value after them."""
        flags = {
            spelt
            for command in self.commands.values()
            for parameter in command.params
            for spelt in (*parameter.opts, *parameter.secondary_opts)
            if getattr(parameter, "is_flag", False) or spelt == "--help"
        } | {"--help"}
        is_value = False
        for place, arg in enumerate(args):
            if is_value:
                is_value = False
            elif arg.startswith("-"):
                is_value = "=" not in arg and arg not in flags
            elif arg in self.commands:
                return [arg, *args[:place], *args[place + 1 :]]
            elif ":" in arg:
                return ["experiment", *args]
            else:
                names = ", ".join(n for n in self.commands if n not in ("experiment", "results"))
                fail(f"compare: task must be {names} or MODULE:NAME; got {arg!r}", 2)
        has_results = any(arg.partition("=")[0] == "--results" for arg in args)
        return ["results" if has_results else next(iter(self.commands)), *args]


def _compare_application(application: Application, options: Any, trials: TrialOptions) -> None:
    with exit_on_user_error():
        _check_packages(trials)
        setup = application.setup(options, _budget(trials))
        tuning = _tuning(trials, setup.task.search_space())
        folder = _prepared(setup, trials, tuning)
    print_notes(application.notes(setup.task, options))
    teach = application.teach(setup.task, options)
    if teach is not None:
        setup = setup._replace(task=taught(teach, folder, quiet=trials.quiet))
    _run(setup, trials, tuning, folder)


def _compare_experiment(options: ExperimentOptions, trials: TrialOptions) -> None:
    from askew.tasks import Setup

    with exit_on_user_error():
        _refuse(trials.search, "--search", "is the experiment's own `search`")
        _check_packages(trials)
        experiment = load_experiment(options.experiment)
        budget = experiment.budget(trials.steps, trials.minutes)
        setup = Setup(experiment, experiment.arms, budget, {})
        tuning = experiment.tuning(trials.tune)
        folder = _prepared(setup, trials, tuning)
    _run(setup, trials, tuning, folder)


def _judge(options: ResultOptions) -> None:
    with exit_on_user_error():
        _check_report()
        from askew import tradeoffs
        from askew._files import write_json
        from askew._folders import check_writable

        judged = tradeoffs.judge_results(
            options.results,
            baseline=options.baseline,
            metrics=[tradeoffs.Metric(**known) for known in options.metrics],
            name=options.results.name,
            command=_typed(),
        )
        if options.out is not None:
            check_writable(options.out)
            options.out.mkdir(parents=True, exist_ok=True)
            write_json(options.out / "results.json", judged.results)
            write_page(judged.results, options.out, options.report_language)
    _finish(judged.verdicts, judged.results, options.out, options)


def taught(teach: Any, folder: Path, *, quiet: bool) -> Any:
    """Let a teacher do its work, which is kept beside the folder, and return the task."""
    from askew.cli._progress import LineProgress

    store = Path(f"{folder}-taught.jsonl")
    with exit_on_interrupt(store), LineProgress("teaching", quiet=quiet) as progress:
        return teach(store, progress.reach)


def _call(setup: "Setup", trials: TrialOptions, tuning: "Tuning | None") -> dict[str, Any]:
    """What identifies a comparison, besides task and arms."""
    return {
        "seeds": trials.seed_numbers,
        "budget": setup.budget,
        "threads": trials.threads,
        "settings": setup.settings,
        "tuning": tuning,
        "processes": trials.processes,
        "cluster": trials.cluster,
    }


def _prepared(setup: "Setup", trials: TrialOptions, tuning: "Tuning | None") -> Path:
    """Refuse what cannot run, and return the folder that it runs in."""
    from askew.tasks import default_folder
    from askew.tradeoffs import prepare_comparison

    folder = trials.out or default_folder(
        setup.task, setup.arms, setup.budget, trials.threads, tuning, trials.processes
    )
    prepare_comparison(setup.task, setup.arms, out=folder, **_call(setup, trials, tuning))
    return folder


def _run(setup: "Setup", trials: TrialOptions, tuning: "Tuning | None", folder: Path) -> None:
    from askew import tradeoffs
    from askew.cli._progress import ComparisonProgress

    set_up_torch(trials.threads)
    seeds = trials.seed_numbers
    with (
        exit_on_interrupt(folder),
        ComparisonProgress(setup.arms, seeds, quiet=trials.quiet) as watcher,
    ):
        comparison = tradeoffs.compare(
            setup.task,
            setup.arms,
            out=folder,
            jobs=trials.jobs or max(1, (os.cpu_count() or 1) // trials.processes),
            command=_typed(),
            watcher=watcher,
            looks=tradeoffs.interim_schedule(len(seeds)) if trials.until_decided else None,
            **_call(setup, trials, tuning),
        )
        write_page(comparison.results, folder, trials.report_language)
    _finish(comparison.verdicts, comparison.results, folder, trials)


def _finish(
    verdicts: "Sequence[Verdict]",
    results: Mapping[str, object],
    folder: Path | None,
    options: VerdictOptions,
) -> None:
    show_results(results, folder, options.report_language, as_json=options.as_json)
    if options.require_verdict and any(v.verdict is None for v in verdicts):
        raise typer.Exit(2)


def _check_packages(trials: TrialOptions) -> None:
    _check_report()
    if trials.cluster:
        with requires_extra("compare", "cluster"):
            import_module("ray")


def _check_report() -> None:
    with requires_extra("compare", "report"):
        import jinja2  # noqa: F401  (needed last, said missing first)
        import plotly  # noqa: F401


def _budget(trials: TrialOptions) -> Any:
    from askew.tradeoffs import Budget

    if trials.steps is None and trials.minutes is None:
        return None
    return Budget(steps=trials.steps, minutes=trials.minutes)


def _tuning(trials: TrialOptions, usual: Mapping[str, Any]) -> "Tuning | None":
    from askew.tradeoffs import Range, Tuning

    if trials.tune == 0:
        return None
    space = {key: Range(**ends._asdict()) for key, ends in trials.space.items()}
    return Tuning(draws=trials.tune, space=space or usual)


def _typed() -> str:
    return shlex.join(["askew", *sys.argv[1:]])


def _refuse(given: object, option: str, why: str) -> None:
    if isinstance(given, Iterable) and not isinstance(given, str):
        given = " ".join(map(str, given))
    if given:
        raise ValueError(f"compare: {option} {why}; got {option} {given}")
