"""The command `askew compare`: train, or take what was measured, and judge."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from askew import _cli_report as report
from askew import _cli_train as train
from askew._check import needing
from askew._cli import (
    ConfigFile,
    Data,
    Json,
    Language,
    Minutes,
    Pair,
    Preset,
    Quiet,
    SeparateVocabularies,
    Settings,
    Source,
    Steps,
    Target,
    Teacher,
    TestSource,
    TestTarget,
    ValidSource,
    ValidTarget,
    VocabSize,
    refusing_bad_input,
    set_up_torch,
    stopping_cleanly,
    tell_overlap,
)
from askew._cli_chosen import chosen_seeds, chosen_tuning, load_experiment, parsed_metric, refuse

if TYPE_CHECKING:
    from askew.tradeoffs import Arm, Budget


class _Job(NamedTuple):
    """What is compared, from what was chosen on the command line."""

    task: Any
    arms: "list[Arm]"
    budget: "Budget"
    settings: Mapping[str, object]


def compare_command(
    task: Annotated[
        str,
        typer.Argument(
            help="What the models compete on: translation, qa, multilabel, imbalanced or "
            "retrieval; or an Experiment of your own, or a function that gives one, as MODULE:NAME "
            "or FILE.py:NAME."
        ),
    ] = "translation",
    *,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Judge what was measured elsewhere instead: a CSV file with the header "
            "arm,seed,item,metric,value. --baseline names an arm."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="What is known of a metric of --results: NAME=WORDS with lower (is better), ratio "
            "(compared as), and the half width of equivalence, e.g. latency=lower,ratio,0.05. "
            "May be repeated, the most important first.",
        ),
    ] = None,
    pair: Pair = "en-pt",
    data: Data = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label columns of --data FILE.csv or FILE.arff, of multilabel and imbalanced: "
            "their names with commas, or how many of the last columns."
        ),
    ] = None,
    source: Source = None,
    target: Target = None,
    valid_source: ValidSource = None,
    valid_target: ValidTarget = None,
    test_source: TestSource = None,
    test_target: TestTarget = None,
    challenger: Annotated[
        str,
        typer.Option(
            help="The asymmetric model: deep-shallow (as by default), narrow-decoder, "
            "shared-bridge, twin (the baseline against itself) or FILE.toml; of qa: asymmetric; "
            "of tables: asl, focal, focusing, hill, splc, two-way, rates, half-half; see the docs."
        ),
    ] = "",
    baseline: Annotated[
        str,
        typer.Option(
            help="What it is compared with: twin (symmetric, as many parameters), "
            "symmetric, another shape, or FILE.toml."
        ),
    ] = "twin",
    match: Annotated[
        str,
        typer.Option(
            help="What the twin has in common: parameters, flops (of a training step), latency (of "
            "one answer) or time (of a training step); the last two are measured first."
        ),
    ] = "parameters",
    preset: Preset = "small",
    vocab_size: VocabSize = 2000,
    separate_vocabularies: SeparateVocabularies = False,
    teacher: Teacher = None,
    context_encoder: train.ContextEncoder = None,
    question_encoder: train.QuestionEncoder = None,
    language: Language = "en",
    set_: Settings = None,
    config: ConfigFile = None,
    tune: Annotated[
        int,
        typer.Option(
            min=0,
            help="Settings that each arm tries before, the same ones for all; the best on "
            "validation data are compared.",
        ),
    ] = 0,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            help="What --tune draws instead of the usual: KEY=LOW..HIGH, KEY=LOW..HIGH:log for "
            "logarithms, e.g. training.lr=1e-4..1e-2:log. May be repeated.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Paired trials, 5 by default; five or more give verdicts.",
            show_default=False,
        ),
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            help="Judge after 5, 8, 11 … seeds and stop once the first metric is decided; the "
            "intervals are wider, so that all looks together err as often as one.",
        ),
    ] = False,
    max_seeds: Annotated[
        int | None,
        typer.Option(min=5, help="Where --until-decided ends, 20 by default.", show_default=False),
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    jobs: Annotated[
        int, typer.Option(min=0, help="Trials at the same time; 0 means one per core.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each trial.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the results; by default one under askew-runs/."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Run trials on a Ray cluster: local (of this machine, --jobs at once), auto or an "
            "address.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share each training, by torchrun.")
    ] = 1,
    require_verdict: Annotated[
        bool, typer.Option("--require-verdict", help="Exit with 2 where no verdict can be given.")
    ] = False,
    report_language: report.ReportLanguage = "en",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train an asymmetric model and its symmetric twin, and say whether the asymmetry pays.

    Both arms are trained with the same seeds on the same data in the same order. With a teacher
    the challenger alone learns from it, unless training.target says what is learnt. The report
    says for quality and for speed: pays, does not pay, or cannot tell, each with its interval.

    Of questions, the twin has equal encoders, and the figures are F1, time per question and the
    rest. Without --data, translation is of localisation phrases (dates, money, units, names) as
    the CLDR writes them, English to Portuguese. A comparison that was killed goes on when the same
    command is typed again.

    Exit codes: 0 done, 1 failed while running, 2 bad input or no verdict, 130 interrupted.
    """
    command = shlex.join(["askew", *sys.argv[1:]])
    with refusing_bad_input():
        with needing("compare", "report"):
            import jinja2  # noqa: F401  (needed last, said missing first)
            import plotly  # noqa: F401
        if cluster:
            with needing("compare", "cluster"):
                import_module("ray")
        from askew import tasks, tradeoffs
        from askew._files import check_writable, write_json

        if results is not None:
            known = [parsed_metric(text) for text in metric or ()]
            judged = tradeoffs.judge_results(
                results, baseline=baseline, metrics=known, name=results.name, command=command
            )
            if out is not None:
                check_writable(out)
                out.mkdir(parents=True, exist_ok=True)
                write_json(out / "results.json", judged.results)
                report.write_page(judged.results, out, report_language)
            report.show_results(judged.results, out, report_language, as_json=as_json)
            return _end(judged.verdicts, require_verdict)
        refuse(metric, "--metric", "goes with --results")
        if task not in ("multilabel", "imbalanced"):
            refuse(labels, "--labels", "is of multilabel and imbalanced")
        seeds_run = chosen_seeds(seeds, max_seeds, until_decided=until_decided)
        if require_verdict and len(seeds_run) < 5:
            raise ValueError(
                f"compare: --require-verdict needs five seeds or more; got --seeds {seeds}"
            )
        where = tasks.Sources(
            pair, data, source, target, valid_source, valid_target, test_source, test_target
        )
        if ":" in task:
            given = (*where[1:], set_, config, challenger, teacher, question_encoder)
            if any(given) or context_encoder or baseline != "twin" or match != "parameters":
                raise ValueError(
                    f"compare: {task} brings its own models and data; got an option of translation "
                    "or qa"
                )
            made = load_experiment(task)
            job = _Job(made, made.arms, made.budget(steps, minutes), {})
        elif task in tasks.TABLE_TASKS:
            other = (*where[2:], teacher, question_encoder, context_encoder)
            if any(other) or match != "parameters":
                raise ValueError(
                    f"compare: {task} takes --data FILE; got an option of another task"
                )
            chosen = tasks.chosen_settings(config, set_)
            on_table = tasks.table_task(task, data, labels, chosen)
            arms, settings = tasks.table_arms(on_table, challenger, baseline, chosen)
            settings = settings | {"signatures": on_table.signatures()}
            usual = 600 if steps is None and minutes is None else steps
            budget = tradeoffs.Budget(steps=usual, minutes=minutes)
            job = _Job(on_table, arms, budget, settings)
        elif task in ("translation", "qa"):
            chosen = tasks.chosen_settings(config, set_)
            if task == "qa":
                if teacher is not None or any(where[2:]):
                    raise ValueError("compare: qa takes --data alone; got an option of translation")
                one: Any = tasks.chosen_qa_task(
                    tasks.QuestionSources(data),
                    vocab_size,
                    chosen,
                    pretrained=tasks.Pretrained(question_encoder, context_encoder),
                    language=language,
                )
                arms, settings = tasks.chosen_qa_arms(
                    one, challenger or "asymmetric", baseline, preset, match, chosen
                )
            else:
                one = tasks.chosen_task(
                    where,
                    vocab_size,
                    chosen,
                    separate_vocabularies=separate_vocabularies,
                    teacher=teacher,
                )
                tell_overlap(one.text)
                arms, settings = tasks.chosen_arms(
                    one, challenger or "deep-shallow", baseline, preset, match, chosen
                )
            settings = settings | {"signatures": one.signatures()}
            job = _Job(one, arms, tasks.chosen_budget(where, steps, minutes), settings)
        else:
            raise ValueError(
                "compare: task must be translation, qa, multilabel, imbalanced, retrieval or "
                f"MODULE:NAME; got {task!r}"
            )
        call = {
            "seeds": seeds_run,
            "budget": job.budget,
            "threads": threads,
            "settings": job.settings,
            "tuning": chosen_tuning(job.task, tune, search),
            "processes": processes,
            "cluster": cluster,
        }
        named = (job.task, job.arms, job.budget, threads, call["tuning"], processes)
        folder = out or tasks.default_folder(*named)
        tradeoffs.prepare_comparison(job.task, job.arms, out=folder, **call)
    from askew._progress import ComparisonProgress

    set_up_torch(threads)
    run = job.task
    if teacher is not None:
        run = train.learn_from(teacher, run, Path(f"{folder}-taught.jsonl"), quiet=quiet)
    with stopping_cleanly(folder), ComparisonProgress(job.arms, seeds_run, quiet=quiet) as watcher:
        comparison = tradeoffs.compare(
            run,
            job.arms,
            out=folder,
            jobs=jobs or max(1, (os.cpu_count() or 1) // processes),
            command=command,
            watcher=watcher,
            looks=tradeoffs.interim_schedule(len(seeds_run)) if until_decided else None,
            **call,
        )
        report.write_page(comparison.results, folder, report_language)
    report.show_results(comparison.results, folder, report_language, as_json=as_json)
    _end(comparison.verdicts, require_verdict)


def _end(verdicts: Sequence[Any], require_verdict: bool) -> None:
    if require_verdict and any(v.verdict is None for v in verdicts):
        raise typer.Exit(2)
