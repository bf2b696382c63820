"""Record attention weights while a model runs."""

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

    This library's layers are called with `return_weights`. Layers of transformers return their
    weights only if the model's attention is "eager": call
    `model.set_attn_implementation("eager")` before.

    Args:
        model: The model; in evaluation mode, or the weights are those after dropout.

    Yields:
        A mapping from the path of each attention to its last weights; empty until the model runs.

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
    for attention in query_key_maps(model):
        module = model.get_submodule(attention.name)
        if isinstance(module, AsymmetricAttention):
            hooks.append(module.register_forward_pre_hook(_request_weights, with_kwargs=True))

        def keep(_: nn.Module, __: object, output: object, *, name: str = attention.name) -> None:
            weights = _weights(output)
            if weights is not None:
                seen[name] = weights.detach()

        hooks.append(module.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _request_weights(_: object, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return args, {**kwargs, "return_weights": True}


def _weights(output: object) -> Tensor | None:
    """Return the tensor of an output that holds attention weights: its rows sum to 1."""
    items = output if isinstance(output, tuple) else (output,)
    for item in items[1:]:  # the first is the layer's output
        if isinstance(item, Tensor) and item.dim() == 4:
            sums = item.float().sum(-1)
            if bool((item >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
                return item
    return None
