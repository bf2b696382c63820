"""Dropout with a rate of its own for every block of features, or for every feature."""

import math
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from askew._check import require
from askew._reduction import can_read_without_sync, check_floating, compute_dtype
from askew._settings_module import Numbers, as_numbers
from askew.regularizers._dropout_mask import LEVELS, ApplyMask, draw_mask
from askew.regularizers._inputs import check_generator, draw_uniform

PACKED_MIN_ELEMENTS = 16_384
"""Elements from which on packed masks are faster; with one mask per sequence, eight times that."""

FILL_MAX_BLOCKS = 16
"""Up to so many blocks, rates are filled in on the device instead of being copied to it."""

MAX_SHOWN = 16
"""Longer lists of rates or sizes are cut short in `repr` and in errors."""


def asymmetric_dropout(
    x: Float[Tensor, "*batch features"],
    *,
    p: float | Numbers = (0.1, 0.3),
    fractions: Numbers | None = None,
    training: bool = True,
    per_sequence: bool = False,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch features"]:
    r"""Drop features at random, block by block at a rate of its own, and scale up the rest.

    A feature i of a block with rate p becomes

    .. math::
        y_i = \frac{b_i}{1 - p}\,x_i, \qquad b_i \sim \operatorname{Bernoulli}(1 - p),

    so that its expectation is its value. Equal rates are ordinary dropout. Two rates and no
    fractions drop the first half of the features at one rate and the second at another.

    Expect no gain from different rates over the units of a learned layer: its units are
    exchangeable, so that a block is only a label and nothing changes but the variance of the noise,
    p / (1 − p). Different rates are for features with a meaning: channels, sensors, embeddings of
    tokens beside side information, or two concatenated sources.

    Args:
        x: Features last; any leading axes.
        p: Probability of being dropped, in [0, 1]: one rate, or one for each block. As many rates
            as features give each feature its own. Rates are rounded to the nearest multiple of
            2 ** -16, but to 0 or 1 only if they are.
        fractions: Share of the features in each block, summing to 1; each > 0. Blocks of equal
            share by default. A block ends at the whole part of its cumulated share.
        training: If False, `x` is returned.
        per_sequence: One mask for all positions of a sequence: `x` is then [*batch, length,
            features]. By default every token has its own.
        generator: Source of the randomness, on the device of `x`; torch's own by default. Two
            calls of one shape from one state have one mask. Not inside `torch.compile`.

    Returns:
        A tensor like `x`; `x` itself where nothing is dropped.

    Raises:
        ValueError: If a rate is outside [0, 1], fractions do not fit, a block holds no feature,
            or the generator is on another device.
        TypeError: If `x` is not floating point.

    Numerics:
        A dropped feature is exactly 0, whatever it was, and so is its gradient. The scale is the
        inverse of the rate that is drawn, so that the expectation is exact; half precision is
        multiplied in single. On CPU a mask takes a byte per element.

    Example:
        >>> x = torch.ones(2, 4)
        >>> asymmetric_dropout(x, p=(0.0, 1.0))
        tensor([[1., 1., 0., 0.],
                [1., 1., 0., 0.]])
        >>> asymmetric_dropout(x, p=(0.0, 1.0), fractions=(0.75, 0.25))[0]
        tensor([1., 1., 1., 0.])

    References:
        Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014, JMLR 15.
        A Theoretically Grounded Application of Dropout in Recurrent Neural Networks, 2016,
        arXiv:1512.05287 (one mask per sequence).
    """
    name = "asymmetric_dropout"
    rates = _rates(name, p)
    shares = _shares(name, rates, fractions)
    return _drop(name, x, rates, shares, training, per_sequence, generator)


class AsymmetricDropout(nn.Module):
    """Module form of `asymmetric_dropout`, active in training mode.

    It adds nothing to the `state_dict`. A `generator` is copied and pickled with its state, so that
    a copy draws what the original would have drawn. To resume a run exactly, save
    `generator.get_state()` beside the model. Activation checkpointing restores only torch's
    generator: leave `generator` out there.

    Args:
        p: Probability of being dropped: one rate, one for each block, or one for each feature.
        fractions: Share of the features in each block; equal by default.
        generator: Source of the randomness; torch's own by default.
        per_sequence: One mask for all positions of a sequence.

    Raises:
        ValueError: If a rate is outside [0, 1] or fractions do not fit.

    Example:
        >>> layer = AsymmetricDropout([0.0, 1.0])
        >>> layer(torch.ones(1, 4))
        tensor([[1., 1., 0., 0.]])
        >>> layer.eval()(torch.ones(1, 4))
        tensor([[1., 1., 1., 1.]])
    """

    def __init__(
        self,
        p: float | Numbers = (0.1, 0.3),
        *,
        fractions: Numbers | None = None,
        generator: torch.Generator | None = None,
        per_sequence: bool = False,
    ) -> None:
        super().__init__()
        self.p = _rates(type(self).__name__, p)
        self.fractions = _shares(type(self).__name__, self.p, fractions)
        self.generator = generator
        self.per_sequence = per_sequence

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        """Return `x` with features dropped in training, `x` itself otherwise."""
        name, shares = type(self).__name__, _shares("", self.p, self.fractions)
        drop = (self.training, self.per_sequence, self.generator)
        return _drop(name, x, self.p, shares, *drop)

    def extra_repr(self) -> str:
        """Return every setting but the generator; of many rates only their number and range."""
        many = len(self.p) > MAX_SHOWN
        p = f"{len(self.p)} rates in [{min(self.p)}, {max(self.p)}]" if many else self.p
        return f"p={p}, fractions={self.fractions}, per_sequence={self.per_sequence}"


def _drop(
    name: str,
    x: Tensor,
    rates: tuple[float, ...],
    shares: tuple[float, ...] | None,
    training: bool,
    per_sequence: bool,
    generator: torch.Generator | None,
) -> Tensor:
    check_floating(name, "x", x)
    _check_shape(name, x, per_sequence)
    sizes = _sizes(name, x.shape[-1], len(rates), shares)
    check_generator(name, generator, x)
    if not training or not any(rates):
        return x
    counts = [_kept(rate) for rate in rates]
    kept = _fill(counts, sizes, x.device)
    scale = LEVELS / kept.clamp_min(1).to(compute_dtype(x))
    smallest = 8 * PACKED_MIN_ELEMENTS if per_sequence else PACKED_MIN_ELEMENTS
    if not can_read_without_sync(x) or x.numel() < smallest:
        return _composed(x, kept, scale, per_sequence, generator)
    flat = x.reshape(-1, *x.shape[-2:]) if per_sequence else x.reshape(-1, 1, x.shape[-1])
    mask = draw_mask(len(flat), kept, some_never=0 in counts, generator=generator).unsqueeze(1)
    return ApplyMask.apply(flat, mask, scale).view(x.shape)


def _composed(
    x: Tensor, kept: Tensor, scale: Tensor, per_sequence: bool, generator: torch.Generator | None
) -> Tensor:
    """Drop by plain operations, for any device, `torch.compile` and `torch.func`."""
    shape = [*x.shape[:-2], 1, x.shape[-1]] if per_sequence else [*x.shape]
    uniform = draw_uniform(shape, x, generator)
    return (torch.where(uniform < kept / LEVELS, x, 0.0) * scale).to(x.dtype)


def _kept(rate: float) -> int:
    """Return at how many of the levels a feature is kept; all or none only for a rate of 0 or 1."""
    if rate in (0.0, 1.0):
        return int(LEVELS * (1.0 - rate))
    return min(max(round(LEVELS * (1.0 - rate)), 1), LEVELS - 1)


def _fill(values: list[int], sizes: list[int], device: torch.device) -> Tensor:
    """Expand one value per block to one per feature."""
    if len(values) <= FILL_MAX_BLOCKS:
        parts = zip(values, sizes, strict=True)
        return torch.cat([torch.full((n,), v, device=device, dtype=torch.int32) for v, n in parts])
    repeated = [v for v, n in zip(values, sizes, strict=True) for _ in range(n)]
    return torch.tensor(repeated, device=device, dtype=torch.int32)


def _sizes(name: str, features: int, blocks: int, shares: tuple[float, ...] | None) -> list[int]:
    """Return how many features each block holds."""
    if shares is None:
        ends = [features * i // blocks for i in range(blocks + 1)]
    else:
        ends = [0, *(math.floor(share * features + 1e-6) for share in accumulate(shares))]
        ends[-1] = features
    sizes = [end - start for start, end in pairwise(ends)]
    require(
        min(sizes) > 0,
        f"{name}: every block must hold a feature; "
        f"got sizes {sizes[:MAX_SHOWN]} of {features} features",
    )
    return sizes


def _rates(name: str, p: float | Numbers) -> tuple[float, ...]:
    rates = as_numbers(name, "p", p)
    require(len(rates) > 0, f"{name}: p must hold a rate; got p ()")
    for rate in rates:
        require(0.0 <= rate <= 1.0, f"{name}: p must be in [0, 1]; got p {rate}")
    return rates


def _shares(
    name: str, rates: tuple[float, ...], fractions: Numbers | None
) -> tuple[float, ...] | None:
    if fractions is None:
        return None
    shares = as_numbers(name, "fractions", fractions)
    require(
        len(shares) == len(rates),
        f"{name}: fractions must be as many as rates; "
        f"got {len(shares)} fractions, {len(rates)} rates",
    )
    require(
        min(shares) > 0 and abs(sum(shares) - 1.0) < 1e-6,
        f"{name}: fractions must be > 0 and sum to 1; got fractions {shares[:MAX_SHOWN]}",
    )
    return shares


def _check_shape(name: str, x: Tensor, per_sequence: bool) -> None:
    if per_sequence:
        require(
            x.dim() >= 2,
            f"{name}: per_sequence needs x of shape [*batch, length, features]; "
            f"got x {tuple(x.shape)}",
        )
    else:
        require(x.dim() >= 1, f"{name}: x must have an axis of features; got x {tuple(x.shape)}")
