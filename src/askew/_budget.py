"""What comparisons and searches spend, and the ranges from which numbers are drawn."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType

from askew._check import refuse_quoted, require


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The training budget of every trial: steps, or CPU-minutes that are turned into steps once.

    Attributes:
        steps: Optimizer steps.
        minutes: CPU-minutes of training, > 0.

    Raises:
        ValueError: Unless exactly one is given, and positive.

    Example:
        >>> Budget(steps=100).steps
        100
        >>> Budget(steps=100, minutes=2.0)
        Traceback (most recent call last):
        ValueError: Budget: exactly one of steps and minutes must be given, and positive; g...
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        refuse_quoted(self)
        given = [value for value in (self.steps, self.minutes) if value is not None]
        require(
            len(given) == 1 and 0 < given[0] < math.inf,
            "Budget: exactly one of steps and minutes must be given, and positive; "
            f"got steps {self.steps}, minutes {self.minutes}",
        )


@dataclass(frozen=True, kw_only=True)
class Range:
    """A range from which numbers are drawn, uniformly or log-uniformly.

    Attributes:
        low: Smallest value.
        high: Largest value, above it.
        log: Whether the logarithm is uniform; then `low` must be positive.
        step: Distance of neighbouring values, counted from `low`; None draws any number. With an
            integer `low` and `step` all values are integers.

    Raises:
        ValueError: If `low` is not below `high`, or not positive with `log`, or `step` is not
            positive.

    Example:
        >>> Range(low=1e-4, high=1e-2, log=True).at(0.5)
        0.001
        >>> Range(low=32, high=128, step=32).at(0.4)
        64
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        refuse_quoted(self)
        require(
            -math.inf < self.low < self.high < math.inf,
            f"Range: low must be below high, both finite; got low {self.low}, high {self.high}",
        )
        require(
            self.low > 0 or not self.log,
            f"Range: low must be positive where logarithms are drawn; got low {self.low}",
        )
        require(
            self.step is None or 0 < self.step <= self.high - self.low,
            f"Range: step must be positive and at most the width; got step {self.step}",
        )

    def __repr__(self) -> str:
        """Write the range without a step that it has not: folders are named by this text."""
        step = "" if self.step is None else f", step={self.step!r}"
        return f"Range(low={self.low!r}, high={self.high!r}, log={self.log!r}{step})"

    def at(self, share: float) -> float:
        """Return the value at a share of the range, 0 for `low` and 1 for `high`."""
        if self.step is None:
            if not self.log:
                return self.low + share * (self.high - self.low)
            return float(f"{self.low * (self.high / self.low) ** share:.12g}")
        last = math.floor((self.high - self.low) / self.step + 1e-9)
        if self.log:
            steps = round((self.low * (self.high / self.low) ** share - self.low) / self.step)
        else:
            steps = int(share * (last + 1))
        return self.low + self.step * min(last, steps)

    def __contains__(self, value: object) -> bool:
        """Return whether the range has this number."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-9


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A list of values, one of which is drawn; all are equally likely.

    Attributes:
        values: One or more different numbers, words or truth values.

    Raises:
        ValueError: If there is none, one is given twice, or one is of another type.

    Example:
        >>> Choice(values=(2, 4, 8)).at(0.5)
        4
    """

    values: tuple[float | str | bool | None, ...]

    def __post_init__(self) -> None:
        require(
            all(isinstance(value, float | int | str | NoneType) for value in self.values),
            f"Choice: values must be numbers, words or truth values; got values {self.values}",
        )
        require(
            0 < len(self.values) == len(set(self.values)),
            f"Choice: values must be one or more and different; got values {self.values}",
        )

    def at(self, share: float) -> float | str | bool | None:
        """Return the value at a share of the list in [0, 1]."""
        return self.values[min(len(self.values) - 1, int(share * len(self.values)))]

    def __contains__(self, value: object) -> bool:
        """Return whether the list has this value."""
        return value in self.values


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How the arms of a comparison are tuned before it.

    Attributes:
        draws: Settings that each arm tries, in addition to those it has, >= 1.
        space: What is drawn, by the names that `with_values` takes.

    Raises:
        ValueError: If there is nothing to draw.

    Example:
        >>> Tuning(draws=8, space={"training.lr": Range(low=1e-4, high=1e-2, log=True)}).draws
        8
    """

    draws: int
    space: Mapping[str, Range | Choice]

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"Tuning: draws must be >= 1; got draws {self.draws}")
        require(bool(self.space), "Tuning: space must have a number to draw; got none")


@dataclass(frozen=True, kw_only=True)
class SearchBudget:
    """What a search spends, its confirmation included.

    Attributes:
        minutes: CPU-minutes of all training, > 0: 60 % for the search and 40 % for the
            confirmation. They decide the numbers below that are None.
        steps: Optimizer steps of a full training; by default it takes a fortieth of the minutes.
        candidates: Number of candidates, of both families together.
        finalists: Candidates to confirm at most, 1 to 3.
        seeds: Number of seeds of the confirmation; five or more give verdicts.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> SearchBudget(minutes=20.0).finalists
        2
    """

    minutes: float = 28.0
    steps: int | None = None
    candidates: int | None = None
    finalists: int = 2
    seeds: int | None = None

    def __post_init__(self) -> None:
        refuse_quoted(self)
        require(
            0 < self.minutes < math.inf,
            f"SearchBudget: minutes must be finite and > 0; got minutes {self.minutes}",
        )
        require(
            1 <= self.finalists <= 3,
            f"SearchBudget: finalists must be 1, 2 or 3; got finalists {self.finalists}",
        )
        require(
            self.steps is None or self.steps >= 3,
            f"SearchBudget: steps must be >= 3, one for each rung; got steps {self.steps}",
        )
        require(
            self.candidates is None or self.candidates >= self.fewest_candidates,
            f"SearchBudget: candidates must be at least {self.fewest_candidates}, more of each "
            f"family than finalists; got candidates {self.candidates}",
        )
        require(
            self.seeds is None or 1 <= self.seeds <= 1000,
            f"SearchBudget: seeds must be from 1 to 1000; got seeds {self.seeds}",
        )

    @property
    def fewest_candidates(self) -> int:
        """The smallest number of candidates that leaves a choice of finalists."""
        return 2 * self.finalists + 2
