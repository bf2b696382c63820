"""The search itself: candidates are drawn, trained rung by rung, and the better ones promoted."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Generic

import torch

from askew._check import require
from askew._config import to_dict
from askew._files import read_json, write_json
from askew.tradeoffs._measured_twin import latencies
from askew.tradeoffs._running.candidates import FAMILIES, Candidate, Searched, flat
from askew.tradeoffs._running.cost_measurement import UntrainedCosts
from askew.tradeoffs._running.promotion import Standing, promote, rank_correlation
from askew.tradeoffs._running.proposals import Offer, draw_random, propose, remembered
from askew.tradeoffs._running.ray import RayCluster
from askew.tradeoffs._running.rungs import FIRST_SEARCH_SEED, RungResult, climb, drop_training
from askew.tradeoffs._running.search_plan import COUNTED_COSTS, ETA, SearchPlan
from askew.tradeoffs._running.tuning import with_values
from askew.tradeoffs._running.watcher import Watcher
from askew.tradeoffs._space import Values
from askew.tradeoffs._task import Arm, Model

TOLERANCE = 0.01
"""Relative distance from a matched cost that a candidate may have."""
LATENCY_TOLERANCE = 0.05
"""The same of a matched latency, which is measured."""
LOWEST_CORRELATION = 0.5
"""Below this rank correlation of two rungs, half of the candidates are promoted to the next."""
_TIMED_TOGETHER, _TIMING_ROUNDS = 6, 5  # finalists are timed again


def search(plan: SearchPlan[Model], cluster: RayCluster | None, watcher: Watcher) -> Searched:
    """Draw candidates, train them rung by rung, and promote the better ones of each family.

    What is stored of an earlier run is read: the same plan always has the same end.
    """
    candidates: list[Candidate] = []
    results: dict[str, list[RungResult]] = {}
    with closing(CandidateCosts(plan)) as costs:
        for wave in range(2):
            watcher.stage(f"drawing candidates, {wave + 1} of 2")
            candidates = _candidates(plan, costs, wave, candidates, results)
            results = _climb(plan, 0, candidates, {}, cluster, watcher)
    correlations: list[float | None] = []
    shares: list[int] = []
    share = ETA
    running = candidates
    for number in range(1, len(plan.rungs)):
        chosen = {
            name for family in FAMILIES for name in _promoted(plan, family, running, results, share)
        }
        shares.append(share)
        drop_training(plan.out, [one.arm for one in running if one.arm.name not in chosen])
        running = [one for one in running if one.arm.name in chosen]
        results = _climb(plan, number, running, results, cluster, watcher)
        correlation = rank_correlation(
            *(_scores(running, results, n) for n in (number - 1, number))
        )
        correlations.append(correlation)
        share = share_after(correlation)
    drop_training(plan.out, [one.arm for one in running])
    return Searched(candidates, results, correlations, shares)


def share_after(correlation: float | None) -> int:
    """Return one in how many is promoted after two rungs with this rank correlation.

    Example:
        >>> share_after(0.9), share_after(0.2)
        (3, 2)
    """
    return 2 if correlation is not None and correlation < LOWEST_CORRELATION else ETA


def _climb(
    plan: SearchPlan[Model],
    number: int,
    candidates: list[Candidate],
    results: Mapping[str, list[RungResult]],
    cluster: RayCluster | None,
    watcher: Watcher,
) -> dict[str, list[RungResult]]:
    rung = plan.rungs[number]
    watcher.stage(
        f"rung {number + 1} of {len(plan.rungs)}: {len(candidates)} candidates, {rung.steps} steps"
    )
    new = climb(
        plan.task,
        [candidate.arm for candidate in candidates],
        rung,
        out=plan.out,
        jobs=plan.jobs,
        threads=plan.threads,
        progress=lambda done: watcher.costs(done, len(candidates)),
        cluster=cluster,
    )
    added = {name: [*results.get(name, ()), result] for name, result in new.items()}
    return {**results, **added}


def _promoted(
    plan: SearchPlan[Model],
    family: str,
    running: list[Candidate],
    results: Mapping[str, list[RungResult]],
    share: int,
) -> list[str]:
    standings = [
        Standing(one.arm.name, score, one.latency_ms)
        for one in running
        if one.symmetric == (family == "symmetric")
        and (score := results[one.arm.name][-1].score) is not None
    ]
    require(
        bool(standings),
        f"find: a training must not diverge; got {family} candidates that all did. Lower the "
        "learning rates of the space",
    )
    return promote(standings, plan.promoted(len(standings), share))


def _scores(
    candidates: list[Candidate], results: Mapping[str, list[RungResult]], number: int
) -> dict[str, float]:
    scores = {one.arm.name: results[one.arm.name][number].score for one in candidates}
    return {name: score for name, score in scores.items() if score is not None}


def _candidates(
    plan: SearchPlan[Model],
    costs: "CandidateCosts",
    wave: int,
    candidates: list[Candidate],
    results: Mapping[str, list[RungResult]],
) -> list[Candidate]:
    """Read the candidates of a wave and of those before it, or draw and store them."""
    path = plan.out / f"candidates-{wave}.json"
    if not path.is_file():
        drawn = [_entry(one) for one in candidates]
        for symmetric in (False, True):
            drawn += _drawn(plan, costs, candidates, results, wave=wave, symmetric=symmetric)
        write_json(path, {"version": 1, "candidates": drawn})
    stored = [_candidate(plan, costs, entry) for entry in read_json(path)["candidates"]]
    for one in stored:
        costs.remember(one)
    return stored


def _entry(candidate: Candidate) -> dict:
    return {
        "name": candidate.arm.name,
        "symmetric": candidate.symmetric,
        "origin": candidate.origin,
        "values": dict(candidate.values),
        "latency_ms": candidate.latency_ms,
        "costs": dict(candidate.costs),
    }


def _candidate(plan: SearchPlan[Model], costs: "CandidateCosts", entry: Mapping) -> Candidate:
    arm = costs.arm_of(entry["values"])
    named = Arm(name=entry["name"], config=arm.config, training=arm.training)
    symmetric, origin, values = entry["symmetric"], entry["origin"], entry["values"]
    return Candidate(named, symmetric, origin, values, entry["latency_ms"], entry.get("costs", {}))


def _drawn(
    plan: SearchPlan[Model],
    costs: "CandidateCosts",
    candidates: list[Candidate],
    results: Mapping[str, list[RungResult]],
    *,
    wave: int,
    symmetric: bool,
) -> list[dict]:
    """Draw the candidates of one family: given and random ones first, then proposed ones."""
    family = [one for one in candidates if one.symmetric == symmetric]

    @remembered
    def complete(values: Values) -> Offer | None:
        return costs.complete(values, symmetric=symmetric)

    taken = [one.values for one in family]
    if wave == 0:
        given = _given(plan, complete, symmetric=symmetric)
        wanted = plan.per_family - plan.per_family // 2 - len(given)
        random = draw_random(
            plan.open_space,
            max(0, wanted),
            given,
            complete,
            symmetric=symmetric,
            seed=FIRST_SEARCH_SEED,
        )
        origins = [("given", values) for values in given] + [("random", each) for each in random]
    else:
        proposed = _proposed(plan, candidates, results, complete, symmetric=symmetric)
        missing = plan.per_family - len(family) - len(proposed)
        random = draw_random(
            plan.open_space,
            missing,
            [*taken, *proposed],
            complete,
            symmetric=symmetric,
            seed=FIRST_SEARCH_SEED + 1,
        )
        origins = [("proposed", each) for each in proposed] + [("random", each) for each in random]
    name = FAMILIES[symmetric]
    costs.time([values for _, values in origins])
    return [
        {
            "name": f"{name}-{len(family) + place + 1}",
            "symmetric": symmetric,
            "origin": origin,
            "values": values,
            "latency_ms": costs.latency_ms(values),
            "costs": costs.measured(values),
        }
        for place, (origin, values) in enumerate(origins)
    ]


def _proposed(
    plan: SearchPlan[Model],
    candidates: list[Candidate],
    results: Mapping[str, list[RungResult]],
    complete: Callable[[Values], Offer | None],
    *,
    symmetric: bool,
) -> list[dict[str, Any]]:
    """Propose by the first rung; symmetric candidates are settings of the asymmetric space."""
    family = [one for one in candidates if one.symmetric == symmetric]
    known = family if symmetric else candidates
    scores = {one.arm.name: results[one.arm.name][0].score for one in known}
    worst = min((score for score in scores.values() if score is not None), default=0.0)
    tried = [(one.values, scores[one.arm.name]) for one in known]
    return propose(
        plan.open_space,
        plan.per_family - len(family),
        [(values, worst if score is None else score) for values, score in tried],  # diverged
        [one.values for one in family],
        complete,
        symmetric=symmetric,
        seed=FIRST_SEARCH_SEED,
    )


def _given(
    plan: SearchPlan[Model], complete: Callable[[Values], Offer | None], *, symmetric: bool
) -> list[dict[str, Any]]:
    """Return the numbers of the given arms of a family that meet the limits."""
    given: list[dict[str, Any]] = []
    alike = [arm for arm in plan.start if plan.space.shares_training(arm, plan.start[0])]
    for values in map(plan.open_space.values_of, alike):
        if plan.open_space.is_symmetric(values) != symmetric:
            continue
        offer = complete(values)
        if offer is not None and offer.distance == 0 and offer.values not in given:
            given.append(offer.values)
    return given


class CandidateCosts(Generic[Model]):
    """Costs of possible candidates, and whether they meet the limits of a plan.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: SearchPlan[Model]) -> None:
        self.plan = plan
        self.base = plan.start[0]
        self._common = plan.space.base_of(self.base)
        self._latencies: dict[tuple[object, ...], float] = {}
        self._measured: dict[tuple[object, ...], dict[str, float]] = {}
        self._untrained = UntrainedCosts(plan.task, self.base.config)
        if plan.match in ("parameters", "flops"):
            self.limit = self._counted(plan.match, self.base)

    def arm_of(self, values: Values) -> Arm:
        """Return the arm with these numbers.

        Raises:
            ValueError: If no model has these numbers.
        """
        return with_values(self._common, values)

    def complete(self, values: Values, *, symmetric: bool) -> Offer | None:
        """Set the solved numbers of a draw; None if no model has its numbers."""
        plan = self.plan
        try:
            plan.task.check_training(self.arm_of(values).training)
            if plan.match not in ("parameters", "flops"):
                return Offer(dict(values), *self._excess(values))

            def cost(tried: Values) -> float:
                return self._counted(plan.match, self.arm_of(tried))

            base = plan.open_space.values_of(self.base)
            given = {name: base[name] for name in plan.open_space.solved if name in base}
            whole = {**values, **{name: given[name] for name in given if name not in values}}
            whole = plan.open_space.completed(whole, symmetric=symmetric)
            distance = cost(whole) / self.limit - 1
            if abs(distance) > TOLERANCE:
                whole, distance = plan.open_space.solve(
                    values, cost, self.limit, symmetric=symmetric
                )
            if abs(distance) > TOLERANCE:
                return Offer(whole, distance, plan.match)
            return Offer(whole, *self._excess(whole))
        except ValueError:  # a width that is no multiple of the heads, a margin out of its range
            return None

    def close(self) -> None:
        """End the processes that measure."""
        self._untrained.close()

    def _excess(self, values: Values) -> tuple[float, str]:
        """Return by which share a candidate costs more than it may, and which cost.

        The cheaper a cost is to find, the earlier it is; the first that is too high ends it.
        """
        arm = self.arm_of(values)
        self._counted("parameters", arm)  # of a task that builds a model to count, it is refused
        counted = {
            name: self._counted(name, arm) for name in COUNTED_COSTS if name in self.plan.at_most
        }
        return (
            self._worst(counted)
            or self._latency_excess(values)
            or self._worst(self.measured(values))
            or (0.0, "")
        )

    def _worst(self, costs: Mapping[str, float]) -> tuple[float, str] | None:
        excesses = [(cost / self.plan.at_most[name] - 1, name) for name, cost in costs.items()]
        worst = max(excesses, default=(0.0, ""))
        return worst if worst[0] > 0 else None

    def _latency_excess(self, values: Values) -> tuple[float, str] | None:
        latency_bound = self.plan.at_most.get("latency_ms")
        if self.plan.match == "latency":
            own = self.latency_ms(self.plan.open_space.values_of(self.base)) * (
                1 + LATENCY_TOLERANCE
            )
            latency_bound = own if latency_bound is None else min(own, latency_bound)
        if latency_bound is None:
            return None
        excess = self.latency_ms(values) / latency_bound - 1
        return (excess, "latency_ms") if excess > 0 else None

    def measured(self, values: Values) -> dict[str, float]:
        """Measure what is bounded and takes a process of its own; empty if nothing is."""
        names = self.plan.measured_bounds
        if not names:
            return {}
        arm = self.arm_of(values)
        key = self._key(arm)
        if key not in self._measured:
            self._measured[key] = self._untrained.of(arm.config)
        return {name: self._measured[key][name] for name in names}

    def _counted(self, name: str, arm: Arm) -> float:
        task = self.plan.task
        count = task.parameters if name == "parameters" else task.flops_per_step
        return float(count(arm.config))

    def latency_ms(self, values: Values) -> float:
        """Return the time of one answer with initial weights."""
        self.time([values])
        return self._latencies[self._key(self.arm_of(values))]

    def remember(self, candidate: Candidate) -> None:
        """Keep what an earlier process measured: models of one size share it."""
        key = self._key(candidate.arm)
        self._latencies.setdefault(key, candidate.latency_ms)
        if candidate.costs:
            self._measured.setdefault(key, dict(candidate.costs))

    def time(self, candidates: Sequence[Values]) -> None:
        """Time the candidates that were not timed yet, some at a time in turn with the base."""
        torch.set_num_threads(self.plan.threads)
        arms = {self._key(arm): arm for arm in map(self.arm_of, candidates)}
        new = [key for key in arms if key not in self._latencies]
        for start in range(0, len(new), _TIMED_TOGETHER):
            keys = new[start : start + _TIMED_TOGETHER]
            configs = [arms[key].config for key in keys]
            reference, *others = latencies(
                self.plan.task, self.base.config, *configs, rounds=_TIMING_ROUNDS
            )
            base = self._latencies.setdefault(self._key(self.base), 1000 * reference)
            for key, seconds in zip(keys, others, strict=True):
                self._latencies.setdefault(key, base * seconds / reference)

    def _key(self, arm: Arm) -> tuple[object, ...]:
        """Return what the latency depends on: costs and sizes; rates of dropout change nothing."""
        sizes = [one for one in flat(to_dict(arm.config)).items() if not isinstance(one[1], float)]
        return self._counted("parameters", arm), self._counted("flops", arm), *sizes
