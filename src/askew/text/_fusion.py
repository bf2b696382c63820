"""Several scores of the same texts made into one."""

from collections.abc import Sequence

import numpy as np

from askew._check import require


def fuse_scores(scores: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    r"""Add scores of different scales, each standardised over the texts.

    .. math:: \sum_i w_i\,\frac{s_i - \operatorname{mean}(s_i)}{\operatorname{std}(s_i)}

    With one score and the weight 1 the order is that of the score. One that is the same for all
    texts adds nothing.

    Args:
        scores: Arrays [texts] of finite numbers, at least one.
        weights: As many, >= 0; only their ratios matter for the order.

    Returns:
        The sums, [texts], float64.

    Raises:
        ValueError: If lengths differ, or a weight is negative or not finite.

    Example:
        >>> scores = [np.array([1.0, 3.0]), np.array([20.0, 10.0])]
        >>> fuse_scores(scores, [0.7, 0.3]).round(1).tolist()
        [-0.4, 0.4]

    References:
        An Analysis of Fusion Functions for Hybrid Retrieval, 2022, arXiv:2210.11934.
    """
    arrays = _arrays("fuse_scores", scores)
    require(
        len(weights) == len(arrays) and all(0 <= weight < np.inf for weight in weights),
        "fuse_scores: there must be a finite weight >= 0 for each score; "
        f"got {list(weights)} for {len(arrays)} scores",
    )
    total = np.zeros_like(arrays[0])
    for array, weight in zip(arrays, weights, strict=True):
        spread = array.std() if len(array) else 0.0
        if spread > 0:
            total += weight * (array - array.mean()) / spread
    return total


def fuse_ranks(scores: Sequence[np.ndarray], *, k: float = 60.0) -> np.ndarray:
    r"""Add the reciprocal ranks by several scores, which needs no weights.

    .. math:: \sum_i \frac{1}{k + r_i}

    Args:
        scores: Arrays [texts], at least one; the text with the highest has the rank
            :math:`r = 1`. Equal ones share the best of their ranks.
        k: How little the first ranks stand out, >= 0.

    Returns:
        The sums, [texts], float64.

    Raises:
        ValueError: If lengths differ or k is negative.

    Example:
        >>> fuse_ranks([np.array([9.0, 3.0]), np.array([2.0, 1.0])], k=1).round(2).tolist()
        [1.0, 0.67]

    References:
        Reciprocal Rank Fusion outperforms Condorcet and Individual Rank Learning Methods,
        Cormack, Clarke and Büttcher, 2009, doi:10.1145/1571941.1572114, where k is 60.
    """
    arrays = _arrays("fuse_ranks", scores)
    require(0 <= k < np.inf, f"fuse_ranks: k must be finite and >= 0; got k {k}")
    return np.sum([1 / (k + _ranks(array)) for array in arrays], axis=0)


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return 1 + the number of higher scores, for each."""
    return 1 + len(scores) - np.searchsorted(np.sort(scores), scores, side="right")


def _arrays(caller: str, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    arrays = [np.asarray(array, dtype=np.float64) for array in scores]
    require(
        len(arrays) > 0 and all(a.ndim == 1 and a.shape == arrays[0].shape for a in arrays),
        f"{caller}: scores must be arrays of one length; got {[a.shape for a in arrays]}",
    )
    return arrays
