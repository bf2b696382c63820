"""Checks that several regularizers share, and their random numbers."""

import torch
from torch import Tensor

from askew._check import require
from askew._settings_module import check_numbers


def check_weight(name: str, label: str, weight: float) -> None:
    """Refuse a price that is negative, infinite or NaN."""
    check_numbers(name, {label: weight})
    if not 0.0 <= weight < float("inf"):
        raise ValueError(f"{name}: {label} must be finite and >= 0; got {label} {weight}")


def draw_uniform(shape: list[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw numbers in [0, 1) in single precision, on the device of `like`."""
    settings = {"device": like.device, "dtype": torch.float32}
    if generator is None:  # a `generator=None` would keep dynamic shapes from compiling
        return torch.rand(shape, **settings)
    return torch.rand(shape, **settings, generator=generator)


def check_generator(name: str, generator: torch.Generator | None, x: Tensor) -> None:
    """Refuse a generator on another kind of device than `x`."""
    if generator is not None:
        require(
            generator.device.type == x.device.type,
            f"{name}: generator must be on the device of x; "
            f"got generator on {generator.device}, x on {x.device}",
        )
