"""Candidates of a search: drawn at random, then proposed by what has been tried."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from askew._check import require
from askew.tradeoffs._running.search_plan import COUNTED_COSTS
from askew.tradeoffs._running.tuning import distribution_of
from askew.tradeoffs._space import Space, Values

_ATTEMPTS = 200  # draws for each candidate that is wanted
_PROPOSED_ATTEMPTS = 10  # the same of proposals, which are dearer
_MEASURED_ATTEMPTS = 20  # the same of draws whose cost is measured, which takes a second
_FIRST_ATTEMPTS = 60  # measured draws after which a limit that none met counts as out of reach


class Offer(NamedTuple):
    """Numbers of a possible candidate, and how far its cost is from the limit if it is too far.

    Attributes:
        values: All its numbers.
        distance: Relative distance of its cost from what it may cost; 0 if it is near enough.
        cost: Which cost that is, if it is too far.
    """

    values: dict[str, Any]
    distance: float
    cost: str = ""


class Drawn(NamedTuple):
    """Candidates that were drawn.

    Attributes:
        values: All numbers of each.
        exhausted: Whether the space has no more.
    """

    values: list[dict[str, Any]]
    exhausted: bool


Complete = Callable[[Values], Offer | None]
"""Sets the solved numbers of a draw; None if no model has these numbers."""


def remembered(complete: Complete) -> Complete:
    """Complete equal draws once: in a small space there are many, and a count may build a model."""
    offers: dict[tuple[object, ...], Offer | None] = {}

    def completed(values: Values) -> Offer | None:
        key = tuple(values.items())
        if key not in offers:
            offers[key] = complete(values)
        return offers[key]

    return completed


def draw_random(
    space: Space,
    count: int,
    taken: Sequence[Values],
    complete: Complete,
    *,
    symmetric: bool,
    seed: int,
) -> Drawn:
    """Draw different candidates that meet the limit, uniformly; of a small space each one once.

    Args:
        space: What is drawn.
        count: Number of candidates.
        taken: Candidates that must not be drawn again.
        complete: Sets the solved numbers of a draw.
        symmetric: Whether they are symmetric.
        seed: Of the draws.

    Returns:
        The candidates; fewer than `count` if the space has no more, or too few draws meet it.

    Raises:
        ValueError: If no draw meets the limit.
    """
    generator = np.random.default_rng([seed, int(symmetric)])
    if not space.is_small:
        draws = (space.draw(generator, symmetric=symmetric) for _ in range(_ATTEMPTS * count))
        return Drawn(_accept(map(complete, draws), count, taken)[0], exhausted=False)
    members = list(space.members(symmetric=symmetric))
    shuffled = (members[place] for place in generator.permutation(len(members)))
    return Drawn(*_accept(map(complete, shuffled), count, taken))


def propose(
    space: Space,
    count: int,
    tried: Sequence[tuple[Values, float]],
    taken: Sequence[Values],
    complete: Complete,
    *,
    symmetric: bool,
    seed: int,
) -> list[dict[str, Any]]:
    """Propose different candidates that meet the limit, by a tree-structured Parzen estimator.

    Proposals that do not meet it are drawn again some times.

    Args:
        space: What is drawn.
        count: Number of candidates.
        tried: Numbers and scores, higher is better.
        taken: Candidates that must not be proposed again.
        complete: Sets the solved numbers of a draw.
        symmetric: Whether they are symmetric.
        seed: Of the proposals.

    Returns:
        The numbers of each; fewer than `count` if too few proposals meet the limit.

    References:
        Algorithms for Hyper-Parameter Optimization, 2011, Bergstra et al.
    """
    import optuna

    drawn = space.drawn(symmetric=symmetric)
    spread = {name: distribution_of(kind) for name, kind in drawn.items()}
    with quiet_optuna():
        sampler = optuna.samplers.TPESampler(
            seed=seed + int(symmetric),
            n_startup_trials=1,
            multivariate=True,
            group=bool(space.conditions),  # candidates with other numbers are compared apart
            constant_liar=True,
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for values, score in tried:
        parameters = {name: values[name] for name in drawn if name in values}
        missing = drawn.keys() - parameters.keys() - space.conditions.keys()
        if not missing and all(value in drawn[name] for name, value in parameters.items()):
            own = {name: spread[name] for name in parameters}
            study.add_trial(optuna.create_trial(params=parameters, distributions=own, value=score))

    def offers() -> Iterator[Offer | None]:
        for _ in range(_PROPOSED_ATTEMPTS * count):
            trial = study.ask(spread)
            offer = complete(space.completed(trial.params, symmetric=symmetric))
            if offer is None or offer.distance != 0:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            yield offer

    return _accept(offers(), count, taken)[0]


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from printing, and from warning of what may change in it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _accept(
    offers: Iterable[Offer | None], count: int, taken: Sequence[Values]
) -> tuple[list[dict[str, Any]], bool]:
    """Keep the first offers that meet the limit and differ from all others.

    Also return whether all offers were looked at, and more would have been kept.
    """
    accepted: list[dict[str, Any]] = []
    ended = False
    nearest: Offer | None = None
    measured = 0
    for offer in offers:
        most = _MEASURED_ATTEMPTS * count if accepted else _FIRST_ATTEMPTS
        if len(accepted) == count or measured >= most:
            break
        if offer is None:
            continue
        if nearest is None or abs(offer.distance) < abs(nearest.distance):
            nearest = offer
        measured += offer.cost not in ("", *COUNTED_COSTS)
        if offer.distance == 0 and offer.values not in [*taken, *accepted]:
            accepted.append(offer.values)
    else:
        ended = len(accepted) < count
    got = "no model"
    if nearest is not None:
        got = f"{nearest.distance:+.1%} from it at the nearest, in {nearest.cost}"
    require(
        bool(accepted or taken or count == 0),
        f"find: a candidate must meet the limit; got {got}. Widen the space or the limit",
    )
    return accepted, ended
