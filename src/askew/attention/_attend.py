"""Scaled dot-product attention: the one function that all layers call."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from askew._check import require
from askew._reduction import check_tensor, is_autocast
from askew.attention._banded import attend_banded
from askew.attention._banded_tiles import Band
from askew.attention._dense import attend_dense, attend_with_weights
from askew.attention._flex import attend_flex
from askew.attention._routes import Call, Route, RouteChoice, choose_route, key_mask_of


class AttentionOutput(NamedTuple):
    """The result of attention: `output`, and `weights` if they were requested, else None.

    Example:
        >>> x = torch.randn(1, 2, 3, 4)
        >>> result = attend(x, x, x, return_weights=True)
        >>> isinstance(result, AttentionOutput), result.weights.shape
        (True, torch.Size([1, 2, 3, 3]))
    """

    output: Tensor
    weights: Tensor | None


def attend(
    q: Float[Tensor, "batch heads queries d_qk"],
    k: Float[Tensor, "batch kv_heads keys d_qk"],
    v: Float[Tensor, "batch kv_heads keys d_v"],
    *,
    attn_mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    relative_bias: Float[Tensor, "heads offsets"] | None = None,
    sinks: Float[Tensor, " heads"] | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    num_sinks: int = 0,
    scale: float | None = None,
    dropout_p: float = 0.0,
    route: Route = "auto",
    return_weights: bool = False,
) -> AttentionOutput:
    r"""Compute scaled dot-product attention of sides that may differ in length, heads and width.

    .. math::
        o_i = \sum_j \operatorname{softmax}_j(s\,q_i^\top k_j + b_{ij} + r_{j-i})\,v_j

    over the keys j that query i may see. A sink :math:`z_h` multiplies the output of its head by
    :math:`Z_i / (Z_i + e^{z_h})`, with :math:`Z_i` the softmax's denominator. Equal lengths,
    heads and widths and no window give ordinary attention; a window with equal sides is the
    ordinary sliding window. The output of a query that sees no key is zero, and so is its
    gradient.

    The last query stands at the last key: query i has position i + keys − queries.

    Args:
        q: Queries.
        k: Keys. `heads` is a multiple of `kv_heads`; consecutive query heads share a key head.
        v: Values; their width may differ from that of queries and keys.
        attn_mask: True = may attend; broadcasts to [batch, heads, queries, keys].
        bias: Added to the scaled scores; broadcasts like `attn_mask`.
        relative_bias: Added within a window, trained: [heads, before + after + 1]. Index 0
            is the oldest visible key, index `before` the query's own position.
        sinks: A logit per head, [heads], trained: one more term of the softmax's denominator,
            which takes weight from the keys and has no value. -inf is a head without one: bit for
            bit on the banded route and with weights, else up to rounding.
        causal: Hide the future. A window then has `after` 0.
        window: (before, after), both >= 0: a query sees `before` keys before its position
            and `after` keys after it, all inclusive. None sees everything.
        num_sinks: Number of first keys that every query sees outside its window too, >= 0:
            tokens, unlike the logits `sinks`. There they have no relative bias. With `causal`, or
            with `after` 0, a query does not see the sinks after its position.
        scale: Factor of the dot product, d_qk ** -0.5 by default.
        dropout_p: Share of the weights to drop, in [0, 1). Pass 0 outside training.
        route: How it is computed; the numbers are the same. "dense": all pairs; "padded":
            the same with widths made equal; "banded": a window at linear cost, whose only mask
            may be one of keys ([batch, 1, 1, keys]); "flex": FlexAttention on CUDA; "auto"
            chooses one of these.
        return_weights: Also return the weights, which takes memory for all pairs.

    Returns:
        Output [batch, heads, queries, d_v] and weights [batch, heads, queries, keys] or None.

    Raises:
        ValueError: If shapes do not fit, a setting is out of range, or the named route
            cannot compute the call.
        TypeError: If `attn_mask` is not boolean, the dtypes of `q`, `k` and `v` differ outside
            autocast, or a list or an array stands in the place of a tensor.

    Numerics:
        Half precision is summed in float32. A key or value that is not finite turns the rows
        that see it into NaN and leaves the others unchanged. Where d_qk and d_v differ the
        narrower side is padded with zeros, so that the fused kernels can be used; the scale is
        that of the true width.

    Example:
        >>> q, k, v = torch.zeros(1, 4, 2, 8), torch.zeros(1, 2, 3, 8), torch.ones(1, 2, 3, 5)
        >>> attend(q, k, v, causal=True).output.shape
        torch.Size([1, 4, 2, 5])

    References:
        Attention Is All You Need, 2017, arXiv:1706.03762.
        GQA, 2023, arXiv:2305.13245 (grouped heads).
        Efficient Streaming Language Models with Attention Sinks, 2023, arXiv:2309.17453
        (first keys, and a sink that is trained).
        gpt-oss-120b & gpt-oss-20b Model Card, 2025, arXiv:2508.10925 (`sinks`).
    """
    _refuse_lists(q, k, v)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    masks = (attn_mask, bias, relative_bias, causal, window, num_sinks)
    call = Call(q, k, v, *masks, scale, dropout_p, return_weights, sinks)
    if not _is_plain(call):
        call = _checked(call)
    chosen = choose_route(call, route).route
    if chosen == "banded":
        return AttentionOutput(_attend_in_band(call), None)
    if chosen == "flex":
        return AttentionOutput(attend_flex(call), None)
    if return_weights:
        return AttentionOutput(*attend_with_weights(call))
    return AttentionOutput(attend_dense(call, pad=chosen == "padded"), None)


def explain_route(
    q: Float[Tensor, "batch heads queries d_qk"],
    k: Float[Tensor, "batch kv_heads keys d_qk"],
    v: Float[Tensor, "batch kv_heads keys d_v"],
    *,
    attn_mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    relative_bias: Float[Tensor, "heads offsets"] | None = None,
    sinks: Float[Tensor, " heads"] | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    num_sinks: int = 0,
    scale: float | None = None,
    dropout_p: float = 0.0,
    route: Route = "auto",
    return_weights: bool = False,
) -> RouteChoice:
    """Return the route that `attend` takes with the same arguments, and why; compute nothing.

    Args:
        q: As in `attend`.
        k: As in `attend`.
        v: As in `attend`.
        attn_mask: As in `attend`.
        bias: As in `attend`.
        relative_bias: As in `attend`.
        sinks: As in `attend`.
        causal: As in `attend`.
        window: As in `attend`.
        num_sinks: As in `attend`.
        scale: As in `attend`.
        dropout_p: As in `attend`.
        route: As in `attend`.
        return_weights: As in `attend`.

    Returns:
        The name of the route and the reason in words.

    Raises:
        ValueError: As `attend` does.
        TypeError: As `attend` does.

    Example:
        >>> x = torch.zeros(1, 1, 2000, 4)
        >>> explain_route(x, x, x, window=(63, 0)).route
        'banded'
        >>> explain_route(x, x, x, causal=True)
        RouteChoice(route='dense', reason='there is no window')
    """
    _refuse_lists(q, k, v)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    masks = (attn_mask, bias, relative_bias, causal, window, num_sinks)
    call = Call(q, k, v, *masks, scale, dropout_p, return_weights, sinks)
    return choose_route(_checked(call), route)


def _refuse_lists(q: object, k: object, v: object) -> None:
    if not (isinstance(q, Tensor) and isinstance(k, Tensor) and isinstance(v, Tensor)):
        for label, value in (("q", q), ("k", k), ("v", v)):
            check_tensor("attend", label, value)


def _attend_in_band(call: Call) -> Tensor:
    """Compute the call on the banded route."""
    mask = None if call.attn_mask is None else key_mask_of(call.attn_mask)
    if mask is not None:
        mask = mask.expand(call.k.shape[0], call.k.shape[2])
    band = Band(*(call.window or (0, 0)), call.num_sinks)
    q, k, v, bias = call.q, call.k, call.v, call.relative_bias
    return attend_banded(q, k, v, bias, mask, band, call.scale, call.sinks)


def _checked(call: Call) -> Call:
    """Check all arguments, and return the call with a mask and a bias of four axes."""
    for label in ("attn_mask", "bias", "relative_bias", "sinks"):
        if (value := getattr(call, label)) is not None:
            check_tensor("attend", label, value)
    _check_tensors(call)
    _check_settings(call)
    mask, bias = (
        t if t is None else t[(None,) * (4 - t.dim())] for t in (call.attn_mask, call.bias)
    )
    return call._replace(attn_mask=mask, bias=bias)


def _is_plain(call: Call) -> bool:
    """Whether the call is so simple that nothing needs to be checked.

    The checks write their messages first, which would take longer than one step of decoding.
    """
    q, k, v = call.q, call.k, call.v
    mask = call.attn_mask
    return (
        q.dim() == k.dim() == v.dim() == 4
        and (
            mask is None
            or (
                isinstance(mask, Tensor)
                and mask.dtype == torch.bool
                and mask.shape == (q.shape[0], 1, 1, k.shape[2])
            )
        )
        and call.bias is None
        and call.relative_bias is None
        and call.window is None
        and call.num_sinks == 0
        and call.dropout_p == 0
        and call.sinks is None
        and q.dtype == k.dtype == v.dtype
        and q.shape[0] == k.shape[0]
        and q.shape[3] == k.shape[3]
        and k.shape[:3] == v.shape[:3]
        and k.shape[1] > 0
        and q.shape[1] % k.shape[1] == 0
    )


def _check_tensors(call: Call) -> None:
    q, k, v = call.q, call.k, call.v
    require(
        q.dim() == k.dim() == v.dim() == 4,
        lambda: (
            "attend: q, k and v must have four axes [batch, heads, length, width]; "
            f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        ),
    )
    require(
        q.shape[0] == k.shape[0] and q.shape[-1] == k.shape[-1],
        lambda: (
            "attend: q and k must agree in batch and width; "
            f"got q {tuple(q.shape)}, k {tuple(k.shape)}"
        ),
    )
    require(
        k.shape[:3] == v.shape[:3],
        lambda: (
            "attend: k and v must agree in batch, heads and length; "
            f"got k {tuple(k.shape)}, v {tuple(v.shape)}"
        ),
    )
    require(
        k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0,
        lambda: (
            "attend: the heads of q must be a multiple of those of k; "
            f"got q {q.shape[1]}, k {k.shape[1]}"
        ),
    )
    if not q.dtype == k.dtype == v.dtype and not is_autocast(q.device.type):
        raise TypeError(
            "attend: q, k and v must have one dtype outside autocast; "
            f"got q {q.dtype}, k {k.dtype}, v {v.dtype}"
        )
    if call.attn_mask is not None and call.attn_mask.dtype != torch.bool:
        raise TypeError(
            "attend: attn_mask must be boolean, True = may attend; "
            f"got dtype {call.attn_mask.dtype}. Pass additive scores as bias"
        )
    require(
        call.sinks is None or call.sinks.shape == (q.shape[1],),
        lambda: (
            "attend: sinks must be one number for each head of q; "
            f"got sinks {() if call.sinks is None else tuple(call.sinks.shape)}, heads {q.shape[1]}"
        ),
    )
    scores = (*q.shape[:3], k.shape[2])
    for name, tensor in (("attn_mask", call.attn_mask), ("bias", call.bias)):
        require(
            tensor is None or _broadcasts(tensor.shape, scores),
            f"attend: {name} must broadcast to [batch, heads, queries, keys] {scores}; "
            f"got {name} {() if tensor is None else tuple(tensor.shape)}",
        )


def _broadcasts(shape: torch.Size, target: tuple[int, ...]) -> bool:
    if len(shape) > len(target):
        return False
    aligned = target[len(target) - len(shape) :]
    return all(size in (1, wanted) for size, wanted in zip(shape, aligned, strict=True))


def _check_settings(call: Call) -> None:
    require(
        0.0 <= call.dropout_p < 1.0,
        lambda: f"attend: dropout_p must be in [0, 1); got dropout_p {call.dropout_p}",
    )
    window = (0, 0) if call.window is None else call.window
    if not (isinstance(window, tuple | list) and len(window) == 2):
        raise TypeError(
            "attend: window must be a pair (before, after); "
            f"got window {window!r}. For n keys on both sides write (n, n)"
        )
    before, after = window
    require(
        before >= 0 and after >= 0,
        lambda: f"attend: window must be (before, after), both >= 0; got window {call.window}",
    )
    require(
        not (call.causal and after > 0),
        lambda: (
            f"attend: causal attention sees nothing after a query; got causal True, "
            f"window {call.window}. Pass window=({before}, 0)"
        ),
    )
    require(
        call.num_sinks >= 0 and (call.num_sinks == 0 or call.window is not None),
        lambda: (
            "attend: num_sinks must be >= 0 and needs a window; "
            f"got num_sinks {call.num_sinks}, window {call.window}"
        ),
    )
    if call.relative_bias is None:
        return
    expected = (call.q.shape[1], before + after + 1)
    require(
        call.window is not None and tuple(call.relative_bias.shape) == expected,
        lambda: (
            "attend: relative_bias must be [heads, before + after + 1] and needs a window; "
            f"got relative_bias {tuple(call.relative_bias.shape)}, heads {expected[0]}, "
            f"window {call.window}"
        ),
    )
