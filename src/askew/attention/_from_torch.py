"""The weights of torch's layer of attention in one of ours."""

from typing import Any

import torch
from torch import nn

from askew._check import require


def settings_of_torch(theirs: nn.MultiheadAttention) -> dict[str, Any]:
    """Return the settings of the same layer of ours.

    Raises:
        ValueError: If `theirs` has a setting that ours does not.
    """
    require(
        theirs.bias_k is None and not theirs.add_zero_attn and theirs.kdim == theirs.vdim,
        "AsymmetricAttention.from_torch: keys and values must come from one stream alone; "
        f"got add_bias_kv {theirs.bias_k is not None}, add_zero_attn {theirs.add_zero_attn}, "
        f"kdim {theirs.kdim}, vdim {theirs.vdim}",
    )
    return {
        "d_source": theirs.kdim,
        "num_heads": theirs.num_heads,
        "qk_norm": False,
        "dropout": theirs.dropout,
        "device": theirs.out_proj.weight.device,
        "dtype": theirs.out_proj.weight.dtype,
    }


@torch.no_grad()
def copy_torch_weights(ours: nn.Module, theirs: nn.MultiheadAttention) -> None:
    """Copy the weights; biases that `theirs` lacks stay 0."""
    weights = (theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight)
    if theirs.in_proj_weight is not None:
        weights = theirs.in_proj_weight.chunk(3)
    biases = (None,) * 3 if theirs.in_proj_bias is None else theirs.in_proj_bias.chunk(3)
    pairs = [*zip(weights, biases, strict=True), (theirs.out_proj.weight, theirs.out_proj.bias)]
    for name, (weight, bias) in zip(("query", "key", "value", "output"), pairs, strict=True):
        layer: Any = ours.get_submodule(name)
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
