"""The command `askew parts`: show which parameters would be trained, how and at which rate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from askew._check import hint
from askew._files import to_json
from askew.cli._exits import check_paths, exit_on_user_error
from askew.cli._options import Json
from askew.cli._streams import show

T = TypeVar("T")
_ROLES = ("hidden_matrices", "embeddings", "heads", "norms_and_biases")


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
            help="PART=PATTERN on whole path segments, e.g. norms=**.layer_norm.*; without one, a "
            "part is the sub-module of its name. May be repeated; the first match wins.",
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            help="PART=ROLE, what its parameters are in the model: hidden_matrices, embeddings, "
            "heads or norms_and_biases. May be repeated.",
        ),
    ] = None,
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--base",
            help="PART=ALGORITHM, e.g. matrices=muon; adamw for the other parts. May be repeated.",
        ),
    ] = None,
    rest: Annotated[
        str | None, typer.Option(help="Name of the part of all parameters that no rule matches.")
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Print every parameter.")] = False,
    as_json: Json = False,
) -> None:
    """Show which parameters of a model would be trained at which rate.

    Every trainable parameter must be in exactly one part; the command names those that are not.
    The model is built from its config; no weights are read.
    """
    with exit_on_user_error():
        if names and as_json:
            raise ValueError("parts: --names must be left out with --json, which has all names")
        check_paths()
        from askew import optim
        from askew.models import build_on_meta

        rates = {part: _rate(part, text) for part, text in map(_assigned, lr)}
        roles = {name: getattr(optim, name) for name in _ROLES}
        rules: dict[str, list] = {}
        for part, pattern in map(_assigned, rule or []):
            rules.setdefault(part, []).append(pattern)
        for part, name in map(_assigned, role or []):
            rules.setdefault(part, []).append(_named(roles, "role", part, name))
        for part in rates:
            if part != rest:
                rules.setdefault(part, [part])
        pairs = map(_assigned, base or [])
        bases = {part: _named(optim.ALGORITHMS, "base", part, name) for part, name in pairs}
        table = optim.parts_table(build_on_meta(folder), rules, rates, rest=rest, bases=bases)
    if as_json:
        show(to_json([row._asdict() for row in table.rows]))
        return
    show(str(table))
    if names:
        for row in table.rows:
            for aliases in row.names:
                show(f"{row.part}\t{' = '.join(aliases)}")


def _assigned(text: str) -> tuple[str, str]:
    part, equals, value = text.partition("=")
    if not (part and equals and value):
        raise ValueError(
            "parts: --lr, --rule, --role and --base must be PART=VALUE, such as encoder=0.001; "
            f"got {text!r}"
        )
    return part, value


def _named(known: Mapping[str, T], option: str, part: str, name: str) -> T:
    if name not in known:
        raise ValueError(
            f"parts: {option} must be {', '.join(known)}; got {part}={name}{hint(name, known)}"
        )
    return known[name]


def _rate(part: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"parts: the rate must be a number; got {part}={text}") from None
