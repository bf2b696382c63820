"""The command `askew doctor`: check an installation."""

from typing import Annotated

import typer

from askew._files import to_json
from askew.cli._exits import exit_on_user_error
from askew.cli._options import Json
from askew.cli._streams import show


def doctor_command(
    *,
    self_test: Annotated[
        bool,
        typer.Option("--self-test/--no-self-test", help="Compute a few numbers in two ways."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Show what is installed, what this machine can do, and whether its numbers are right.

    Exit codes: 0 all is well, 1 a number is wrong, 2 a required package is missing.
    """
    with exit_on_user_error():
        from askew.cli import _installation as machine

        versions, devices, routes = machine.installed(), machine.devices(), machine.routes()
        missing = machine.extras()
    if not as_json:
        _show("versions", versions)
        _show("devices", devices)
        _show("ways to compute attention", routes)
        packages = {
            extra: f"lacks {', '.join(absent)}: pip install 'askew[{extra}]'" if absent else "ready"
            for extra, absent in missing.items()
        }
        others = machine.left_out_of_all()
        within = {name: row for name, row in packages.items() if name not in others}
        _show("extras, all of them installed by pip install 'askew[all]'", within)
        _show("extras that all leaves out", {name: packages[name] for name in others})
    checks = []
    if self_test:
        if not as_json:
            show("self-test")
        for check in machine.self_test():
            checks.append(check)
            if not as_json:
                word = "right" if check.passed else "WRONG"
                show(f"  {word}  {check.name}: {check.error:.1e}, at most {check.tolerance:.0e}")
    if as_json:
        installed = {"versions": versions, "devices": devices, "routes": routes, "missing": missing}
        results = [check._asdict() | {"passed": check.passed} for check in checks]
        show(to_json(installed | {"checks": results}))
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def _show(title: str, rows: dict[str, str]) -> None:
    show(title)
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        show(f"  {name:{width}}  {value}")
