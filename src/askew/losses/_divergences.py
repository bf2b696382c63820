"""Divergences of two distributions, composed or in one pass over blocks of rows.

Autograd would keep both log-probabilities and build more tensors of their size. Here only the
gradient is kept. A divergence D is a function of log q, one number a bucket: a class, or all
classes that a list of the largest ones leaves out. With h the derivative of D in log q, the
gradient in the logit of class j in bucket b is (h_b − Q_b · Σ h) · q_j / Q_b.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from askew._check import require
from askew._reduction import check_floating, compute_dtype, hide, result_dtype
from askew.losses._kept_gradient import is_scaled, times

Divergence = Literal["forward", "reverse", "skewed", "js"]
"""Direction of a divergence between a teacher and a student."""

BLOCK_LOGITS = 131_072
"""Logits of a block: enough to outweigh the overhead of its calls, few enough for a cache."""


class TopK(NamedTuple):
    """The largest probabilities of a distribution, and what all others have together.

    Attributes:
        log_probabilities: Of the k largest [*rows, k].
        indices: Their classes [*rows, k].
        log_rest: Logarithm of the sum of all others [*rows]; −∞ if there is none.

    Example:
        >>> TopK._fields
        ('log_probabilities', 'indices', 'log_rest')
    """

    log_probabilities: Float[Tensor, "*rows k"]
    indices: Integer[Tensor, "*rows k"]
    log_rest: Float[Tensor, "*rows"]


def top_k(logits: Float[Tensor, "*rows classes"], k: int = 8, *, temperature: float = 1.0) -> TopK:
    r"""Return the k largest of :math:`\operatorname{softmax}(z/T)`, and the mass of the others.

    What a teacher finds possible is kept in 2 k numbers a row instead of one for every class.

    Args:
        logits: Scores z before the softmax [*rows, classes].
        k: How many are kept, from 1 to the number of classes.
        temperature: T > 0.

    Returns:
        Logarithms of probabilities, in at least single precision, and their classes.

    Raises:
        ValueError: If `k` or the temperature is out of range.
        TypeError: If logits are not floating point.

    Example:
        >>> kept = top_k(torch.tensor([[2.0, 0.0, 1.0]]), 2)
        >>> kept.indices, round(kept.log_rest.exp().item(), 2)
        (tensor([[0, 2]]), 0.09)
    """
    check_floating("top_k", "logits", logits)
    classes = logits.shape[-1]
    require(1 <= k <= classes, f"top_k: k must be in [1, {classes}], the classes; got k {k}")
    check_temperature("top_k", temperature)
    log_p = torch.log_softmax(logits.to(compute_dtype(logits)) / temperature, -1)
    largest = log_p.topk(k, -1)
    others = log_p.scatter(-1, largest.indices, -math.inf)
    return TopK(largest.values, largest.indices, others.logsumexp(-1))


def check_temperature(name: str, temperature: float) -> None:
    """Refuse a temperature that is not finite and positive."""
    require(
        0 < temperature < math.inf,
        f"{name}: temperature must be finite and positive; got temperature {temperature}",
    )


Teacher = Tensor | TopK
"""Scores of all classes, or the largest probabilities."""


class Kind(NamedTuple):
    """A divergence with its numbers."""

    divergence: Divergence
    skew: float
    temperature: float


def divergence_of(log_q: Tensor, log_p: Tensor, kind: Kind) -> Tensor:
    """Return the divergence of every row [rows, buckets], without the squared temperature."""
    lowest = torch.finfo(log_q.dtype).min  # 0 · ∞ would be NaN
    log_p = log_p.clamp_min(lowest)
    if kind.divergence == "forward":
        return _from_teacher(log_p, log_q)
    log_q = log_q.clamp_min(lowest)  # has no slope where q is 0
    if kind.divergence == "reverse":
        return (log_q.exp() * (log_q - log_p)).sum(-1)
    log_m = _mixture(log_q, log_p, kind.skew)
    one = _from_teacher(log_p, log_m)
    if kind.divergence == "skewed":
        return one
    other = (log_q.exp() * (log_q - log_m)).sum(-1)
    return kind.skew * one + (1 - kind.skew) * other


def _from_teacher(log_p: Tensor, log_other: Tensor) -> Tensor:
    """Return KL(p ‖ other). Where p is above 0 and the other is 0, it is ∞ and has its slope −p."""
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_other), 0.0).sum(-1)


def divergence_slope(log_q: Tensor, log_p: Tensor, kind: Kind) -> Tensor:
    """Return the derivative of the divergence in log q, up to a multiple of q, which cancels."""
    lowest = torch.finfo(log_q.dtype).min
    log_q, log_p = log_q.clamp_min(lowest), log_p.clamp_min(lowest)
    if kind.divergence == "forward":
        return -log_p.exp()
    if kind.divergence == "reverse":
        return log_q.exp() * (log_q - log_p)
    log_m = _mixture(log_q, log_p, kind.skew)
    if kind.divergence == "skewed":
        return -(1 - kind.skew) * (log_p + (log_q - log_m)).exp()
    return (1 - kind.skew) * log_q.exp() * (log_q - log_m)


def _mixture(log_q: Tensor, log_p: Tensor, skew: float) -> Tensor:
    """Return the logarithm of skew · p + (1 − skew) · q, for a skew above 0."""
    return torch.logaddexp(log_p + math.log(skew), log_q + math.log1p(-skew))


def log_buckets(
    x: Tensor, teacher: Teacher, kind: Kind, *, differentiable: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log q of all classes, and log q and log p of the buckets [rows, buckets]."""
    dtype = compute_dtype(x)
    log_q = torch.log_softmax(x.to(dtype) / kind.temperature, -1)
    if not isinstance(teacher, TopK):
        return log_q, log_q, torch.log_softmax(teacher.to(dtype) / kind.temperature, -1)
    log_p = teacher.log_probabilities.to(dtype)
    chosen = log_q.gather(-1, teacher.indices)
    if log_p.shape[-1] == x.shape[-1]:  # there is no rest
        return log_q, chosen, log_p
    rest = _log_rest(log_q, teacher.indices, differentiable=differentiable)
    log_rest = teacher.log_rest.to(dtype).unsqueeze(-1)
    return log_q, torch.cat([chosen, rest], -1), torch.cat([log_p, log_rest], -1)


