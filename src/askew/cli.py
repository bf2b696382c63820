"""The command line: compare, train, evaluate, translate, answer, export, parts."""

import json
import os
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from askew import _cli_qa as qa
from askew import _cli_translation as translation
from askew._cli import (
    ConfigFile,
    Data,
    Json,
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

app = typer.Typer(
    name="askew",
    help="Asymmetric deep learning: build it, train it, and find out whether it pays.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(help="Train one model.", no_args_is_help=True)
app.add_typer(train_app, name="train")
train_app.command("translation")(translation.train_command)
train_app.command("qa")(qa.train_command)
app.command("evaluate")(translation.evaluate_command)
app.command("translate")(translation.translate_command)
app.command("answer")(qa.answer_command)
app.command("export")(translation.export_command)


@app.command("compare")
def compare_command(
    task: Annotated[
        str, typer.Argument(help="What the models compete on: translation or qa.")
    ] = "translation",
    *,
    pair: Pair = "en-pt",
    data: Data = None,
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
            "shared-bridge, twin (the baseline against itself) or FILE.toml; of qa: asymmetric."
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
    context_encoder: qa.ContextEncoder = None,
    question_encoder: qa.QuestionEncoder = None,
    language: qa.Language = "en",
    set_: Settings = None,
    config: ConfigFile = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Paired trials; five or more give verdicts.")
    ] = 5,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            help="Judge after 5, 8, 11 … seeds and stop once the first metric is decided; the "
            "intervals are wider, so that all looks together err as often as one.",
        ),
    ] = False,
    max_seeds: Annotated[int, typer.Option(min=5, help="Where --until-decided ends.")] = 20,
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
    require_verdict: Annotated[
        bool, typer.Option("--require-verdict", help="Exit with 2 where no verdict can be given.")
    ] = False,
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
    seeds_run = list(range(max_seeds if until_decided else seeds))
    with refusing_bad_input():
        for needed_last in ("jinja2", "plotly"):
            import_module(needed_last)
        from askew import tasks, tradeoffs

        if task not in ("translation", "qa"):
            raise ValueError(f"compare: task must be translation or qa; got {task!r}")
        if require_verdict and len(seeds_run) < 5:
            raise ValueError(
                f"compare: --require-verdict needs five seeds or more; got --seeds {seeds}"
            )
        where = tasks.Sources(
            pair, data, source, target, valid_source, valid_target, test_source, test_target
        )
        chosen = tasks.chosen_settings(config, set_)
        if task == "qa":
            if teacher is not None or any(where[2:]):
                raise ValueError("compare: qa takes --data alone; got an option of translation")
            job = tasks.chosen_qa_task(
                tasks.QuestionSources(data),
                vocab_size,
                chosen,
                pretrained=tasks.Pretrained(question_encoder, context_encoder),
                language=language,
            )
            arms, settings = tasks.chosen_qa_arms(
                job, challenger or "asymmetric", baseline, preset, match, chosen
            )
        else:
            job = tasks.chosen_task(
                where,
                vocab_size,
                chosen,
                separate_vocabularies=separate_vocabularies,
                teacher=teacher,
            )
            tell_overlap(job.text)
            arms, settings = tasks.chosen_arms(
                job, challenger or "deep-shallow", baseline, preset, match, chosen
            )
        run = cast(Any, job)
        budget = tasks.chosen_budget(where, steps, minutes)
        call = {
            "seeds": seeds_run,
            "budget": budget,
            "threads": threads,
            "settings": settings | {"signatures": run.signatures()},
        }
        folder = out or tasks.default_folder(run, arms, budget, threads)
        tradeoffs.prepare_comparison(run, arms, out=folder, **call)
    from askew._progress import ComparisonProgress

    set_up_torch(threads)
    if teacher is not None and isinstance(job, tasks.TranslationTask):
        run = translation.learn_from(teacher, job, Path(f"{folder}-taught.jsonl"), quiet=quiet)
    with stopping_cleanly(folder), ComparisonProgress(arms, seeds_run, quiet=quiet) as watcher:
        comparison = tradeoffs.compare(
            run,
            arms,
            out=folder,
            jobs=jobs or os.cpu_count() or 1,
            command=shlex.join(["askew", *sys.argv[1:]]),
            watcher=watcher,
            looks=tradeoffs.looks_of(max_seeds) if until_decided else None,
            **call,
        )
        tradeoffs.write_report(comparison.results, folder / "report.html")
    if as_json:
        print(json.dumps(comparison.results, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        tradeoffs.print_results(comparison.results, Console())
        print(f"report: {folder / 'report.html'}")
    if require_verdict and any(v.verdict is None for v in comparison.verdicts):
        raise typer.Exit(2)


@app.command("parts")
def parts_command(
    folder: Annotated[Path, typer.Argument(help="A model folder with a config.json.")],
    *,
    lr: Annotated[
        list[str], typer.Option("--lr", help="PART=RATE, e.g. encoder=1e-4. May be repeated.")
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            help="PART=PATTERN on whole path segments, e.g. norms=**.layer_norm.*; without one a "
            "part is the sub-module of its name. May be repeated; the first match wins.",
        ),
    ] = None,
    rest: Annotated[
        str | None, typer.Option(help="Name of the part of all parameters that no rule matches.")
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Print every parameter.")] = False,
    as_json: Json = False,
) -> None:
    """Show which parameters of a model would be trained at which rate.

    Every trainable parameter is in exactly one part, or the command says which are not. The model
    is built from its config alone; no weight is read.
    """
    with refusing_bad_input():
        from askew.models import model_skeleton
        from askew.optim import parts_table

        rates = {part: _rate(part, text) for part, text in map(_assigned, lr)}
        rules: dict[str, list[str]] = {}
        for part, pattern in map(_assigned, rule or []):
            rules.setdefault(part, []).append(pattern)
        for part in rates:
            if part != rest:
                rules.setdefault(part, [part])
        table = parts_table(model_skeleton(folder), rules, rates, rest=rest)
    if as_json:
        print(json.dumps([row._asdict() for row in table.rows], indent=2))
        return
    print(table)
    if names:
        for row in table.rows:
            for aliases in row.names:
                print(f"{row.part}\t{' = '.join(aliases)}")


def _assigned(text: str) -> tuple[str, str]:
    part, equals, value = text.partition("=")
    if not (part and equals and value):
        raise ValueError(f"parts: must be PART=VALUE; got {text!r}")
    return part, value


def _rate(part: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"parts: the rate must be a number; got {part}={text}") from None


def main() -> None:
    """Run the command line."""
    app()
