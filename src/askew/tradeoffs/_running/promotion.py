"""Which candidates of a rung are trained further, and which of the last one are confirmed."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

FEWEST_FOR_RANKS = 5
"""Candidates from which on a rank correlation is computed."""


class Standing(NamedTuple):
    """How a candidate stands on a rung.

    Attributes:
        name: Its name.
        score: Higher is better.
        cost: Lower is better.

    Example:
        >>> Standing("asymmetric-3", score=-1.5, cost=8.0).cost
        8.0
    """

    name: str
    score: float
    cost: float


def promote(standings: Sequence[Standing], count: int) -> list[str]:
    """Choose candidates by Pareto rank of score and cost among the better half, then by score.

    A cheap candidate with a poor score is on the Pareto front; it cannot pay, so the worse half is
    left out first.

    Args:
        standings: Of all candidates that did not diverge.
        count: Number of candidates to choose, at most.

    Returns:
        Their names, the best first.

    Example:
        >>> rivals = [Standing("a", 3.0, 9.0), Standing("b", 2.9, 1.0), Standing("c", 2.0, 5.0),
        ...           Standing("d", 0.1, 0.5)]
        >>> promote(rivals, 2)
        ['a', 'b']
    """
    ordered = sorted(standings, key=lambda one: (-one.score, one.cost, one.name))
    eligible = ordered[: max(count, math.ceil(len(ordered) / 2))]
    ranks = pareto_ranks(eligible)
    order = sorted(range(len(eligible)), key=lambda place: (ranks[place], place))
    return [eligible[place].name for place in order[:count]]


def pareto_ranks(standings: Sequence[Standing]) -> list[int]:
    """Return the rank of each: 0 on the Pareto front, 1 on that of the others, and so on.

    Example:
        >>> rivals = [Standing("a", 3.0, 9.0), Standing("b", 2.0, 1.0), Standing("c", 1.0, 5.0)]
        >>> pareto_ranks(rivals)
        [0, 0, 1]
    """
    ranks = [-1] * len(standings)
    rank = 0
    while -1 in ranks:
        left = [place for place, value in enumerate(ranks) if value == -1]
        front = [
            place
            for place in left
            if not any(_dominates(standings[other], standings[place]) for other in left)
        ]
        for place in front:
            ranks[place] = rank
        rank += 1
    return ranks


def _dominates(one: Standing, other: Standing) -> bool:
    at_least = one.score >= other.score and one.cost <= other.cost
    return at_least and (one.score > other.score or one.cost < other.cost)


def choose_finalists(standings: Sequence[Standing], count: int, *, margin: float) -> list[str]:
    """Choose the best, the fastest that is no worse by more than `margin`, and the knee.

    The knee is the candidate of the Pareto front that lies farthest above the line from its
    cheapest to its best one, both scaled to [0, 1].

    Args:
        standings: Candidates of the last rung, scored by the metric that decides.
        count: Number of finalists, at most 3.
        margin: Differences of the metric that do not matter.

    Returns:
        Different names, the best first.

    Example:
        >>> last = [Standing("a", 90.0, 9.0), Standing("b", 89.5, 4.0), Standing("c", 80.0, 1.0)]
        >>> choose_finalists(last, 3, margin=1.0)
        ['a', 'b']
    """
    ordered = sorted(standings, key=lambda one: (-one.score, one.cost, one.name))
    best = ordered[0]
    near = [one for one in ordered if one.score >= best.score - margin]
    fastest = min(near, key=lambda one: (one.cost, -one.score))
    ranks = pareto_ranks(ordered)
    front = [one for one, rank in zip(ordered, ranks, strict=True) if rank == 0]
    chosen = [best, fastest, _knee(front)]
    return list(dict.fromkeys(one.name for one in chosen))[:count]


def _knee(front: Sequence[Standing]) -> Standing:
    """Return the member of a front, ordered from the best to the cheapest, that bends it most."""
    best, cheapest = front[0], front[-1]
    width, height = best.cost - cheapest.cost, best.score - cheapest.score
    if width <= 0 or height <= 0:
        return best

    def above(one: Standing) -> float:
        return (one.score - cheapest.score) / height - (one.cost - cheapest.cost) / width

    return max(front, key=above)


def rank_correlation(before: Mapping[str, float], after: Mapping[str, float]) -> float | None:
    """Return Spearman's rank correlation of two rungs, over the candidates that are on both.

    Args:
        before: Scores by candidate.
        after: Scores of those that were promoted.

    Returns:
        A number in [-1, 1]; None with fewer than five candidates or equal scores.

    Example:
        >>> scores = dict(zip("abcde", [1.0, 2.0, 3.0, 4.0, 5.0]))
        >>> rank_correlation(scores, scores)
        1.0
    """
    from scipy.stats import spearmanr

    both = [name for name in before if name in after]
    if len(both) < FEWEST_FOR_RANKS:
        return None
    columns = [[scores[name] for name in both] for scores in (before, after)]
    if any(len(set(column)) == 1 for column in columns):
        return None
    return round(float(spearmanr(*columns).statistic), 12)