def _log_rest(log_q: Tensor, indices: Tensor, *, differentiable: bool) -> Tensor:
    """Return the logarithm of what all classes but these have together [rows, 1].

    If none of them can be, they share its slope alike: the limit of equal logits.
    """
    others = log_q.scatter(-1, indices, -math.inf)
    if not differentiable:
        return others.logsumexp(-1, keepdim=True)
    is_none = (others == -math.inf).all(-1, keepdim=True)
    rest = others.masked_fill(is_none, 0.0).logsumexp(-1, keepdim=True)
    alike = log_q.scatter(-1, indices, 0.0).sum(-1, keepdim=True)
    return torch.where(is_none, alike / (log_q.shape[-1] - indices.shape[-1]), rest)


def composed_divergence(x: Tensor, teacher: Teacher, kept: Tensor | None, kind: Kind) -> Tensor:
    """Return the loss of every row by differentiable operations, anything where none counts."""
    mask = None if kept is None else kept.unsqueeze(-1)
    x, teacher = hide(x, mask), _hidden(teacher, kept)
    _, log_q, log_p = log_buckets(x, teacher, kind, differentiable=True)
    return kind.temperature**2 * divergence_of(log_q, log_p, kind)


def _hidden(teacher: Teacher, kept: Tensor | None) -> Teacher:
    if kept is None:
        return teacher
    if isinstance(teacher, TopK):
        mask = kept.unsqueeze(-1)
        return TopK(
            hide(teacher.log_probabilities, mask),
            teacher.indices.masked_fill(~mask, 0),
            hide(teacher.log_rest, kept),
        )
    return hide(teacher, kept.unsqueeze(-1))


def rows_of(teacher: Teacher, block: slice) -> Teacher:
    """Select some of the rows."""
    if isinstance(teacher, TopK):
        return TopK(*(part[block] for part in teacher))
    return teacher[block]


