"""Record attention weights while a model runs."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from askew.attention import AsymmetricAttention, AttentionOutput, LatentAttention
from askew.inspection._maps import query_key_maps

_OURS = (AsymmetricAttention, LatentAttention)


@contextmanager
def record_attention(
    model: nn.Module,
) -> Iterator[dict[str, Float[Tensor, "batch heads queries keys"]]]:
    """Collect the weights of every attention that runs inside the block.

    This library's layers are called with `return_weights`, those of torch with `need_weights`.
    Layers of transformers return their weights only if the model's attention is "eager", some only
    if asked as well: call `model.set_attn_implementation("eager")` before, and the model with
    `output_attentions=True`. An attention that ran and returned no weights is named in a warning
    when the block ends.

    Args:
        model: The model; in evaluation mode, or the weights are those after dropout.

    Yields:
        A mapping from the path of each attention to its last weights; empty until the model runs.

    Raises:
        ValueError: If the model has no attention that `query_key_maps` knows.

    Example:
        >>> import torch
        >>> layer = AsymmetricAttention(8, num_heads=2)
        >>> with record_attention(layer) as seen:
        ...     _ = layer(torch.zeros(1, 3, 8))
        >>> seen[""].shape
        torch.Size([1, 2, 3, 3])
    """
    seen: dict[str, Tensor] = {}
    unread: set[str] = set()
    hooks = []
    for attention in query_key_maps(model):
        module = model.get_submodule(attention.name)
        if isinstance(module, (*_OURS, nn.MultiheadAttention)):
            hooks.append(module.register_forward_pre_hook(_request_weights, with_kwargs=True))
        keep = partial(_keep, attention.name, len(attention.query), seen, unread)
        hooks.append(module.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
    if unread:
        names = sorted(unread)
        warnings.warn(
            "record_attention: every attention that runs must return weights whose rows sum to 1; "
            f"got none from {', '.join(names[:3])}{' …' * (len(names) > 3)}. Call model.eval() "
            "and, for a model of transformers, model.set_attn_implementation('eager') and "
            "model(..., output_attentions=True)",
            stacklevel=3,  # past contextlib, to the `with` of the caller
        )


def _request_weights(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    if isinstance(module, _OURS):
        return args, {**kwargs, "return_weights": True}
    # Positions of torch's layer: query, key, value, key_padding_mask, need_weights, attn_mask,
    # average_attn_weights, is_causal.
    names = ("need_weights", "attn_mask", "average_attn_weights", "is_causal")
    kwargs = {**kwargs, **dict(zip(names, args[4:], strict=False))}
    return args[:4], {**kwargs, "need_weights": True, "average_attn_weights": False}


def _keep(
    name: str,
    heads: int,
    seen: dict[str, Tensor],
    unread: set[str],
    module: nn.Module,
    args: tuple,
    output: object,
) -> None:
    """Write the weights in an attention's output to `seen`, or its name to `unread`."""
    if isinstance(output, AttentionOutput):
        weights = output.weights
    elif isinstance(module, nn.MultiheadAttention) and isinstance(output, tuple):
        weights = output[1]
        if weights is not None and weights.dim() == 3:  # an input without batch
            weights = weights.unsqueeze(0)
    else:
        weights = _weights(output, heads)
    if weights is None:
        seen.pop(name, None)
        unread.add(name)
    else:
        seen[name] = weights.detach()
        unread.discard(name)


def _weights(output: object, heads: int) -> Tensor | None:
    """Return the tensor of an output that holds attention weights.

    Its rows sum to 1, or are 0 or NaN if the query sees no key; some row must sum to 1.
    """
    items = output if isinstance(output, tuple) else (output,)
    for item in items[1:]:  # the first is the layer's output
        if isinstance(item, Tensor) and item.dim() == 4 and item.shape[1] == heads:
            # The rounding of each weight to half precision moves the sum by up to 0.4 %.
            tolerance = 1e-3 if item.dtype.itemsize > 2 else 1e-2
            sums = item.float().sum(-1)
            one = (sums - 1).abs() <= tolerance
            unseen = sums.isnan() | (item == 0).all(-1)
            if not (item < 0).any() and one.any() and (one | unseen).all():
                return item
    return None
