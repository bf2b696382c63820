"""The candidates of a search, and all that it measures of them."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from askew._config import DESCRIBES, to_dict
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
        exhausted: Families all of whose members that meet the limits are candidates.
    """

    candidates: list[Candidate]
    results: dict[str, list[RungResult]]
    correlations: list[float | None]
    shares: list[int]
    exhausted: list[str]


def found_toml(candidate: Candidate) -> str:
    """Write a candidate as a file of settings, which `--challenger` and `--shape` take.

    Args:
        candidate: The candidate.

    Returns:
        One line for each setting of the model and of its training, without sizes of vocabularies:
        those are of the data.
    """
    config = candidate.arm.config
    left_out = {one.name for one in fields(config) if one.metadata == DESCRIBES}
    left_out |= {one.name for one in fields(config) if one.name.endswith("vocab")}
    settings = {name: value for name, value in to_dict(config).items() if name not in left_out}
    lines = [
        f"{name} = {json.dumps(value)}"
        for name, value in flat({**settings, "training": candidate.arm.training}).items()
        if value is not None
    ]
    return "\n".join(lines) + "\n"


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values by dotted names.

    Example:
        >>> flat({"encoder": {"d_model": 64}})
        {'encoder.d_model': 64}
    """
    named: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value) if isinstance(value, Mapping) else {"": value}
        named |= {f"{key}.{name}" if name else key: one for name, one in inner.items()}
    return named
