"""What several regularizers ask of their settings, and their random numbers."""

import torch
from torch import Tensor

from askew._check import require


def check_weight(name: str, label: str, weight: float) -> None:
    """Refuse a price that is negative, infinite or NaN."""
    require(
        0.0 <= weight < float("inf"),
        f"{name}: {label} must be finite and >= 0; got {label} {weight}",
    )


def draw_uniform(shape: list[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1) in single precision, on the device of `like`."""
    settings = {"device": like.device, "dtype": torch.float32}
    if generator is None:  # even a None in its place keeps changing shapes from compiling
        return torch.rand(shape, **settings)
    return torch.rand(shape, **settings, generator=generator)
