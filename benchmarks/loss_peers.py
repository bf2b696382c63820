"""Losses that others publish for the same purpose, from their formulas and with their clamps."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sketch_bce(x: Tensor, y: Tensor) -> Tensor:
    """Two weights and two focal exponents on clamped logarithms of a sigmoid, as a sum."""
    p = torch.sigmoid(x)
    pos = -2.0 * (1 - p) ** 2.0 * torch.log(p + 1e-8)
    neg = -1.0 * p**1.0 * torch.log(1 - p + 1e-8)
    return (y * pos + (1 - y) * neg).sum()


def asl(x: Tensor, y: Tensor) -> Tensor:
    """AsymmetricLoss of Alibaba-MIIL/ASL: focusing weight without gradient."""
    p = torch.sigmoid(x)
    q = (1 - p + 0.05).clamp(max=1)
    loss = y * torch.log(p.clamp(min=1e-8)) + (1 - y) * torch.log(q.clamp(min=1e-8))
    with torch.no_grad():
        right = p * y + q * (1 - y)
        weight = torch.pow(1 - right, 1.0 * y + 4.0 * (1 - y))
    return -(loss * weight).sum()


def asl_optimized(x: Tensor, y: Tensor) -> Tensor:
    """AsymmetricLossOptimized of the same: in place where it can be, weight with gradient."""
    anti = 1 - y
    p = torch.sigmoid(x)
    q = 1.0 - p
    q.add_(0.05).clamp_(max=1)
    loss = y * torch.log(p.clamp(min=1e-8))
    loss.add_(anti * torch.log(q.clamp(min=1e-8)))
    p, q = p * y, q * anti
    weight = torch.pow(1 - p - q, 1.0 * y + 4.0 * anti)
    loss *= weight
    return -loss.sum()


def timm_multi_label(x: Tensor, y: Tensor) -> Tensor:
    """AsymmetricLossMultiLabel of timm: the same formula, nothing in place."""
    p = torch.sigmoid(x)
    q = (1.0 - p + 0.05).clamp(max=1)
    pos = y * torch.log(p.clamp(min=1e-8))
    neg = (1 - y) * torch.log(q.clamp(min=1e-8))
    right = p * y + q * (1 - y)
    weight = torch.pow(1 - right, 1.0 * y + 4.0 * (1 - y))
    return -((pos + neg) * weight).sum()


def focal_of_torchvision(x: Tensor, y: Tensor) -> Tensor:
    """sigmoid_focal_loss of torchvision, as a sum."""
    p = torch.sigmoid(x)
    cost = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    right = p * y + (1 - p) * (1 - y)
    alpha = 0.25 * y + 0.75 * (1 - y)
    return (alpha * (cost * (1 - right) ** 2)).sum()


def bce(x: Tensor, y: Tensor) -> Tensor:
    """torch.nn's binary cross-entropy, as a sum: the lower bar."""
    return F.binary_cross_entropy_with_logits(x, y, reduction="sum")


def sketch_focal(x: Tensor, t: Tensor) -> Tensor:
    """Focal loss on top of cross-entropy, by autograd."""
    nll = F.cross_entropy(x, t, reduction="none")
    return ((1 - torch.exp(-nll)) ** 2.0 * nll).mean()


def composed_focal(x: Tensor, t: Tensor) -> Tensor:
    """The same with 1 − p taken by expm1."""
    nll = F.cross_entropy(x, t, reduction="none")
    return ((-torch.expm1(-nll)) ** 2.0 * nll).mean()


def asl_single_label(x: Tensor, t: Tensor) -> Tensor:
    """ASLSingleLabel, as in timm and in Alibaba-MIIL/ASL, with gammas 2 and 2, no smoothing."""
    log_p = torch.log_softmax(x, -1)
    hot = torch.zeros_like(x).scatter_(1, t.unsqueeze(1), 1)
    anti = 1 - hot
    p = torch.exp(log_p)
    right, wrong = p * hot, (1 - p) * anti
    weight = torch.pow(1 - right - wrong, 2.0 * hot + 2.0 * anti)
    return -(hot * (log_p * weight)).sum(-1).mean()
