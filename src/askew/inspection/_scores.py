"""Scores of a query-key map M = W_qᵀ W_k, computed without building the square matrix."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from askew._check import require

_NOISE = 1e-9  # an excess below this share of the mean norm is a rounding error


def symmetry_score(
    query: Float[Tensor, "*heads d_head d_model"], key: Float[Tensor, "*heads d_head d_model"]
) -> Float[Tensor, "*heads"]:
    r"""Score how symmetric the map of a head is, from -1 (skew-symmetric) to 1 (symmetric).

    With :math:`M = W_q^\top W_k`, so that a query at state x and a key at state y have the
    score :math:`x^\top M y`, and :math:`M_s = (M + M^\top)/2`,

    .. math:: s = 2\,\frac{\lVert M_s\rVert_F^2}{\lVert M\rVert_F^2} - 1
              = \frac{\operatorname{tr}(M M)}{\operatorname{tr}(M M^\top)}.

    1 means that i scores j exactly as j scores i, -1 that the two scores are opposite.
    Random weights give about 1/d_model, not 0. It costs d_model · d_head² operations.

    Args:
        query: Weights of the queries of each head, as `torch.nn.Linear` keeps them. Heads joined
            along d_head give the score of the sum of their maps.
        key: Weights of the keys of the same heads.

    Returns:
        A float64 score per head; NaN where the map is zero.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> weights = torch.randn(2, 4, 16)
        >>> symmetry_score(weights, weights)
        tensor([1., 1.], dtype=torch.float64)

    References:
        The underlying structures of self-attention, 2025, arXiv:2502.10927.
    """
    query, key = _pair("symmetry_score", query, key)
    # By cyclic permutation tr(M M) = tr(C C) with C = W_k W_qᵀ, and tr(M Mᵀ) =
    # tr((W_q W_qᵀ)(W_k W_kᵀ)): products of d_head × d_head only.
    inner = key @ query.mT
    both = (query @ query.mT) * (key @ key.mT)
    return (inner * inner.mT).sum((-2, -1)) / both.sum((-2, -1))


def directionality_score(
    query: Float[Tensor, "*heads d_head d_model"], key: Float[Tensor, "*heads d_head d_model"]
) -> Float[Tensor, "*heads"]:
    r"""Score whether a few features stand out on the side of the keys (1) or of the queries (-1).

    The rows of :math:`M = W_q^\top W_k` belong to features of the query, its columns to features
    of the key. With the norms :math:`c_j` of the columns, their mean and standard deviation
    (of the population), and the same of the rows,

    .. math:: c = \sum_{c_j > \bar c + 2\sigma} (c_j - \bar c - 2\sigma),\qquad
              d = \frac{c - r}{c + r},

    and 0 where nothing stands out on either side. The published tables have the opposite sign.
    Below 6 features no norm can exceed two standard deviations, and the score stays noisy while
    d_model is small.

    Args:
        query: Weights of the queries of each head, as `torch.nn.Linear` keeps them. Heads joined
            along d_head give the score of the sum of their maps.
        key: Weights of the keys of the same heads.

    Returns:
        A float64 score per head, in [-1, 1].

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> query, key = torch.ones(1, 2, 8), torch.ones(1, 2, 8)
        >>> key[..., 3] = 50.0
        >>> directionality_score(query, key)
        tensor([1.], dtype=torch.float64)

    References:
        The underlying structures of self-attention, 2025, arXiv:2502.10927.
    """
    query, key = _pair("directionality_score", query, key)
    columns = _excess(key, query @ query.mT)
    rows = _excess(query, key @ key.mT)
    total = columns + rows
    # The clamp avoids 0/0 where nothing stands out.
    return torch.where(total > 0, (columns - rows) / total.clamp(min=1e-300), 0.0)


def effective_rank(
    query: Float[Tensor, "*heads d_head d_model"], key: Float[Tensor, "*heads d_head d_source"]
) -> Float[Tensor, "*heads"]:
    r"""Count how many directions a head effectively compares, from 1 to d_head.

    With the singular values :math:`\sigma_i` of :math:`W_q^\top W_k` and
    :math:`p_i = \sigma_i / \sum_j \sigma_j`, it is :math:`\exp(-\sum_i p_i \log p_i)`.

    Args:
        query: Weights of the queries of each head, as `torch.nn.Linear` keeps them.
        key: Weights of the keys of the same heads; they may read another width.

    Returns:
        A float64 number per head; NaN where the map is zero.

    Raises:
        ValueError: If the heads or their widths differ.

    Example:
        >>> effective_rank(torch.eye(3, 8), torch.eye(3, 8)).round(decimals=6)
        tensor(3., dtype=torch.float64)

    References:
        The effective rank: a measure of effective dimensionality, EUSIPCO 2007.
    """
    require(
        query.shape[:-1] == key.shape[:-1],
        "effective_rank: query and key must have the same heads of the same width; "
        f"got query {tuple(query.shape)}, key {tuple(key.shape)}",
    )
    # W_qᵀ = Q₁ R₁ and W_kᵀ = Q₂ R₂: M has the singular values of the small R₁ R₂ᵀ.
    left, right = (torch.linalg.qr(side.double().mT).R for side in (query, key))
    values = torch.linalg.svdvals(left @ right.mT)
    shares = values / values.sum(-1, keepdim=True)
    return torch.special.entr(shares).sum(-1).exp()


def attention_entropy(
    weights: Float[Tensor, "*heads queries keys"],
    visible: Bool[Tensor, "*visible queries keys"] | None = None,
) -> Float[Tensor, "*heads"]:
    r"""Score how evenly the queries attend, from 0 (to one key) to 1 (to all keys equally).

    The mean over queries of :math:`-\sum_j w_j \log w_j / \log n`, where n is the number of keys
    that the query sees. Queries that see fewer than two keys have no choice and are left out.

    Args:
        weights: Rows that sum to 1.
        visible: True = the query sees the key; all by default. Broadcasts to `weights`.

    Returns:
        A number per head; NaN where no query has a choice.

    Example:
        >>> attention_entropy(torch.tensor([[[0.5, 0.5], [1.0, 0.0]]]))
        tensor([0.5000])

    References:
        What does BERT look at?, 2019, arXiv:1906.04341, section 3.2.
    """
    seen = torch.ones_like(weights, dtype=torch.bool) if visible is None else visible
    count = seen.expand(weights.shape).sum(-1)
    wide = weights.to(torch.promote_types(weights.dtype, torch.float32))
    entropies = torch.special.entr(wide).sum(-1) / count.clamp(min=2).log()
    chosen = count > 1
    return entropies.where(chosen, 0.0).sum(-1) / chosen.sum(-1)


def _pair(caller: str, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    require(
        query.shape == key.shape,
        f"{caller}: query and key must have the same heads and read the same width; "
        f"got query {tuple(query.shape)}, key {tuple(key.shape)}",
    )
    return query.double(), key.double()


def _excess(weights: Tensor, gram: Tensor) -> Tensor:
    """Sum by how much column norms of X · weights exceed mean + 2 deviations; gram = XᵀX."""
    norms = ((gram @ weights) * weights).sum(-2).clamp(min=0).sqrt()
    mean = norms.mean(-1, keepdim=True)
    over = norms - mean - 2 * norms.std(-1, correction=0, keepdim=True)
    return over.where(over > _NOISE * mean, 0.0).sum(-1)
