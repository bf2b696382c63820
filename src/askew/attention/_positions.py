"""Positions as fixed sinusoidal vectors."""

import torch
from jaxtyping import Float
from torch import Tensor

from askew._check import require


def sinusoidal_positions(
    length: int,
    d_model: int,
    *,
    start: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "length d_model"]:
    r"""Compute sines and cosines of geometrically spaced wavelengths, for any length.

    Row t holds :math:`\sin(t\,\omega_k)` in its first half and :math:`\cos(t\,\omega_k)` in
    its second, :math:`\omega_k = 10000^{-2k/d}`. The angles are computed in float32.

    Args:
        length: Number of rows, >= 0.
        d_model: Width of a row, even.
        start: Position of the first row; decoding with a cache starts where the cache ends.
        device: Where the table is made.
        dtype: Type of the result.

    Returns:
        [length, d_model].

    Raises:
        ValueError: If `d_model` is odd.

    Example:
        >>> sinusoidal_positions(1, 4).tolist()
        [[0.0, 0.0, 1.0, 1.0]]

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762, section 3.5. There sines and
        cosines alternate; here they stand in two halves, a fixed permutation of features.
    """
    require(d_model % 2 == 0, f"sinusoidal_positions: d_model must be even; got d_model {d_model}")
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    exponent = torch.arange(0, d_model, 2, device=device, dtype=exact) / d_model
    position = torch.arange(start, start + length, device=device, dtype=exact)
    angle = position[:, None] * torch.pow(10_000.0, -exponent)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).to(dtype)
