"""Tables of the parts of an optimizer and of their rates, now and over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from operator import index
from typing import NamedTuple

from torch import nn
from torch.optim import AdamW, Optimizer

from askew._check import require
from askew.optim._bases import check_matrices
from askew.optim._groups import parameter_groups
from askew.optim._mixed import algorithm
from askew.optim._optimizer import current_rate, named_groups
from askew.optim._rules import Rule
from askew.optim._scheduler import AsymmetricScheduler
from askew.optim._schedules import schedule_text

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_NUMBERS = ("tensors", "parameters", "rate", "decay")


class PartRow(NamedTuple):
    """One group of an optimizer, with all names of its tensors.

    Args:
        part: Name of the part.
        tensors: Number of tensors.
        parameters: Number of their elements.
        lr: The current rate.
        weight_decay: None if the optimizer has none.
        schedule: The schedule in words, "" without one.
        names: All names of each tensor, several if it is tied.
        algorithm: Name of the class that steps it, "" if none is known.

    Example:
        >>> parts_table(nn.Linear(3, 2), {"all": ["**"]}, {"all": 1e-3}).rows[0].parameters
        8
    """

    part: str
    tensors: int
    parameters: int
    lr: float
    weight_decay: float | None
    schedule: str
    names: tuple[tuple[str, ...], ...]
    algorithm: str = ""


@dataclass(frozen=True, slots=True)
class PartsTable:
    """The groups of an optimizer, which print as a table.

    Attributes:
        rows: One row per group; a part with both decayed and other parameters has two.

    Example:
        >>> model = nn.ModuleDict({"encoder": nn.Linear(3, 2), "head": nn.Linear(2, 1)})
        >>> rates = {"encoder": 1e-4, "head": 1e-2}
        >>> print(parts_table(model, {part: part for part in rates}, rates))
        part     tensors  parameters    rate  decay  schedule
        encoder        2           8  0.0001
        head           2           3    0.01
        total          4          11
    """

    rows: tuple[PartRow, ...]

    def __str__(self) -> str:
        known = any(row.algorithm for row in self.rows)
        head = ("part", *(["algorithm"] if known else []), *_NUMBERS, "schedule")
        lines = [
            (
                row.part,
                *([row.algorithm] if known else []),
                str(row.tensors),
                f"{row.parameters:,}",
                f"{row.lr:.3g}",
                "" if row.weight_decay is None else f"{row.weight_decay:g}",
                row.schedule,
            )
            for row in self.rows
        ]
        total = sum(row.tensors for row in self.rows), sum(row.parameters for row in self.rows)
        names = ("total", "") if known else ("total",)
        last = (*names, str(total[0]), f"{total[1]:,}", "", "", "")
        return _columns([head, *lines, last], left=len(names))


@dataclass(frozen=True, slots=True)
class RatesTable:
    """The rate of every part at some steps, which print as a table with small curves.

    Attributes:
        steps: The steps.
        rates: For each part the rate at each of the steps.

    Example:
        >>> from askew.optim import AsymmetricOptimizer, linear
        >>> optimizer = AsymmetricOptimizer(nn.Linear(3, 2), {"all": 1e-3}, rest="all")
        >>> table = preview(AsymmetricScheduler(optimizer, {"all": linear(4)}), 5)
        >>> table.rates["all"]
        (0.001, 0.00075, 0.0005, 0.00025, 0.0)
    """

    steps: tuple[int, ...]
    rates: Mapping[str, tuple[float, ...]]

    def __str__(self) -> str:
        head = ("part", "first", "highest", "last", f"steps {self.steps[0]} to {self.steps[-1]}")
        lines = [
            (part, *(f"{rate:.3g}" for rate in (row[0], max(row), row[-1])), _curve(row))
            for part, row in self.rates.items()
        ]
        return _columns([head, *lines])


def describe(optimizer: Optimizer, scheduler: AsymmetricScheduler | None = None) -> PartsTable:
    """List every part: algorithm, tensors, parameters, rate, decay, schedule, and all names.

    Args:
        optimizer: An optimizer with named parts.
        scheduler: Its scheduler, if there is one, also as accelerate has prepared it.

    Returns:
        A printable table; `rows` has the numbers.

    Raises:
        ValueError: If a group has no part.

    Example:
        >>> import torch
        >>> from askew.optim import AsymmetricOptimizer
        >>> optimizer = AsymmetricOptimizer(torch.nn.Linear(2, 1), {"weight": 0.1, "bias": 0.2})
        >>> print(describe(optimizer))
        part    algorithm  tensors  parameters  rate  decay  schedule
        weight  AdamW            1           2   0.1   0.01
        bias    AdamW            1           1   0.2   0.01
        total                    2           3
    """
    schedules = {} if scheduler is None else _unwrapped("describe", scheduler).schedules
    texts = {part: schedule_text(schedule) for part, schedule in schedules.items()}
    groups = [group for _, group in named_groups(optimizer, "describe")]
    only = algorithm(optimizer).__name__
    return _table(groups, texts, [group.get("base", only) for group in groups])


def parts_table(
    model: nn.Module,
    rules: Mapping[str, Rule],
    rates: Mapping[str, float],
    *,
    rest: str | None = None,
    bases: Mapping[str, type[Optimizer]] | None = None,
) -> PartsTable:
    """List which parameters would be trained at which rate, without making an optimizer.

    Args:
        model: The model; it may be on the meta device, without memory.
        rules: The rule of each part.
        rates: The rate of each part, including that of `rest`.
        rest: Name of a part for all parameters that no rule matches.
        bases: The algorithm of each part; AdamW for those left out. Without any, the table has
            no algorithms.

    Returns:
        A printable table.

    Raises:
        ValueError: If the parts do not cover the model exactly, one has no rate or no rule, or
            an algorithm for matrices alone has other parameters.

    Example:
        >>> rates = {"slope": 0.1, "other": 0.2}
        >>> table = parts_table(nn.Linear(2, 1), {"slope": "weight"}, rates, rest="other")
        >>> [(row.part, row.lr) for row in table.rows]
        [('slope', 0.1), ('other', 0.2)]
    """
    known = [*rules, *([] if rest is None else [rest])]
    for given, name in ((rates, "rate"), (bases or {}, "algorithm")):
        unknown = [part for part in given if part not in known]
        require(
            not unknown,
            f"parts_table: every {name} needs a rule; got {name}s of {', '.join(unknown)} "
            "without one",
        )
    parts = {part: {"where": rule} for part, rule in rules.items()}
    parts |= {} if rest is None else {rest: {}}
    parts = {part: options | _rate_of(rates, part) for part, options in parts.items()}
    groups = parameter_groups(model, parts, rest=rest)
    if not bases:
        return _table(groups, {}, [""] * len(groups))
    chosen = [bases.get(str(group["part"]), AdamW) for group in groups]
    for base, group in zip(chosen, groups, strict=True):
        check_matrices(base, [group])
    return _table(groups, {}, [base.__name__ for base in chosen])


def preview(scheduler: AsymmetricScheduler, steps: int | Sequence[int]) -> RatesTable:
    """Compute the rate of every part at given steps, without changing the optimizer.

    Args:
        scheduler: The scheduler, also as accelerate has prepared it.
        steps: The number of steps, counted from 0, or the steps themselves.

    Returns:
        A printable table with a curve for each part; `rates` has the numbers.

    Raises:
        ValueError: If there is no step.

    Example:
        >>> import torch
        >>> from askew.optim import AsymmetricOptimizer, constant, linear
        >>> optimizer = AsymmetricOptimizer(torch.nn.Linear(2, 1), {"weight": 0.1, "bias": 0.2})
        >>> scheduler = AsymmetricScheduler(optimizer, {"weight": linear(7), "bias": constant()})
        >>> print(preview(scheduler, 8))
        part    first  highest  last  steps 0 to 7
        weight    0.1      0.1     0  █▇▆▅▄▃▂·
        bias      0.2      0.2   0.2  ████████
    """
    scheduler = _unwrapped("preview", scheduler)
    at = tuple(range(steps) if isinstance(steps, (int, Integral)) else map(index, steps))
    require(len(at) > 0, f"preview: there must be a step; got steps {steps}")
    schedules = scheduler.schedules
    base = dict(zip(scheduler.parts, map(float, scheduler.base_lrs), strict=True))
    rates = {
        part: tuple(float(base[part] * schedule(step)) for step in at)
        for part, schedule in schedules.items()
    }
    return RatesTable(at, rates)


def _unwrapped(caller: str, scheduler: AsymmetricScheduler) -> AsymmetricScheduler:
    """Return the scheduler inside the wrapper of accelerate."""
    inner = getattr(scheduler, "scheduler", scheduler)
    if not isinstance(inner, AsymmetricScheduler):
        raise TypeError(
            f"{caller}: scheduler must be an AsymmetricScheduler; got scheduler of type "
            f"{type(inner).__name__}. Make one of the optimizer and the schedules of its parts"
        )
    return inner


def _rate_of(rates: Mapping[str, float], part: str) -> dict[str, float]:
    return {"lr": rates[part]} if part in rates else {}


def _table(
    groups: Sequence[Mapping], schedules: Mapping[str, str], algorithms: Sequence[str]
) -> PartsTable:
    rows = []
    for group, algorithm_name in zip(groups, algorithms, strict=True):
        names = group.get("param_names", [])
        aliases = group.get("aliases", {})
        rows.append(
            PartRow(
                group["part"],
                len(group["params"]),
                sum(parameter.numel() for parameter in group["params"]),
                current_rate(group),
                group.get("weight_decay"),
                schedules.get(group["part"], ""),
                tuple((name, *aliases.get(name, ())) for name in names),
                algorithm_name,
            )
        )
    return PartsTable(tuple(rows))


def _columns(lines: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Align columns: the first ones and the last to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left or i == last else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _curve(rates: Sequence[float]) -> str:
    """Draw bars from zero to the highest rate, each the mean of its steps; a dot stands for 0."""
    width = min(len(rates), _WIDTH)
    edges = [len(rates) * i // width for i in range(width + 1)]
    means = [sum(rates[a:b]) / (b - a) for a, b in pairwise(edges)]
    top = max(means) or 1.0
    levels = [min(int(mean / top * len(_BARS)), len(_BARS) - 1) for mean in means]
    return "".join(_BARS[level] if mean else "·" for level, mean in zip(levels, means, strict=True))
