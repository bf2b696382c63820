"""Contrastive loss of two encoders, with a price for each direction of retrieval."""

import math
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from askew._reduction import Reduction, check_reduction, reduce, result_dtype
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._towers import Similarity, check_towers, checked_pairs, similarities


def asymmetric_contrastive_loss(
    queries: Float[Tensor, "queries width"],
    documents: Float[Tensor, "documents width"],
    *,
    temperature: float | Float[Tensor, ""] = 0.05,
    weight_queries: float = 0.5,
    weight_documents: float = 0.5,
    positives: Bool[Tensor, "queries documents"] | None = None,
    exclude: Bool[Tensor, "queries documents"] | None = None,
    similarity: Similarity = "cosine",
    where: Bool[Tensor, " queries"] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Match queries to documents and documents to queries, with a price for each direction.

    With :math:`s_{ij}` the similarity over the temperature and P the positive pairs,

    .. math::
        w_q\,\frac{1}{|Q|}\sum_{i\in Q} -\log\frac{\sum_{j\in P_i}e^{s_{ij}}}{\sum_j e^{s_{ij}}}
        \;+\;
        w_d\,\frac{1}{|D|}\sum_{j\in D} -\log\frac{\sum_{i\in P_j}e^{s_{ij}}}{\sum_i e^{s_{ij}}},

    where Q and D are the queries and documents that have a positive; those without one are only
    negatives of the others. Weights of one half each give the loss of CLIP; 1 and 0 give InfoNCE
    from query to document, the cross-entropy of the row. Swapping queries with documents, the
    weights, and the axes of the masks changes nothing.

    Where several queries share a document, or two documents answer one query, the default
    `positives` are wrong: they count a right answer as a negative, which harms the direction from
    document to query most. Mark all positives. If a pair might be right but has not been judged,
    such as passages of the same article, `exclude` it. Several positives are summed inside one
    logarithm, so that it is enough to find one of them. Not for small batches without hard
    negatives: the loss compares within the batch only.

    Args:
        queries: One row per query, [queries, width] with width > 0. Any floating dtype.
        documents: One row per document, [documents, width].
        temperature: Divides the similarities, > 0; a tensor may be learned and is not checked. 0.05
            suits cosines.
        weight_queries: Price of the direction from query to document, >= 0.
        weight_documents: Price of the direction from document to query, >= 0; 0 leaves it out.
        positives: True where a document answers a query. By default document i answers query i,
            and further documents are negatives of all.
        exclude: True where a pair is neither positive nor negative; it leaves the denominators. A
            positive pair stays positive.
        similarity: "cosine", or "dot" for the plain product.
        where: True where a query counts, [queries]. A hidden query is no negative either, and may
            be NaN; so may a document that no query is compared with.
        reduction: "mean" as above, each direction over its own rows; "sum" has no denominators;
            "none" returns the weighted costs of the queries, then those of the documents, with 0
            where there is no positive.

    Returns:
        A scalar, or [queries + documents] for "none", in the dtype of `queries`; under autocast at
        least single precision. Without any positive it is a differentiable 0.

    Raises:
        ValueError: If shapes do not fit or a setting is out of range.
        TypeError: If an input is not floating point, or a mask is not boolean.

    Numerics:
        A cost is log(1 + e^x) with x the gap between negatives and positives, so that small costs
        keep their digits. A row without negatives costs exactly 0. A vector of zeros has cosine 0.
        Dot products must fit the range of single precision.

    Example:
        >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> loss = asymmetric_contrastive_loss(queries, queries, temperature=1.0)
        >>> round(loss.item(), 4)  # log(1 + e ** -1)
        0.3133

    References:
        Representation Learning with Contrastive Predictive Coding, 2018, arXiv:1807.03748.
        Learning Transferable Visual Models From Natural Language Supervision, 2021,
        arXiv:2103.00020 (CLIP).
    """
    name = "asymmetric_contrastive_loss"
    _check_settings(name, temperature, (weight_queries, weight_documents), similarity, reduction)
    check_towers(name, queries, documents, where)
    positives = checked_pairs(name, queries, documents, positives, exclude)
    seen = torch.ones_like(positives) if exclude is None else ~exclude | positives
    if where is not None:
        where = where.expand(queries.shape[:1]).unsqueeze(1)
        positives, seen = positives & where, seen & where
    scores = similarities(queries, documents, where, seen, similarity) / temperature
    negatives, negligible = seen & ~positives, _negligible_score(scores)
    right = torch.where(positives, scores, negligible)
    wrong = torch.where(negatives, scores, negligible)
    directions = []
    for axis, weight in ((1, weight_queries), (0, weight_documents)):
        has_positive = positives.any(axis)
        costs = scores.new_zeros(has_positive.shape)
        if weight > 0:
            gap = right.logsumexp(axis) - wrong.logsumexp(axis)
            costs = -logsigmoid(gap).masked_fill(~(has_positive & negatives.any(axis)), 0.0)
        directions.append(weight * reduce(costs, reduction, has_positive))
    loss = torch.cat(directions) if reduction == "none" else directions[0] + directions[1]
    return loss.to(result_dtype(queries))


class AsymmetricContrastiveLoss(SettingsModule):
    """Module form of `asymmetric_contrastive_loss`; a temperature that is a parameter is learned.

    Args:
        temperature: See `asymmetric_contrastive_loss`, which describes all settings.
        weight_queries: Price of the direction from query to document.
        weight_documents: Price of the direction from document to query.
        similarity: "cosine" or "dot".
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> vectors = torch.eye(4)
        >>> loss = AsymmetricContrastiveLoss(weight_queries=1.0, weight_documents=0.0)
        >>> loss(vectors, vectors).round(decimals=4) == 0
        tensor(True)
    """

    def __init__(
        self,
        *,
        temperature: float | nn.Parameter = 0.05,
        weight_queries: float = 0.5,
        weight_documents: float = 0.5,
        similarity: Similarity = "cosine",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        weights = (weight_queries, weight_documents)
        _check_settings(type(self).__name__, temperature, weights, similarity, reduction)
        self._store("temperature", temperature)
        self.weight_queries, self.weight_documents = weights
        self.similarity: Similarity = similarity
        self.reduction: Reduction = reduction

    def forward(
        self,
        queries: Float[Tensor, "queries width"],
        documents: Float[Tensor, "documents width"],
        *,
        positives: Bool[Tensor, "queries documents"] | None = None,
        exclude: Bool[Tensor, "queries documents"] | None = None,
        where: Bool[Tensor, " queries"] | None = None,
    ) -> Tensor:
        """Return the loss of queries and documents; see `asymmetric_contrastive_loss`."""
        return asymmetric_contrastive_loss(
            queries,
            documents,
            positives=positives,
            exclude=exclude,
            where=where,
            **self._settings(),
        )


def _negligible_score(scores: Tensor) -> Tensor:
    """Return a score so low that it changes a sum of exponentials by less than rounding does.

    With −infinity, an empty sum would have a NaN gradient. Exponentials that underflow are slow.
    """
    if scores.numel() == 0:
        return scores.new_zeros(())
    return scores.detach().amin() + 3 * math.log(torch.finfo(scores.dtype).eps)


def _check_settings(
    name: str,
    temperature: float | Tensor,
    weights: tuple[float, float],
    similarity: str,
    reduction: str,
) -> None:
    labels = ("temperature", "weight_queries", "weight_documents")
    check_numbers(name, dict(zip(labels, (temperature, *weights), strict=True)))
    if not (isinstance(temperature, Tensor) or 0 < temperature < math.inf):
        raise ValueError(
            f"{name}: temperature must be above 0 and finite; got temperature {temperature}"
        )
    # `max` of numbers that are symbols in a graph fails in torch 2.9.
    if not (all(0 <= w < math.inf for w in weights) and any(w > 0 for w in weights)):
        raise ValueError(
            f"{name}: weights must be >= 0 and finite, one above 0; "
            f"got weight_queries {weights[0]}, weight_documents {weights[1]}"
        )
    if similarity not in get_args(Similarity):
        raise ValueError(
            f'{name}: similarity must be "cosine" or "dot"; got similarity {similarity!r}'
        )
    check_reduction(name, reduction)
