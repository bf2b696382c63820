"""Similarities of two towers, and the checks of their inputs."""

from typing import Literal

import torch
from torch import Tensor

from askew._check import require
from askew._reduction import (
    check_floating,
    check_tensor,
    check_where,
    compute_dtype,
    hide,
    without_autocast,
)
from askew.losses._ranking_distances import direction

Similarity = Literal["cosine", "dot"]
"""Of two vectors: the cosine of their angle, or the plain product."""


def similarities(
    queries: Tensor,
    documents: Tensor,
    where: Tensor | None,
    seen: Tensor | None,
    similarity: Similarity,
) -> Tensor:
    """Return similarities; vectors that are never compared are hidden, as 0 · NaN would be NaN."""
    q = hide(queries, where).to(compute_dtype(queries))
    is_compared = None if seen is None else seen.any(0).unsqueeze(1)
    d = hide(documents, is_compared).to(q.dtype)
    if similarity == "cosine":
        q, d = direction(q), direction(d)
    with without_autocast(q.device.type):
        return q @ d.T


def check_towers(name: str, queries: Tensor, documents: Tensor, where: Tensor | None) -> None:
    """Refuse vectors that cannot be compared."""
    check_floating(name, "queries", queries)
    check_floating(name, "documents", documents)
    require(
        queries.dim() == documents.dim() == 2 and queries.shape[1] == documents.shape[1] > 0,
        f"{name}: queries and documents must be [rows, width] with the same width > 0; "
        f"got queries {tuple(queries.shape)}, documents {tuple(documents.shape)}",
    )
    check_where(name, where, queries.shape[:1])


def checked_pairs(
    name: str,
    queries: Tensor,
    documents: Tensor,
    positives: Tensor | None,
    exclude: Tensor | None,
) -> Tensor:
    """Return the positives, by default pairs of equal index."""
    shape = queries.shape[:1] + documents.shape[:1]
    for label, mask in (("positives", positives), ("exclude", exclude)):
        if mask is None:
            continue
        check_tensor(name, label, mask)
        if mask.dtype != torch.bool:
            raise TypeError(f"{name}: {label} must be boolean; got dtype {mask.dtype}")
        if mask.shape != shape:
            raise ValueError(
                f"{name}: {label} must be [queries, documents]; "
                f"got {label} {tuple(mask.shape)}, expected {tuple(shape)}"
            )
    if positives is None:
        if shape[0] > shape[1]:
            raise ValueError(
                f"{name}: without positives every query needs the document of its index; "
                f"got {shape[0]} queries, {shape[1]} documents"
            )
        return torch.eye(*shape, dtype=torch.bool, device=queries.device)
    return positives
