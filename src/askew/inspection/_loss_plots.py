"""Pictures of what a loss charges for a positive and for a negative."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from askew._check import require
from askew.inspection._axes import BLUE, VERMILION, axes_for, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Shown = Literal["loss", "gradient"]
Against = Literal["logit", "probability"]
_WORDS = {
    "loss": "loss",
    "gradient": "gradient with respect to the logit",
    "logit": "logit",
    "probability": "probability of the positive class",
}


class LossSidesData(NamedTuple):
    """The loss and its gradient at some logits, for a positive and for a negative.

    Args:
        logits: The logits, ascending.
        loss_pos: Loss of an element with target 1.
        loss_neg: Loss of an element with target 0.
        gradient_pos: Derivative of `loss_pos` with respect to the logit.
        gradient_neg: Derivative of `loss_neg` with respect to the logit.

    Example:
        >>> from torch.nn.functional import binary_cross_entropy_with_logits
        >>> data = loss_sides_data(binary_cross_entropy_with_logits, limit=1.0, points=3)
        >>> data.gradient_pos.tolist()[1], data.gradient_neg.tolist()[1]
        (-0.5, 0.5)
    """

    logits: Float[Tensor, " n"]
    loss_pos: Float[Tensor, " n"]
    loss_neg: Float[Tensor, " n"]
    gradient_pos: Float[Tensor, " n"]
    gradient_neg: Float[Tensor, " n"]


def loss_sides_data(
    loss: Callable[[Tensor, Tensor], Tensor], *, limit: float = 6.0, points: int = 121
) -> LossSidesData:
    """Compute a binary loss and its gradient for a positive and a negative, logit by logit.

    Each logit is a batch of one element, so that "mean", "sum" and "none" give the same.

    Args:
        loss: A function or module of logits and targets of one shape, in float64, such as the
            binary losses of `askew.losses` and of PyTorch, with plain numbers as settings.
        limit: The logits go from -limit to limit; > 0.
        points: Number of logits, >= 2.

    Returns:
        The logits, and loss and gradient of both sides, in float64.

    Raises:
        TypeError: If `loss` is no function.
        ValueError: If a number is out of range, or the loss of one logit is not one number with a
            gradient.

    Example:
        >>> from askew.losses import AsymmetricBCELoss
        >>> data = loss_sides_data(AsymmetricBCELoss(weight_pos=3.0), limit=2.0, points=5)
        >>> (data.loss_pos / data.loss_neg.flip(0)).round(decimals=6).tolist()
        [3.0, 3.0, 3.0, 3.0, 3.0]
    """
    if not callable(loss):
        raise TypeError(
            f"loss_sides_data: loss must be a function of logits and targets; got loss {loss!r}"
        )
    require(
        0 < limit < float("inf"),
        f"loss_sides_data: limit must be above 0 and finite; got limit {limit}",
    )
    require(points >= 2, f"loss_sides_data: points must be at least 2; got points {points}")
    logits = torch.linspace(-limit, limit, points, dtype=torch.float64)
    loss_pos, gradient_pos = _side(loss, logits, 1.0)
    loss_neg, gradient_neg = _side(loss, logits, 0.0)
    return LossSidesData(logits, loss_pos, loss_neg, gradient_pos, gradient_neg)


def plot_loss_sides(
    loss: Callable[[Tensor, Tensor], Tensor],
    ax: "Axes | None" = None,
    *,
    show: Shown = "loss",
    against: Against = "logit",
    limit: float = 6.0,
) -> "Axes":
    """Draw what a binary loss charges for a positive and for a negative, as two curves.

    `loss_sides_data` gives the numbers. For a loss with equal sides, the curves mirror each other.

    Args:
        loss: A function or module of logits and targets, such as `AsymmetricBCELoss(…)`.
        ax: The axes to draw into; those of a new figure by default.
        show: "loss", or "gradient", the derivative with respect to the logit: how strongly, and
            in which direction, an element moves the model.
        against: "logit", or "probability", the sigmoid of the logit.
        limit: The logits go from -limit to limit; > 0.

    Returns:
        The axes.

    Raises:
        TypeError: If `loss` is no function.
        ValueError: If `show`, `against` or `limit` is none of these, or the loss of one logit is
            not one number with a gradient.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> from askew.losses import AsymmetricBCELoss
        >>> ax = plot_loss_sides(AsymmetricBCELoss.asl(), show="gradient", against="probability")
        >>> [line.get_label() for line in ax.lines]
        ['positive', 'negative']
    """
    for name, value, choices in (("show", show, Shown), ("against", against, Against)):
        require(
            value in get_args(choices),
            f"plot_loss_sides: {name} must be one of {', '.join(get_args(choices))}; "
            f"got {name} {value!r}",
        )
    data = loss_sides_data(loss, limit=limit)
    ax = axes_for("plot_loss_sides", ax)
    at = (data.logits if against == "logit" else data.logits.sigmoid()).tolist()
    for name, colour in (("positive", BLUE), ("negative", VERMILION)):
        values = getattr(data, f"{show}_{name[:3]}").tolist()
        ax.plot(at, values, color=colour, label=name)
    ax.set(xlabel=_WORDS[against], ylabel=_WORDS[show])
    ax.legend(frameon=False)
    quiet(ax)
    return ax


@torch.enable_grad()
def _side(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: float
) -> tuple[Tensor, Tensor]:
    """Return the loss of each logit alone with this target, and its derivative."""
    values, slopes = [], []
    for logit in logits.split(1):
        logit = logit.clone().requires_grad_()
        value = loss(logit, torch.full_like(logit, target, requires_grad=False))
        require(
            isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad,
            "loss_sides_data: the loss of one logit must be one number with a gradient; "
            f"got {value}",
        )
        slopes.append(torch.autograd.grad(value.sum(), logit)[0])
        values.append(value.detach().reshape(1))
    return torch.cat(values), torch.cat(slopes)
