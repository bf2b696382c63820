"""The command `askew inspect`: show what the attention of a model has learnt."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._files import to_json, visible
from askew._folders import check_output
from askew.cli._exits import exit_on_user_error, set_up_torch
from askew.cli._options import Json
from askew.cli._streams import make_console, show

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from askew.inspection import AttentionScores, Inspection


def inspect_command(
    folder: Annotated[
        Path,
        typer.Argument(help="A model of this library, or of transformers with safetensors."),
    ],
    *,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="A text that the model reads, for entropy and pictures. May be repeated.",
        ),
    ] = None,
    question: Annotated[
        str | None,
        typer.Option(help="The question about the texts, if the model answers questions."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write a page with pictures, e.g. inspection.html.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how symmetric, directed and wide the attention of a model is, layer by layer.

    Symmetry is 1 if token i scores token j as j scores i, and -1 if with the opposite sign; random
    weights have about 1 / width. Directionality is 1 if a few features of the keys stand out, and
    -1 if a few features of the queries do. Rank is how many directions a head compares, of those
    that it could. Entropy, with --text, is 1 if a head attends to all tokens alike, and 0 if it
    attends to a single one.

    Exit codes: 0 done, 2 bad input.
    """
    with exit_on_user_error():
        if question is not None and not text:
            raise ValueError("inspect: --question goes with --text; got no text")
        if out is not None:
            check_output(out, caller="inspect", reads=[folder])
        set_up_torch(1)
        from askew import inspection
        from askew.models import load_checkpoint, read_attention

        model = load_checkpoint(folder)
        readings = {
            line: read_attention(model, folder, line, question=question) for line in text or []
        }
        weights = {line: reading.weights for line, reading in readings.items()}
        report = inspection.inspect_model(model, weights)
        if out is not None:
            pictures = [picture for reading in readings.values() for picture in reading.pictures]
            inspection.write_inspection_page(report, out, pictures)
    if as_json:
        show(to_json(report.to_plain()))
        return
    _show(report)
    if out is not None:
        show(f"page: {out}")


def _show(report: "Inspection") -> None:
    from rich.text import Text

    console = make_console()
    table = _table("stack", "layers", "width", "heads", "key heads", "parameters", "share")
    for stack in report.stacks:
        numbers = (stack.depth, stack.width, stack.heads, stack.kv_heads)
        shown = [str(n) if stack.depth else "" for n in numbers]
        name = Text(visible(stack.name or "module"))  # else rich would read its markup
        table.add_row(name, *shown, f"{stack.parameters:,}", f"{stack.share:.1%}")
    console.print(table)
    for stack, kind in dict.fromkeys((layer.stack, layer.kind) for layer in report.attention):
        layers = [x for x in report.attention if (x.stack, x.kind) == (stack, kind)]
        show(f"\n{visible(stack or 'module')}, {kind}-attention")
        read = any(scores.entropy is not None for scores in layers)
        table = _table("layer", "rank", *["entropy"] * read)
        if kind == "self":
            show(
                "Σ: the sum of all heads; heads: lowest, median, highest.\nRandom weights give a "
                f"symmetry of about {1 / layers[0].d_model:.2g}."
            )
            names = ("symmetry\nΣ", "\nheads", "direction\nΣ", "\nheads")
            table = _table("\nlayer", *names, "\nrank", *["entropy\nheads"] * read)
        for scores in layers:
            table.add_row(*_line(scores), *[_spread(scores.entropy, ".2f")] * read)
        console.print(table)


def _table(*heads: str) -> "Table":
    from rich.table import Column, Table

    columns = [Column(head, overflow="fold") for head in heads]  # paths of modules can be long
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _line(scores: "AttentionScores") -> list[str]:
    line = [str(scores.layer + 1)]
    if scores.symmetry_of_sum is not None and scores.directionality_of_sum is not None:
        line += [_short(scores.symmetry_of_sum, "+.2f"), _spread(scores.symmetry, "+.2f")]
        line += [
            _short(scores.directionality_of_sum, "+.2f"),
            _spread(scores.directionality, "+.2f"),
        ]
    rank = f"{float(scores.effective_rank.median()):.1f}/{scores.d_head}"
    return [*line, rank]


def _spread(values: "Tensor | None", form: str) -> str:
    if values is None:
        return ""
    chosen = (values.min(), values.median(), values.max())
    return " ".join(_short(float(value), form) for value in chosen)


def _short(value: float, form: str) -> str:
    return f"{value:{form}}".replace("0.", ".", 1)
