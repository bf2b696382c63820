"""The matrix that a linear layer applies, whatever is put around its weight."""

from typing import Any

import torch
from torch import Tensor, nn

from askew._check import require
from askew._plain import is_plain


def effective_weight(path: str, layer: object) -> Tensor | None:
    """Return the matrix [out, in] of a layer at `path`, or None if it is not a linear layer.

    That of a plain or parametrized layer is its weight. Adapters, quantized and offloaded layers
    have it only inside their call, so they are called with unit vectors.
    """
    if not isinstance(layer, nn.Module):
        return None
    width, weight = input_width(layer), getattr(layer, "weight", None)
    if width is None:
        return None
    transposed = type(layer).__name__ == "Conv1D"  # of transformers, which keeps [in, out]
    plain = is_plain(layer, type(layer) if transposed else nn.Linear, hooks=False)
    if plain and isinstance(weight, Tensor):
        return weight.detach().T if transposed else weight.detach()
    return _probe(path, layer, width)


def input_width(layer: nn.Module) -> int | None:
    """Return the number of features that a linear layer reads, or None for other modules."""
    width = getattr(layer, "in_features", None)
    if isinstance(width, int):
        return width
    base = getattr(layer, "base_layer", None)  # what an adapter is put around
    if isinstance(base, nn.Module):
        return input_width(base)
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or isinstance(layer, nn.Embedding):
        return None
    return weight.shape[0 if type(layer).__name__ == "Conv1D" else 1]


@torch.no_grad()
def _probe(path: str, layer: Any, width: int) -> Tensor:
    """Read the matrix off the outputs for the unit vectors; refuse what is not linear."""
    numbers = next((p for p in layer.parameters() if p.is_floating_point() and not p.is_meta), None)
    place = {} if numbers is None else {"dtype": numbers.dtype, "device": numbers.device}
    units = torch.eye(width, **place)
    training = [module for module in layer.modules() if module.training]
    layer.eval()  # else an adapter's dropout acts
    try:
        with torch.autocast(units.device.type, enabled=False):
            offset = layer(torch.zeros_like(units[:1]))
            rows, opposite = layer(units) - offset, layer(-units) - offset
    except Exception as error:
        raise ValueError(
            f"query_key_maps: a projection must be a linear layer of one input; got {path} "
            f"({type(layer).__name__}), which fails with {type(error).__name__}: {error}"
        ) from error
    finally:
        for module in training:
            module.training = True
    # A hundredth is more than any rounding, to 8 bits as well.
    require(
        bool((rows + opposite).abs().max() <= 0.01 * rows.abs().max()),
        f"query_key_maps: a projection must be linear; got {path} ({type(layer).__name__}). "
        "Pass its weights to symmetry_score and the other scores",
    )
    return rows.T
