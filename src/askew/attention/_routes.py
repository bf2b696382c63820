"""Which route computes a call of `attend`, and why."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from askew._check import require

Route = Literal["auto", "dense", "padded", "banded", "flex"]

DENSE_MAX_KEYS = 512
"""Up to this many keys in reach the dense kernel is as fast as the band."""

DENSE_MAX_KEYS_WIDE_WINDOW = 4096
"""The same for a window that covers at least half of the keys in reach."""


class RouteChoice(NamedTuple):
    """The route that computes a call, and the reason in words."""

    route: str
    reason: str


class Call(NamedTuple):
    """The arguments of one call of `attend`; `scale` is a number, mask and bias have four axes."""

    q: Tensor
    k: Tensor
    v: Tensor
    attn_mask: Tensor | None
    bias: Tensor | None
    relative_bias: Tensor | None
    causal: bool
    window: tuple[int, int] | None
    num_sinks: int
    scale: float
    dropout_p: float
    return_weights: bool
    sinks: Tensor | None = None

    @property
    def unreached(self) -> int:
        """Number of first keys that no query's window reaches; negative if there is more room."""
        # The first of n queries stands n - 1 positions before the last key.
        return self.k.shape[2] - self.q.shape[2] - (self.window or (0, 0))[0]


def choose_route(call: Call, route: Route) -> RouteChoice:
    """Choose the route of a call; a named route that cannot compute it is a ValueError."""
    require(
        route in ("auto", *OBSTACLES),
        f"attend: route must be one of auto, {', '.join(OBSTACLES)}; got route {route!r}",
    )
    if route == "auto":
        return _best(call)
    obstacle = OBSTACLES[route](call)
    require(
        obstacle is None,
        f"attend: route {route!r} must be able to do the call, but {obstacle}; "
        f"got route {route!r}. Pass route='auto'",
    )
    return RouteChoice(route, "named by the caller")


def key_mask_of(attn_mask: Tensor) -> Tensor | None:
    """Return the mask as [batch or 1, keys], or None if it differs between queries or heads."""
    if attn_mask.shape[1] != 1 or attn_mask.shape[2] != 1:
        return None
    return attn_mask[:, 0, 0]


def expanded_mask(call: Call) -> Tensor | None:
    """Return the mask expanded to [batch, heads, queries, keys], as a view."""
    if call.attn_mask is None:
        return None
    return call.attn_mask.expand(*call.q.shape[:3], call.k.shape[2])


def _best(call: Call) -> RouteChoice:
    obstacle = _no_banded(call)
    if call.window is not None and obstacle is None:
        if torch.compiler.is_compiling() and call.q.device.type != "cuda":
            # A route that depends on the length would take a graph for each range of lengths.
            if torch.onnx.is_in_onnx_export():
                return _dense(call, "ONNX has no operator for a band")
            return RouteChoice("banded", "one compiled graph is for all lengths")
        seen, reach = sum(call.window) + 1, call.k.shape[2] - max(call.unreached, 0)
        if reach <= DENSE_MAX_KEYS:
            return _dense(call, f"{reach} keys in reach are few (up to {DENSE_MAX_KEYS})")
        if 2 * seen >= reach and reach <= DENSE_MAX_KEYS_WIDE_WINDOW:
            return _dense(call, f"a window of {seen} covers most of {reach} keys in reach")
        reason = f"a window of {seen} keys costs less than {reach} keys in reach"
        if call.q.device.type != "cuda":
            return RouteChoice("banded", reason)
        if _no_flex(call) is None:
            return RouteChoice("flex", reason)
        return RouteChoice("banded", f"{reason}, and {_no_flex(call)}")
    if call.window is None:
        return _dense(call, "there is no window")
    return _dense(call, obstacle or "")


def _dense(call: Call, reason: str) -> RouteChoice:
    widths_differ = call.q.shape[-1] != call.v.shape[-1]
    if widths_differ and call.q.shape[2] == 1:
        return RouteChoice("dense", f"{reason}; for one query, padding would copy all keys")
    if widths_differ and _no_padded(call) is None:
        return RouteChoice("padded", f"{reason}; widths differ, and fused kernels want equal ones")
    return RouteChoice("dense", reason)


def _no_dense(call: Call) -> str | None:
    return None


def _no_padded(call: Call) -> str | None:
    return "weights are only returned by the dense route" if call.return_weights else None


def _no_banded(call: Call) -> str | None:
    if call.window is None:
        return "it needs a window"
    if call.return_weights:
        return "weights are only returned by the dense route"
    if call.dropout_p > 0:
        return "weights are only dropped by the dense route"
    if call.bias is not None:
        return "a bias for every pair of positions needs the dense route"
    if call.attn_mask is not None and key_mask_of(call.attn_mask) is None:
        return "a mask that differs between queries or heads needs the dense route"
    return None


def _no_flex(call: Call) -> str | None:
    if call.q.device.type != "cuda":
        return f"FlexAttention trains on CUDA only and q is on {call.q.device.type}"
    if call.bias is not None:
        return "a bias for every pair of positions needs the dense route"
    if call.dropout_p > 0 or call.return_weights:
        return "weights are only dropped or returned by the dense route"
    if call.q.dtype == torch.float64:
        return "FlexAttention has no float64"
    return None


OBSTACLES = {
    "dense": _no_dense,
    "padded": _no_padded,
    "banded": _no_banded,
    "flex": _no_flex,
}
