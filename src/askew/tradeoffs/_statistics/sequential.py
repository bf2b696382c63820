"""Interim looks at a growing comparison, without more false verdicts."""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from askew._check import require

FIRST_LOOK = 5
_STEP = 3
_DRAWS = 100_000


def interim_schedule(max_seeds: int) -> tuple[int, ...]:
    """Return the numbers of seeds at which a growing comparison is judged.

    Args:
        max_seeds: Seeds at most, >= 5.

    Returns:
        5, then every third number, and `max_seeds` last.

    Raises:
        ValueError: If `max_seeds` is below 5.

    Example:
        >>> interim_schedule(12)
        (5, 8, 11, 12)
    """
    require(
        max_seeds >= FIRST_LOOK,
        f"interim_schedule: max_seeds must be >= {FIRST_LOOK}, the fewest for a verdict; "
        f"got max_seeds {max_seeds}",
    )
    return (*range(FIRST_LOOK, max_seeds, _STEP), max_seeds)


def sequential_confidence(looks: Sequence[int], *, confidence: float = 0.95) -> float:
    r"""Find the confidence per look for which all looks together have the error of a single one.

    With :math:`p_k` the p-value of Student's t of the first :math:`n_k` differences, if there is
    no true difference, it is :math:`1 - a` such that

    .. math:: P(\min_k p_k < a) = 1 - \text{confidence}.

    The bound is the same at all looks, like Pocock's, but for unknown variances. It is a quantile
    over simulated comparisons, always the same ones: 100,000 at 95 %, with an error of about 1 % of
    a, and up to ten times as many above it.

    Args:
        looks: Numbers of seeds, >= 2 and increasing; a single one may be any.
        confidence: Of the comparison as a whole, in [0.5, 0.999]; with a single look, in (0, 1).

    Returns:
        The confidence for the interval of every look.

    Raises:
        ValueError: If looks or confidence are out of range.

    Example:
        >>> 0.98 < sequential_confidence([5, 8, 11, 14, 17, 20]) < 0.99
        True
        >>> sequential_confidence([5])
        0.95

    References:
        Group Sequential Methods in the Design and Analysis of Clinical Trials, 1977, Pocock.
    """
    require(
        len(looks) == 1 or (min(looks, default=0) >= 2 and all(a < b for a, b in pairwise(looks))),
        f"sequential_confidence: looks must be >= 2 and increasing; got looks {list(looks)}",
    )
    if len(looks) == 1:
        require(
            0 < confidence < 1,
            f"sequential_confidence: confidence must be in (0, 1); got confidence {confidence}",
        )
        return confidence
    require(
        0.5 <= confidence <= 0.999,
        "sequential_confidence: confidence must be in [0.5, 0.999] with several looks; "
        f"got confidence {confidence}",
    )
    blocks = min(10, max(1, math.ceil(round(0.05 / (1 - confidence), 6))))
    return 1 - float(np.quantile(_smallest_p(tuple(looks), blocks), 1 - confidence))


@cache
def _smallest_p(looks: tuple[int, ...], blocks: int) -> np.ndarray:
    """The smallest p-value over the looks of many comparisons without a true difference."""
    rng = np.random.default_rng(0)
    return np.concatenate([_block(looks, rng) for _ in range(blocks)])


def _block(looks: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    from scipy import special

    total, squares = np.zeros(_DRAWS), np.zeros(_DRAWS)
    smallest, before = np.ones(_DRAWS), 0
    for look in looks:
        drawn = rng.standard_normal((look - before, _DRAWS))
        total, squares, before = total + drawn.sum(0), squares + (drawn**2).sum(0), look
        variance = (squares - total**2 / look) / (look - 1)
        t = np.abs(total) / np.sqrt(look * variance)
        np.minimum(smallest, 2 * special.stdtr(look - 1, -t), out=smallest)
    return smallest
