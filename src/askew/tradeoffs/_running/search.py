"""The search itself: candidates are drawn, trained rung by rung, and the better ones promoted."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from askew._check import require
from askew._files import read_json, write_json
from askew.tradeoffs._report.search_summary import shape_of
from askew.tradeoffs._running.candidate_costs import CandidateCosts
from askew.tradeoffs._running.candidates import FAMILIES, Candidate, Searched
from askew.tradeoffs._running.promotion import Standing, promote, rank_correlation
from askew.tradeoffs._running.proposals import Offer, draw_random, propose, remembered
from askew.tradeoffs._running.ray import RayCluster
from askew.tradeoffs._running.rungs import FIRST_SEARCH_SEED, RungResult, climb, drop_training
from askew.tradeoffs._running.search_plan import ETA, SearchPlan
from askew.tradeoffs._running.watcher import Watcher
from askew.tradeoffs._space import Values
from askew.tradeoffs._task import Arm, Model

LOWEST_CORRELATION = 0.5
"""Below this rank correlation of two rungs, half of the candidates are promoted to the next."""


def search(plan: SearchPlan[Model], cluster: RayCluster | None, watcher: Watcher) -> Searched:
    """Draw candidates, train them rung by rung, and promote the better ones of each family.

    What is stored of an earlier run is read: the same plan always has the same end.
    """
    candidates: list[Candidate] = []
    exhausted: list[str] = []
    results: dict[str, list[RungResult]] = {}
    with closing(CandidateCosts(plan)) as costs:
        for wave in range(2):
            watcher.stage(f"drawing candidates, {wave + 1} of 2")
            candidates, exhausted = _candidates(plan, costs, wave, candidates, exhausted, results)
            for family in exhausted:
                number = sum(one.symmetric == (family == "symmetric") for one in candidates)
                watcher.stage(f"there are only {number} {family} candidates; all are tried")
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
    return Searched(candidates, results, correlations, shares, exhausted)


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
    for family, (name, score) in _best(candidates, new).items():
        shape = shape_of(next(one.values for one in candidates if one.arm.name == name))
        text = f"best {family} candidate after {rung.steps} steps: {shape}, score {score:.4g}"
        watcher.so_far(text)
    return {**results, **added}


def _best(
    candidates: Sequence[Candidate], new: Mapping[str, RungResult]
) -> dict[str, tuple[str, float]]:
    """Return the best candidate of each family on a rung, and its validation score."""
    best: dict[str, tuple[str, float]] = {}
    for one in candidates:
        family, score = FAMILIES[one.symmetric], new[one.arm.name].score
        if score is not None and (family not in best or score > best[family][1]):
            best[family] = one.arm.name, score
    return best


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
    costs: CandidateCosts,
    wave: int,
    candidates: list[Candidate],
    exhausted: Sequence[str],
    results: Mapping[str, list[RungResult]],
) -> tuple[list[Candidate], list[str]]:
    """Read the candidates of a wave and of those before it, or draw and store them.

    Also return the families that have no more.
    """
    path = plan.out / f"candidates-{wave}.json"
    if not path.is_file():
        drawn, ended = [_entry(one) for one in candidates], list(exhausted)
        for symmetric, family in enumerate(FAMILIES):
            if family in exhausted:
                continue
            new, has_no_more = _drawn(
                plan, costs, candidates, results, wave=wave, symmetric=bool(symmetric)
            )
            drawn += new
            ended += [family] if has_no_more else []
        write_json(path, {"version": 1, "candidates": drawn, "exhausted": ended})
    stored = read_json(path)
    wave_candidates = [_candidate(plan, costs, entry) for entry in stored["candidates"]]
    for one in wave_candidates:
        costs.remember(one)
    return wave_candidates, stored.get("exhausted", [])


def _entry(candidate: Candidate) -> dict:
    return {
        "name": candidate.arm.name,
        "symmetric": candidate.symmetric,
        "origin": candidate.origin,
        "values": dict(candidate.values),
        "latency_ms": candidate.latency_ms,
        "costs": dict(candidate.costs),
    }


def _candidate(plan: SearchPlan[Model], costs: CandidateCosts, entry: Mapping) -> Candidate:
    arm = costs.arm_of(entry["values"])
    named = Arm(name=entry["name"], config=arm.config, training=arm.training)
    symmetric, origin, values = entry["symmetric"], entry["origin"], entry["values"]
    return Candidate(named, symmetric, origin, values, entry["latency_ms"], entry.get("costs", {}))


def _drawn(
    plan: SearchPlan[Model],
    costs: CandidateCosts,
    candidates: list[Candidate],
    results: Mapping[str, list[RungResult]],
    *,
    wave: int,
    symmetric: bool,
) -> tuple[list[dict], bool]:
    """Draw the candidates of one family: given and random ones first, then proposed ones.

    Also return whether the family has no more.
    """
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
        origins = [("given", values) for values in given]
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
        origins = [("proposed", each) for each in proposed]
    origins += [("random", each) for each in random.values]
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
    ], random.exhausted


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
