"""Shared options, and commands made from dataclasses whose fields are options."""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from enum import StrEnum
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from askew._budget import Budget
from askew.cli._exits import exit_on_user_error, fail, paths_to_read, typed
from askew.tasks import option

Threads = Annotated[int, typer.Option(min=1, help="Threads.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Jobs = Annotated[
    int, typer.Option(min=1, help="Processes that encode documents, each with one thread.")
]


class StateDtype(StrEnum):
    """Numbers that the states of an index are stored in."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    INT8 = "int8"


Dtype = Annotated[
    StateDtype | None,
    typer.Option(
        help="Numbers in a new index: float16, which is the default, float32, or int8, which "
        "needs half the bytes.",
        show_default=False,
    ),
]
QuestionEncoder = Annotated[
    str | None,
    typer.Option(
        "--question-encoder",
        help="With --index: static encodes questions by a table of tokens, and a number by so "
        "many layers of the encoder. Both are made once from sentences of the documents, and kept "
        "there. Or the folder of such an encoder.",
    ),
]
MAX_SEED = 2**32 - 1
"""The highest number that every generator takes as a seed."""
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""The base class of the parser's errors, which has no public name."""
_READ = {"folder", "model", "translator", "teacher", "from_", "data", "valid", "test"}
_READ |= {f"{part}{side}" for part in ("", "valid_", "test_") for side in ("source", "target")}
_READ |= {"encoder", "context_encoder", "question_encoder"}
"""Parameters whose path is read first of all."""
_NAMES = re.compile("datasets:|minilm$")
"""What may stand in the place of such a path."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Options for what a command prints."""

    quiet: bool = option(False, "Show no progress.")
    as_json: bool = option(False, "Print results as JSON.", name="--json")


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """The option for the device of a training."""

    device: str = option(
        "auto",
        "Where to train: auto (models of text on the accelerator of this machine, if it has one), "
        "cpu, cuda, cuda:1 or mps.",
    )


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """Options for the length of a training."""

    steps: int | None = option(None, "Training steps of one model.", minimum=1)
    minutes: float | None = option(None, "Instead of --steps: CPU-minutes of one training.")

    def __post_init__(self) -> None:
        self.budget()

    def budget(self) -> Budget | None:
        """Return the budget, or None if no option sets it."""
        if self.steps is None and self.minutes is None:
            return None
        return Budget(steps=self.steps, minutes=self.minutes)


class OneLineCommand(TyperCommand):
    """A command whose usage errors are one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options, or end with exit code 2."""
        typed.set(_path(ctx))
        try:
            rest = super().parse_args(ctx, args)
            paths_to_read.set([path for one in self.params for path in _path_of(one, ctx.params)])
            return rest
        except USAGE_ERROR as error:
            spelling = getattr(error, "option_name", None)
            message = getattr(error, "format_message", error.__str__)().rstrip(".")
            message = message.replace(": Value error, ", ": ")  # the words of pydantic
            if message.startswith("Got unexpected extra argument"):
                message += f"; it takes {_arguments(self)}"
            owners = [] if _has(self, spelling) else _owners(ctx, spelling)
            if owners:
                message = f"there is no {spelling} here; it is an option of {', '.join(owners)}"
            fail(f"{message}. See askew {_path(ctx)} --help", 2)


def _path_of(parameter: Any, given: Mapping[str, object]) -> list[tuple[str, Path]]:
    """Return the path that a parameter names, with its spelling, if it is one to read."""
    value = given.get(parameter.name)
    is_path = isinstance(value, Path) or (isinstance(value, str) and parameter.name == "data")
    if not is_path or parameter.name not in _READ or _NAMES.match(str(value)):
        return []
    spelling = parameter.opts[0] if parameter.opts[0][0] == "-" else parameter.name.upper()
    return [(spelling, Path(str(value)))]


class AnyOrder(TyperGroup):
    """A group whose sub-command may stand anywhere among the options, or be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the sub-command first."""
        return super().parse_args(ctx, args if args == ["--help"] else self._named(args))

    def _named(self, args: list[str]) -> list[str]:
        """Find the name of the sub-command among options and their values."""
        flags = {
            spelling
            for command in self.commands.values()
            for parameter in command.params
            for spelling in (*parameter.opts, *parameter.secondary_opts)
            if getattr(parameter, "is_flag", False)
        } | {"--help"}
        is_value = False
        for place, arg in enumerate(args):
            if is_value:
                is_value = False
            elif arg.startswith("-"):
                is_value = "=" not in arg and arg not in flags
            elif arg in self.commands:
                return [arg, *args[:place], *args[place + 1 :]]
            elif ":" in arg and "experiment" in self.commands:
                return ["experiment", *args]
            else:
                names = ", ".join(n for n in self.commands if n not in ("experiment", "results"))
                names += " or MODULE:NAME" if "experiment" in self.commands else ""
                typed.set(str(self.name))
                fail(f"task must be {names}; got {arg!r}{_repair(Path(arg))}", 2)
        has_results = any(arg.partition("=")[0] == "--results" for arg in args)
        return ["results" if has_results else next(iter(self.commands)), *args]


def _repair(path: Path) -> str:
    """Say how a file is given that stands in the place of a task."""
    if path.suffix == ".py":
        return f". Write {path}:NAME, with the name of an Experiment in this file"
    return f". Write --data {path}" if path.exists() else ""


def _path(ctx: Any) -> str:
    """Return the names of a command and of the groups around it."""
    above = _path(ctx.parent) if ctx.parent and ctx.parent.parent else ""
    return f"{above} {ctx.info_name}".strip()


def _owners(ctx: Any, spelling: str | None) -> list[str]:
    """Return the sibling commands that have an option."""
    siblings = getattr(ctx.parent.command, "commands", {}) if ctx.parent else {}
    return [name for name, command in siblings.items() if _has(command, spelling)]


def _arguments(command: Any) -> str:
    """Name what a command takes without an option, in brackets what may be left out."""
    named = [one for one in command.params if one.param_type_name == "argument"]
    words = (one.name.upper() if one.required else f"[{one.name.upper()}]" for one in named)
    taken = " ".join(words)
    return f"{taken}. A text of several words needs quotes" if taken else "options alone"


def _has(command: Any, spelling: str | None) -> bool:
    return any(spelling in parameter.opts for parameter in command.params)


def refuse_device(device: str, command: str, other: str) -> None:
    """Refuse --device beside an option that says itself where trainings run."""
    if device != "auto":
        raise ValueError(
            f"{command}: {other} must go without a device of one machine; got --device {device}"
        )


def make_command(function: Callable[..., None], *groups: type) -> Callable[..., None]:
    """Make a function for Typer whose options are the fields of dataclasses.

    `function` is called with one instance of every group. Fields of the same name in two groups are
    one option. A ValueError of a group ends the command in one line.
    """

    def _run(**values: Any) -> None:
        with exit_on_user_error():
            made = [group(**{f.name: values[f.name] for f in fields(group)}) for group in groups]
        function(*made)

    parameters: dict[str, Parameter] = {}
    for group in groups:
        hints = get_type_hints(group, include_extras=True)
        for one in sorted(fields(group), key=lambda one: _place(group, one)):
            parameters.setdefault(one.name, _parameter(one, hints[one.name]))
    _run.__signature__ = Signature(list(parameters.values()))  # type: ignore[attr-defined]
    _run.__doc__ = function.__doc__
    return _run


def _place(group: type, one: Field) -> tuple[bool, int]:
    """Sort required options first in the help, then those of the class, then inherited ones."""
    owners = [one.name in vars(base).get("__annotations__", {}) for base in group.__mro__]
    return one.default is not MISSING, -owners[::-1].index(True)


def _parameter(one: Field, hint: Any) -> Parameter:
    described: Mapping[str, Any] = one.metadata
    default = Parameter.empty if one.default is MISSING else one.default
    if described["positional"]:
        info: Any = typer.Argument(help=described["help"])
    else:
        spelling = described["name"] or f"--{one.name.replace('_', '-')}"
        info = typer.Option(
            spelling,
            help=described["help"],
            min=described["min"],
            max=described["max"],
            show_default=described["show_default"],
        )
    return Parameter(
        one.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, info]
    )


def paragraphs(text: str | None) -> str:
    """Join the lines of every paragraph, so that the terminal breaks them at its width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n"))
