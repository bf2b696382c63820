"""The command that looks over an installation."""

import json
from typing import Annotated

import typer

from askew._cli import Json, refusing_bad_input


def doctor_command(
    *,
    self_test: Annotated[
        bool, typer.Option("--self-test/--no-self-test", help="Compute a few things twice.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Say what is installed, what this machine can do, and whether its numbers come out right.

    Exit codes: 0 all is well, 1 a number is wrong, 2 a needed package is missing.
    """
    with refusing_bad_input():
        from askew import _doctor as doctor

        versions, devices, routes = doctor.installed(), doctor.devices(), doctor.routes()
        missing = doctor.extras()
    if not as_json:
        _show("versions", versions)
        _show("devices", devices)
        _show("ways to compute attention", routes)
        told = {
            extra: f"lacks {', '.join(absent)}: pip install 'askew[{extra}]'" if absent else "ready"
            for extra, absent in missing.items()
        }
        _show("extras", told)
    checks = []
    if self_test:
        if not as_json:
            print("self-test")
        for check in doctor.self_test():
            checks.append(check)
            if not as_json:
                said = "right" if check.passed else "WRONG"
                print(f"  {said}  {check.name}: {check.error:.1e}, at most {check.tolerance:.0e}")
    if as_json:
        found = {"versions": versions, "devices": devices, "routes": routes, "missing": missing}
        told = [check._asdict() | {"passed": check.passed} for check in checks]
        print(json.dumps(found | {"checks": told}, indent=2))
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def _show(title: str, rows: dict[str, str]) -> None:
    print(title)
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        print(f"  {name:{width}}  {value}")
