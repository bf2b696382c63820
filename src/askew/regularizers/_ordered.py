"""Ordered (nested) dropout: keep the first features, cut off the rest."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from askew._check import require
from askew._reduction import check_floating
from askew.regularizers._inputs import draw_uniform


def ordered_dropout(
    x: Float[Tensor, "*batch features"],
    *,
    p: float | None = None,
    widths: Sequence[float] | None = None,
    training: bool = True,
    per_sequence: bool = False,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch features"]:
    r"""Keep the first features up to a random cut and put 0 behind it, so that order means rank.

    With a cut c, drawn anew for every token, :math:`y_i = x_i` for i < c and 0 behind. Early
    features have to serve alone, later ones only refine; so they are sorted by use, and a trained
    code may be cut at any width. A linear autoencoder finds the principal components in order.
    Nothing is scaled up: a cut code has to mean the same as a whole one. With ``p=0`` or
    ``widths=(1.0,)``, where all features are alike, it is the identity.

    Statistics of a normalisation behind it change with the width: use one per width, or none.

    Args:
        x: Features last; any leading axes.
        p: Probability of a cut behind each feature that is reached, in [0, 1]: the cut is
            geometric, feature i is kept with probability ``(1 - p) ** i``, the first always. A
            `p` near 1 / features trains late features too. Give either `p` or `widths`.
        widths: Shares of the features to keep, each in (0, 1], one drawn uniformly: the cut is
            the share of the features rounded up. One share alone cuts there without chance.
        training: Without it, nothing happens.
        per_sequence: One cut for all positions of a sequence: `x` is then [*batch, length,
            features]. By default every token has its own.
        generator: Source of the randomness, on the device of `x`; torch's own by default. Not
            inside `torch.compile`.

    Returns:
        A tensor like `x`; `x` itself without training.

    Raises:
        ValueError: If both or neither of `p` and `widths` are given, one is out of range, or `x`
            has too few axes.
        TypeError: If `x` is not floating point.

    Example:
        >>> ordered_dropout(torch.ones(4), widths=(0.5,))
        tensor([1., 1., 0., 0.])

    References:
        Learning Ordered Representations with Nested Dropout, 2014, arXiv:1402.0915 (`p`).
        FjORD: Fair and Accurate Federated Learning under heterogeneous targets with Ordered
        Dropout, 2021, arXiv:2102.13451 (`widths`).
    """
    name = "ordered_dropout"
    _check_settings(name, p, widths)
    return _cut_off(name, x, p, widths, training, per_sequence, generator)


class OrderedDropout(nn.Module):
    """The settings of `ordered_dropout`, active in training mode; it has no state to save.

    Args:
        p: Probability of a cut behind each feature, in [0, 1]; either this or `widths`.
        widths: Shares of the features to keep, one drawn uniformly.
        generator: Source of the randomness; torch's own by default.
        per_sequence: One cut for all positions of a sequence.

    Raises:
        ValueError: If both or neither of `p` and `widths` are given, or one is out of range.

    Example:
        >>> layer = OrderedDropout(widths=[0.5])
        >>> layer(torch.ones(1, 4))
        tensor([[1., 1., 0., 0.]])
    """

    def __init__(
        self,
        p: float | None = None,
        *,
        widths: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
        per_sequence: bool = False,
    ) -> None:
        super().__init__()
        _check_settings(type(self).__name__, p, widths)
        self.p = p
        self.widths = None if widths is None else tuple(widths)
        self.generator = generator
        self.per_sequence = per_sequence

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        """`x` cut off in training, `x` itself otherwise."""
        name, drop = type(self).__name__, (self.training, self.per_sequence, self.generator)
        return _cut_off(name, x, self.p, self.widths, *drop)

    def extra_repr(self) -> str:
        """Every setting but the generator."""
        return f"p={self.p}, widths={self.widths}, per_sequence={self.per_sequence}"


def _cut_off(
    name: str,
    x: Tensor,
    p: float | None,
    widths: Sequence[float] | None,
    training: bool,
    per_sequence: bool,
    generator: torch.Generator | None,
) -> Tensor:
    check_floating(name, "x", x)
    _check_call(name, x, per_sequence, generator)
    if not training or p == 0:
        return x
    shape = [*x.shape[:-2], 1, 1] if per_sequence else [*x.shape[:-1], 1]
    uniform = draw_uniform(shape, x, generator)
    place = torch.arange(x.shape[-1], device=x.device)
    if p is not None:
        last = torch.log1p(-uniform) / (math.log1p(-p) if p < 1 else -math.inf)
        return torch.where(place <= last, x, 0.0)
    widths = widths or ()
    kept = torch.zeros_like(uniform, dtype=torch.bool)
    for i, width in enumerate(widths):  # choice i falls between i and i + 1 shares of the chance
        cut = math.ceil(width * x.shape[-1] - 1e-6)
        chosen = (uniform * len(widths)).floor() == i
        kept = kept | (chosen & (place < cut))
    return torch.where(kept, x, 0.0)


def _check_settings(name: str, p: float | None, widths: Sequence[float] | None) -> None:
    require(
        (p is None) != (widths is None),
        f"{name}: either p or widths must be given; got p {p}, widths {widths}",
    )
    if p is not None:
        require(0.0 <= p <= 1.0, f"{name}: p must be in [0, 1]; got p {p}")
    if widths is not None:
        require(
            len(widths) > 0 and all(0.0 < width <= 1.0 for width in widths),
            f"{name}: widths must be shares in (0, 1]; got widths {tuple(widths)}",
        )


def _check_call(
    name: str, x: Tensor, per_sequence: bool, generator: torch.Generator | None
) -> None:
    require(
        x.dim() >= (2 if per_sequence else 1),
        f"{name}: x must be [*batch, features], with a length before them for per_sequence; "
        f"got x {tuple(x.shape)}, per_sequence {per_sequence}",
    )
    if generator is not None:
        require(
            generator.device.type == x.device.type,
            f"{name}: generator must be on the device of x; "
            f"got generator on {generator.device}, x on {x.device}",
        )
