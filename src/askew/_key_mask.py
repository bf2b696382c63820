"""The check of a mask of real tokens."""

import torch
from torch import Tensor

from askew._check import require


def check_key_mask(caller: str, name: str, mask: Tensor, batch: int, keys: int) -> None:
    """Refuse a mask of `name` that is not boolean, or not [batch, keys]."""
    if mask.dtype != torch.bool:
        repair = (
            "Pass additive scores as bias to attend"
            if mask.is_floating_point()
            else f"The attention_mask of a tokenizer becomes one by {name}=attention_mask.bool()"
        )
        raise TypeError(
            f"{caller}: {name} must be boolean, True = a real token; "
            f"got dtype {mask.dtype}. {repair}"
        )
    require(
        mask.dim() == 2 and mask.shape[0] == batch and mask.shape[1] == keys,
        lambda: (
            f"{caller}: {name} must be [batch, keys] ({batch}, {keys}), with a cache for all "
            f"positions so far; got {name} {tuple(mask.shape)}"
        ),
    )