class DivergenceSum(torch.autograd.Function):
    """The scaled sum of the loss, whose gradient is computed in the forward pass and kept."""

    @staticmethod
    def forward(
        ctx, x: Tensor, kept: Tensor | None, kind: Kind, scale: float, *teacher: Tensor
    ) -> Tensor:
        """Compute value and gradient; the inputs are saved for a second derivative."""
        gradient = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        total = blockwise_divergence(x, as_teacher(teacher), kept, kind, scale, gradient)
        ctx.kind, ctx.scale = kind, scale
        ctx.save_for_backward(gradient, x, kept, *teacher)
        return total

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Scale the kept gradient."""
        (grad,) = grad_outputs
        gradient, x, kept, *teacher = ctx.saved_tensors
        nothing = (None,) * (3 + len(teacher))
        if not torch.is_grad_enabled():
            return times(gradient, grad, ctx.scale), *nothing
        # create_graph=True: the kept gradient has no graph of its own
        loss = composed_divergence(x, as_teacher(teacher), kept, ctx.kind)
        loss = loss if kept is None else torch.where(kept, loss, 0.0)
        (slope,) = torch.autograd.grad(loss.sum(), x, create_graph=True)
        return slope * (grad * ctx.scale), *nothing


def as_teacher(tensors: Sequence[Tensor]) -> Teacher:
    """Return one tensor as it is, and three as `TopK`."""
    return tensors[0] if len(tensors) == 1 else TopK(*tensors)


def blockwise_divergence(
    x: Tensor,
    teacher: Teacher,
    kept: Tensor | None,
    kind: Kind,
    scale: float,
    gradient: Tensor | None,
) -> Tensor:
    """Return the scaled sum over [rows, classes], and write its gradient into `gradient`."""
    step = len(x)  # other devices have no cache to fit, and each block costs launches
    if x.device.type == "cpu":
        step = max(BLOCK_LOGITS // max(x.shape[-1], 1), 1)
    total = torch.zeros((), dtype=torch.double, device=x.device)
    for start in range(0, len(x), step):
        block = slice(start, start + step)
        out = None if gradient is None else gradient[block]
        part = None if kept is None else kept[block]
        total += _block_sum(x[block], rows_of(teacher, block), part, kind, scale, out)
    return (total * scale).to(result_dtype(x))


def _block_sum(
    x: Tensor,
    teacher: Teacher,
    kept: Tensor | None,
    kind: Kind,
    scale: float,
    out: Tensor | None,
) -> Tensor:
    """Return the sum of a block before the scale, and write its gradient into `out`."""
    mask = None if kept is None else kept.unsqueeze(-1)
    teacher = _hidden(teacher, kept)
    log_q, bucket_q, bucket_p = log_buckets(hide(x, mask), teacher, kind, differentiable=False)
    loss = kind.temperature**2 * divergence_of(bucket_q, bucket_p, kind)
    if kept is not None:
        loss = torch.where(kept, loss, 0.0)
    if out is None:
        return loss.sum(dtype=torch.double)
    slope = divergence_slope(bucket_q, bucket_p, kind)
    spread = slope.sum(-1, keepdim=True)
    if isinstance(teacher, TopK):
        k = teacher.indices.shape[-1]
        gradient = log_q.exp() * -spread
        if slope.shape[-1] > k:
            share = (log_q - bucket_q[:, k:]).exp()
            share.masked_fill_(bucket_q[:, k:] == -math.inf, 1 / (x.shape[-1] - k))
            gradient += share * slope[:, k:]
        top = slope[:, :k] - bucket_q[:, :k].exp() * spread
        gradient.scatter_(-1, teacher.indices, top)
    else:
        gradient = torch.addcmul(slope, log_q.exp(), spread, value=-1)
    gradient *= kind.temperature * (scale if is_scaled(out) else 1.0)
    out.copy_(gradient if mask is None else gradient.masked_fill_(~mask, 0.0))
    return loss.sum(dtype=torch.double)
