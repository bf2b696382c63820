"""Boolean masks, True = may attend, combined with `&` and `|`."""

import torch
from jaxtyping import Bool
from torch import Tensor

from askew._check import require


def causal_mask(
    num_queries: int, num_keys: int | None = None, *, device: torch.device | str | None = None
) -> Bool[Tensor, "queries keys"]:
    """Make the mask by which each query sees itself and earlier keys, but no later ones.

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
        lambda: (
            "causal_mask: lengths must not be negative; "
            f"got num_queries {num_queries}, num_keys {num_keys}"
        ),
    )
    query = torch.arange(num_queries, device=device)[:, None] + num_keys - num_queries
    return torch.arange(num_keys, device=device) <= query


def band_mask(
    queries: int,
    keys: int,
    before: int,
    after: int,
    num_sinks: int = 0,
    *,
    device: torch.device | str | None = None,
) -> Bool[Tensor, "queries keys"]:
    """Make the mask by which each query sees `before` keys before its position, `after` after it.

    The last query stands at the last key: query i sees key j iff
    ``i + keys - queries - before <= j <= i + keys - queries + after``. Equal sides give the
    ordinary two-sided window; ``after = 0`` is causal.

    Args:
        queries: Number of query positions, >= 0.
        keys: Number of key positions, >= 0.
        before: Keys seen before the query's own position, >= 0.
        after: Keys seen after it, >= 0.
        num_sinks: The first keys, seen by every query, >= 0. A window with ``after = 0``
            stays causal: a query before a sink does not see it.
        device: Where the mask is made.

    Returns:
        [queries, keys], True = may attend.

    Raises:
        ValueError: If a number is negative.

    Example:
        >>> band_mask(3, 4, 1, 0).int().tolist()
        [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
        >>> band_mask(3, 4, 0, 0, 1).int().tolist()
        [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]

    References:
        Longformer, 2020, arXiv:2004.05150 (windows).
        Efficient Streaming Language Models with Attention Sinks, 2023, arXiv:2309.17453.
    """
    require(
        all(n >= 0 for n in (queries, keys, before, after, num_sinks)),
        lambda: (
            f"band_mask: numbers must not be negative; got queries {queries}, keys {keys}, "
            f"before {before}, after {after}, num_sinks {num_sinks}"
        ),
    )
    position = torch.arange(queries, device=device)[:, None] + keys - queries
    key = torch.arange(keys, device=device)
    seen = (key >= position - before) & (key <= position + after)
    if num_sinks == 0:
        return seen
    sink = key < num_sinks
    return seen | (sink & (key <= position) if after == 0 else sink)


def prefix_mask(
    num_queries: int,
    num_keys: int | None = None,
    *,
    prefix: int,
    device: torch.device | str | None = None,
) -> Bool[Tensor, "queries keys"]:
    """Make the mask by which every query sees the first `prefix` keys, and the others causally.

    No prefix is `causal_mask`; a prefix of all keys hides nothing.

    Args:
        num_queries: Number of query positions, >= 0.
        num_keys: Number of key positions; as many as queries by default.
        prefix: Number of keys that every query sees, >= 0.
        device: Where the mask is made.

    Returns:
        [num_queries, num_keys], True = may attend.

    Raises:
        ValueError: If a number is negative.

    Example:
        >>> prefix_mask(3, prefix=2).int().tolist()
        [[1, 1, 0], [1, 1, 0], [1, 1, 1]]

    References:
        Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer, 2019,
        arXiv:1910.10683, section 3.2.1.
    """
    require(prefix >= 0, f"prefix_mask: prefix must not be negative; got prefix {prefix}")
    seen = causal_mask(num_queries, num_keys, device=device)
    return seen | (torch.arange(seen.shape[1], device=device) < prefix)


def padding_mask(tokens: torch.Tensor, padding_token: int) -> Bool[Tensor, "batch keys"]:
    """Make the mask of the real tokens of a padded batch.

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


def mask_from_torch(mask: Bool[Tensor, "..."], *, batch: int | None = None) -> Bool[Tensor, "..."]:
    """Invert a mask of `torch.nn.MultiheadAttention`, in which True hides a key.

    Args:
        mask: Its `attn_mask` or `key_padding_mask`, boolean. One of three axes is
            [batch · heads, queries, keys], or [batch, queries, keys] for all heads alike.
        batch: Number of rows of the batch, >= 1; needed for a mask of three axes.

    Returns:
        A mask in which True shows a key, for `attn_mask` or `key_mask` here: of the same shape, or
        [batch, heads or 1, queries, keys] from three axes.

    Raises:
        TypeError: If the mask is additive; pass that to `attend` as `bias`.
        ValueError: If `batch` is missing for a mask of three axes, or does not divide the first.

    Example:
        >>> mask_from_torch(torch.tensor([False, True])).tolist()
        [True, False]
        >>> mask_from_torch(torch.zeros(6, 4, 5, dtype=torch.bool), batch=2).shape
        torch.Size([2, 3, 4, 5])
    """
    if mask.dtype != torch.bool:
        raise TypeError(
            f"mask_from_torch: mask must be boolean; got dtype {mask.dtype}. "
            "Pass an additive mask as bias"
        )
    if mask.dim() != 3:
        return ~mask
    require(
        batch is not None and batch >= 1 and mask.shape[0] % batch == 0,
        "mask_from_torch: a mask of three axes is [batch · heads, queries, keys] and needs the "
        f"number of rows of the batch; got mask {tuple(mask.shape)}, batch {batch}",
    )
    return ~mask.unflatten(0, (batch, -1))
