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


def log_probs_of_trl(x: Tensor, t: Tensor) -> Tensor:
    """selective_log_softmax of TRL without its kernel for GPUs: one sequence after another."""
    if x.dtype == torch.float32:
        chosen = x.gather(-1, t.unsqueeze(-1)).squeeze(-1)
        return chosen - torch.stack([torch.logsumexp(sequence, -1) for sequence in x])
    rows = [F.log_softmax(s, -1).gather(-1, i.unsqueeze(-1)) for s, i in zip(x, t, strict=True)]
    return torch.stack(rows).squeeze(-1)


def log_probs_of_torch(x: Tensor, t: Tensor) -> Tensor:
    """The plain composition in single precision."""
    return x.float().log_softmax(-1).gather(-1, t.unsqueeze(-1)).squeeze(-1)


def clipped_of_trl(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """The loss of GRPOTrainer with loss_type bnpo and DAPO's clips, one advantage a sequence."""
    ratio = torch.exp(log_ratio)
    clipped = torch.clamp(ratio, 1 - 0.2, 1 + 0.28)
    advantage = advantage.unsqueeze(1)
    return -torch.min(ratio * advantage, clipped * advantage).mean()


def dpo_of_trl(log_ratio: Tensor) -> Tensor:
    """The loss of DPOTrainer on log-ratios of tokens, chosen sequences first."""
    chosen, rejected = log_ratio.sum(1).chunk(2)
    return -F.logsigmoid(0.1 * (chosen - rejected)).mean()
