"""The command `askew compare`: train two arms, or read results, and give verdicts."""

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

from askew._budget import Choice, Range, Tuning
from askew._check import requires_extra
from askew._devices import on_device, use_device
from askew._folders import one_writer
from askew.cli._exits import (
    exit_on_interrupt,
    exit_on_user_error,
    print_notes,
    set_up_torch,
    tell_read,
)
from askew.cli._options import (
    AnyOrder,
    BudgetOptions,
    DeviceOptions,
    OneLineCommand,
    OutputOptions,
    make_command,
    paragraphs,
    refuse_device,
)
from askew.cli._report import show_results, write_page
from askew.cli._requests import by_name, load_experiment, parse_metric, parse_searched
from askew.tasks import Application, option

if TYPE_CHECKING:
    from askew.tasks import Setup
    from askew.tradeoffs import Comparison, Verdict

_FEWEST_SEEDS = 5  # for a verdict
_TRAINED = """

    Both arms are trained with the same seeds on the same data in the same order. The report says
    for quality and for speed: pays, does not pay, or cannot tell, each with its interval. A
    comparison that was killed resumes when the same command is typed again.

    Exit codes: 0 done, 1 failed while running, 2 bad input or no verdict, 130 interrupted.
    """


@dataclass(frozen=True, kw_only=True)
class VerdictOptions(OutputOptions):
    """Options for the results and their report."""

    out: Path | None = option(None, "Folder of the results; by default one under askew-runs/.")
    require_verdict: bool = option(False, "Exit with 2 if no verdict can be given.")
    report_language: Literal["en", "pt"] = option(
        "en", "Language of the report and of the printed results."
    )


@dataclass(frozen=True, kw_only=True)
class TrialOptions(VerdictOptions, DeviceOptions, BudgetOptions):
    """Options for the trials of a comparison."""

    tune: int = option(
        0,
        "How many settings each arm tries before its trials, the same ones for all arms. The best "
        "on validation data are compared.",
        minimum=0,
    )
    search: list[str] | None = option(
        None,
        "Numbers that --tune draws instead of the usual ones: KEY=LOW..HIGH, with :log, :int or "
        ":step=16 after it, or KEY=a,b,c; e.g. training.lr=1e-4..1e-2:log. May be repeated.",
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
        "wider, so that all looks together are wrong only as often as one alone.",
    )
    max_seeds: int | None = option(
        None,
        "Largest number of seeds of --until-decided, 20 by default.",
        minimum=_FEWEST_SEEDS,
        show_default=False,
    )
    jobs: int = option(0, "Trials that run at the same time; 0 means one per core.", minimum=0)
    threads: int = option(1, "Threads of each trial.", minimum=1)
    cluster: str | None = option(
        None,
        "Run trials on a Ray cluster: local (this machine, --jobs at once), auto or an address.",
        show_default=False,
    )
    processes: int = option(1, "Processes of each training, by torchrun.", minimum=1)

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
        refuse_device(self.device if self.cluster else "auto", "compare", "--cluster")
        alone = ":" in self.device and self.processes > 1
        refuse_device(self.device if alone else "auto", "compare", "--processes")
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
    def space(self) -> dict[str, Range | Choice]:
        """The numbers of --search."""
        return parse_searched("compare", self.search or ())


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """The experiment to compare."""

    experiment: str = option(
        ...,
        "Your Experiment, or a function that returns one: MODULE:NAME or FILE.py:NAME.",
        positional=True,
    )


