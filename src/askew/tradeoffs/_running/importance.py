"""Which numbers of a space decided how good the candidates of a search were."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from askew.tradeoffs._running.proposals import quiet_optuna
from askew.tradeoffs._running.tuning import distribution_of
from askew.tradeoffs._space import Space, Values

FEWEST = 16
"""Candidates from which on importances are computed, and ratios get a curve."""
_TOP = 0.5
"""The better half; a smaller share of few candidates is too few to have a distribution."""
_SHUFFLES, _CONFIDENCE = 100, 0.95


def importances(
    space: Space, candidates: Sequence[tuple[Values, float | None]], *, symmetric: bool
) -> dict[str, Any]:
    """Compute how much each number separates the better half of a family from all of it.

    The distribution of each number among the better half is compared with that among all. Only
    the order of the scores counts, so that a few very bad candidates decide nothing. The same is
    computed with shuffled scores: an importance that these reach, too, shows nothing. Numbers that
    are solved, tied or have one value depend on others, and are left out; so are those that only
    some candidates have.

    Args:
        space: What candidates differ in.
        candidates: Numbers and scores on the same rung, higher is better; None if it diverged.
        symmetric: Whether they are of the symmetric family.

    Returns:
        `candidates`, how many were compared; `reason`, why there is no importance, or "";
        `shares`, by number, which add up to 1; `noise`, what the largest importance of shuffled
        scores is below in 95 of 100 cases, on the scale of the shares.

    References:
        PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces, 2023,
        arXiv:2304.10255.
    """
    drawn = {
        name: kind
        for name, kind in space.drawn(symmetric=symmetric).items()
        if name not in space.conditions
    }
    known = [
        ({name: values[name] for name in drawn}, score)
        for values, score in candidates
        if score is not None and all(values.get(name) in kind for name, kind in drawn.items())
    ]
    outcome = {"candidates": len(known), "reason": "", "shares": {}, "noise": None}
    differing = [name for name in drawn if len({str(values[name]) for values, _ in known}) > 1]
    scores = np.array([score for _, score in known])
    if len(known) < FEWEST:
        return {**outcome, "reason": "too_few"}
    if len(set(scores)) == 1:
        return {**outcome, "reason": "equal_scores"}
    if not differing:
        return {**outcome, "reason": "equal_numbers"}
    numbers = [{name: values[name] for name in differing} for values, _ in known]
    found = _importances(drawn, numbers, scores)
    total = sum(found.values())
    if total == 0:
        return {**outcome, "reason": "no_difference"}
    generator = np.random.default_rng(0)
    largest = [
        max(_importances(drawn, numbers, generator.permutation(scores)).values())
        for _ in range(_SHUFFLES)
    ]
    noise = float(np.quantile(largest, _CONFIDENCE))
    shares = {name: value / total for name, value in found.items()}
    return {**outcome, "shares": shares, "noise": noise / total}


def _importances(
    drawn: Mapping[str, Any], numbers: Sequence[Values], scores: np.ndarray
) -> dict[str, float]:
    import optuna

    spread = {name: distribution_of(drawn[name]) for name in numbers[0]}
    with quiet_optuna():
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            optuna.create_trial(params=dict(values), distributions=spread, value=float(score))
            for values, score in zip(numbers, scores, strict=True)
        )
        return optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_TOP),
            normalize=False,
        )
