"""Find the query and key weights of every attention head, in models of several libraries."""

import re
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from askew._check import require
from askew.attention import AsymmetricAttention, LatentAttention
from askew.inspection._effective import effective_weight, input_width

_CROSS = ("cross", "encdec", "encoder_attn", "question_attention", "context_attention")
_PAIRS = (("query", "key"), ("q_proj", "k_proj"), ("q", "k"), ("q_lin", "k_lin"))
_WIDTHS = ("head_dim", "attention_head_size", "key_value_proj_dim", "head_size")
_HEADS = ("num_heads", "num_attention_heads", "n_heads")


class QueryKeyMap(NamedTuple):
    """The weights by which the heads of one attention compare queries and keys.

    Args:
        name: Path of the module in the model.
        stack: Path of the list of layers that it belongs to, "" for a module alone.
        layer: Number of its layer, from 0.
        kind: "self", or "cross" if it reads another stream than the one it updates.
        query: [heads, d_head, d_model].
        key: [heads, d_head, d_source]; heads that share a key head have copies of it.
        kv_heads: Number of key heads that are stored.

    Example:
        >>> attention = AsymmetricAttention(8, num_heads=2, num_kv_heads=1)
        >>> (head_maps,) = query_key_maps(attention)
        >>> head_maps.query.shape, head_maps.kv_heads
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

    It knows this library's attention, `torch.nn.MultiheadAttention`, and the families of
    transformers that are built like BERT, GPT-2, T5, Llama, BART, DistilBERT, ModernBERT, Phi-3
    and GPT-NeoX. Consecutive query heads share a key head. A bridge between queries and keys of
    unequal width is multiplied into the queries, a map to a latent into the keys. A layer that
    reads the keys of one before it has the map of that one. What a model does between the
    projections and their product is left out: biases, normalisation, and rotation by positions
    (which changes nothing where query and key have the same position).

    A matrix is the one that the layer applies, with its adapters and parametrizations. Layers that
    keep no such matrix (adapters, quantized and offloaded layers) are called to find it.

    Args:
        model: Any module.

    Returns:
        The maps in the order of the model's modules.

    Raises:
        ValueError: If there is no attention, one of an unknown kind, or a projection that is not
            linear.

    Example:
        >>> [attention.kind for attention in query_key_maps(nn.TransformerDecoderLayer(8, 2))]
        ['self', 'cross']
    """
    maps, unknown = [], []
    makers: dict[str, str] = {}
    for name, module in model.named_modules():
        base = getattr(module, "base_layer", None)
        if isinstance(base, nn.MultiheadAttention | AsymmetricAttention | LatentAttention):
            unknown.append(f"{name} ({type(module).__name__} around a {type(base).__name__})")
        weights = _head_weights(name, module, _maker(model, name, module, makers))
        if weights is not None:
            maps.append(_map(name, *weights))
        elif _looks_like_attention(module):
            unknown.append(f"{name} ({type(module).__name__})")
    require(
        not unknown,
        "query_key_maps: every attention must be of a known kind; got "
        f"{', '.join(unknown[:3])}. Pass its weights to symmetry_score and the other scores",
    )
    require(
        bool(maps),
        f"query_key_maps: the model must have attention; got a {type(model).__name__} without",
    )
    return maps


def _map(name: str, query: Tensor, key: Tensor, kv_heads: int) -> QueryKeyMap:
    path = name.split(".")
    numbers = [at for at, step in enumerate(path) if step.isdigit()]
    stack = ".".join(path[: numbers[0]]) if numbers else ""
    layer = int(path[numbers[0]]) if numbers else 0
    within_layer = name[len(stack) :].lower()
    crossing = any(mark in within_layer for mark in _CROSS)
    crossing = crossing or within_layer.endswith("multihead_attn")  # of torch's decoder layer
    kind = "cross" if crossing or query.shape[-1] != key.shape[-1] else "self"
    return QueryKeyMap(name, stack, layer, kind, query, key, kv_heads)


def _maker(
    model: nn.Module, path: str, module: nn.Module, makers: dict[str, str]
) -> tuple[str, nn.Module]:
    """Return the attention that makes the keys of another: itself, or one of a layer before."""
    if isinstance(module, AsymmetricAttention):
        place = re.sub(r"\d+", "#", path)  # the same in every layer
        if module.key is not None:
            makers[place] = path
        path = makers.get(place, path)
        module = model.get_submodule(path)
    return path, module


