"""The plan of a search: all that its candidates, its confirmation and its results depend on."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Generic, NamedTuple

from askew._budget import Budget, SearchBudget
from askew._check import require
from askew._config import to_dict
from askew.tradeoffs._running.plan import RunPlan
from askew.tradeoffs._running.rungs import FIRST_SEARCH_SEED, Rung
from askew.tradeoffs._space import Space
from askew.tradeoffs._task import Arm, Model, Task

ETA = 3
"""One candidate in ETA is promoted."""
_LONGER = 2  # a rung is so many times as long as the one before
COSTS = ("parameters", "flops", "latency_ms", "memory_mb")
"""What can be bounded; a task can add more."""
COUNTED_COSTS = ("parameters", "flops")
MATCHES = ("parameters", "flops", "latency", "nothing")
_RUNGS = 3
_VALIDATION_ITEMS = 300
_STEPS_OF_A_RUNG = 20  # trainings write a checkpoint at such steps
_SEARCH_SHARE = 0.6
_TRAININGS = 40  # of full length that a budget in minutes stands for
_MOST_CANDIDATES = 600
_FEWEST_SEEDS, _MOST_SEEDS = 5, 20


@dataclass(frozen=True, kw_only=True)
class SearchPlan(Generic[Model]):
    """What a search tries, where, and how; the arguments of `find` as one value.

    Attributes:
        task: Data, training and scoring.
        space: What candidates differ in.
        start: Arms that are among the candidates, unless their training differs from that of the
            first in more than the space; all others have the settings of the first.
        budget: What it may spend.
        match: The cost that all candidates have in common with the first of `start`.
        at_most: Upper bounds of costs.
        out: Folder of the search.
        threads: Threads of PyTorch in each training.
        jobs: Trainings at the same time.
        settings: More to write into the results.
        command: What to type to get these results again.
        cluster: Where candidates are trained; None for processes of this machine.
        steps: Optimizer steps of a full training, once they are known.
        candidates: Number of candidates, of both families together, once it is known.
        seeds: Seeds of the confirmation, once they are known.
    """

    task: Task[Model]
    space: Space
    start: Sequence[Arm]
    budget: SearchBudget
    match: str
    at_most: Mapping[str, float]
    out: Path
    threads: int
    jobs: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)
    command: str = ""
    cluster: str | None = None
    steps: int = 0
    candidates: int = 0
    seeds: Sequence[int] = ()

    @property
    def open_space(self) -> Space:
        """The space; without a cost to match, nothing is solved for it."""
        is_solved = self.match in ("parameters", "flops")
        return self.space if is_solved else replace(self.space, solved=())

    @property
    def measured_bounds(self) -> list[str]:
        """Names of the bounded costs, beside the latency, that take a process to measure."""
        return [name for name in self.at_most if name not in (*COUNTED_COSTS, "latency_ms")]

    @property
    def rungs(self) -> list[Rung]:
        """Lengths of training, the full one last, where the deciding metric is computed, too."""
        return [
            Rung(
                number,
                steps,
                seed=FIRST_SEARCH_SEED + number,
                items=_VALIDATION_ITEMS if number == _RUNGS - 1 else 0,
                full_steps=self.steps,
            )
            for number, steps in enumerate(rung_steps(self.steps))
        ]

    @property
    def per_family(self) -> int:
        """Number of candidates of each family."""
        return self.candidates // 2

    def promoted(self, number: int, share: int) -> int:
        """Return how many of `number` candidates of a family leave a rung."""
        return promoted_count(number, share, self.budget.finalists)

    def identity(self) -> dict:
        """Return the plain values that two runs must share to be one search."""
        values = {
            "version": 1,
            "task": self.task.name,
            "data": dict(self.task.describe()),
            "deciding_metric": self.task.metrics[0].name,
            "space": to_dict(self.space),
            "start": {arm.name: {**to_dict(arm.config), **arm.training} for arm in self.start},
            "budget": asdict(self.budget),
            "match": self.match,
            "at_most": dict(self.at_most),
            "threads": self.threads,
        }
        if not self.space.conditions:
            del values["space"]["conditions"]  # as searches were identified before these were
        text = json.dumps(values, sort_keys=True)
        return {**values, "hash": hashlib.sha256(text.encode()).hexdigest()}

    def check(self) -> None:
        """Refuse a plan that cannot run.

        Raises:
            ValueError: If a setting does not fit.
        """
        require(bool(self.start), "find: start must have one arm or more; got none")
        require(
            self.match in MATCHES,
            f"find: match must be {', '.join(MATCHES)}; got match {self.match!r}",
        )
        known = (*COSTS, *self.task.untrained_costs())
        unknown = [name for name in self.at_most if name not in known]
        require(not unknown, f"find: a bound must be of {', '.join(known)}; got {unknown}")
        for name, bound in self.at_most.items():
            require(
                0 < bound < math.inf,
                f"find: a bound must be finite and positive; got {name} {bound}",
            )
        require(
            bool(self.space.ties or self.space.fixed),
            "find: a space must say by ties or fixed what symmetric candidates have in common; got "
            "neither",
        )
        fewest = self.budget.fewest_candidates
        require(
            self.open_space.size >= fewest,
            f"find: the space must have {fewest} candidates or more; got {self.open_space.size:g}",
        )

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
            cluster=self.cluster,
        )


def promoted_count(number: int, share: int, finalists: int) -> int:
    """Return how many of `number` candidates are promoted, one in `share` but enough finalists.

    Example:
        >>> promoted_count(12, 3, 2), promoted_count(4, 3, 2), promoted_count(1, 3, 2)
        (4, 2, 1)
    """
    return min(number, max(finalists, math.ceil(number / share)))


class Schedule(NamedTuple):
    """How long and how often a search trains.

    Attributes:
        steps: Optimizer steps of a full training.
        candidates: Number of candidates, of both families together.
        seeds: Number of seeds of the confirmation.
    """

    steps: int
    candidates: int
    seeds: int


def schedule_of(budget: SearchBudget, steps_per_minute: float) -> Schedule:
    """Find the numbers that a budget leaves open.

    Args:
        budget: The budget.
        steps_per_minute: Of one training, in CPU time.

    Returns:
        All numbers.

    Raises:
        ValueError: If the minutes do not buy five seeds of one finalist.

    Example:
        >>> schedule_of(SearchBudget(minutes=40.0), steps_per_minute=540.0)
        Schedule(steps=540, candidates=56, seeds=5)
    """
    steps = budget.steps or max(_RUNGS, round(budget.minutes / _TRAININGS * steps_per_minute))
    trainings = budget.minutes * steps_per_minute / steps
    candidates = budget.candidates or _affordable(budget, steps, _SEARCH_SHARE * trainings)
    arms = budget.finalists + 1
    affordable = min(_MOST_SEEDS, int((1 - _SEARCH_SHARE) * trainings / arms + 1e-9))
    seeds = budget.seeds or affordable
    require(
        budget.seeds is not None or affordable >= _FEWEST_SEEDS,
        f"find: minutes must buy {_FEWEST_SEEDS} seeds of {arms} models for the confirmation; got "
        f"minutes {budget.minutes:g}, which buy {affordable}. Use at least "
        f"{_FEWEST_SEEDS * arms * steps / steps_per_minute / (1 - _SEARCH_SHARE):.3g} minutes, or "
        "fewer steps or finalists",
    )
    return Schedule(steps, candidates, seeds)


def _affordable(budget: SearchBudget, steps: int, trainings: float) -> int:
    """Return the largest number of candidates whose search costs at most so many trainings."""
    for candidates in range(_MOST_CANDIDATES, budget.fewest_candidates, -2):
        if search_trainings(candidates, budget.finalists, steps) <= trainings:
            return candidates
    return budget.fewest_candidates


def rung_steps(steps: int) -> list[int]:
    """Return the steps after which candidates are compared, the last ones those of all.

    Example:
        >>> rung_steps(480)
        [120, 240, 480]
    """
    shorter = [steps / _LONGER**power for power in range(_RUNGS - 1, 0, -1)]
    unit = _STEPS_OF_A_RUNG if steps >= _RUNGS * _STEPS_OF_A_RUNG else 1
    return [*(round(one / unit) * unit for one in shorter), steps]


def search_trainings(candidates: int, finalists: int, steps: int) -> float:
    """Return what a search costs, as a multiple of one full training.

    Args:
        candidates: Of both families together.
        finalists: Candidates to confirm.
        steps: Of a full training.

    Returns:
        The steps of all candidates divided by `steps`.

    Example:
        >>> round(search_trainings(36, 2, 540), 2)
        14.37
    """
    running, done, total = candidates // 2, 0, 0
    for rung in rung_steps(steps):
        total += running * (rung - done)
        running = min(running, max(finalists, math.ceil(running / ETA)))
        done = rung
    return 2 * total / steps
