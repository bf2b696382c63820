"""A table of token vectors whose mean over a text comes near given vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor

_ROUNDS, _STEPS = 40, 5
"""How often lengths are chosen anew, and steps of conjugate gradients after each time."""


class TokenBags:
    """Texts as the sets of their tokens, with the mean as a linear map of a table.

    Args:
        texts: Token numbers of each text, at least one.
    """

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        flat = torch.tensor([token for text in texts for token in text], dtype=torch.long)
        counts = torch.tensor([len(text) for text in texts])
        self.used, columns = flat.unique(return_inverse=True)
        rows = torch.repeat_interleave(torch.arange(len(texts)), counts)
        values = torch.repeat_interleave(1 / counts, counts)
        size = (len(texts), len(self.used))
        places = torch.stack([rows, columns])
        whole = torch.sparse_coo_tensor(places, values, size, check_invariants=False)
        self._map = whole.coalesce()
        self._back = self._map.t().coalesce()

    def mean(self, table: Tensor) -> Tensor:
        """Means [texts, width] of the rows [used, width] of the tokens."""
        return torch.sparse.mm(self._map, table)

    def spread(self, vectors: Tensor) -> Tensor:
        """The transpose of `mean`: [texts, width] to [used, width]."""
        return torch.sparse.mm(self._back, vectors)


def fit_table(
    texts: Sequence[Sequence[int]], vectors: Tensor, start: Tensor, *, ridge: float
) -> Tensor:
    r"""Move the rows of a table so that the means of texts point where their vectors do.

    Minimises over the table and over a length :math:`a_x \ge 0` of each text, whose mean is 1,

    .. math:: \sum_x \Bigl\lVert \frac{1}{|x|}\sum_{i \in x} t_i - a_x y_x \Bigr\rVert^2
        + \lambda \sum_i \lVert t_i - c\,t^0_i \rVert^2

    with the c that brings the start nearest by itself. For given lengths this is linear in the
    table; both are improved in turn. Rows of tokens in no text are those of the start times c.

    Args:
        texts: Token numbers of each text, none empty, at least one text.
        vectors: [texts, width], y, of norm 1.
        start: [tokens, width], t⁰.
        ridge: λ, > 0.

    Returns:
        The table, [tokens, width].
    """
    bags = TokenBags(texts)
    began = start[bags.used]
    means = bags.mean(began)
    table, scale, wanted = began, torch.ones(()), vectors
    for turn in range(_ROUNDS):
        scale = (means * wanted).sum() / means.square().sum().clamp(min=1e-12)
        table = nearer(bags, wanted, scale * began, table if turn else scale * began, ridge)
        lengths = (bags.mean(table) * vectors).sum(1, keepdim=True).clamp(min=0)
        wanted = vectors * (lengths / lengths.mean().clamp(min=1e-12))
    whole = start * scale
    whole[bags.used] = table
    return whole


def nearer(bags: TokenBags, wanted: Tensor, began: Tensor, table: Tensor, ridge: float) -> Tensor:
    """Conjugate gradients for given lengths, every dimension by itself."""
    rest = bags.spread(wanted - bags.mean(table)) + ridge * (began - table)
    direction, size = rest.clone(), rest.square().sum(0)
    for _ in range(_STEPS):
        image = bags.spread(bags.mean(direction)) + ridge * direction
        step = size / (direction * image).sum(0).clamp(min=1e-30)
        table = table + step * direction
        rest -= step * image
        before, size = size, rest.square().sum(0)
        direction = rest + size / before.clamp(min=1e-30) * direction
    return table
