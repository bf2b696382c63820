"""Scores of every attention of a model, and the width, depth and parameters of its stacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from askew.inspection._maps import QueryKeyMap, query_key_maps
from askew.inspection._scores import (
    attention_entropy,
    directionality_score,
    effective_rank,
    symmetry_score,
)


class AttentionScores(NamedTuple):
    """The scores of one attention, a number per head.

    Args:
        name: Path of the module in the model.
        stack: Path of the list of layers that it belongs to.
        layer: Number of its layer, from 0.
        kind: "self" or "cross".
        d_model: Width that its queries read.
        d_head: Width of a key head.
        effective_rank: Of each head, in [1, d_head].
        symmetry: Of each head, in [-1, 1]; None for cross-attention.
        symmetry_of_sum: Of the sum of the heads' maps.
        directionality: Of each head, in [-1, 1]; None for cross-attention.
        directionality_of_sum: Of the sum of the heads' maps.
        entropy: Of each head, in [0, 1], mean over the texts that were read; None without texts.

    Example:
        >>> from askew.attention import AsymmetricAttention
        >>> scores = inspect_model(AsymmetricAttention(8, num_heads=2)).attention[0]
        >>> scores.kind, scores.d_head, len(scores.symmetry)
        ('self', 4, 2)
    """

    name: str
    stack: str
    layer: int
    kind: Literal["self", "cross"]
    d_model: int
    d_head: int
    effective_rank: Float[Tensor, " heads"]
    symmetry: Float[Tensor, " heads"] | None
    symmetry_of_sum: float | None
    directionality: Float[Tensor, " heads"] | None
    directionality_of_sum: float | None
    entropy: Float[Tensor, " heads"] | None = None


class StackShape(NamedTuple):
    """The size of a stack of layers.

    Args:
        name: Its path in the model; "the rest" stands for all that is in no stack.
        depth: Number of its layers; 0 for the rest, as are width and heads.
        width: Width of its stream.
        heads: Query heads of a layer.
        kv_heads: Key heads of a layer.
        parameters: Number of its parameters; a shared one counts in the first stack that has it.
        share: Share of all parameters, in [0, 1].

    Example:
        >>> [stack.depth for stack in inspect_model(nn.TransformerEncoderLayer(8, 2)).stacks]
        [1, 0]
    """

    name: str
    depth: int
    width: int
    heads: int
    kv_heads: int
    parameters: int
    share: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of `inspect_model`.

    Attributes:
        model: Name of the model's class.
        attention: Every attention, in the order of the model's modules.
        stacks: Every stack of layers, and the rest.
        texts: The texts that were read for the entropy.

    Example:
        >>> from askew.attention import AsymmetricAttention
        >>> inspect_model(AsymmetricAttention(8, num_heads=2)).stacks[0].parameters
        290
    """

    model: str
    attention: tuple[AttentionScores, ...]
    stacks: tuple[StackShape, ...]
    texts: tuple[str, ...] = ()

    def to_plain(self) -> dict:
        """Return all of it as plain values for JSON; NaN becomes None."""
        return {
            "version": 1,
            "model": self.model,
            "texts": list(self.texts),
            "stacks": [stack._asdict() for stack in self.stacks],
            "attention": [
                {name: _plain(value) for name, value in scores._asdict().items()}
                for scores in self.attention
            ],
        }


def inspect_model(
    model: nn.Module,
    readings: Mapping[str, Mapping[str, Float[Tensor, "heads queries keys"]]] | None = None,
) -> Inspection:
    """Score every attention of a model, and measure its stacks.

    Args:
        model: Any module with attention that `query_key_maps` knows.
        readings: For each text the weights that `record_attention` collected while the model read
            it, without the batch axis. A key counts as visible if some head attends to it.

    Returns:
        The scores of each attention and the shapes of the stacks.

    Raises:
        ValueError: If there is no attention, or one of a kind that is not known.

    Example:
        >>> layer = nn.TransformerEncoderLayer(64, 4, 64)
        >>> scores = inspect_model(layer).attention[0]
        >>> abs(scores.symmetry_of_sum) < 0.2
        True
    """
    maps = query_key_maps(model)
    texts = readings or {}
    return Inspection(
        type(model).__name__,
        tuple(
            _scores(m, [read[m.name] for read in texts.values() if m.name in read]) for m in maps
        ),
        tuple(_shapes(model, maps)),
        tuple(texts),
    )


def _scores(attention: QueryKeyMap, weights: list[Tensor]) -> AttentionScores:
    query, key = attention.query.detach(), attention.key.detach()
    one_stream = attention.kind == "self"
    whole = query.flatten(0, 1), key.flatten(0, 1)
    return AttentionScores(
        name=attention.name,
        stack=attention.stack,
        layer=attention.layer,
        kind=attention.kind,
        d_model=query.shape[-1],
        d_head=key.shape[1],
        effective_rank=effective_rank(query, key),
        symmetry=symmetry_score(query, key) if one_stream else None,
        symmetry_of_sum=float(symmetry_score(*whole)) if one_stream else None,
        directionality=directionality_score(query, key) if one_stream else None,
        directionality_of_sum=float(directionality_score(*whole)) if one_stream else None,
        entropy=_entropy(weights) if weights else None,
    )


def _entropy(weights: list[Tensor]) -> Tensor:
    per_text = [attention_entropy(_shares(one), (one > 0).any(0, keepdim=True)) for one in weights]
    return torch.stack(per_text).nanmean(0)


def _shares(weights: Tensor) -> Tensor:
    """Divide out what queries leave to a learned sink."""
    sums = weights.sum(-1, keepdim=True)
    return torch.where(sums > 0, weights / sums, weights)


def _shapes(model: nn.Module, maps: list[QueryKeyMap]) -> list[StackShape]:
    total = sum(_numbers(model).values())
    counted: dict[object, int] = {}
    shapes = []
    for stack in dict.fromkeys(attention.stack for attention in maps):
        module = model.get_submodule(stack)
        numbers = {key: n for key, n in _numbers(module).items() if key not in counted}
        counted |= numbers
        first = next(attention for attention in maps if attention.stack == stack)
        depth = len(module) if isinstance(module, nn.ModuleList) else 1
        heads, _, width = first.query.shape
        count = sum(numbers.values())
        shapes.append(StackShape(stack, depth, width, heads, first.kv_heads, count, count / total))
    rest = total - sum(counted.values())
    return [*shapes, StackShape("the rest", 0, 0, 0, 0, rest, rest / total)]


def _numbers(module: nn.Module) -> dict[object, int]:
    """Return the size of every parameter; quantized layers pack theirs behind methods."""
    sizes: dict[object, int] = {p: p.numel() for p in module.parameters()}
    for layer in module.modules():
        if ".quantized." in type(layer).__module__:
            packed = [getattr(layer, name, None) for name in ("weight", "bias")]
            tensors = [pack() for pack in packed if callable(pack)]
            sizes[layer] = sum(t.numel() for t in tensors if t is not None)
    return sizes


def _plain(value: object) -> object:
    if isinstance(value, Tensor):
        return [_plain(number) for number in value.tolist()]
    if isinstance(value, float) and value != value:
        return None
    return value
