"""The losses that models return to those who pass labels; our own training has its objectives."""

import torch.nn.functional as F
from torch import Tensor

from askew._check import require


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean cross-entropy of the labels that are not -100; 0 if there are none."""
    require(
        labels.shape == logits.shape[:2],
        "AsymmetricTranslationModel: labels must have the shape of the target tokens; "
        f"got labels {tuple(labels.shape)}, target {tuple(logits.shape[:2])}",
    )
    total = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)
