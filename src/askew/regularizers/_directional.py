"""A smoothness penalty whose two directions of time have their own price."""

from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from askew._check import require
from askew._reduction import (
    Reduction,
    check_floating,
    check_reduction,
    check_where,
    count,
    kernel_obstacle,
    reduce,
    result_dtype,
)
from askew._settings_module import SettingsModule, check_numbers
from askew.regularizers._directional_chunks import (
    Norm,
    PenaltySettings,
    StepPrice,
    SumWithGradient,
    chunked_sum,
    step_costs,
)
from askew.regularizers._inputs import check_weight


def directional_loss(
    hidden_states: Float[Tensor, "*batch length d_model"],
    *,
    lambda_forward: float = 0.1,
    lambda_backward: float = 0.05,
    p_forward: Norm = 2,
    p_backward: Norm = 2,
    squared: bool = False,
    where: Bool[Tensor, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Pull every state toward the one before it and toward the one after it, at two prices.

    With :math:`\operatorname{sg}` for a stopped gradient, the step from t to t + 1 costs

    .. math::
        \lambda_f\,\lVert h_{t+1}-\operatorname{sg}(h_t)\rVert_{p_f}
        \;+\; \lambda_b\,\lVert \operatorname{sg}(h_{t+1})-h_t\rVert_{p_b}.

    The forward term moves only the later state, which has to stay near the earlier one. The
    backward term moves only the earlier state, which has to foresee the later one. Equal sides have
    exactly the gradient of the smoothness penalty :math:`\lambda\lVert h_{t+1}-h_t\rVert` and
    twice its value. Reversing time swaps the sides. The value does not distinguish them, since the
    norm of a difference has no direction: judge them by what the states do.

    Not a remedy against collapse: states that shrink, or are all alike, cost little. Keep the
    prices small beside the loss of the task, and hide the first state of a new segment.

    Args:
        hidden_states: States in order of time, any leading axes.
        lambda_forward: Price of the forward term, >= 0.
        lambda_backward: Price of the backward term, >= 0. At 0 only the forward term is left.
        p_forward: Norm of a step in the forward term, 1 or 2.
        p_backward: Norm of a step in the backward term, 1 or 2. A 1-norm of d_model numbers of
            one size is about ``sqrt(2 * d_model / pi)`` times their 2-norm, so prices under
            different norms do not compare; that is why both are 2 by default.
        squared: Take the square of the norms, as temporal activation regularisation does.
        where: True where a state is real; broadcasts to [*batch, length]. A step counts if both
            its ends are real. A hidden state may be NaN and gets no gradient.
        reduction: "mean" over the steps that count, "sum", or "none": [*batch, length − 1].

    Returns:
        A scalar, or one number per step for "none", in the dtype of the states; under autocast
        at least single precision. Without a step that counts, a differentiable 0.

    Raises:
        ValueError: If a price is negative or infinite, a norm is neither 1 nor 2, the states have
            fewer than two axes, or `where` does not fit.
        TypeError: If the states are not floating point, or `where` is not boolean.

    Numerics:
        Sums are in single precision at least. A step of length 0 has slope 0; steps whose square
        leaves the range of the dtype keep the right length and direction. On CPU a mean or a sum
        holds one tensor of the size of the states, its gradient. In further derivatives a stopped
        state is a constant, as in autograd.

    Example:
        >>> states = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]], requires_grad=True)
        >>> loss = directional_loss(states, lambda_forward=1.0, lambda_backward=0.0)
        >>> loss.backward()
        >>> loss.item(), states.grad.tolist()
        (5.0, [[[0.0, 0.0], [0.6..., 0.8...]]])

    References:
        Revisiting Activation Regularization for Language RNNs, 2017, arXiv:1708.01009 (the
        penalty with equal sides, squared).
    """
    name = "directional_loss"
    forward, backward = StepPrice(lambda_forward, p_forward), StepPrice(lambda_backward, p_backward)
    _check_prices(name, forward, backward)
    check_reduction(name, reduction)
    check_floating(name, "hidden_states", hidden_states)
    require(
        hidden_states.dim() >= 2,
        f"{name}: hidden_states must be [*batch, length, d_model]; "
        f"got hidden_states {tuple(hidden_states.shape)}",
    )
    check_where(name, where, hidden_states.shape[:-1], "[*batch, length]")
    steps = _steps(hidden_states, where)
    in_chunks = hidden_states.device.type == "cpu" and not kernel_obstacle(hidden_states)
    if reduction == "none" or hidden_states.shape[-2] < 2 or not in_chunks:
        costs = step_costs(hidden_states, steps, forward, backward, squared)
        return reduce(costs, reduction, steps, result_dtype(hidden_states))
    counted = hidden_states[..., 1:, 0].shape
    scale = 1.0 if reduction == "sum" else 1.0 / int(count(counted, steps))
    settings = PenaltySettings(forward, backward, squared, scale)
    if torch.is_grad_enabled() and hidden_states.requires_grad:
        return SumWithGradient.apply(hidden_states, steps, settings)
    return chunked_sum(hidden_states, steps, settings, None)


class DirectionalRegularizer(SettingsModule):
    """Module form of `directional_loss`.

    Args:
        lambda_forward: Price of the forward term, >= 0.
        lambda_backward: Price of the backward term, >= 0.
        p_forward: Norm of a step in the forward term, 1 or 2.
        p_backward: Norm of a step in the backward term, 1 or 2.
        squared: Take the square of the norms.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> still = torch.ones(1, 5, 3)
        >>> DirectionalRegularizer()(still)
        tensor(0.)
    """

    def __init__(
        self,
        lambda_forward: float = 0.1,
        lambda_backward: float = 0.05,
        *,
        p_forward: Norm = 2,
        p_backward: Norm = 2,
        squared: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name, forward = type(self).__name__, StepPrice(lambda_forward, p_forward)
        _check_prices(name, forward, StepPrice(lambda_backward, p_backward))
        check_reduction(name, reduction)
        self.lambda_forward = lambda_forward
        self.lambda_backward = lambda_backward
        self.p_forward = p_forward
        self.p_backward = p_backward
        self.squared = squared
        self.reduction: Reduction = reduction

    def forward(
        self,
        hidden_states: Float[Tensor, "*batch length d_model"],
        *,
        where: Bool[Tensor, "..."] | None = None,
        reduction: Reduction | None = None,
    ) -> Tensor:
        """Return the penalty of `hidden_states`; `reduction` overrides that of the module."""
        settings = self._settings() | {"reduction": reduction or self.reduction}
        return directional_loss(hidden_states, where=where, **settings)


def _steps(hidden_states: Tensor, where: Tensor | None) -> Tensor | None:
    """Return where both ends of a step are real, [*batch, length − 1]; None for everywhere."""
    if where is None:
        return None
    where = where.expand(hidden_states.shape[:-1])
    return where[..., 1:] & where[..., :-1]


def _check_prices(name: str, forward: StepPrice, backward: StepPrice) -> None:
    for label, (weight, p) in (("forward", forward), ("backward", backward)):
        check_weight(name, f"lambda_{label}", weight)
        check_numbers(name, {f"p_{label}": p})
        if p not in get_args(Norm):
            raise ValueError(f"{name}: p_{label} must be 1 or 2; got p_{label} {p}")
