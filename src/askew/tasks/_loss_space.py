"""What a search draws of losses, each with numbers of its own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from askew.tradeoffs import Arm, Range, Space

_LOSS = "training.loss."
_NAME = f"{_LOSS}name"
_PLAIN = "plain"
"""The loss that has no numbers, so that none of them is drawn for it."""
LABEL_TIES = {"gamma_neg": "gamma_pos", "weight_neg": "weight_pos"}
"""What is equal in the two-sided loss with equal sides."""


def label_ranges() -> "dict[str, dict[str, Range]]":
    """Return the ranges of the two-sided loss of labels, and of the losses for missing labels."""
    from askew.tradeoffs import Range

    gamma, weight = Range(low=0.0, high=4.0), Range(low=0.25, high=4.0, log=True)
    temperature, margin_pos = Range(low=0.25, high=8.0, log=True), Range(low=0.0, high=2.0)
    gammas = {"gamma_pos": gamma, "gamma_neg": gamma}
    weights = {"weight_pos": weight, "weight_neg": weight}
    return {
        "asymmetric": gammas | weights | {"margin": Range(low=0.0, high=0.2)},
        "hill": {
            "margin_pos": margin_pos,
            "gamma_pos": gamma,
            "lambda_neg": Range(low=1.0, high=2.0),
        },
        "splc": gammas | {"margin_pos": margin_pos, "tau": Range(low=0.3, high=0.9)},
        "two_way": {"temperature_pos": temperature, "temperature_neg": temperature},
    }


def class_ranges(*, noisy: bool) -> "dict[str, dict[str, Range]]":
    """Return the ranges of the focal loss, and of losses for wrong labels or for a long tail."""
    from askew.tradeoffs import Range

    focal = {"gamma": Range(low=0.0, high=4.0)}
    if noisy:
        a, q = Range(low=1.1, high=8.0, log=True), Range(low=0.5, high=4.0, log=True)
        return {"focal": focal, "agce": {"a": a, "q": q}, "aul": {"a": a, "q": q}, "ael": {"a": a}}
    scale = Range(low=1.0, high=30.0, log=True)
    return {
        "focal": focal,
        "logit_adjusted": {"tau": Range(low=0.25, high=2.0, log=True)},
        "ldam": {"max_margin": Range(low=0.1, high=1.0), "scale": scale},
    }


def equal_classes(space: "Space") -> "dict[str, object]":
    """Return what symmetric candidates have in common: the focal loss, which treats all alike."""
    return {_NAME: "focal"}


def equal_labels(space: "Space") -> "dict[str, object]":
    """Return what symmetric candidates have in common: the two-sided loss, without a margin."""
    name = {_NAME: "asymmetric"} if _NAME in space.numbers else {}
    return {f"{_LOSS}margin": 0.0, **name}


def loss_space(
    arms: "Sequence[Arm]",
    ranges: "Mapping[str, Mapping[str, Range]]",
    ties: Mapping[str, str],
    rest: "Space",
    *,
    usual: str | None = None,
) -> "Space":
    """Return the space of the first loss; if an arm has another one, of all of them and its own.

    Each loss has its own numbers. What an arm sets and no range draws is a number with one value.

    Args:
        arms: The challenger and its baseline.
        ranges: Of the numbers of every loss, by its name.
        ties: Numbers that are equal in a symmetric candidate.
        rest: What else is drawn.
        usual: Loss of a training that names none, by default the first one.

    Returns:
        The space; the name of the loss is among its numbers if a training must give it.
    """
    from askew.tradeoffs import Choice, Space

    first = next(iter(ranges))
    usual = usual or first
    losses: list[Any] = [arm.training.get("loss", {}) for arm in arms]
    given = [
        loss for loss in ({"name": usual, **loss} for loss in losses) if loss["name"] != _PLAIN
    ]
    has_others = any(loss["name"] != first for loss in given)
    kinds: dict[str, dict[str, Range | Choice]] = {first: dict(ranges[first])}
    if has_others:
        kinds = {name: dict(numbers) for name, numbers in ranges.items()}
    for loss in given:
        own = kinds.setdefault(loss["name"], {})
        for key, value in loss.items():
            if key != "name":
                own.setdefault(key, Choice(values=(value,)))
    numbers = {f"{_LOSS}{key}": kind for own in kinds.values() for key, kind in own.items()}
    conditions = {
        number: {_NAME: [n for n in kinds if number.removeprefix(_LOSS) in kinds[n]]}
        for number in numbers
    }
    is_named = has_others or usual != first
    name = {_NAME: Choice(values=tuple(kinds))} if is_named else {}
    named_ties = {_LOSS + one: _LOSS + other for one, other in ties.items()}
    return Space(
        numbers={**name, **numbers, **rest.numbers},
        ties={one: other for one, other in named_ties.items() if one in numbers} | dict(rest.ties),
        fixed=rest.fixed,
        conditions=conditions if is_named else {},
    )
