"""Distances of two embeddings, with the right gradient where both are equal."""

from typing import Literal, get_args

import torch
from torch import Tensor

from askew._check import require
from askew._reduction import can_read_without_sync

Distance = Literal["euclidean", "squared", "cosine"]


def check_distance(name: str, distance: str) -> None:
    """Refuse a distance that `name` does not know."""
    require(
        distance in get_args(Distance),
        f'{name}: distance must be "euclidean", "squared" or "cosine"; got distance {distance!r}',
    )


def distances(x: Tensor, y: Tensor, distance: Distance) -> Tensor:
    """Return the distance of the vectors of `x` from those of `y` along the last axis.

    Equal vectors are at exactly 0 and get no gradient. A vector of zeros has no direction: its
    cosine distance from everything is 1.
    """
    if distance == "euclidean":
        gap = x - y
        norm = torch.linalg.vector_norm(gap, dim=-1)
        return norm if _is_safe(norm) else length(gap)
    if distance == "squared":
        largest = torch.finfo(x.dtype).max  # an infinite difference has no gradient, not even 0
        gap = (x - y).clamp(-largest, largest)
        return (gap * gap).sum(-1)
    square = (direction(x) - direction(y)).square().sum(-1)  # 2 − 2 cos, exact for small angles
    return (square + is_zero(x) + is_zero(y)) / 2


def length(x: Tensor) -> Tensor:
    """Return the Euclidean norm over the last axis; at 0 its derivatives of every order are 0.

    Vectors are divided by their largest component first, so that no square leaves the range.
    """
    size = _size(x)
    edge = (size == 0) | size.isinf()
    norm = torch.linalg.vector_norm(_scaled(x, size, edge), dim=-1)
    return torch.where(edge, size, size * norm)


def direction(x: Tensor) -> Tensor:
    """Scale vectors along the last axis to length 1; zeros stay zeros, with a zero gradient."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    if _is_safe(norm):
        return x / norm
    size = _size(x)
    zero = is_zero(x)
    scaled = _scaled(x, size, zero)
    unit = scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return unit.masked_fill(zero.unsqueeze(-1), 0.0)


def is_zero(x: Tensor) -> Tensor:
    """Return which vectors along the last axis are 0, or so short that their direction is noise.

    The slope of a direction is one over the length and would leave the range.
    """
    return _size(x) < torch.finfo(x.dtype).tiny ** 0.5


def _is_safe(norm: Tensor) -> bool:
    """Whether no square left the range and no length is 0; False where reading would wait."""
    if not can_read_without_sync(norm) or norm.numel() == 0:
        return False
    smallest, largest = norm.detach().aminmax()
    info = torch.finfo(norm.dtype)
    return bool((smallest > info.tiny**0.25) & (largest < info.max**0.25))


def _size(x: Tensor) -> Tensor:
    return x.detach().abs().amax(-1)


def _scaled(x: Tensor, size: Tensor, edge: Tensor) -> Tensor:
    """Divide by the largest component; ones stand at an `edge`, where it is 0 or infinite."""
    return (x / size.masked_fill(edge, 1.0).unsqueeze(-1)).masked_fill(edge.unsqueeze(-1), 1.0)
