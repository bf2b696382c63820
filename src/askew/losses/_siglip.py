"""Loss of two towers in which every pair is a question of its own, yes or no."""

import math

from jaxtyping import Bool, Float
from torch import Tensor, nn

from askew._reduction import Reduction, check_reduction, count, reduce, result_dtype
from askew._settings_module import SettingsModule, check_numbers
from askew.losses._binary import asymmetric_bce_loss
from askew.losses._towers import check_towers, checked_pairs, similarities


def siglip_loss(
    queries: Float[Tensor, "queries width"],
    documents: Float[Tensor, "documents width"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    bias: float | Float[Tensor, ""] = -10.0,
    weight_pos: float = 1.0,
    weight_neg: float = 1.0,
    positives: Bool[Tensor, "queries documents"] | None = None,
    exclude: Bool[Tensor, "queries documents"] | None = None,
    where: Bool[Tensor, " queries"] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Tell pairs that belong together from all others, with a price for each kind.

    With the cosine :math:`c_{ij}` of query i and document j and
    :math:`s_{ij}=c_{ij}/T+b`, the loss is

    .. math::
        \frac{1}{|Q|}\sum_{i}\Bigl(w_+\sum_{j\in P_i}-\log\sigma(s_{ij})
        \;+\;w_-\sum_{j\notin P_i}-\log\sigma(-s_{ij})\Bigr).

    Weights of 1 are the loss of SigLIP. Unlike `asymmetric_contrastive_loss` it compares no pair
    with another, so it needs no large batch, and a query may have no positive or many. A batch of n
    has n − 1 negatives for each positive; a smaller `weight_neg` lets a wrong negative, such as a
    second right answer, cost less. Swapping queries with documents and the axes of the masks
    changes nothing but the divisor.

    Args:
        queries: One row per query, [queries, width] with width > 0. Any floating dtype.
        documents: One row per document, [documents, width].
        temperature: T > 0; SigLIP starts from .1 and learns it. A tensor is not checked.
        bias: b; SigLIP starts from −10, so that at first all pairs count as negative, and learns
            it.
        weight_pos: Price of the pairs that belong together, >= 0.
        weight_neg: Price of all others, >= 0.
        positives: True where a document answers a query. By default document i answers query i,
            and further documents are negatives of all.
        exclude: True where a pair is neither positive nor negative. A positive pair stays positive.
        where: True where a query counts, [queries]. A hidden query is no negative either, and may
            be NaN; so may a document that no query is compared with.
        reduction: "mean" over the queries that count, "sum", or "none": one cost per query.

    Returns:
        A scalar, or [queries] for "none", in the dtype of `queries`; under autocast at least single
        precision. Nothing to count gives a differentiable 0.

    Raises:
        ValueError: If shapes do not fit or a setting is out of range.
        TypeError: If an input is not floating point, or a mask is not boolean.

    Numerics:
        Computed in at least single precision from log σ. A vector of zeros has cosine 0. Of a large
        batch one matrix of similarities and one of their gradient are kept.

    Example:
        >>> import torch
        >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> loss = siglip_loss(queries, queries, temperature=1.0, bias=0.0)
        >>> round(loss.item(), 4)  # log(1 + e ** -1) + log 2
        1.0064

    References:
        Sigmoid Loss for Language Image Pre-Training, 2023, arXiv:2303.15343.
    """
    name = "siglip_loss"
    _check_settings(name, temperature, bias, weight_pos, weight_neg, reduction)
    check_towers(name, queries, documents, where)
    positives = checked_pairs(name, queries, documents, positives, exclude)
    seen = None if exclude is None else ~exclude | positives
    hidden = where if where is None else where.expand(queries.shape[:1]).unsqueeze(1)
    if hidden is not None:
        seen = hidden.expand(positives.shape) if seen is None else seen & hidden
    scores = similarities(queries, documents, hidden, seen, "cosine") / temperature + bias
    weights = {"weight_pos": weight_pos, "weight_neg": weight_neg}
    if reduction == "none":
        costs = asymmetric_bce_loss(scores, positives, where=seen, reduction="none", **weights)
        return reduce(costs.sum(1), "none", where, result_dtype(queries))
    loss = asymmetric_bce_loss(scores, positives, where=seen, reduction="sum", **weights)
    if reduction == "mean":
        loss = loss / count(queries.shape[:1], where)
    return loss.to(result_dtype(queries))


class SigLIPLoss(SettingsModule):
    """Module form of `siglip_loss`; a temperature or bias that is a parameter is learned.

    Args:
        temperature: See `siglip_loss`, which describes all settings.
        bias: Added to all similarities.
        weight_pos: Price of the pairs that belong together.
        weight_neg: Price of all others.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> import torch
        >>> loss = SigLIPLoss(bias=torch.nn.Parameter(torch.tensor(-10.0)))
        >>> loss(torch.eye(4), torch.eye(4)).backward()
        >>> loss.bias.grad.round(decimals=2)
        tensor(-0.5000)
    """

    def __init__(
        self,
        *,
        temperature: float | nn.Parameter = 0.1,
        bias: float | nn.Parameter = -10.0,
        weight_pos: float = 1.0,
        weight_neg: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        _check_settings(name, temperature, bias, weight_pos, weight_neg, reduction)
        self._store("temperature", temperature)
        self._store("bias", bias)
        self.weight_pos = weight_pos
        self.weight_neg = weight_neg
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
        """Return the loss of queries and documents; see `siglip_loss`."""
        return siglip_loss(
            queries,
            documents,
            positives=positives,
            exclude=exclude,
            where=where,
            **self._settings(),
        )


def _check_settings(
    name: str,
    temperature: float | Tensor,
    bias: float | Tensor,
    weight_pos: float,
    weight_neg: float,
    reduction: str,
) -> None:
    weights = {"weight_pos": weight_pos, "weight_neg": weight_neg}
    check_numbers(name, {"temperature": temperature, "bias": bias, **weights})
    if not (isinstance(temperature, Tensor) or 0 < temperature < math.inf):
        raise ValueError(
            f"{name}: temperature must be above 0 and finite; got temperature {temperature}"
        )
    if not (isinstance(bias, Tensor) or -math.inf < bias < math.inf):
        raise ValueError(f"{name}: bias must be finite; got bias {bias}")
    for label, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"{name}: {label} must be >= 0 and finite; got {label} {weight}")
    check_reduction(name, reduction)
