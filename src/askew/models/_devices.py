"""Where a model computes."""

import torch
from transformers import PreTrainedModel


def input_device(model: PreTrainedModel) -> torch.device:
    """Return the device of a model's inputs.

    It is that of the weights, or, if accelerate has offloaded them, that of the computation: the
    weights are on the meta device until they are needed.
    """
    for module in model.modules():
        device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return next(model.parameters()).device
