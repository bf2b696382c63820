"""What a comparison spends: the budget of a trial and the draws of tuning."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from askew._check import require


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

    Raises:
        ValueError: If `low` is not below `high`, or not positive with `log`.

    Example:
        >>> Range(low=1e-4, high=1e-2, log=True).log
        True
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        require(
            -math.inf < self.low < self.high < math.inf,
            f"Range: low must be below high, both finite; got low {self.low}, high {self.high}",
        )
        require(
            self.low > 0 or not self.log,
            f"Range: low must be positive where logarithms are drawn; got low {self.low}",
        )


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
    space: Mapping[str, Range]

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"Tuning: draws must be >= 1; got draws {self.draws}")
        require(bool(self.space), "Tuning: space must have a number to draw; got none")
