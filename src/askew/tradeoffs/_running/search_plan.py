"""The plan of a search: all that its candidates, its confirmation and its results depend on."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple

from askew._budget import Budget
from askew._check import require
from askew._config import to_dict
from askew.tradeoffs._running.plan import RunPlan
from askew.tradeoffs._running.rungs import FIRST_SEARCH_SEED, Rung
from askew.tradeoffs._space import Space
from askew.tradeoffs._task import Arm, Model, Task

ETA = 3
"""The share of candidates that is promoted is one in ETA; a rung is ETA times as long."""
COSTS = ("parameters", "flops", "latency_ms")
MATCHES = ("parameters", "flops", "latency", "nothing")
_RUNGS = 3
_VALIDATION_ITEMS = 300
_STEPS_OF_A_RUNG = 20  # rungs end where a checkpoint is written


class Effort(NamedTuple):
    """Numbers of candidates of one family by rung, and what they cost together.

    Attributes:
        counts: Candidates that are trained on each rung.
        trainings: Steps of both families, as a multiple of those of a full training.
    """

    counts: list[int]
    trainings: float


@dataclass(frozen=True, kw_only=True)
class SearchPlan(Generic[Model]):
    """What a search tries, where, and how; the arguments of `find` as one value.

    Attributes:
        task: Data, training and scoring.
        space: What candidates differ in.
        start: Arms that are among the candidates; all others have the settings of the first.
        steps: Optimizer steps of a full training.
        candidates: Number of candidates, of both families together.
        finalists: Candidates to confirm, at most.
        seeds: Seeds of the confirmation.
        match: The cost that all candidates have in common with the first of `start`.
        at_most: Upper bounds of costs.
        out: Folder of the search.
        jobs: Trainings at the same time.
        threads: Threads of PyTorch in each.
        looks: Numbers of seeds after which the finalists are judged.
        settings: More to write into the results.
        command: What to type to get these results again.
    """

    task: Task[Model]
    space: Space
    start: Sequence[Arm]
    steps: int
    candidates: int
    finalists: int
    seeds: Sequence[int]
    match: str
    at_most: Mapping[str, float]
    out: Path
    jobs: int
    threads: int
    looks: Sequence[int] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    command: str = ""

    @property
    def rungs(self) -> list[Rung]:
        """Lengths of training, the full one last, where the deciding metric is computed, too."""
        steps = [self.steps / ETA**place for place in reversed(range(_RUNGS))]
        rounded = [_rounded(one) for one in steps[:-1]] + [self.steps]
        last = len(rounded) - 1
        return [
            Rung(number, one, _VALIDATION_ITEMS if number == last else 0)
            for number, one in enumerate(rounded)
        ]

    @property
    def per_family(self) -> int:
        """Number of candidates of each family."""
        return self.candidates // 2

    @property
    def effort(self) -> Effort:
        """Number of candidates on each rung, if as many are promoted as usual."""
        return effort(self.candidates, self.finalists, [rung.steps for rung in self.rungs])

    def promoted(self, number: int, share: int) -> int:
        """Return how many candidates of a family leave a rung of `number` candidates."""
        return min(number, max(self.finalists, math.ceil(number / share)))

    def identity(self) -> dict:
        """Return the plain values that two runs must share to be one search."""
        values = {
            "version": 1,
            "task": self.task.name,
            "data": dict(self.task.describe()),
            "deciding_metric": self.task.metrics[0].name,
            "space": to_dict(self.space),
            "start": {arm.name: {**to_dict(arm.config), **arm.training} for arm in self.start},
            "rungs": [rung.steps for rung in self.rungs],
            "search_seeds": [rung.seed for rung in self.rungs],
            "candidates": self.candidates,
            "finalists": self.finalists,
            "confirmation_seeds": list(self.seeds),
            "match": self.match,
            "at_most": dict(self.at_most),
            "threads": self.threads,
        }
        text = json.dumps(values, sort_keys=True)
        return {**values, "hash": hashlib.sha256(text.encode()).hexdigest()}

    def check(self) -> None:
        """Refuse a plan that cannot run.

        Raises:
            ValueError: If a number does not fit.
        """
        require(bool(self.start), "find: start must have one arm or more; got none")
        require(self.steps >= 1, f"find: steps must be >= 1; got steps {self.steps}")
        require(
            1 <= self.finalists <= _RUNGS,
            f"find: finalists must be 1, 2 or 3; got finalists {self.finalists}",
        )
        require(
            self.per_family >= self.finalists + 1,
            f"find: candidates must be at least {2 * self.finalists + 2}, more of each family than "
            f"finalists; got candidates {self.candidates}",
        )
        require(
            self.match in MATCHES,
            f"find: match must be {', '.join(MATCHES)}; got match {self.match!r}",
        )
        unknown = [name for name in self.at_most if name not in COSTS]
        require(not unknown, f"find: a bound must be of {', '.join(COSTS)}; got {unknown}")
        for name, bound in self.at_most.items():
            require(0 < bound < math.inf, f"find: a bound must be positive; got {name} {bound}")
        require(
            max(self.seeds, default=0) < FIRST_SEARCH_SEED,
            f"find: seeds must be below those of the search; got seeds {list(self.seeds)}",
        )
        RunPlan.check_seeds(self.seeds)

    def confirmation(self, arms: Sequence[Arm]) -> RunPlan[Model]:
        """Return the comparison that confirms finalists; the baseline is the last arm."""
        return RunPlan(
            task=self.task,
            arms=arms,
            seeds=self.seeds,
            budget=Budget(steps=self.steps),
            out=self.out / "confirmation",
            threads=self.threads,
            jobs=self.jobs,
            settings=self.settings,
            command=self.command,
            looks=self.looks,
        )


def effort(candidates: int, finalists: int, rungs: Sequence[int]) -> Effort:
    """Count the candidates of a family on each rung, and the trainings of both families.

    Args:
        candidates: Of both families together.
        finalists: Candidates to confirm.
        rungs: Steps of each rung.

    Returns:
        Both numbers.

    Example:
        >>> effort(36, 2, [60, 180, 540])
        Effort(counts=[18, 6, 2], trainings=9.33...)
    """
    counts = [candidates // 2]
    for _ in rungs[1:]:
        counts.append(min(counts[-1], max(finalists, math.ceil(counts[-1] / ETA))))
    lengths = [steps - before for before, steps in zip([0, *rungs], rungs, strict=False)]
    steps = sum(count * length for count, length in zip(counts, lengths, strict=True))
    return Effort(counts, 2 * steps / rungs[-1])


def _rounded(steps: float) -> int:
    return max(1, round(steps / _STEPS_OF_A_RUNG) * _STEPS_OF_A_RUNG or round(steps))
