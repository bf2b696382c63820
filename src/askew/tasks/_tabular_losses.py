"""Losses of tasks on tables, by name, each with its own settings."""

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
_LABEL_NAMES = Literal["asymmetric", "adaptive", "hill", "splc", "two_way"]
_REGION_NAMES = Literal["tversky", "unified_focal"]
_CLASS_NAMES = Literal["logit_adjusted", "ldam", "agce", "aul", "ael"]

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
    """A loss of labels and its settings; None means the default of the loss.

    Attributes:
        name: "asymmetric" (by default plain BCE), "adaptive", "hill", "splc" or "two_way";
            "tversky" or "unified_focal", which see each label as a region whose pixels are the
            rows; for one label also "logit_adjusted", "ldam", "agce", "aul" or "ael", which see
            two classes.
        gamma_pos: Focusing parameter of positives.
        gamma_neg: Focusing parameter of negatives.
        weight_pos: Weight of positives.
        weight_neg: Weight of negatives.
        margin: Probability below which negatives cost nothing.
        margin_pos: Margin of positives; a logit for "hill" and "splc".
        lambda_neg: Height of the hill that is the loss of negatives, for "hill".
        tau: Trusted probability for "splc"; strength of the adjustment for "logit_adjusted".
        temperature_pos: Temperature of marked labels, for "two_way".
        temperature_neg: Temperature of unmarked labels, for "two_way".
        target_gap: Gap of the mean probabilities to reach, for "adaptive".
        rate: Step of gamma for a gap that is off by 1, for "adaptive".
        weight_fn: Weight of false negatives, for "tversky".
        weight_fp: Weight of false positives, for "tversky".
        weight: Share of the overlap term, for "unified_focal".
        delta: Weight of false negatives, for "unified_focal".
        gamma: Focusing parameter of "tversky" and "unified_focal".
        max_margin: Largest margin of "ldam".
        scale: Factor of the logits, for "ldam".
        a: `a` of "agce", "aul" and "ael".
        q: `q` of "agce" and "aul".

    Raises:
        ValueError: If a number is out of range, or not one of this loss.

    Example:
        >>> LabelLossConfig(gamma_neg=4.0, margin=0.05).name
        'asymmetric'
    """

    name: Literal[_LABEL_NAMES, _REGION_NAMES, _CLASS_NAMES] = "asymmetric"
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
            labels: Training labels, which some losses count; [rows, labels].
            epoch_steps: Steps of an epoch, after which "splc" trusts the model.

        Returns:
            A function of logits and targets, both [rows, labels].

        Raises:
            ValueError: If a number is out of range, or a loss for one label gets several.
        """
        require(
            self.name not in _CLASSES or labels.shape[1] == 1,
            f"LabelLossConfig: {self.name} must have one label; got {labels.shape[1]} labels",
        )
        counts = torch.stack([(labels == value).sum() for value in (0, 1)])
        module = loss_module({**_LABELS, **_REGIONS, **_CLASSES}[self.name], self, counts)
        return LabelLoss(self.name, module, epoch_steps)


class LabelLoss:
    """Calls a loss with inputs of its form; its state changes only while gradients are on."""

    def __init__(self, name: str, module: nn.Module, epoch_steps: int) -> None:
        self.name, self.module, self.epoch_steps = name, module, epoch_steps
        self.steps = 0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        is_training = torch.is_grad_enabled()
        self.module.train(is_training)
        is_past_first_epoch = self.steps >= self.epoch_steps
        self.steps += is_training
        if self.name == "splc":
            return self.module(logits, targets, correct=is_past_first_epoch)
        if self.name in _REGIONS:
            return self.module(logits.T.unsqueeze(1), targets.T.unsqueeze(1))
        if self.name in _CLASSES:
            return self.module(F.pad(logits, (1, 0)), targets[:, 0].long())
        return self.module(logits, targets)


@dataclass(frozen=True, kw_only=True)
class RetrievalLossConfig:
    """A loss of embeddings of length 1 and its settings; None means the default of the loss.

    Attributes:
        name: "pair" (all pairs of a batch), "ranking" (each row with the farthest of its class and
            the nearest of another), or "contrastive" (the rows of the first half of a batch are
            queries, those of the second half documents).
        margin_pos: For "pair" and "ranking", distance up to which pairs of a class cost nothing.
        margin_neg: Likewise, distance from which pairs of two classes cost nothing.
        scale_pos: Likewise, weight of pairs of a class that are too far apart.
        scale_neg: Likewise, weight of pairs of two classes that are too near.
        relative_margin: For "ranking", by how much the row of the same class must be nearer.
        temperature: For "contrastive", divides the similarities.
        weight_queries: For "contrastive", weight of finding documents for queries.
        weight_documents: For "contrastive", weight of finding queries for documents.

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
            ValueError: If a number is out of range.
        """
        module = loss_module(_PAIRS[self.name], self)
        call = {"pair": _all_pairs, "ranking": _hardest, "contrastive": _halves}[self.name]
        return lambda embeddings, classes: call(module, F.normalize(embeddings, dim=1), classes)


def _all_pairs(loss: nn.Module, rows: Tensor, classes: Tensor) -> Tensor:
    return loss(rows, classes)


def _hardest(loss: nn.Module, rows: Tensor, classes: Tensor) -> Tensor:
    same_class = classes[:, None] == classes
    positives = same_class & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    similarity = (rows @ rows.T).detach()
    farthest = similarity.masked_fill(~positives, torch.inf).argmin(1)
    nearest = similarity.masked_fill(same_class, -torch.inf).argmax(1)
    has_both = positives.any(1) & (~same_class).any(1)
    return loss(rows, rows[farthest], rows[nearest], where=has_both)


def _halves(loss: nn.Module, rows: Tensor, classes: Tensor) -> Tensor:
    half = len(rows) // 2
    positives = classes[:half, None] == classes[half:]
    return loss(rows[:half], rows[half:], positives=positives)


def loss_module(kind: type[nn.Module], config: Any, counts: Tensor | None = None) -> nn.Module:
    """Make a loss from the settings that are not None."""
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "name"}
    numbers = {key: value for key, value in settings.items() if value is not None}
    parameters = inspect.signature(kind).parameters
    for key in numbers:
        known = ", ".join(name for name in settings if name in parameters)
        require(
            key in parameters,
            f"{type(config).__name__}: {config.name} must have no {key}; it takes "
            + (known or "no numbers. Choose a loss that does"),
        )
    if "class_counts" in parameters:
        numbers["class_counts"] = counts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a comparison may try unwise settings
        return kind(**numbers)
