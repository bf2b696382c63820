"""Find the queries and keys of every head in a model, whoever built it."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from askew._check import require
from askew.attention import AsymmetricAttention

_CROSS = ("cross", "encdec", "encoder_attn", "question_attention", "context_attention")
_PAIRS = (("query", "key"), ("q_proj", "k_proj"), ("q", "k"), ("q_lin", "k_lin"))
_WIDTHS = ("head_dim", "attention_head_size", "key_value_proj_dim", "head_size")
_HEADS = ("num_heads", "num_attention_heads", "n_heads")


class QueryKeyMap(NamedTuple):
    """The weights by which the heads of one attention compare queries and keys.

    Args:
        name: Path of the module in the model.
        stack: Path of the layers it is one of, "" for a module alone.
        layer: Number of its layer, from 0.
        kind: "self", or "cross" where it reads another stream than it updates.
        query: [heads, d_head, d_model].
        key: [heads, d_head, d_source]; heads that share a key head have copies of it.
        kv_heads: Key heads that are stored.

    Example:
        >>> attention = AsymmetricAttention(8, num_heads=2, num_kv_heads=1)
        >>> (found,) = query_key_maps(attention)
        >>> found.query.shape, found.kv_heads
        (torch.Size([2, 4, 8]), 1)
    """

    name: str
    stack: str
    layer: int
    kind: Literal["self", "cross"]
    query: Float[Tensor, "heads d_head d_model"]
    key: Float[Tensor, "heads d_head d_source"]
    kv_heads: int


def query_key_maps(model: nn.Module) -> list[QueryKeyMap]:
    """Find the query and key weights of every head of a model.

    Known are this library's attention, `torch.nn.MultiheadAttention`, and of transformers the
    families that are built like BERT, GPT-2, T5, Llama, BART, DistilBERT, ModernBERT, Phi-3 and
    GPT-NeoX. Consecutive query heads share a key head. A bridge between queries and keys of
    unequal width is part of the queries here. Left out is what stands between the projections
    and their product: biases, normalisation, and rotation, which is none at equal positions.

    Args:
        model: Any module.

    Returns:
        The maps in the order of the model's modules.

    Raises:
        ValueError: If there is none, or an attention is of a kind that is not known.

    Example:
        >>> [own.kind for own in query_key_maps(nn.TransformerDecoderLayer(8, 2))]
        ['self', 'cross']
    """
    found, unknown = [], []
    for name, module in model.named_modules():
        sides = _sides(module)
        if sides is not None:
            found.append(_map(name, *sides))
        elif _looks_like_attention(module):
            unknown.append(f"{name} ({type(module).__name__})")
    require(
        not unknown,
        "query_key_maps: every attention must be of a known kind; got "
        f"{', '.join(unknown[:3])}. Give its weights to symmetry_score and its kin",
    )
    require(
        bool(found),
        f"query_key_maps: the model must have attention; got a {type(model).__name__} without",
    )
    return found


def _map(name: str, query: Tensor, key: Tensor, kv_heads: int) -> QueryKeyMap:
    path = name.split(".")
    numbers = [at for at, step in enumerate(path) if step.isdigit()]
    stack = ".".join(path[: numbers[0]]) if numbers else ""
    layer = int(path[numbers[0]]) if numbers else 0
    own = name[len(stack) :].lower()
    crossing = any(mark in own for mark in _CROSS) or own.endswith("multihead_attn")
    kind = "cross" if crossing or query.shape[-1] != key.shape[-1] else "self"
    return QueryKeyMap(name, stack, layer, kind, query, key, kv_heads)


@torch.no_grad()
def _sides(module: nn.Module) -> tuple[Tensor, Tensor, int] | None:
    """Queries and keys of each head, and how many key heads are stored."""
    if isinstance(module, AsymmetricAttention):
        query = module.query.weight.unflatten(0, (module.num_heads, -1))
        if module.bridge is not None:
            query = module.bridge.weight @ query
        return _grouped(query, module.key.weight, module.head_key)
    rows = _projections(module)
    if rows is None:
        return None
    width = _first(module, _WIDTHS)
    heads = _first(module, _HEADS) or _first(getattr(module, "config", None), _HEADS)
    if width is None and heads is None:
        return None
    width = width or rows[0].shape[0] // (heads or 1)
    if rows[0].shape[0] != width * (heads or rows[0].shape[0] // width):
        return None  # more than queries is in there
    return _grouped(rows[0].unflatten(0, (-1, width)), rows[1], width)


def _grouped(query: Tensor, key: Tensor, width: int) -> tuple[Tensor, Tensor, int]:
    """Give every query head its key head: consecutive ones share."""
    key = key.unflatten(0, (-1, width))
    return query, key.repeat_interleave(len(query) // len(key), dim=0), len(key)


def _projections(module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The rows of all queries and of all keys of an attention of another library."""
    if isinstance(module, nn.MultiheadAttention):
        if module.in_proj_weight is None:
            return module.q_proj_weight, module.k_proj_weight
        query, key, _ = module.in_proj_weight.chunk(3)
        return query, key
    if _first(module, _WIDTHS) is None and _first(module, _HEADS) is None:
        return None
    for names in _PAIRS:
        query, key = (_rows(module, name) for name in names)
        if query is not None and key is not None:
            return query, key
    return _fused(module)


def _fused(module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Queries and keys that one matrix makes, in the order of each family."""
    joined, asking = _rows(module, "c_attn"), _rows(module, "q_attn")
    if joined is not None:  # GPT-2; with q_attn it has only keys and values
        return (
            (joined.chunk(3)[0], joined.chunk(3)[1])
            if asking is None
            else (
                asking,
                joined.chunk(2)[0],
            )
        )
    joined = _rows(module, "Wqkv")
    if joined is not None:  # ModernBERT
        return joined.chunk(3)[0], joined.chunk(3)[1]
    joined, shared = _rows(module, "qkv_proj"), getattr(module, "num_key_value_heads", None)
    if joined is not None and shared:  # Phi-3
        stored = shared * module.head_dim
        return joined[: len(joined) - 2 * stored], joined[-2 * stored : -stored]
    joined = _rows(module, "query_key_value")
    if joined is not None and type(module).__name__.startswith("GPTNeoX"):  # head after head
        query, key, _ = joined.unflatten(0, (-1, 3, module.head_size)).unbind(1)
        return query.flatten(0, 1), key.flatten(0, 1)
    return None


def _rows(module: nn.Module, name: str) -> Tensor | None:
    """The weight of a linear map as [out, in]; the Conv1D of transformers keeps [in, out]."""
    layer = getattr(module, name, None)
    weight = getattr(layer, "weight", None)
    if not isinstance(layer, nn.Module) or not isinstance(weight, Tensor) or weight.dim() != 2:
        return None
    return weight.detach().T if type(layer).__name__ == "Conv1D" else weight.detach()


def _first(owner: object, names: tuple[str, ...]) -> int | None:
    values = (getattr(owner, name, None) for name in names)
    return next((value for value in values if isinstance(value, int)), None)


def _looks_like_attention(module: nn.Module) -> bool:
    """Whether it is called attention and has projections of its own, which nobody knows."""
    weights = [getattr(own, "weight", None) for own in module.children()]
    linear = [w for w in weights if isinstance(w, Tensor) and w.dim() == 2]
    return "Attention" in type(module).__name__ and len(linear) > 1
