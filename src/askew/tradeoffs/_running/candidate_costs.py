"""What possible candidates of a search cost, and whether they meet its limits."""

from collections.abc import Mapping, Sequence
from typing import Generic

from askew._config import to_dict
from askew.tradeoffs._measured_twin import latencies
from askew.tradeoffs._running.candidates import Candidate, flat
from askew.tradeoffs._running.cost_measurement import UntrainedCosts
from askew.tradeoffs._running.proposals import Offer
from askew.tradeoffs._running.search_plan import COUNTED_COSTS, SearchPlan
from askew.tradeoffs._running.tuning import with_values
from askew.tradeoffs._space import Values
from askew.tradeoffs._task import Arm, Model

TOLERANCE = 0.01
"""Relative distance from a matched cost that a candidate may have."""
LATENCY_TOLERANCE = 0.05
"""The same of a matched latency, which is measured."""
_TIMED_TOGETHER, _TIMING_ROUNDS = 6, 5  # finalists are timed again


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
        """Set the solved numbers of a draw; None if no model of the family has its numbers.

        Numbers that the config changes are those that it changes them to: the same model has the
        same numbers. In a small space no asymmetric candidate is a symmetric one, which the other
        family tries.
        """
        offer = self._completed(values, symmetric=symmetric)
        space = self.plan.open_space
        if offer is None or (not symmetric and space.is_small and space.is_symmetric(offer.values)):
            return None
        own = space.values_of(self.arm_of(offer.values))
        changed = {name: one for name, one in own.items() if one != offer.values.get(name, one)}
        return offer._replace(values={**offer.values, **changed})

    def _completed(self, values: Values, *, symmetric: bool) -> Offer | None:
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
