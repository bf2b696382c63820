"""Log-probabilities of tokens from logits, without a second tensor of the size of the logits.

Autograd would keep all log-probabilities and, for half precision, a copy of the logits in single
precision. Here nothing is kept but the logits: the backward pass takes the softmax of a block of
rows again and writes it into the gradient, which for target t and incoming slope g is
g ([j = t] − p_j) / T in class j.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from askew._check import require
from askew._reduction import (
    check_floating,
    check_tensor,
    check_where,
    compute_dtype,
    hide,
    kernel_obstacle,
)
from askew._settings_module import check_integer, check_numbers
from askew.losses._divergences import check_temperature
from askew.losses._multiclass_inputs import valid_targets

BLOCKS_MIN_LOGITS = 1 << 19
"""Number of logits from which on blocks are faster than autograd."""

BLOCK_LOGITS = 131_072
"""Logits of a block: enough to outweigh the overhead of its calls, few enough for a cache."""

DEVICE_BLOCK_LOGITS = 1 << 24
"""The same where each call is a launch, and 64 MiB of scratch memory are little."""


def token_log_probs(
    logits: Float[Tensor, "*rows classes"],
    targets: Integer[Tensor, "*rows"],
    *,
    temperature: float = 1.0,
    ignore_index: int = -100,
    where: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*rows"]:
    r"""Return the log-probability of every target, :math:`\log\operatorname{softmax}(x/T)_t`.

    Differences of it between two models are the log-ratios that losses on policies and preferences
    take; a sum over the tokens of a sequence is the log-probability of the sequence:
    ``token_log_probs(logits, targets).sum(-1)``. Position i of the logits must predict the target
    at position i. Shift the targets, not the logits: the gradient of a slice of logits is a second
    tensor of their size.

    Args:
        logits: Scores before the softmax [*rows, classes].
        targets: Class indices [*rows].
        temperature: T > 0, that of sampling.
        ignore_index: Rows with this target do not count.
        where: True where a row counts; broadcasts to [*rows]. The logits of a row that does not
            count get no gradient, and may be NaN.

    Returns:
        [*rows], 0 where a row does not count, in at least single precision: half precision would
        lose the difference of two log-probabilities.

    Raises:
        ValueError: If shapes differ, a target is no class or the temperature is out of range.
        TypeError: If logits are not floating point, targets not integers, or `where` not boolean.

    Numerics:
        Computed in at least single precision. A class with a logit of −∞ cannot be; as a target its
        log-probability is −∞. Of many logits, only blocks of rows are ever held in single
        precision, in the forward and in the backward pass.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
        >>> token_log_probs(logits, torch.tensor([0, 1, -100])).round(decimals=4)
        tensor([-0.1269, -0.6931,  0.0000])
    """
    name = "token_log_probs"
    check_floating(name, "logits", logits)
    check_tensor(name, "targets", targets)
    _check_targets(name, logits, targets, ignore_index)
    check_numbers(name, {"temperature": temperature})
    check_temperature(name, temperature)
    check_where(name, where, targets.shape, "the rows")
    kept = None if where is None else where.expand(targets.shape)
    target, kept = valid_targets(name, targets.long(), kept, ignore_index, logits.shape[-1])
    if logits.numel() < BLOCKS_MIN_LOGITS or kernel_obstacle(logits):
        return _composed(logits, target, kept, temperature)
    return _InBlocks.apply(logits, target, kept, temperature)


def _check_targets(name: str, logits: Tensor, targets: Tensor, ignore_index: int) -> None:
    check_integer(name, "ignore_index", ignore_index)
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(f"{name}: targets must be class indices; got dtype {targets.dtype}")
    require(
        logits.dim() > 0 and targets.shape == logits.shape[:-1],
        lambda: (
            f"{name}: targets must have the shape of the rows of logits; "
            f"got targets {tuple(targets.shape)}, logits {tuple(logits.shape)}"
        ),
    )


def _composed(x: Tensor, target: Tensor, kept: Tensor | None, temperature: float) -> Tensor:
    """Return all log-probabilities by differentiable operations."""
    log_p = torch.log_softmax(_visible(x, kept, temperature), -1)
    log_p = log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return log_p if kept is None else torch.where(kept, log_p, 0.0)


class _InBlocks(torch.autograd.Function):
    """All log-probabilities, whose gradient is computed from the logits in the backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor, target: Tensor, kept: Tensor | None, temperature: float) -> Tensor:
        """Compute the value; nothing but the inputs is kept."""
        target = target.contiguous()
        kept = None if kept is None else kept.contiguous()
        value = torch.empty(target.shape, dtype=compute_dtype(x), device=x.device)
        for block in _blocks(x, target, kept, value):
            _write_value(*block, temperature=temperature)
        ctx.temperature = temperature
        ctx.save_for_backward(x, target, kept)
        return value

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Compute the gradient block by block."""
        (grad,) = grad_outputs
        x, target, kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            value = _composed(x, target, kept, ctx.temperature)
            (gradient,) = torch.autograd.grad(value, x, grad, create_graph=True)
            return gradient, None, None, None
        gradient = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        for block in _blocks(x, target, kept, grad.contiguous(), gradient):
            _write_gradient(*block, temperature=ctx.temperature)
        return gradient, None, None, None


def _blocks(x: Tensor, *others: Tensor | None) -> Iterator[list[Any]]:
    """Cut tensors with the same rows into blocks of rows, all of them views.

    Logits that are a slice would be copied if their rows were made one axis.
    """
    if x.dim() > 2 and not x.is_contiguous():
        for i in range(len(x)):
            yield from _blocks(x[i], *(None if t is None else t[i] for t in others))
        return
    rows = x.dim() - 1
    flat: list[Any] = [None if t is None else t.reshape(-1, *t.shape[rows:]) for t in (x, *others)]
    size = BLOCK_LOGITS if x.device.type == "cpu" else DEVICE_BLOCK_LOGITS
    step = max(size // max(x.shape[-1], 1), 1)
    for start in range(0, len(flat[0]), step):
        yield [None if t is None else t[start : start + step] for t in flat]


def _write_value(
    x: Tensor, target: Tensor, kept: Tensor | None, value: Tensor, temperature: float
) -> None:
    log_p = torch.log_softmax(_visible(x, kept, temperature), -1)
    torch.gather(log_p, -1, target.unsqueeze(-1), out=value.unsqueeze(-1))
    if kept is not None:
        value.masked_fill_(~kept, 0.0)


def _write_gradient(
    x: Tensor,
    target: Tensor,
    kept: Tensor | None,
    grad: Tensor,
    gradient: Tensor,
    temperature: float,
) -> None:
    grad = (hide(grad, kept) / temperature).unsqueeze(-1)
    p = gradient if gradient.dtype == grad.dtype else None  # the softmax becomes the gradient
    p = torch.softmax(_visible(x, kept, temperature), -1, out=p)
    p.mul_(-grad).scatter_add_(-1, target.unsqueeze(-1), grad)
    if p is not gradient:
        gradient.copy_(p)


def _visible(x: Tensor, kept: Tensor | None, temperature: float) -> Tensor:
    """Return logits over the temperature in the precision of the computation."""
    x = hide(x, None if kept is None else kept.unsqueeze(-1)).to(compute_dtype(x))
    return x if temperature == 1 else x / temperature
