"""Boolean masks, True = may attend, combined with `&` and `|`."""

import torch
from jaxtyping import Bool
from torch import Tensor

from askew._check import require


def causal_mask(
    num_queries: int, num_keys: int | None = None, *, device: torch.device | str | None = None
) -> Bool[Tensor, "queries keys"]:
    """Let each query see itself and what came before, never what comes after.

    The last query stands at the last key (bottom-right alignment), so with cached keys
    query i sees key j iff ``j <= i + num_keys - num_queries``.

    Args:
        num_queries: Number of query positions, >= 0.
        num_keys: Number of key positions; as many as queries by default.
        device: Where the mask is made.

    Returns:
        [num_queries, num_keys], True = may attend.

    Raises:
        ValueError: If a length is negative.

    Example:
        >>> causal_mask(2, 3).int().tolist()
        [[1, 1, 0], [1, 1, 1]]
    """
    num_keys = num_queries if num_keys is None else num_keys
    require(
        num_queries >= 0 and num_keys >= 0,
        "causal_mask: lengths must not be negative; "
        f"got num_queries {num_queries}, num_keys {num_keys}",
    )
    query = torch.arange(num_queries, device=device)[:, None] + num_keys - num_queries
    return torch.arange(num_keys, device=device) <= query


def padding_mask(tokens: torch.Tensor, padding_token: int) -> Bool[Tensor, "batch keys"]:
    """Mark the real tokens of a padded batch.

    Args:
        tokens: [batch, length] token numbers.
        padding_token: The number that stands for padding.

    Returns:
        [batch, length], True = a real token: the `key_mask` of the attention layers.

    Example:
        >>> padding_mask(torch.tensor([[5, 6, 0]]), 0).tolist()
        [[True, True, False]]
    """
    return tokens != padding_token
