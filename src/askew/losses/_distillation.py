"""A student's distribution against a teacher's, in either direction of the divergence."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
    check_floating,
    check_reduction,
    check_tensor,
    check_where,
    count,
    kernel_obstacle,
    reduce,
    result_dtype,
)
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._divergences import (
    Divergence,
    DivergenceSum,
    Kind,
    TopK,
    as_teacher,
    blockwise_divergence,
    check_temperature,
    composed_divergence,
)

ONE_PASS_MIN_LOGITS = 1 << 19
"""Number of logits from which on one pass over blocks is faster than autograd."""

_USUAL_SKEWS = {"forward": 0.0, "reverse": 0.0, "skewed": 0.1, "js": 0.5}


def distillation_loss(
    student_logits: Float[Tensor, "*rows classes"],
    teacher: Float[Tensor, "*rows classes"] | TopK,
    *,
    divergence: Divergence = "forward",
    skew: float | None = None,
    temperature: float = 1.0,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Divergence of a student's distribution from a teacher's, times the squared temperature.

    With :math:`p=\operatorname{softmax}(z/T)` of the teacher, :math:`q=\operatorname{softmax}(x/T)`
    of the student and a skew :math:`\alpha`, a row costs :math:`T^2` times

    .. math::
        \text{forward:}\quad & \operatorname{KL}(p\,\|\,q) \\
        \text{reverse:}\quad & \operatorname{KL}(q\,\|\,p) \\
        \text{skewed:}\quad & \operatorname{KL}(p\,\|\,\alpha p+(1-\alpha)q) \\
        \text{js:}\quad & \alpha\operatorname{KL}(p\,\|\,m)+(1-\alpha)\operatorname{KL}(q\,\|\,m),
        \qquad m=\alpha p+(1-\alpha)q

    The forward divergence makes the student cover all that the teacher finds possible, the reverse
    one makes it avoid what the teacher finds impossible. A skew of 0 is the forward divergence; a
    skew of .5 in "js" is the Jensen–Shannon divergence, which is the same from both sides.
    Without a teacher's distribution, learn its outputs by `F.cross_entropy`.

    Args:
        student_logits: Scores before the softmax [*rows, classes].
        teacher: Its scores, of the same shape, or its largest probabilities (`top_k`). All other
            classes then count as one. The teacher gets no gradient.
        divergence: "forward", "reverse", "skewed" or "js".
        skew: Share of the teacher in the mixture, in [0, 1) for "skewed", .1 by default, and in
            (0, 1) for "js", .5 by default.
        temperature: T > 0; above 1, small probabilities count more. Largest probabilities must have
            been taken at the same temperature.
        where: True where a row counts; broadcasts to [*rows]. A hidden row adds nothing to value or
            gradient, and may be NaN.
        reduction: "mean" over rows that count, "sum" or "none".

    Returns:
        A scalar, or [*rows] for "none", in the dtype of `student_logits`; under autocast at least
        single precision. Nothing to count gives a differentiable 0.

    Raises:
        ValueError: If shapes differ or a setting is out of range.
        TypeError: If scores are not floating point, or `where` is not boolean.

    Numerics:
        Computed in at least single precision from log-probabilities; a logit of −∞ (a class that
        cannot be) is allowed on either side. Where only the student finds a class impossible, the
        forward divergence is ∞, and its gradient finite. A mean or a sum over many logits is
        computed in one pass over blocks, which keeps one tensor of the size of the logits and
        never a copy of them in single precision.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
        >>> round(distillation_loss(student, teacher).item(), 4)
        0.1109
        >>> mirrored = distillation_loss(teacher, student, divergence="reverse")
        >>> round(mirrored.item(), 4)
        0.1109

    References:
        Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531 (forward, temperature).
        MiniLLM, 2024, arXiv:2306.08543 (reverse). DistiLLM, 2024, arXiv:2402.03898 (skewed).
        On-Policy Distillation of Language Models, 2024, arXiv:2306.13649 (generalised
        Jensen–Shannon).
    """
    name = "distillation_loss"
    check_reduction(name, reduction)
    kind = _checked(name, divergence, skew, temperature)
    parts = tuple(teacher) if isinstance(teacher, TopK) else (teacher,)
    for part in parts:
        check_tensor(name, "teacher", part)
    parts = tuple(part.detach() for part in parts)
    rows = _check_shapes(name, student_logits, parts)
    check_where(name, where, rows, "the rows")
    x = student_logits.reshape(-1, student_logits.shape[-1])
    parts = tuple(part.reshape(len(x), *part.shape[len(rows) :]) for part in parts)
    kept = None if where is None else where.expand(rows).reshape(-1)
    dtype = result_dtype(student_logits)
    if x.numel() >= ONE_PASS_MIN_LOGITS and reduction != "none" and not kernel_obstacle(x, *parts):
        scale = 1.0 / float(count(x.shape[:1], kept)) if reduction == "mean" else 1.0
        if torch.is_grad_enabled() and x.requires_grad:
            return DivergenceSum.apply(x, kept, kind, scale, *parts).to(dtype)
        return blockwise_divergence(x, as_teacher(parts), kept, kind, scale, None).to(dtype)
    loss = composed_divergence(x, as_teacher(parts), kept, kind)
    loss = reduce(loss, reduction, kept, dtype)
    return loss.reshape(rows) if reduction == "none" else loss