@dataclass(frozen=True, kw_only=True)
class ResultOptions(VerdictOptions):
    """Options for results that were measured elsewhere."""

    results: Path = option(..., "A CSV file with the header arm,seed,item,metric,value.")
    baseline: str = option("twin", "The arm that all others are compared with.")
    metric: list[str] | None = option(
        None,
        "Settings of a metric: NAME=WORDS, where a word is lower (is better), ratio (instead of a "
        "difference) or the half-width of equivalence, e.g. latency=lower,ratio,0.05. May be "
        "repeated, the most important first.",
    )

    def __post_init__(self) -> None:
        _ = self.metrics

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Settings of the metrics, by --metric."""
        settings = list(map(parse_metric, self.metric or ()))
        by_name("compare", "--metric", ((one["name"], one) for one in settings))
        return settings


def make_compare_app(applications: Mapping[str, Application]) -> typer.Typer:
    """Make `askew compare`: a sub-command per application, `experiment` and `results`."""
    app = typer.Typer(
        cls=AnyOrder,
        no_args_is_help=False,
        help="Train an asymmetric model and its symmetric twin, and say whether the asymmetry "
        "pays.\n\nThe report says for quality and for speed: pays, does not pay, or cannot tell, "
        f"each with its interval. Without a name it is {next(iter(applications))}; "
        "`askew compare NAME --help` shows the options of each.",
    )
    for name, application in applications.items():
        command = make_command(
            partial(_compare_application, application), application.options, TrialOptions
        )
        app.command(name, cls=OneLineCommand, help=paragraphs(application.help + _TRAINED))(command)
    app.command(
        "experiment",
        cls=OneLineCommand,
        help="Compare your own models: MODULE:NAME or FILE.py:NAME is an Experiment."
        + paragraphs(_TRAINED),
    )(make_command(_compare_experiment, ExperimentOptions, TrialOptions))
    app.command(
        "results",
        cls=OneLineCommand,
        help="Judge results that were measured elsewhere: --results TABLE.csv.\n\n--baseline is "
        "the name of an arm.",
    )(make_command(_judge, ResultOptions))
    return app


def _compare_application(application: Application, options: Any, trials: TrialOptions) -> None:
    with exit_on_user_error():
        use_device("compare", trials.device)
        _check_packages(trials)
        set_up_torch(trials.threads)
        setup = application.setup(options, trials.budget())
        setup = setup._replace(task=on_device(setup.task, trials.device))
        tuning = _tuning(trials, setup.task.search_space())
        folder = _prepare(setup, trials, tuning)
    tell_read(application.read(setup.task, options), quiet=trials.quiet)
    print_notes(application.notes(setup.task, options))
    teach = application.teach(setup.task, options)
    with exit_on_interrupt(folder), one_writer(folder, caller="compare"):
        if teach is not None:
            setup = setup._replace(task=run_teacher(teach, folder, quiet=trials.quiet))
        comparison = _run(setup, trials, tuning, folder)
    _finish(comparison.verdicts, comparison.results, folder, trials)


def _compare_experiment(options: ExperimentOptions, trials: TrialOptions) -> None:
    from askew.tasks import Setup

    with exit_on_user_error():
        _refuse(trials.search, "--search", "is the experiment's own `search`")
        use_device("compare", trials.device)
        _check_packages(trials)
        experiment = on_device(load_experiment(options.experiment), trials.device)
        budget = experiment.budget(trials.steps, trials.minutes)
        setup = Setup(experiment, experiment.arms, budget, {})
        tuning = experiment.tuning(trials.tune)
        folder = _prepare(setup, trials, tuning)
    with exit_on_interrupt(folder):
        comparison = _run(setup, trials, tuning, folder)
    _finish(comparison.verdicts, comparison.results, folder, trials)


def _judge(options: ResultOptions) -> None:
    with exit_on_user_error():
        check_report()
        from askew import tradeoffs
        from askew._files import write_json

        if options.out is not None:
            _check_judged(options.out, options.results)
        judged = tradeoffs.judge_results(
            options.results,
            baseline=options.baseline,
            metrics=[tradeoffs.Metric(**settings) for settings in options.metrics],
            name=options.results.name,
            command=command_line(),
        )
    if options.out is not None:
        with exit_on_user_error(), one_writer(options.out, caller="compare"):
            write_json(options.out / "results.json", judged.results)
            write_page(judged.results, options.out, options.report_language)
    _finish(judged.verdicts, judged.results, options.out, options)


def _check_judged(out: Path, table: Path) -> None:
    """Refuse a folder with the results or the page of anything but this table."""
    from askew._files import read_json
    from askew._folders import check_output, check_writable

    check_writable(out)
    written = [out / "results.json", out / "report.html"]
    for path in written if out.is_dir() else ():
        check_output(path, caller="compare", reads=[table])
    others = [path.name for path in (out / "comparison.json", *written) if path.exists()]
    if "results.json" in others and "comparison.json" not in others:
        others = [] if read_json(written[0]).get("task") == table.name else others
    if others:
        raise ValueError(
            f"compare: the folder must be new, or of the results of {table.name}; "
            f"got out {out} with another {others[0]}. Choose another with --out"
        )


def run_teacher(teach: Any, folder: Path, *, quiet: bool) -> Any:
    """Run the work of a teacher, keep its result beside the folder, and return the task."""
    from askew.cli._progress import LineProgress

    with LineProgress("teaching", quiet=quiet) as progress:
        task = teach(Path(f"{folder}-taught.jsonl"), progress.reach)
    print_notes(getattr(task, "taught_lines", ()))
    return task


def _call(setup: "Setup", trials: TrialOptions, tuning: Tuning | None) -> dict[str, Any]:
    """Return the arguments of a comparison besides task, arms and folder."""
    return {
        "seeds": trials.seed_numbers,
        "budget": setup.budget,
        "threads": trials.threads,
        "settings": setup.settings,
        "tuning": tuning,
        "processes": trials.processes,
        "cluster": trials.cluster,
    }


def _prepare(setup: "Setup", trials: TrialOptions, tuning: Tuning | None) -> Path:
    """Refuse a comparison that cannot run, and return its folder."""
    from askew.tasks import default_folder
    from askew.tradeoffs import prepare_comparison

    folder = trials.out or default_folder(
        setup.task, setup.arms, setup.budget, trials.threads, tuning, trials.processes
    )
    prepare_comparison(setup.task, setup.arms, out=folder, **_call(setup, trials, tuning))
    return folder


def _run(setup: "Setup", trials: TrialOptions, tuning: Tuning | None, folder: Path) -> "Comparison":
    from askew import tradeoffs
    from askew.cli._progress import ComparisonProgress

    set_up_torch(trials.threads)
    seeds = trials.seed_numbers
    with ComparisonProgress(setup.arms, seeds, quiet=trials.quiet) as watcher:
        comparison = tradeoffs.compare(
            setup.task,
            setup.arms,
            out=folder,
            jobs=trials.jobs or max(1, (os.cpu_count() or 1) // trials.processes),
            command=command_line(),
            watcher=watcher,
            looks=tradeoffs.interim_schedule(len(seeds)) if trials.until_decided else None,
            **_call(setup, trials, tuning),
        )
        write_page(comparison.results, folder, trials.report_language)
    return comparison


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
    check_report()
    if trials.cluster:
        with requires_extra("compare", "cluster"):
            import_module("ray")


def check_report() -> None:
    with requires_extra("compare", "report"):
        import jinja2  # noqa: F401  (needed last, but checked before any work)
        import plotly  # noqa: F401


def _tuning(trials: TrialOptions, usual: Mapping[str, Range]) -> Tuning | None:
    return None if trials.tune == 0 else Tuning(draws=trials.tune, space=trials.space or usual)


def command_line() -> str:
    return shlex.join(["askew", *sys.argv[1:]])


def _refuse(value: object, option: str, why: str) -> None:
    """Refuse an option that was given."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        value = " ".join(map(str, value))
    if value:
        raise ValueError(f"compare: {option} {why}; got {option} {value}")
