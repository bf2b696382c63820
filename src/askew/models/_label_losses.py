"""The losses that models return to those who pass labels; our own training has its objectives."""

import torch
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


def position_loss(spans: Tensor, nothing: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Compute the mean cross-entropy of the right spans among all spans and "no answer".

    A negative position stands for "no answer". A row does not count if a position is -100 or lies
    outside the context, or its span is not allowed; the loss is 0 if no row counts.
    """
    require(
        start.shape == end.shape == nothing.shape,
        "AsymmetricQAModel: start_positions and end_positions must have a number for every pair; "
        f"got {tuple(start.shape)} and {tuple(end.shape)} for {len(nothing)} pairs",
    )
    length = spans.shape[-1]
    scores = torch.cat([nothing.unsqueeze(1), spans.flatten(1)], dim=1).float()
    answered = (start >= 0) & (end >= 0)
    inside = (start != -100) & (end != -100) & (start < length) & (end < length)
    right = torch.where(answered & inside, 1 + start * length + end, 0)
    counts = inside & scores.gather(1, right.unsqueeze(1)).squeeze(1).isfinite()
    total = F.cross_entropy(scores, right.masked_fill(~counts, -100), reduction="sum")
    return total / counts.sum().clamp(min=1)
