"""The command `askew predict`: label lines of text."""

import sys
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._files import to_json, visible
from askew._folders import check_output
from askew.cli._exits import exit_on_failure, exit_on_user_error, set_up_torch
from askew.cli._options import Threads
from askew.cli._streams import LineStats, existing_lines, opened, windows

if TYPE_CHECKING:
    from askew.models import Labelled, TextLabeller


def predict_command(
    folder: Annotated[Path, typer.Argument(help="A folder that askew train labels wrote.")],
    file: Annotated[
        Path | None, typer.Argument(help="Texts, one a line, also .gz; by default stdin.")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="Output file.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts read together at most.")] = 64,
    threads: Threads = 1,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object per line: line, labels and probabilities."),
    ] = False,
) -> None:
    """Find the labels of texts from a file or from stdin; one line per line of input.

    Labels have commas between them, the most probable first. Empty lines get no label. Bytes that
    are not UTF-8 become U+FFFD; a note on stderr counts them at the end.
    """
    with exit_on_user_error():
        if file is not None:
            existing_lines("predict", file)
        if out is not None:
            reads = [folder] if file is None else [folder, file]
            check_output(out, caller="predict", reads=reads)
        set_up_torch(threads)
        from askew.models import TextLabeller

        labeller = TextLabeller.from_pretrained(folder)
    stats = LineStats(None, shown=False)
    on_terminal = out is None and sys.stdout.isatty()
    with exit_on_failure(), opened(file, "rb", sys.stdin) as source:
        read = windows(source, stats, name=file or "stdin", caller="predict")
        with exit_on_user_error():
            first = list(islice(read, 1))  # what cannot be read leaves the output as it is
        with opened(out, "wb", sys.stdout) as target:
            for number, lines in chain(first, read):
                stats.empty += sum(not line.strip() for line in lines)
                found = _label(labeller, lines, batch_size)
                form = _json_line if as_json else _plain_line
                text = "".join(map(form, count(number), found))
                target.write((visible(text) if on_terminal else text).encode())
                target.flush()
    stats.end()


def _label(labeller: "TextLabeller", lines: list[str], batch_size: int) -> "list[Labelled | None]":
    """Label lines; those without text have None."""
    labelled = iter(labeller.label([line for line in lines if line.strip()], batch_size=batch_size))
    return [next(labelled) if line.strip() else None for line in lines]


def _plain_line(number: int, labelled: "Labelled | None") -> str:
    return ",".join(labelled.labels if labelled else ()) + "\n"


def _json_line(number: int, labelled: "Labelled | None") -> str:
    from askew.models import Labelled

    found = labelled or Labelled([], {})
    return to_json({"line": number, **found._asdict()}, indent=None, ascii_only=True) + "\n"
