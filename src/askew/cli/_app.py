"""The command line with all commands."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from askew._commit import commit
from askew.cli._answer import answer_command
from askew.cli._compare import make_compare_app
from askew.cli._doctor import doctor_command
from askew.cli._evaluate import add_evaluate_command
from askew.cli._exits import every_failure_in_one_line, typed
from askew.cli._export import export_command
from askew.cli._find import make_find_app
from askew.cli._inspect import inspect_command
from askew.cli._options import OneLineCommand, make_command, paragraphs
from askew.cli._parts import parts_command
from askew.cli._predict import predict_command
from askew.cli._report import report_command
from askew.cli._search import search_command
from askew.cli._serve import serve_command
from askew.cli._shrink import ShrinkOptions, shrink_command
from askew.cli._streams import encode_all_text, show
from askew.cli._train import make_train_app
from askew.cli._translate import translate_command
from askew.tasks import APPLICATIONS, Application

_COMMANDS = {
    "translate": translate_command,
    "predict": predict_command,
    "search": search_command,
    "answer": answer_command,
    "serve": serve_command,
    "shrink": make_command(shrink_command, ShrinkOptions),
    "export": export_command,
    "report": report_command,
    "inspect": inspect_command,
    "parts": parts_command,
    "doctor": doctor_command,
}


class _Commands(TyperGroup):
    """All commands: none of them ends in a traceback for what can go wrong outside the code."""

    # pyrefly: ignore[bad-override]  its other settings are those of no command here
    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
    ) -> Any:
        """Run the command that was typed."""
        typed.set("")
        encode_all_text()
        with every_failure_in_one_line():
            return super().main(args, prog_name, complete_var, standalone_mode, windows_expand_args)


def make_app(applications: Mapping[str, Application]) -> typer.Typer:
    """Make the command line for a table of applications.

    Args:
        applications: Applications by name; `askew compare` without a name means the first.

    Returns:
        The command line.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> make_app({"qa": APPLICATIONS["qa"]}).info.name
        'askew'
    """
    app = typer.Typer(
        name="askew",
        cls=_Commands,
        help="Asymmetric deep learning: build models, train them, and find out whether it pays.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_top)
    app.add_typer(make_train_app(applications), name="train")
    app.add_typer(make_compare_app(applications), name="compare")
    app.add_typer(make_find_app(applications), name="find")
    add_evaluate_command(app, applications)
    for name, command in _COMMANDS.items():
        app.command(name, cls=OneLineCommand, help=paragraphs(command.__doc__))(command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        built = commit()
        show(f"askew {metadata.version('askew')}" + (f" ({built})" if built else ""))
        raise typer.Exit


def _top(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show version and commit, and exit.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None: ...


app = make_app(APPLICATIONS)
"""The command line of all applications of this library."""
