"""What tuning draws, and how often."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from askew._check import require


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
