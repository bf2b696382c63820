"""The results of a comparison as tables for the terminal."""

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from askew._files import visible
from askew.tradeoffs._report.cards import findings_by_challenger
from askew.tradeoffs._report.language import DASH, MINUS, TIMES, language_of
from askew.tradeoffs._report.results_view import checked, localised
from askew.tradeoffs._report.tables import Table, cost_table, quality_table, verdict_table

_ASCII = str.maketrans(
    {TIMES: "x", MINUS: "-", DASH: "-", "±": "+/-", "…": "...", "\u00a0": " ", "\u202f": " "}
)


def print_results(results: Mapping[str, object], console: Console, *, language: str = "en") -> None:
    """Print a comparison: its sentence, the verdicts, the quality and the costs.

    Args:
        results: What results.json holds, version 1.
        console: Where they are printed; the tables fit 80 columns and plain files.
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
    shown = localised(checked("print_results", results), say)
    print_text(console, shown["summary"], style="bold")
    for findings in findings_by_challenger(shown, say):
        print_table(console, verdict_table(say, findings, " " if console.width >= 110 else "\n"))
        for reason in dict.fromkeys(finding.reason for finding in findings if finding.reason):
            labels = ", ".join(f.metric for f in findings if f.reason == reason)
            print_text(console, f"{labels}: {reason}", style="dim")
    if shown["verdicts"]:
        print_text(console, say["detects_means"], style="dim")
    for table in (quality_table(shown, say), cost_table(shown, say)):
        if table.rows:
            print_table(console, table)


def print_text(console: Console, text: str, *, style: str = "") -> None:
    """Print a text in what the console can encode."""
    console.print(Text(_encodable(console, text)), style=style)


def print_table(console: Console, table: Table) -> None:
    """Print the title of a table and the table."""
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in table.head:
        drawn.add_column(Text(_encodable(console, name)), overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_encodable(console, cell)) for cell in row))
    console.print()
    print_text(console, table.title, style="bold")
    console.print(drawn)


def _encodable(console: Console, text: str) -> str:
    text = visible(text)
    if console.encoding.startswith("utf"):
        return text
    return text.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
