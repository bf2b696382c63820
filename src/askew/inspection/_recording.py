"""Catch the weights of attention while a model runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from askew.attention import AsymmetricAttention
from askew.inspection._maps import query_key_maps


@contextmanager
def record_attention(
    model: nn.Module,
) -> Iterator[dict[str, Float[Tensor, "batch heads queries keys"]]]:
    """Collect the weights of every attention that runs inside the block.

    This library's layers are asked for their weights. Those of transformers hand them over
    where the model's attention is "eager": call `model.set_attn_implementation("eager")` before.

    Args:
        model: The model; put it into evaluation mode, or dropout is seen too.

    Yields:
        From the path of an attention to what it gave last; empty until the model ran.

    Raises:
        ValueError: If the model has no attention that `query_key_maps` knows.

    Example:
        >>> layer = AsymmetricAttention(8, num_heads=2)
        >>> with record_attention(layer) as seen:
        ...     _ = layer(torch.zeros(1, 3, 8))
        >>> seen[""].shape
        torch.Size([1, 2, 3, 3])
    """
    seen: dict[str, Tensor] = {}
    hooks = []
    for found in query_key_maps(model):
        module = model.get_submodule(found.name)
        if isinstance(module, AsymmetricAttention):
            hooks.append(module.register_forward_pre_hook(_asking, with_kwargs=True))

        def keep(_: nn.Module, __: object, output: object, *, name: str = found.name) -> None:
            weights = _weights(output)
            if weights is not None:
                seen[name] = weights.detach()

        hooks.append(module.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _asking(_: object, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return args, {**kwargs, "return_weights": True}


def _weights(output: object) -> Tensor | None:
    """The one tensor of an output whose rows are shares of attention."""
    parts = output if isinstance(output, tuple) else (output,)
    for part in parts[1:]:
        if isinstance(part, Tensor) and part.dim() == 4:
            sums = part.float().sum(-1)
            if bool((part >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
                return part
    return None
