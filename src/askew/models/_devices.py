"""Where a model computes."""

import torch
from transformers import PreTrainedModel


def input_device(model: PreTrainedModel) -> torch.device:
    """Return the device of a model's inputs.

    It is that of the weights, or, if accelerate has offloaded them, that of the computation: the
    weights are on the meta device until they are needed. Generation asks for every token, so that
    the modules are gone through only then.
    """
    device = next(model.parameters()).device
    if device.type != "meta":
        return device
    for module in model.modules():
        execution = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if execution is not None:
            return torch.device(execution)
    return device
