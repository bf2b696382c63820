"""Losses of tasks on tables by name, each with the numbers that it takes."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from askew._check import require
from askew.losses import (
    AdaptiveAsymmetry,
    AELLoss,
    AGCELoss,
    AsymmetricBCELoss,
    AsymmetricContrastiveLoss,
    AsymmetricPairLoss,
    AsymmetricRankingLoss,
    AsymmetricTverskyLoss,
    AsymmetricUnifiedFocalLoss,
    AULLoss,
    HillLoss,
    LDAMLoss,
    LogitAdjustedCrossEntropy,
    SPLCLoss,
    TwoWayLoss,
)

Loss = Callable[[Tensor, Tensor], Tensor]

_LABELS: Mapping[str, type[nn.Module]] = {
    "asymmetric": AsymmetricBCELoss,
    "adaptive": AdaptiveAsymmetry,
    "hill": HillLoss,
    "splc": SPLCLoss,
    "two_way": TwoWayLoss,
}
_REGIONS: Mapping[str, type[nn.Module]] = {
    "tversky": AsymmetricTverskyLoss,
    "unified_focal": AsymmetricUnifiedFocalLoss,
}
_CLASSES: Mapping[str, type[nn.Module]] = {
    "logit_adjusted": LogitAdjustedCrossEntropy,
    "ldam": LDAMLoss,
    "agce": AGCELoss,
    "aul": AULLoss,
    "ael": AELLoss,
}
_PAIRS: Mapping[str, type[nn.Module]] = {
    "pair": AsymmetricPairLoss,
    "ranking": AsymmetricRankingLoss,
    "contrastive": AsymmetricContrastiveLoss,
}


@dataclass(frozen=True, kw_only=True)
class LabelLossConfig:
    """Which loss is learnt; a number that is None is as the loss has it by default.

    Attributes:
        name: "asymmetric" (plain BCE as by default), "adaptive", "hill", "splc" or "two_way";
            "tversky" or "unified_focal", with each label as a region and rows as pixels; of one
            label also "logit_adjusted", "ldam", "agce", "aul" or "ael", on two classes.
        gamma_pos: Focusing of positives.
        gamma_neg: Focusing of negatives.
        weight_pos: Weight of positives.
        weight_neg: Weight of negatives.
        margin: Probability that negatives may have for nothing.
        margin_pos: Probability (of "hill" and "splc", logit) that positives must have beyond.
        lambda_neg: Height of the negatives' hill.
        tau: Trust in the model of "splc"; strength of "logit_adjusted".
        temperature_pos: Of marked labels, of "two_way".
        temperature_neg: Of unmarked labels, of "two_way".
        target_gap: Of "adaptive".
        rate: Of "adaptive".
        weight_fn: Price of a miss, of "tversky".
        weight_fp: Price of a false alarm, of "tversky".
        weight: Share of the overlap, of "unified_focal".
        delta: Price of a miss, of "unified_focal".
        gamma: Focusing of "tversky" and "unified_focal".
        max_margin: Of "ldam".
        scale: Of "ldam".
        a: Of "agce", "aul" and "ael".
        q: Of "agce" and "aul".

    Raises:
        ValueError: If a number is out of range, or not one of this loss.

    Example:
        >>> LabelLossConfig(gamma_neg=4.0, margin=0.05).name
        'asymmetric'
    """

    name: Literal[
        "asymmetric",
        "adaptive",
        "hill",
        "splc",
        "two_way",
        "tversky",
        "unified_focal",
        "logit_adjusted",
        "ldam",
        "agce",
        "aul",
        "ael",
    ] = "asymmetric"
    gamma_pos: float | None = None
    gamma_neg: float | None = None
    weight_pos: float | None = None
    weight_neg: float | None = None
    margin: float | None = None
    margin_pos: float | None = None
    lambda_neg: float | None = None
    tau: float | None = None
    temperature_pos: float | None = None
    temperature_neg: float | None = None
    target_gap: float | None = None
    rate: float | None = None
    weight_fn: float | None = None
    weight_fp: float | None = None
    weight: float | None = None
    delta: float | None = None
    gamma: float | None = None
    max_margin: float | None = None
    scale: float | None = None
    a: float | None = None
    q: float | None = None

    def __post_init__(self) -> None:
        self.build(torch.tensor([[0.0], [1.0]]))

    def build(self, labels: Tensor, *, epoch_steps: int = 1) -> Loss:
        """Make the loss.

        Args:
            labels: Those of the training rows, which some losses count; [rows, labels].
            epoch_steps: Steps until "splc" trusts the model.

        Returns:
            A function of logits and targets, both [rows, labels].

        Raises:
            ValueError: If a number is out of the range of the loss, or the loss is of one label
                and there are several.
        """
        require(
            self.name not in _CLASSES or labels.shape[1] == 1,
            f"LabelLossConfig: {self.name} must have one label; got {labels.shape[1]} labels",
        )
        counts = torch.stack([(labels == kind).sum() for kind in (0, 1)])
        module = _module({**_LABELS, **_REGIONS, **_CLASSES}[self.name], self, counts)
        return _LabelLoss(self.name, module, epoch_steps)


class _LabelLoss:
    """Calls a loss in the form that it asks for; it stands still where nothing is learnt."""

    def __init__(self, name: str, module: nn.Module, epoch_steps: int) -> None:
        self.name, self.module, self.epoch_steps = name, module, epoch_steps
        self.steps = 0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        learning = torch.is_grad_enabled()
        self.module.train(learning)
        believed = self.steps >= self.epoch_steps
        self.steps += learning
        if self.name == "splc":
            return self.module(logits, targets, correct=believed)
        if self.name in _REGIONS:
            return self.module(logits.T.unsqueeze(1), targets.T.unsqueeze(1))
        if self.name in _CLASSES:
            return self.module(F.pad(logits, (1, 0)), targets[:, 0].long())
        return self.module(logits, targets)


@dataclass(frozen=True, kw_only=True)
class RetrievalLossConfig:
    """Which loss is learnt, on embeddings of length 1; None is as the loss has it by default.

    Attributes:
        name: "pair" (all pairs of a batch), "ranking" (each row with the farthest of its class and
            the nearest of another), or "contrastive" (the first half of a batch looks for its
            classes in the second).
        margin_pos: Distance that pairs of a class may have for nothing, of "pair" and "ranking".
        margin_neg: Distance from which on pairs of two classes cost nothing, likewise.
        scale_pos: Price of a pair of a class that is too far apart, likewise.
        scale_neg: Price of a pair of two classes that is too near, likewise.
        relative_margin: By how much the own class must be nearer, of "ranking".
        temperature: Of the likeness, of "contrastive".
        weight_queries: Price of the search from first to second half, of "contrastive".
        weight_documents: Price of the search from second to first half, likewise.

    Raises:
        ValueError: If a number is out of range, or not one of this loss.

    Example:
        >>> RetrievalLossConfig(scale_neg=2.0).name
        'pair'
    """

    name: Literal["pair", "ranking", "contrastive"] = "pair"
    margin_pos: float | None = None
    margin_neg: float | None = None
    scale_pos: float | None = None
    scale_neg: float | None = None
    relative_margin: float | None = None
    temperature: float | None = None
    weight_queries: float | None = None
    weight_documents: float | None = None

    def __post_init__(self) -> None:
        self.build()

    def build(self) -> Loss:
        """Make the loss.

        Returns:
            A function of embeddings of any length, [rows, width], and classes [rows].

        Raises:
            ValueError: If a number is out of the range of the loss.
        """
        module = _module(_PAIRS[self.name], self)
        call = {"pair": _all_pairs, "ranking": _hardest, "contrastive": _halves}[self.name]
        return lambda embeddings, classes: call(module, F.normalize(embeddings, dim=1), classes)


def _all_pairs(loss: nn.Module, rows: Tensor, classes: Tensor) -> Tensor:
    return loss(rows, classes)


def _hardest(loss: nn.Module, rows: Tensor, classes: Tensor) -> Tensor:
    alike = classes[:, None] == classes
    others = alike & ~torch.eye(len(rows), dtype=torch.bool)
    near = (rows @ rows.T).detach()
    farthest = near.masked_fill(~others, torch.inf).argmin(1)
    nearest = near.masked_fill(alike, -torch.inf).argmax(1)
    whole = others.any(1) & (~alike).any(1)
    return loss(rows, rows[farthest], rows[nearest], where=whole)


def _halves(loss: nn.Module, rows: Tensor, classes: Tensor) -> Tensor:
    half = len(rows) // 2
    positives = classes[:half, None] == classes[half:]
    return loss(rows[:half], rows[half:], positives=positives)


def _module(kind: type[nn.Module], config: Any, counts: Tensor | None = None) -> nn.Module:
    """Make a loss from the numbers that are given."""
    given = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "name"}
    numbers = {key: value for key, value in given.items() if value is not None}
    taken = inspect.signature(kind).parameters
    for key in numbers:
        known = ", ".join(name for name in given if name in taken)
        require(
            key in taken,
            f"{type(config).__name__}: {config.name} must have no {key}; it takes {known}",
        )
    if "class_counts" in taken:
        numbers["class_counts"] = counts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is put to the question may be unwise
        return kind(**numbers)
