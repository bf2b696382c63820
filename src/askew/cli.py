"""The command line: every command in its place."""

import json
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from askew import _cli_compare as compare
from askew import _cli_doctor as doctor
from askew import _cli_inspect as inspect
from askew import _cli_qa as qa
from askew import _cli_report as report
from askew import _cli_train as train
from askew import _cli_translation as translation
from askew._cli import Json, refusing_bad_input

app = typer.Typer(
    name="askew",
    help="Asymmetric deep learning: build it, train it, and find out whether it pays.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(help="Train one model.", no_args_is_help=True)
app.add_typer(train_app, name="train")
train_app.command("translation")(train.train_translation_command)
train_app.command("qa")(train.train_qa_command)
app.command("compare")(compare.compare_command)
app.command("evaluate")(translation.evaluate_command)
app.command("translate")(translation.translate_command)
app.command("answer")(qa.answer_command)
app.command("export")(translation.export_command)
app.command("report")(report.report_command)
app.command("inspect")(inspect.inspect_command)
app.command("doctor")(doctor.doctor_command)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"askew {metadata.version('askew')}")
        raise typer.Exit


@app.callback()
def _top(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None: ...


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
        from askew.models import build_on_meta
        from askew.optim import parts_table

        rates = {part: _rate(part, text) for part, text in map(_assigned, lr)}
        rules: dict[str, list[str]] = {}
        for part, pattern in map(_assigned, rule or []):
            rules.setdefault(part, []).append(pattern)
        for part in rates:
            if part != rest:
                rules.setdefault(part, [part])
        table = parts_table(build_on_meta(folder), rules, rates, rest=rest)
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
