"""The softmax of scores, of which some are hidden and some of whose weight a sink may take."""

import torch
from torch import Tensor


def masked_softmax(scores: Tensor, seen: Tensor | None, sinks: Tensor | None) -> Tensor:
    """Compute the weights over the last axis; `sinks` broadcasts to the scores of one key.

    With L the log-sum-exp of a row, a sink s in the denominator multiplies the row's weights by
    e^L / (e^L + e^s), which is sigmoid(L - s): exactly 1 for a sink of -inf.
    """
    if seen is not None:
        # A row of -inf alone would be NaN after the softmax, in value and in gradient. With a
        # finite fill it is uniform, and the product with the mask makes it zero.
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    if sinks is not None:
        total = scores.logsumexp(-1, keepdim=True)
        weights = weights * torch.sigmoid(total - sinks.to(total.dtype))
    return weights if seen is None else weights * seen
