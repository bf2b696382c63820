"""Positions as rotations of queries and keys."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from askew._check import require


class RotaryPositions(nn.Module):
    r"""Rotate pairs of features by angles that grow with the position.

    Feature k of the first half and feature k of the second half turn by
    :math:`t\,\omega_k`, :math:`\omega_k = b^{-2k/d}`, at position t. The product of a rotated query
    and a rotated key then depends on their offset alone. Angles are computed in float32.

    Args:
        width: Width d of a head, even.
        base: Base b of the wavelengths, > 1; larger ones tell farther positions apart.

    Raises:
        ValueError: If `width` is odd or `base` is not above 1.

    Example:
        >>> RotaryPositions(4)(torch.ones(1, 1, 2, 4), start=7).shape
        torch.Size([1, 1, 2, 4])

    References:
        RoFormer, 2021, arXiv:2104.09864. There neighbouring features form a pair; here
        those half a head apart do, which is a fixed permutation of features.
    """

    def __init__(self, width: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        require(width % 2 == 0, f"RotaryPositions: width must be even; got width {width}")
        require(base > 1, f"RotaryPositions: base must be above 1; got base {base}")
        self.width = width
        self.base = base

    def forward(
        self, x: Float[Tensor, "batch heads length width"], *, start: int = 0
    ) -> Float[Tensor, "batch heads length width"]:
        """Rotate queries or keys.

        Args:
            x: Queries or keys of every head.
            start: Position of the first of them.

        Returns:
            The same shape and dtype.
        """
        place = {"device": x.device, "dtype": torch.float32}
        exponent = torch.arange(0, self.width, 2, **place) / self.width
        position = torch.arange(start, start + x.shape[2], **place)
        angle = position[:, None] * self.base**-exponent
        cos, sin = angle.cos(), angle.sin()
        # Each pair (left, right) is a point in the plane, turned by the angle of its position.
        left, right = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=-1)
        turned = torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
        return turned.to(x.dtype)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"width={self.width}, base={self.base:g}"
