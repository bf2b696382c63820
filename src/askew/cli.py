"""The command line: compare, train, translate, parts."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from askew.text import SplitText

app = typer.Typer(
    name="askew",
    help="Asymmetric deep learning: build it, train it, and find out whether it pays.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(help="Train one model.", no_args_is_help=True)
app.add_typer(train_app, name="train")

Pair = Annotated[str, typer.Option(help="Two locales of the phrases that are made without --data.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Your pairs: FILE.tsv (source TAB target) or FILE.jsonl, also .gz."),
]
Source = Annotated[Path | None, typer.Option(help="Your source lines; needs --target.")]
Target = Annotated[Path | None, typer.Option(help="Your target lines, one for each source line.")]
ValidSource = Annotated[Path | None, typer.Option(help="Validation sources; else split off.")]
ValidTarget = Annotated[Path | None, typer.Option(help="Validation targets.")]
TestSource = Annotated[Path | None, typer.Option(help="Test sources; else split off.")]
TestTarget = Annotated[Path | None, typer.Option(help="Test targets.")]
Preset = Annotated[str, typer.Option(help="Size of the models: tiny, small or base.")]
VocabSize = Annotated[int, typer.Option(help="Tokens of the joint vocabulary at most.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A number of the model or the training, e.g. encoder.num_layers=6 or "
        "training.lr=0.001. May be repeated.",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file of what --set takes.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps of one trial.")]
Minutes = Annotated[float | None, typer.Option(help="Or: CPU-minutes of training of one trial.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]


@app.command("compare")
def compare_command(
    task: Annotated[str, typer.Argument(help="What the models compete on.")] = "translation",
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
            help="The asymmetric model: deep-shallow, narrow-decoder, twin (the baseline "
            "against itself) or FILE.toml with [encoder] and [decoder]."
        ),
    ] = "deep-shallow",
    baseline: Annotated[
        str,
        typer.Option(
            help="What it is compared with: twin (symmetric, as many parameters), "
            "symmetric, another shape, or FILE.toml."
        ),
    ] = "twin",
    match: Annotated[str, typer.Option(help="What the twin has in common: parameters.")] = (
        "parameters"
    ),
    preset: Preset = "small",
    vocab_size: VocabSize = 2000,
    set_: Settings = None,
    config: ConfigFile = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Paired trials; five or more give verdicts.")
    ] = 5,
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

    Both arms are trained with the same seeds on the same data in the same order. The report
    says for quality and for speed: pays, does not pay, or cannot tell, each with its interval.

    Without --data, the task is localisation phrases (dates, money, units, names) as the CLDR
    writes them, English to Portuguese. A comparison that was killed goes on when the same
    command is typed again.

    Exit codes: 0 done, 1 failed while running, 2 bad input or no verdict, 130 interrupted.
    """
    seeds_run = list(range(seeds))
    with _refusing_bad_input():
        for needed_last in ("jinja2", "plotly"):
            import_module(needed_last)
        from askew import tasks, tradeoffs

        if task != "translation":
            raise ValueError(f"compare: task must be translation; got {task!r}")
        if require_verdict and seeds < 5:
            raise ValueError(
                f"compare: --require-verdict needs five seeds or more; got --seeds {seeds}"
            )
        where = tasks.Sources(
            pair, data, source, target, valid_source, valid_target, test_source, test_target
        )
        chosen = tasks.chosen_settings(config, set_)
        job = tasks.chosen_task(where, vocab_size, chosen)
        _tell_overlap(job.text)
        arms, settings = tasks.chosen_arms(job, challenger, baseline, preset, match, chosen)
        budget = tasks.chosen_budget(where, steps, minutes)
        call = {
            "seeds": seeds_run,
            "budget": budget,
            "threads": threads,
            "settings": settings | {"signatures": job.signatures()},
        }
        folder = out or tasks.default_folder(job, arms, budget, threads)
        tradeoffs.prepare_comparison(job, arms, out=folder, **call)
    from askew._progress import ComparisonProgress

    _set_up_torch(threads)
    with _stopping_cleanly(folder), ComparisonProgress(arms, seeds_run, quiet=quiet) as watcher:
        comparison = tradeoffs.compare(
            job,
            arms,
            out=folder,
            jobs=jobs or os.cpu_count() or 1,
            command=shlex.join(["askew", *sys.argv[1:]]),
            watcher=watcher,
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


@train_app.command("translation")
def train_translation_command(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the model.")],
    pair: Pair = "en-pt",
    data: Data = None,
    source: Source = None,
    target: Target = None,
    valid_source: ValidSource = None,
    valid_target: ValidTarget = None,
    test_source: TestSource = None,
    test_target: TestTarget = None,
    shape: Annotated[
        str, typer.Option(help="deep-shallow, narrow-decoder, symmetric or FILE.toml.")
    ] = "deep-shallow",
    preset: Preset = "small",
    vocab_size: VocabSize = 2000,
    set_: Settings = None,
    config: ConfigFile = None,
    steps: Steps = None,
    minutes: Minutes = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a translation model into a folder that `askew translate` reads.

    A training that was killed goes on, bit for bit, when the same command is typed again.
    """
    with _refusing_bad_input():
        from askew import tasks

        where = tasks.Sources(
            pair, data, source, target, valid_source, valid_target, test_source, test_target
        )
        chosen = tasks.chosen_settings(config, set_)
        job = tasks.chosen_task(where, vocab_size, chosen)
        _tell_overlap(job.text)
        model = tasks.chosen_model(job, shape, preset, chosen)
        budget = tasks.chosen_budget(where, steps, minutes)
        call = {"budget": budget, "seed": seed, "threads": threads, "out": out}
        identity = tasks.prepare_training(job, model, **call)
    from askew._progress import TrainingProgress

    _set_up_torch(threads)
    with _stopping_cleanly(out), TrainingProgress(quiet=quiet) as progress:
        scores = tasks.train_translation(job, model, identity, progress=progress, **call)
    if as_json:
        print(json.dumps(scores, indent=2))
    else:
        print("test set: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        print(f"model: {out}")


@app.command("translate")
def translate_command(
    folder: Annotated[Path, typer.Argument(help="A folder that training wrote.")],
    file: Annotated[Path | None, typer.Argument(help="Lines to translate; else stdin.")] = None,
    *,
    beams: Annotated[int, typer.Option(min=1, help="Hypotheses kept; 1 is greedy.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Lines decoded together.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Translate lines from a file or from stdin; one line out for every line in."""
    with _refusing_bad_input():
        from askew.models import Translator

        _set_up_torch(threads)
        translator = Translator.from_pretrained(folder, batch_size=batch_size)
        lines = _read_lines(file)
    from askew._progress import TranslationProgress

    with TranslationProgress(len(lines), quiet=quiet) as progress:
        for start in range(0, len(lines), 16 * batch_size):
            chunk = lines[start : start + 16 * batch_size]
            for translation in translator.translate(chunk, num_beams=beams):
                print(" ".join(translation.splitlines()))
            sys.stdout.flush()
            progress(len(chunk))


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
    with _refusing_bad_input():
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


@contextmanager
def _refusing_bad_input() -> Iterator[None]:
    """Turn what is wrong with the user's input into one line and exit code 2."""
    try:
        yield
    except ModuleNotFoundError as error:
        _fail(f"{error}; install what is missing: pip install 'askew[all]'", 2)
    except (ValueError, ImportError) as error:
        _fail(" ".join(str(error).split()), 2)


@contextmanager
def _stopping_cleanly(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        _fail(
            f"interrupted; what is finished is kept in {folder}, type the same again to go on", 130
        )
    except RuntimeError as error:
        _fail(f"{error}; what is finished is kept in {folder}, type the same again to go on", 1)


def _fail(message: str, code: int) -> NoReturn:
    print(f"askew: {message}", file=sys.stderr)
    raise typer.Exit(code)


def _tell_overlap(text: "SplitText") -> None:
    from askew.text import count_overlap

    repeated = count_overlap(text.train, text.test)
    if repeated:
        print(
            f"askew: note: {repeated} of {len(text.test.sources)} test pairs also stand in the "
            "training data",
            file=sys.stderr,
        )


def _set_up_torch(threads: int) -> None:
    """Use so many threads, and let nothing but our own progress bars be seen."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _read_lines(file: Path | None) -> list[str]:
    if file is not None and not file.is_file():
        raise ValueError(f"translate: the file must exist; got {file}")
    raw = sys.stdin.buffer.read() if file is None else file.read_bytes()
    lines = raw.removesuffix(b"\n").split(b"\n") if raw else []
    return [_decoded(line, number) for number, line in enumerate(lines, start=1)]


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"translate: lines must be UTF-8; got line {number}, byte {error.start + 1}"
        ) from None


def main() -> None:
    """Run the command line."""
    app()
