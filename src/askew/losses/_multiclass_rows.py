"""Focal cross-entropy with value and gradient in one pass over blocks of rows.

Autograd would keep the log-probabilities and build two more tensors of their size. Here only the
gradient is kept. With f the slope of the focal term in −log p_t, and s_c the smoothing of class c,
it is (f + Σ s) · p_c − f · [c = t] − s_c for class c of a row with target t.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from askew._reduction import compute_dtype, result_dtype
from askew.losses._kept_gradient import is_scaled, times

BLOCK_LOGITS = 131_072
"""Logits of a block: enough to outweigh the overhead of its calls, few enough for a cache."""


class Rows(NamedTuple):
    """Per row all but its logits; price and gamma are numbers where all rows have the same."""

    target: Tensor
    """Class index, any valid one where the row does not count [rows, …]."""
    kept: Tensor | None
    """True where the row counts, None where all do [rows, …]."""
    price: float | Tensor
    """Factor of the focal term."""
    gamma: float | Tensor
    """Exponent of the focal term."""

    def block(self, block: slice) -> "Rows":
        """Select some of the rows."""
        price, gamma = (s[block] if isinstance(s, Tensor) else s for s in (self.price, self.gamma))
        kept = None if self.kept is None else self.kept[block]
        return Rows(self.target[block], kept, price, gamma)


def focal_term(nll: Tensor, rows: Rows) -> Tensor:
    """Return price · q^gamma · nll, where q = 1 − exp(−nll) is the probability of being wrong."""
    loss = nll if _is(rows.gamma, 0) else _focus(nll, rows.gamma) * nll
    return loss if _is(rows.price, 1) else rows.price * loss


def focal_slope(nll: Tensor, rows: Rows) -> Tensor:
    """Return the derivative of `focal_term` in `nll`: price · (q^g + g · q^(g−1) · p · nll)."""
    if _is(rows.gamma, 0):
        return rows.price * torch.ones_like(nll)
    finite = nll.clamp_max(torch.finfo(nll.dtype).max)  # p · ∞ would be NaN where p is 0
    inner = rows.gamma * _focus(nll, rows.gamma - 1) * torch.exp(-nll) * finite
    return rows.price * (_focus(nll, rows.gamma) + inner)


def _focus(nll: Tensor, gamma: float | Tensor) -> Tensor | float:
    if _is(gamma, 0):
        return 1.0
    q = -torch.expm1(-nll)  # 1 − exp(−nll) would lose all digits where p is near 1
    if _is(gamma, 1) or _is(gamma, 2):
        return q if gamma == 1 else q * q
    return q.clamp_min(torch.finfo(nll.dtype).tiny) ** gamma  # 0 ** (gamma − 1) may be infinite


def _is(setting: float | Tensor, number: int) -> bool:
    return not isinstance(setting, Tensor) and setting == number


class FocalSum(torch.autograd.Function):
    """The scaled sum of the loss, whose gradient is computed in the forward pass and kept."""

    @staticmethod
    def forward(
        ctx, logits: Tensor, rows: Rows, smoothing: Tensor | None, scale: float | Tensor
    ) -> Tensor:
        """Compute value and gradient; the logits are saved for a second derivative."""
        gradient = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        total = blockwise_sum(logits, rows, smoothing, scale, gradient)
        ctx.rows, ctx.smoothing, ctx.scale = rows, smoothing, scale
        ctx.save_for_backward(gradient, logits)
        return total

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Scale the kept gradient."""
        (grad,) = grad_outputs
        gradient, logits = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the kept gradient has no graph of its own
            slope = _differentiable_gradient(logits, ctx.rows, ctx.smoothing)
            return (slope * (grad * ctx.scale)).to(logits.dtype), None, None, None
        return times(gradient, grad, ctx.scale), None, None, None


def blockwise_sum(
    logits: Tensor,
    rows: Rows,
    smoothing: Tensor | None,
    scale: float | Tensor,
    gradient: Tensor | None,
) -> Tensor:
    """Return the scaled sum over [rows, classes, …], and write its gradient into `gradient`."""
    step = len(logits)  # other devices have no cache to fit, and each block costs launches
    if logits.device.type == "cpu":
        step = max(BLOCK_LOGITS // max(logits[:1].numel(), 1), 1)
    total = torch.zeros((), dtype=torch.double, device=logits.device)
    for start in range(0, len(logits), step):
        block = slice(start, start + step)
        out = None if gradient is None else gradient[block]
        total += _block_sum(logits[block], rows.block(block), smoothing, scale, out)
    return (total * scale).to(result_dtype(logits))


def _block_sum(
    x: Tensor, rows: Rows, smoothing: Tensor | None, scale: float | Tensor, out: Tensor | None
) -> Tensor:
    """Return the sum of a block before the scale, and write its gradient into `out`."""
    dtype = compute_dtype(x)
    if out is not None and out.dtype == dtype:
        log_p = out  # the log-probabilities become the gradient in place
    else:
        log_p = torch.empty(x.shape, dtype=dtype, device=x.device)
    torch.log_softmax(x.to(dtype), 1, out=log_p)
    target = rows.target.unsqueeze(1)
    nll = -log_p.gather(1, target).squeeze(1)
    loss = focal_term(nll, rows)
    if smoothing is not None:
        loss = loss - (log_p * smoothing).sum(1)
    if rows.kept is not None:
        loss = torch.where(rows.kept, loss, 0.0)
    if out is None:
        return loss.sum()
    slope = focal_slope(nll, rows)
    spread = slope if smoothing is None else slope + smoothing.sum()
    if is_scaled(out):
        slope, spread = slope * scale, spread * scale
    # log p → p → (f + Σ s) p → … − f at the target
    log_p.exp_().mul_(spread.unsqueeze(1)).scatter_add_(1, target, -slope.unsqueeze(1))
    if smoothing is not None:
        log_p.sub_(smoothing * scale if is_scaled(out) else smoothing)
    if rows.kept is not None:
        log_p.masked_fill_(~rows.kept.unsqueeze(1), 0.0)
    if out is not log_p:
        out.copy_(log_p)
    return loss.sum()


def _differentiable_gradient(logits: Tensor, rows: Rows, smoothing: Tensor | None) -> Tensor:
    """Return the gradient of `_block_sum` by operations that autograd can differentiate."""
    if rows.kept is not None:
        logits = logits.masked_fill(~rows.kept.unsqueeze(1), 0.0)
    log_p = torch.log_softmax(logits.to(compute_dtype(logits)), 1)
    target = rows.target.unsqueeze(1)
    slope = focal_slope(-log_p.gather(1, target).squeeze(1), rows).unsqueeze(1)
    spread = slope if smoothing is None else slope + smoothing.sum()
    gradient = (log_p.exp() * spread).scatter_add(1, target, -slope)
    if smoothing is not None:
        gradient = gradient - smoothing
    if rows.kept is not None:
        gradient = gradient * rows.kept.unsqueeze(1)
    return gradient
