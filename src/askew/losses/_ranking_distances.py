"""How far two embeddings are apart, without a wrong slope where they meet."""

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
    """The distance of the vectors of `x` from those of `y` along the last axis.

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
    both = (direction(x) - direction(y)).square().sum(-1)
    return (both + is_zero(x) + is_zero(y)) / 2


def length(x: Tensor) -> Tensor:
    """The Euclidean norm over the last axis; at 0 its gradient is 0, of every order.

    The largest component is taken out before the squares, which else leave the range.
    """
    size = _size(x)
    edge = (size == 0) | size.isinf()
    norm = torch.linalg.vector_norm(_scaled(x, size, edge), dim=-1)
    return torch.where(edge, size, size * norm)


def direction(x: Tensor) -> Tensor:
    """The vectors of length 1 over the last axis; zeros stay zeros, with a zero gradient."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    if _is_safe(norm):
        return x / norm
    size = _size(x)
    zero = is_zero(x)
    scaled = _scaled(x, size, zero)
    unit = scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return unit.masked_fill(zero.unsqueeze(-1), 0.0)


def is_zero(x: Tensor) -> Tensor:
    """Which vectors along the last axis have no direction: zeros, or so short that it is noise.

    The slope of a direction is one over the length and would leave the range.
    """
    return _size(x) < torch.finfo(x.dtype).tiny ** 0.5


def _is_safe(norm: Tensor) -> bool:
    """Whether no square can have left the range and no length is 0, where that is free to see."""
    if not can_read_without_sync(norm) or norm.numel() == 0:
        return False
    smallest, largest = norm.detach().aminmax()
    info = torch.finfo(norm.dtype)
    return bool((smallest > info.tiny**0.25) & (largest < info.max**0.25))


def _size(x: Tensor) -> Tensor:
    return x.detach().abs().amax(-1)


def _scaled(x: Tensor, size: Tensor, edge: Tensor) -> Tensor:
    """Over its largest component; ones where that cannot be."""
    return (x / size.masked_fill(edge, 1.0).unsqueeze(-1)).masked_fill(edge.unsqueeze(-1), 1.0)