def _checked(name: str, divergence: Divergence, skew: float | None, temperature: float) -> Kind:
    """Return the divergence with its numbers, which must be in their ranges."""
    require(
        divergence in _USUAL_SKEWS,
        f"{name}: divergence must be forward, reverse, skewed or js; got {divergence!r}",
    )
    check_numbers(name, {"temperature": temperature, **({} if skew is None else {"skew": skew})})
    usual = _USUAL_SKEWS[divergence]
    skew = usual if skew is None else skew
    lowest = 0.0 if divergence == "skewed" else math.ulp(0.0)
    require(
        skew == usual or (usual > 0 and lowest <= skew < 1),
        f"{name}: skew must be in {'[0, 1)' if divergence == 'skewed' else '(0, 1)'}; got {skew}"
        if usual > 0
        else f"{name}: skew belongs to the divergences skewed and js; got skew {skew}",
    )
    check_temperature(name, temperature)
    if divergence == "skewed" and skew == 0:
        divergence = "forward"
    return Kind(divergence, skew, temperature)


def _check_shapes(name: str, logits: Tensor, teacher: tuple[Tensor, ...]) -> torch.Size:
    """Return the shape of the rows."""
    check_floating(name, "student_logits", logits)
    check_floating(name, "teacher", teacher[0])
    require(
        logits.dim() > 0 and logits.shape[-1] > 0,
        f"{name}: student_logits must have classes; got shape {tuple(logits.shape)}",
    )
    rows = logits.shape[:-1]
    if len(teacher) == 1:
        require(
            teacher[0].shape == logits.shape,
            f"{name}: teacher must have the shape of student_logits; got student_logits "
            f"{tuple(logits.shape)}, teacher {tuple(teacher[0].shape)}",
        )
        return rows
    k = teacher[0].shape[-1]
    require(
        teacher[0].shape == teacher[1].shape == (*rows, k)
        and teacher[2].shape == rows
        and 1 <= k <= logits.shape[-1],
        f"{name}: a teacher of k classes must have shapes [*rows, k], [*rows, k] and [*rows]; got "
        f"{[tuple(part.shape) for part in teacher]}, student_logits {tuple(logits.shape)}",
    )
    return rows


class DistillationLoss(SettingsModule):
    """Module form of `distillation_loss`.

    Args:
        divergence: See `distillation_loss`, which describes all settings.
        skew: Share of the teacher in the mixture.
        temperature: Above 1, small probabilities count more.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
        >>> loss = DistillationLoss(divergence="js")
        >>> loss(student, teacher) == loss(teacher, student)
        tensor(True)
    """

    def __init__(
        self,
        *,
        divergence: Divergence = "forward",
        skew: float | None = None,
        temperature: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_reduction(name, reduction)
        _checked(name, divergence, skew, temperature)
        self.divergence: Divergence = divergence
        self.skew = skew
        self.temperature = temperature
        self.reduction: Reduction = reduction

    def forward(
        self,
        student_logits: Float[Tensor, "*rows classes"],
        teacher: Float[Tensor, "*rows classes"] | TopK,
        *,
        where: Bool[Tensor, "..."] | None = None,
    ) -> Tensor:
        """Return the loss of the student against the teacher."""
        return distillation_loss(student_logits, teacher, where=where, **self._settings())
