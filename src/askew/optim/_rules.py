"""Rules that select parameters: a module, a path, a pattern, or a function of the model."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from torch import nn

# Path segments that wrappers of PyTorch add; a rule matches the same with and without them.
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_WILDCARD = re.compile(r"(\*+|\?|\[[^\]]+\])")

Selection = Callable[[nn.Module], Iterable[nn.Parameter]]
Rule = nn.Module | str | Selection | Sequence[nn.Module | str | Selection]


class NamedParameter(NamedTuple):
    """A trainable parameter and all its names; more than one where it is tied."""

    names: tuple[str, ...]
    parameter: nn.Parameter


class Claim(NamedTuple):
    """One member of a rule: its text for messages, and what it matches."""

    text: str
    expression: re.Pattern[str] | None
    paths: tuple[str, ...]
    selected: frozenset[nn.Parameter] | None = None

    def matches(self, parameter: NamedParameter) -> bool:
        """Whether the parameter was selected, or any name of it matches."""
        if self.selected is not None:
            return parameter.parameter in self.selected
        if self.expression is not None:
            return any(self.expression.fullmatch(f"{name}.") for name in parameter.names)
        return any(inside(name, path) for name in parameter.names for path in self.paths)


def inside(path: str, other: str) -> bool:
    """Whether `path` is `other` or lies below it."""
    return not other or path == other or path.startswith(f"{other}.")


def plain_path(path: str) -> str:
    """Leave out the segments that compilation, sharding and checkpointing add."""
    return ".".join(segment for segment in path.split(".") if segment not in _WRAPPERS)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside wrappers for data parallelism or compilation."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            inner = model.module
        if inner is None:
            return model
        model = inner


def trainable(model: nn.Module) -> list[NamedParameter]:
    """List every trainable parameter once, in the model's order, with all its names."""
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            names.setdefault(parameter, []).append(plain_path(name))
    return [NamedParameter(tuple(paths), parameter) for parameter, paths in names.items()]


def claims_of(model: nn.Module, rule: Rule, *, where: str) -> list[Claim]:
    """Split a rule into claims.

    Args:
        model: The model in which modules and paths are looked up.
        rule: A module, a path or pattern, a function of the model, or a list of those.
        where: Name of the rule in messages.

    Returns:
        One claim for each member of the rule; a module that is not in the model has no paths.

    Raises:
        TypeError: If the rule is of another type, or a function returns no parameters.
        ValueError: If a pattern has an empty segment, or a function returns a foreign parameter.
    """
    if isinstance(rule, (nn.Module, str)) or callable(rule):
        rule = [rule]
    if not isinstance(rule, Sequence):
        raise TypeError(_wrong_kind(where, rule))
    modules = [(plain_path(p), m) for p, m in model.named_modules(remove_duplicate=False)]
    return [claim for member in rule for claim in _claims(modules, member, where)]


def _claims(modules: list[tuple[str, nn.Module]], member: object, where: str) -> list[Claim]:
    if callable(member) and not isinstance(member, nn.Module):
        return [_selected(modules[0][1], member, where)]
    if isinstance(member, nn.Module):
        member = unwrapped(member)
        paths = tuple(path for path, module in modules if unwrapped(module) is member)
        if paths:
            return [Claim(repr(paths[0] or "the whole model"), None, paths)]
        if isinstance(member, (nn.ModuleList, nn.Sequential)) and len(member):  # a slice
            return [claim for inner in member for claim in _claims(modules, inner, where)]
        return [Claim(f"a {type(member).__name__} that is not in the model", None, ())]
    if not isinstance(member, str):
        raise TypeError(_wrong_kind(where, member))
    if not _WILDCARD.search(member) and any(path == member for path, _ in modules if path):
        return [Claim(repr(member), None, (member,))]
    return [Claim(repr(member), expression_of(member, where), ())]


def _selected(model: nn.Module, function: Selection, where: str) -> Claim:
    """Ask a function for its parameters, and check that they are the model's."""
    name = getattr(function, "__name__", type(function).__name__)
    found = function(model)
    selected = tuple(found) if isinstance(found, Iterable) else (found,)
    if not all(isinstance(parameter, nn.Parameter) for parameter in selected):
        wrong = next(one for one in selected if not isinstance(one, nn.Parameter))
        raise TypeError(
            f"partition_parameters: the function of a rule must return parameters; got {where} "
            f"{name} with {type(wrong).__name__}"
        )
    foreign = set(selected) - set(model.parameters())
    if foreign:
        raise ValueError(
            "partition_parameters: the function of a rule must return parameters of the model; "
            f"got {where} {name} with {len(foreign)} of another"
        )
    return Claim(name, None, (), frozenset(selected))


def expression_of(pattern: str, where: str) -> re.Pattern[str]:
    """Translate a name or a pattern; what it gives matches a whole name with a dot after it."""
    if not _WILDCARD.search(pattern):
        return re.compile(re.escape(f"{pattern}."))
    segments = pattern.split(".")
    if not all(segments):
        raise ValueError(
            "partition_parameters: a pattern must be whole segments with dots between; "
            f"got {where} {pattern!r}"
        )
    pieces = []
    for segment in segments:  # every segment ends with a dot, the last too, as in `matches`
        if segment == "**":
            pieces.append(r"(?:[^.]+\.)*")
        else:
            pieces.append("".join(map(_translated, _WILDCARD.split(segment))) + r"\.")
    if segments[-1] == "**":  # "encoder.**" matches what is below the encoder, not itself
        pieces[-1] = r"(?:[^.]+\.)+"
    return re.compile("".join(pieces))


def _translated(piece: str) -> str:
    if piece.startswith("*"):
        return "[^.]*"
    if piece == "?":
        return "[^.]"
    if _WILDCARD.fullmatch(piece):
        return "[^" + piece[2:] if piece.startswith("[!") else piece
    return re.escape(piece)


def _wrong_kind(where: str, rule: object) -> str:
    return (
        "partition_parameters: a rule must be a module, a path, a pattern, a function of the model "
        f"or a list of those; got {where} {type(rule).__name__}"
    )