@torch.no_grad()
def _head_weights(
    path: str, module: nn.Module, maker: tuple[str, nn.Module]
) -> tuple[Tensor, Tensor, int] | None:
    """Return query and key weights of each head and the number of stored key heads, if known."""
    if isinstance(module, AsymmetricAttention):
        query, bridge = (_rows(path, module, name) for name in ("query", "bridge"))
        key = _rows(*maker, "key")
        if query is None or key is None:
            return None
        query = query.unflatten(0, (module.num_heads, -1))
        return _grouped(query if bridge is None else bridge @ query, key, module.head_key)
    if isinstance(module, LatentAttention):
        return _latent_weights(path, module)
    rows = _projections(path, module)
    if rows is None:
        return None
    width = _first(module, _WIDTHS)
    heads = _first(module, _HEADS) or _first(getattr(module, "config", None), _HEADS)
    if width is None and heads is None:
        return None
    width = width or rows[0].shape[0] // (heads or 1)
    if rows[0].shape[0] != width * (heads or rows[0].shape[0] // width):
        return None  # the matrix holds more than queries
    return _grouped(rows[0].unflatten(0, (-1, width)), rows[1], width)


def _latent_weights(path: str, module: LatentAttention) -> tuple[Tensor, Tensor, int] | None:
    """Multiply the map to the latent into the keys; the rotated part is one for all heads."""
    query, key, latent = (_rows(path, module, name) for name in ("query", "key", "latent"))
    if query is None or key is None or latent is None:
        return None
    query, key = (rows.unflatten(0, (module.num_heads, -1)) for rows in (query, key))
    latent, rotated = latent.split([module.d_latent, module.d_rotary])
    return query, torch.cat([key @ latent, rotated.expand(module.num_heads, -1, -1)], 1), 1


def _grouped(query: Tensor, key: Tensor, width: int) -> tuple[Tensor, Tensor, int]:
    """Pair every query head with its key head, which consecutive query heads share."""
    key = key.unflatten(0, (-1, width))
    return query, key.repeat_interleave(len(query) // len(key), dim=0), len(key)


def _projections(path: str, module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return the weights [out, in] of all queries and of all keys, in another library's layer."""
    if isinstance(module, nn.MultiheadAttention):
        if module.in_proj_weight is None:
            return module.q_proj_weight, module.k_proj_weight
        query, key, _ = module.in_proj_weight.chunk(3)
        return query, key
    if _first(module, _WIDTHS) is None and _first(module, _HEADS) is None:
        return None
    for names in _PAIRS:
        query, key = (_rows(path, module, name) for name in names)
        if query is not None and key is not None:
            return query, key
    return _fused(path, module)


def _fused(path: str, module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Split a matrix that makes queries, keys and values together, as each family orders it."""
    joined, query = _rows(path, module, "c_attn"), _rows(path, module, "q_attn")
    if joined is not None and query is not None:  # cross-attention of GPT-2: keys and values
        return query, joined.chunk(2)[0]
    if joined is not None:  # GPT-2
        return joined.chunk(3)[0], joined.chunk(3)[1]
    joined = _rows(path, module, "Wqkv")
    if joined is not None:  # ModernBERT
        return joined.chunk(3)[0], joined.chunk(3)[1]
    joined, shared = _rows(path, module, "qkv_proj"), getattr(module, "num_key_value_heads", None)
    if joined is not None and shared:  # Phi-3
        stored = shared * module.head_dim
        return joined[: len(joined) - 2 * stored], joined[-2 * stored : -stored]
    joined = _rows(path, module, "query_key_value")
    if joined is not None and type(module).__name__.startswith("GPTNeoX"):  # head after head
        query, key, _ = joined.unflatten(0, (-1, 3, module.head_size)).unbind(1)
        return query.flatten(0, 1), key.flatten(0, 1)
    return None


def _rows(path: str, module: nn.Module, name: str) -> Tensor | None:
    """Return the matrix [out, in] that the linear layer `name` applies, if the module has it."""
    return effective_weight(f"{path}.{name}".lstrip("."), getattr(module, name, None))


def _first(owner: object, names: tuple[str, ...]) -> int | None:
    values = (getattr(owner, name, None) for name in names)
    return next((value for value in values if isinstance(value, int)), None)


def _looks_like_attention(module: nn.Module) -> bool:
    """Whether a module is called attention and has projections, though of an unknown kind."""
    linear = [child for child in module.children() if input_width(child) is not None]
    return "Attention" in type(module).__name__ and len(linear) > 1
