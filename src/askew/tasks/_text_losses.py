"""Losses of texts with labels, by name: those of tables, and those of several classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from askew._check import require
from askew.losses import (
    AELLoss,
    AGCELoss,
    AsymmetricFocalLoss,
    AULLoss,
    LDAMLoss,
    LogitAdjustedCrossEntropy,
)
from askew.tasks._tabular_losses import LabelLoss, LabelLossConfig, Loss, loss_module

_CLASSES: Mapping[str, type[nn.Module]] = {
    "focal": AsymmetricFocalLoss,
    "logit_adjusted": LogitAdjustedCrossEntropy,
    "ldam": LDAMLoss,
    "agce": AGCELoss,
    "aul": AULLoss,
    "ael": AELLoss,
}
_NAMES = Literal[
    "plain",
    "asymmetric",
    "adaptive",
    "hill",
    "splc",
    "two_way",
    "tversky",
    "unified_focal",
    "focal",
    "logit_adjusted",
    "ldam",
    "agce",
    "aul",
    "ael",
]


@dataclass(frozen=True, kw_only=True)
class TextLossConfig(LabelLossConfig):
    """A loss of texts with labels, and its settings; None means the default of the loss.

    Attributes:
        name: "plain" is cross-entropy where exactly one label holds of every text, else binary
            cross-entropy. "asymmetric", "adaptive", "hill", "splc", "two_way", "tversky" and
            "unified_focal" see every label by itself. "focal", "logit_adjusted", "ldam", "agce",
            "aul" and "ael" see classes, of which exactly one holds. All settings are those of
            `LabelLossConfig`.

    Raises:
        ValueError: If a number is out of range, or not one of this loss.

    Example:
        >>> TextLossConfig(name="ldam", max_margin=0.3).name
        'ldam'
    """

    # pyrefly: ignore[bad-override]  more names than a table has
    name: _NAMES = "plain"

    def __post_init__(self) -> None:
        self.build(torch.eye(2), exclusive=self.name in _CLASSES)

    # pyrefly: ignore[bad-override]  whether labels exclude each other cannot be seen in a table
    def build(self, labels: Tensor, *, epoch_steps: int = 1, exclusive: bool = False) -> Loss:
        """Make the loss.

        Args:
            labels: Training labels, which some losses count; [texts, labels].
            epoch_steps: Steps of an epoch, after which "splc" trusts the model.
            exclusive: Whether exactly one label holds of every text.

        Returns:
            A function of logits and targets, both [texts, labels].

        Raises:
            ValueError: If a number is out of range, or a loss of classes gets several labels.
        """
        if self.name == "plain":
            loss_module(nn.Identity, self)  # refuses numbers, of which it has none
            return _class_loss(F.cross_entropy) if exclusive else _binary
        if self.name not in _CLASSES:
            return super().build(labels, epoch_steps=epoch_steps)
        require(
            exclusive,
            f"TextLossConfig: {self.name} must have texts with exactly one label; got a text with "
            "none or several. Take asymmetric, hill, splc, two_way, tversky or unified_focal",
        )
        return _class_loss(loss_module(_CLASSES[self.name], self, labels.sum(0).long()))


def _binary(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets)


def _class_loss(loss: Loss) -> Loss:
    return lambda logits, targets: loss(logits, targets.argmax(1))


def loss_state(loss: Loss) -> dict[str, object] | None:
    """Return what a loss has learnt so far; None of one that does not change in training."""
    if not isinstance(loss, LabelLoss):
        return None
    return {"steps": loss.steps, "module": loss.module.state_dict()}


def restore_loss(loss: Loss, state: Mapping[str, object]) -> None:
    """Put back what `loss_state` returned."""
    assert isinstance(loss, LabelLoss)
    loss.steps = int(state["steps"])  # pyrefly: ignore[bad-argument-type]  a number
    loss.module.load_state_dict(state["module"])  # pyrefly: ignore[bad-argument-type]  tensors
