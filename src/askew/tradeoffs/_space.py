"""What the candidates of a search may differ in, and which of them are symmetric."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, is_dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from askew._budget import Choice, Range
from askew._check import did_you_mean, require
from askew._config import to_dict
from askew.tradeoffs._task import Arm

Values = Mapping[str, Any]
"""Numbers of a candidate, by the names that `with_values` takes."""

_GRID = 4096
_SMALL = 4096


@dataclass(frozen=True, kw_only=True)
class Space:
    """What the candidates of a search may differ in, and what symmetric candidates have in common.

    Attributes:
        numbers: What is drawn, by the names that `with_values` takes.
        ties: In a symmetric candidate each of these numbers equals another one.
        fixed: In a symmetric candidate these numbers have one value each.
        solved: Ranges among `numbers` that are not drawn: they are set so that a candidate costs
            what it may cost. They move together, each from its lowest to its highest value; the
            steps must be such that each value makes a model, such as multiples of the heads.
        conditions: Numbers that only some candidates have: those in which another number has one
            of these values. Example: `{"loss.tau": {"loss.name": ("splc",)}}`.

    Raises:
        ValueError: If there is nothing to draw, or a name is unknown.

    Example:
        >>> depth = Range(low=1, high=6, step=1)
        >>> space = Space(
        ...     numbers={"encoder.num_layers": depth, "decoder.num_layers": depth},
        ...     ties={"decoder.num_layers": "encoder.num_layers"},
        ... )
        >>> values = space.draw(np.random.default_rng(0), symmetric=True)
        >>> values["encoder.num_layers"] == values["decoder.num_layers"]
        True
    """

    numbers: Mapping[str, Range | Choice]
    ties: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    solved: tuple[str, ...] = ()
    conditions: Mapping[str, Mapping[str, Sequence[object]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.drawn(symmetric=False)), "Space: numbers must be one or more; got none")
        for name, kind in self.numbers.items():
            if not isinstance(kind, Range | Choice):
                raise TypeError(
                    f"Space: a number must be a Range or a Choice; got {name} {kind!r}. "
                    "Write Range(low=…, high=…) or Choice(values=(…))"
                )
        others = [other for each in self.conditions.values() for other in each]
        for name in (*self.ties, *self.ties.values(), *self.solved, *self.conditions, *others):
            self._check_name(name)
        for name in self.solved:
            require(
                isinstance(self.numbers[name], Range),
                f"Space: a solved number must be a range; got {name} {self.numbers[name]}",
            )
        require(
            not self.ties.keys() & self.ties.values() and not self.ties.keys() & self.fixed.keys(),
            f"Space: a tied number must equal one that is not; got ties {dict(self.ties)}",
        )

    def _check_name(self, name: str) -> None:
        if name not in self.numbers:
            near = did_you_mean(name, self.numbers, elsewhere=self.numbers)
            known = near or f"known: {', '.join(self.numbers)}"
            raise ValueError(f"Space: unknown number {name!r}; {known}")

    def drawn(self, *, symmetric: bool) -> dict[str, Range | Choice]:
        """Return the numbers that are drawn for a candidate."""
        left_out = {*self.solved, *((*self.ties, *self.fixed) if symmetric else ())}
        return {name: kind for name, kind in self.numbers.items() if name not in left_out}

    def draw(self, generator: np.random.Generator, *, symmetric: bool) -> dict[str, Any]:
        """Draw a candidate; solved numbers are left out."""
        numbers = self.drawn(symmetric=symmetric)
        values = {name: kind.at(generator.random()) for name, kind in numbers.items()}
        return self.completed(values, symmetric=symmetric)

    def completed(self, values: Values, *, symmetric: bool) -> dict[str, Any]:
        """Add what a symmetric candidate has in common; leave out what a condition excludes."""
        whole = dict(values)
        if symmetric:
            whole |= self.fixed
            whole |= {name: whole[other] for name, other in self.ties.items() if other in whole}
        return {name: value for name, value in whole.items() if self._is_met(name, whole)}

    def _is_met(self, name: str, values: Values) -> bool:
        conditions = self.conditions.get(name, {})
        return all(
            values.get(other, allowed[0]) in allowed for other, allowed in conditions.items()
        )

    def solve(
        self, values: Values, cost: Callable[[Values], float], limit: float, *, symmetric: bool
    ) -> tuple[dict[str, Any], float]:
        """Set the solved numbers so that a candidate costs as nearly `limit` as they allow.

        Args:
            values: All other numbers.
            cost: Computes the cost of a whole candidate; it must grow with the solved numbers.
            limit: The wanted cost, > 0.
            symmetric: Whether the candidate is symmetric.

        Returns:
            All numbers, and the relative distance of their cost from the limit.

        Example:
            >>> space = Space(
            ...     numbers={"depth": Range(low=1, high=4, step=1), "d_ff": Range(low=8, high=99)},
            ...     solved=("d_ff",),
            ... )
            >>> cost = lambda values: values["depth"] * values["d_ff"]
            >>> values, distance = space.solve({"depth": 2}, cost, 100.0, symmetric=False)
            >>> round(values["d_ff"]), abs(distance) < 0.01
            (50, True)
        """

        def at(place: int) -> dict[str, Any]:
            solved = {name: self.numbers[name].at(place / _GRID) for name in self.solved}
            return self.completed({**values, **solved}, symmetric=symmetric)

        low, high = 0, _GRID
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if cost(at(middle)) < limit else (low, middle)
        both = [(whole, cost(whole) / limit - 1) for whole in (at(low), at(high))]
        return min(both, key=lambda pair: abs(pair[1]))

    def values_of(self, arm: Arm) -> dict[str, Any]:
        """Return the numbers that an arm has, without those that its training leaves to a default.

        A number of its model that is left to a default is None.
        """
        values = {}
        for name in self.numbers:
            value: Any = {"training": arm.training} if name.startswith("training.") else arm.config
            for key in name.split("."):
                value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
            value = to_dict(value) if is_dataclass(value) else value
            if value is not None or not name.startswith("training."):
                values[name] = value
        return values

    def base_of(self, arm: Arm) -> Arm:
        """Return the arm without the numbers of its training that candidates have of their own.

        A candidate that leaves such a number to its default must not inherit the arm's.
        """
        training = deepcopy(dict(arm.training))
        for name in self.numbers:
            first, *path = name.split(".")
            where: Any = training if first == "training" and path else {}
            for key in path[:-1]:
                where = where.get(key, {})
            where.pop(path[-1] if path else first, None)
        return replace(arm, training={key: value for key, value in training.items() if value != {}})

    def shares_training(self, arm: Arm, other: Arm) -> bool:
        """Return whether two trainings differ in numbers of the space alone."""
        return self.base_of(arm).training == self.base_of(other).training

    def is_symmetric(self, values: Values) -> bool:
        """Return whether the numbers are those of a symmetric candidate.

        A tied or fixed number that is left to its default differs from nothing.
        """
        expected = {name: values.get(other) for name, other in self.ties.items()} | dict(self.fixed)
        return all(values.get(name) in (None, value) for name, value in expected.items())

    def frozen(self, values: Values) -> "Space":
        """Return the space in which some numbers have one value each, in both families.

        Where a tied number is frozen and the one that it equals is not, a symmetric candidate has
        the value in both.

        Raises:
            ValueError: If a number is unknown.
        """
        for name in values:
            self._check_name(name)
        fixed = {name: value for name, value in self.fixed.items() if name not in values}
        for name, other in self.ties.items():
            if name in values and other not in values:
                fixed[other] = values[name]
        numbers = {**self.numbers, **{name: Choice(values=(v,)) for name, v in values.items()}}
        return Space(
            numbers=numbers,
            ties={name: other for name, other in self.ties.items() if name not in values},
            fixed=fixed,
            solved=tuple(name for name in self.solved if name not in values),
            conditions=self.conditions,
        )

    @property
    def size(self) -> float:
        """How many different candidates there are; infinite if a range has no step."""
        return math.prod(map(_count, self.drawn(symmetric=False).values()))

    @property
    def is_small(self) -> bool:
        """Whether there are so few candidates that all of them can be listed."""
        return self.size <= _SMALL

    def members(self, *, symmetric: bool) -> Iterator[dict[str, Any]]:
        """List all candidates of a small space; solved numbers are left out.

        Example:
            >>> depth = Range(low=1, high=2, step=1)
            >>> space = Space(numbers={"depth": depth, "kind": Choice(values=("a", "b"))})
            >>> [list(member.values()) for member in space.members(symmetric=False)]
            [[1, 'a'], [1, 'b'], [2, 'a'], [2, 'b']]
        """
        numbers = self.drawn(symmetric=symmetric)
        for values in product(*map(_values, numbers.values())):
            yield self.completed(dict(zip(numbers, values, strict=True)), symmetric=symmetric)


def _count(kind: Range | Choice) -> float:
    if isinstance(kind, Choice):
        return len(kind.values)
    return (
        math.inf if kind.step is None else 1 + math.floor((kind.high - kind.low) / kind.step + 1e-9)
    )


def _values(kind: Range | Choice) -> list[Any]:
    if isinstance(kind, Choice):
        return list(kind.values)
    assert kind.step is not None
    return [kind.low + kind.step * place for place in range(int(_count(kind)))]
