"""What a comparison found, as tables for the terminal."""

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from askew.tradeoffs._report.cards import races
from askew.tradeoffs._report.language import DASH, MINUS, TIMES, language_of
from askew.tradeoffs._report.results_view import checked, localised
from askew.tradeoffs._report.tables import Grid, cost_grid, quality_grid, verdict_grid

_ASCII = str.maketrans(
    {TIMES: "x", MINUS: "-", DASH: "-", "±": "+/-", "…": "...", "\u00a0": " ", "\u202f": " "}
)


def print_results(results: Mapping[str, object], console: Console, *, language: str = "en") -> None:
    """Print a comparison: its sentence, the verdicts, the quality and the costs.

    Args:
        results: What results.json holds, version 1.
        console: Where to; the tables fit 80 columns and plain files.
        language: "en" or "pt".

    Raises:
        ValueError: If the results are of another version or incomplete, or there is no such
            language.

    Example:
        >>> import io
        >>> print_results({"version": 2}, Console(file=io.StringIO()))
        Traceback (most recent call last):
        ValueError: print_results: results must be of version 1; got version 2
    """
    say = language_of("print_results", language)
    page = localised(checked("print_results", results), say)
    _print(console, page["summary"], style="bold")
    for findings in races(page, say):
        _print_grid(console, verdict_grid(say, findings, " " if console.width >= 110 else "\n"))
        for reason in dict.fromkeys(finding.reason for finding in findings if finding.reason):
            about = ", ".join(f.metric for f in findings if f.reason == reason)
            _print(console, f"{about}: {reason}", style="dim")
    if page["verdicts"]:
        _print(console, say["detects_means"], style="dim")
    for grid in (quality_grid(page, say), cost_grid(page, say)):
        if grid.rows:
            _print_grid(console, grid)


def _print(console: Console, text: str, *, style: str = "") -> None:
    console.print(Text(_encodable(console, text)), style=style)


def _print_grid(console: Console, grid: Grid) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in grid.head:
        table.add_column(Text(_encodable(console, name)), overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(_encodable(console, cell)) for cell in row))
    console.print()
    _print(console, grid.title, style="bold")
    console.print(table)


def _encodable(console: Console, text: str) -> str:
    if console.encoding.startswith("utf"):
        return text
    return text.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
