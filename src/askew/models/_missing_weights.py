"""Weights that a file lacks, drawn as the constructor of the model draws them."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_FILLED = "_is_hf_initialized"  # how transformers marks a weight that a file has filled


@torch.no_grad()
def draw_missing_weights(model: PreTrainedModel, module: nn.Module) -> None:
    """Draw all weights of `model` that no file filled, if `module` is one of its modules.

    transformers builds a model without memory, fills it from a file, marks what it filled, gives
    memory to the rest, and calls this for the modules that have weights. The first call draws the
    weights of all of them. Models of transformers inside this one draw their own.

    A table that `model` does not have yet is drawn by itself: transformers makes one to change the
    number of tokens.
    """
    if not any(map(_is_missing, module.parameters(recurse=False))):
        return
    if not any(module is other for other in model.modules()):
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        return
    inner = tuple(
        f"{name}."
        for name, other in model.named_modules()
        if name and isinstance(other, PreTrainedModel)
    )
    with torch.device("cpu"):  # a second model obeys every rule by which the layers are drawn
        drawn = dict(type(model)(model.config).named_parameters())
    for name, weight in model.named_parameters():
        if _is_missing(weight) and not name.startswith(inner):
            weight.copy_(drawn[name])
            setattr(weight, _FILLED, True)


def _is_missing(weight: Tensor) -> bool:
    return not getattr(weight, _FILLED, False)
