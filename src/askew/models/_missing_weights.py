"""Weights that a file lacks, drawn as the constructor of the model draws them."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_FILLED = "_is_hf_initialized"  # how transformers marks a weight that a file has filled


@torch.no_grad()
def draw_missing_weights(model: PreTrainedModel, module: nn.Module) -> None:
    """Draw all weights of `model` that no file filled, if `module` is one of its modules.

    transformers builds a model without memory, fills it from a file, marks what it filled, gives
    memory to the rest, and calls this for every module. The first that lacks a weight has all
    missing ones drawn.

    A table that `model` does not have yet is drawn by itself: transformers makes one to change the
    number of tokens.
    """
    if not any(map(_is_missing, module.parameters(recurse=False))):
        return
    if not any(module is other for other in model.modules()):
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        return
    with torch.device("cpu"):  # a second model obeys every rule by which the layers are drawn
        drawn = type(model)(model.config)
    weights = dict(drawn.named_parameters(remove_duplicate=False))  # tied ones under each name
    for name, weight in model.named_parameters():
        if _is_missing(weight):
            weight.copy_(weights[name])
            setattr(weight, _FILLED, True)


def _is_missing(weight: Tensor) -> bool:
    return not getattr(weight, _FILLED, False)
