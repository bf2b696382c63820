"""The command `askew report`: write the report of finished comparisons again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from askew._check import require
from askew._files import to_json
from askew.cli._exits import exit_on_user_error
from askew.cli._options import Quiet
from askew.cli._streams import make_console, show


def report_command(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of askew compare, each with its results.json.")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output file; by default report.html in the folder, or here if there are several."
        ),
    ] = None,
    language: Annotated[Literal["en", "pt"], typer.Option(help="Language of the page.")] = "en",
    quiet: Quiet = False,
) -> None:
    """Write the report of one or more finished comparisons again, as one page.

    Several comparisons share a page: a table of their verdicts, then a section for each. Nothing is
    measured or judged again: the page shows results.json, and the values of single items if the
    trials are still in the folder.

    Exit codes: 0 done, 2 bad input.
    """
    path = out or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    with exit_on_user_error():
        from askew import tradeoffs
        from askew._folders import check_output

        for folder in folders:
            require(folder.is_dir(), f"report: the folder must exist; got {folder}")
        check_output(path, caller="report", reads=folders)
        runs = [tradeoffs.read_run(folder) for folder in folders]
        tradeoffs.write_joint_report(runs, path, language=language)
    if not quiet:
        show(f"report: {path}")


def write_page(results: Mapping[str, object], folder: Path, language: str) -> None:
    """Write the report of a comparison into its folder."""
    from askew import tradeoffs

    items = tradeoffs.items_of(folder, results)
    tradeoffs.write_report(results, folder / "report.html", items=items, language=language)


def show_results(
    results: Mapping[str, object], folder: Path | None, language: str, *, as_json: bool
) -> None:
    """Print the results of a comparison and the path of its report."""
    if as_json:
        show(to_json(results))
        return

    from askew.tradeoffs import print_results

    print_results(results, make_console(), language=language)
    if folder is not None:
        show(f"report: {folder / 'report.html'}")
