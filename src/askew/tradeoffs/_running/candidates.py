"""The candidates of a search, and all that it measures of them."""

from collections.abc import Mapping
from typing import NamedTuple

from askew.tradeoffs._running.rungs import RungResult
from askew.tradeoffs._space import Values
from askew.tradeoffs._task import Arm

FAMILIES = ("asymmetric", "symmetric")


class Candidate(NamedTuple):
    """One model of a search, with its training.

    Attributes:
        arm: As it is trained.
        symmetric: Whether it is of the symmetric family.
        origin: "given", "random" or "proposed".
        values: Its numbers of the space.
        latency_ms: Time of one answer, with initial weights.
        costs: What else is bounded and had to be measured.
    """

    arm: Arm
    symmetric: bool
    origin: str
    values: Values
    latency_ms: float
    costs: Mapping[str, float]


class Searched(NamedTuple):
    """All that a search has measured.

    Attributes:
        candidates: In the order in which they were drawn.
        results: By candidate, its result on every rung that it reached.
        correlations: Rank correlation of each rung with the next one; None where too few are on
            both.
        shares: One in how many was promoted from each rung but the last.
    """

    candidates: list[Candidate]
    results: dict[str, list[RungResult]]
    correlations: list[float | None]
    shares: list[int]
