"""Ordered (nested) dropout: keep the first features, cut off the rest."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from askew._check import require
from askew._reduction import check_floating
from askew._settings_module import Numbers, as_numbers, check_numbers
from askew.regularizers._inputs import check_generator, draw_uniform


def ordered_dropout(
    x: Float[Tensor, "*batch features"],
    *,
    p: float | None = None,
    widths: Numbers | None = None,
    training: bool = True,
    per_sequence: bool = False,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch features"]:
    r"""Keep the first features up to a random cut and set the others to 0, which ranks features.

    With a cut c, drawn anew for every token, :math:`y_i = x_i` for i < c, else 0. Early features
    have to serve alone and later ones only refine them. Features are so sorted by importance, and a
    trained code may be cut at any width. A linear autoencoder finds the principal components in
    order. Nothing is scaled up: a cut code has to mean the same as a whole one. With ``p=0`` or
    ``widths=(1.0,)`` it is the identity.

    A normalisation after it sees other statistics at each width: use one per width, or none.

    Args:
        x: Features last; any leading axes.
        p: Probability of a cut after each feature that is reached, in [0, 1]: the cut is
            geometric, feature i is kept with probability ``(1 - p) ** i``, the first always. A
            `p` near 1 / features trains late features too. Pass either `p` or `widths`.
        widths: Shares of the features to keep, each in (0, 1], one drawn uniformly: the cut is
            the share of the features rounded up. A single share always cuts there.
        training: If False, `x` is returned.
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
    return _cut_off(name, x, p, _checked_widths(name, p, widths), training, per_sequence, generator)


class OrderedDropout(nn.Module):
    """Module form of `ordered_dropout`, active in training mode; it adds nothing to `state_dict`.

    Args:
        p: Probability of a cut after each feature, in [0, 1]; either this or `widths`.
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
        widths: Numbers | None = None,
        generator: torch.Generator | None = None,
        per_sequence: bool = False,
    ) -> None:
        super().__init__()
        self.widths = _checked_widths(type(self).__name__, p, widths)
        self.p = p
        self.generator = generator
        self.per_sequence = per_sequence

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        """Return `x` cut off in training, `x` itself otherwise."""
        name, drop = type(self).__name__, (self.training, self.per_sequence, self.generator)
        return _cut_off(name, x, self.p, self.widths, *drop)

    def extra_repr(self) -> str:
        """Return every setting but the generator."""
        return f"p={self.p}, widths={self.widths}, per_sequence={self.per_sequence}"


def _cut_off(
    name: str,
    x: Tensor,
    p: float | None,
    widths: tuple[float, ...] | None,
    training: bool,
    per_sequence: bool,
    generator: torch.Generator | None,
) -> Tensor:
    check_floating(name, "x", x)
    require(
        x.dim() >= (2 if per_sequence else 1),
        f"{name}: x must be [*batch, features], with a length before them for per_sequence; "
        f"got x {tuple(x.shape)}, per_sequence {per_sequence}",
    )
    check_generator(name, generator, x)
    if not training or p == 0:
        return x
    shape = [*x.shape[:-2], 1, 1] if per_sequence else [*x.shape[:-1], 1]
    uniform = draw_uniform(shape, x, generator)
    position = torch.arange(x.shape[-1], device=x.device)
    if p is not None:  # P(last >= i) = P(1 − u <= (1 − p)^i) = (1 − p)^i
        last = torch.log1p(-uniform) / (math.log1p(-p) if p < 1 else -math.inf)
        return torch.where(position <= last, x, 0.0)
    widths = widths or ()
    kept = torch.zeros_like(uniform, dtype=torch.bool)
    for i, width in enumerate(widths):  # width i is drawn if i <= u · number of widths < i + 1
        cut = math.ceil(width * x.shape[-1] - 1e-6)  # 0.07 * 100 is 7.000000000000001
        chosen = (uniform * len(widths)).floor() == i
        kept = kept | (chosen & (position < cut))
    return torch.where(kept, x, 0.0)


def _checked_widths(name: str, p: float | None, widths: Numbers | None) -> tuple[float, ...] | None:
    """Return the widths as a tuple; refuse settings that are out of range or of the wrong kind."""
    if (p is None) == (widths is None):
        raise ValueError(f"{name}: either p or widths must be given; got p {p}, widths {widths}")
    if p is not None:
        check_numbers(name, {"p": p})
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{name}: p must be in [0, 1]; got p {p}")
    if widths is None:
        return None
    shares = as_numbers(name, "widths", widths)
    if not (len(shares) > 0 and all(0.0 < share <= 1.0 for share in shares)):
        raise ValueError(f"{name}: widths must be shares in (0, 1]; got widths {shares}")
    return shares
