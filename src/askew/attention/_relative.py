"""Biases that depend on how far a key stands from a query, and on which side."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from askew._check import require
from askew._plain import is_plain


class RelativeBias(nn.Module):
    r"""A learned bias per head and offset, with separate entries for past and future.

    The offset of a key is its position minus the query's: negative is the past. With a window
    every offset in it has its own entry, oldest first. Without one, offsets fall into buckets:
    the nearest have one each, farther ones share buckets that grow geometrically up to
    `max_distance`, beyond which all share the last, so that any length works. All entries start
    at zero: as if there were no bias.

    Args:
        num_heads: Number of query heads.
        window: (before, after) of the attention it is for, both >= 0, or None for buckets.
        causal: Without a window, use all buckets for the past.
        num_buckets: Buckets of both sides together, even and at least 4.
        max_distance: From here on all distances share the last bucket; more than a quarter of
            `num_buckets`, or more than half of it if `causal`.
        device: Where the table is made.
        dtype: Type of the table.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> bias = RelativeBias(2, window=(3, 1))
        >>> bias.table.shape, bias(torch.tensor([-3, 0, 1])).shape
        (torch.Size([2, 5]), torch.Size([2, 3]))

    References:
        Self-Attention with Relative Position Representations, 2018, arXiv:1803.02155.
        Exploring the Limits of Transfer Learning (T5), 2019, arXiv:1910.10683 (buckets).
    """

    def __init__(
        self,
        num_heads: int,
        *,
        window: tuple[int, int] | None = None,
        causal: bool = False,
        num_buckets: int = 32,
        max_distance: int = 128,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require(num_heads > 0, f"RelativeBias: num_heads must be positive; got {num_heads}")
        require(
            window is None or min(window) >= 0,
            f"RelativeBias: window must be (before, after), both >= 0; got window {window}",
        )
        require(
            num_buckets >= 4 and num_buckets % 2 == 0,
            f"RelativeBias: num_buckets must be even and at least 4; got num_buckets {num_buckets}",
        )
        side = num_buckets if causal else num_buckets // 2
        require(
            max_distance > side // 2,
            f"RelativeBias: max_distance must be more than {side // 2}, the offsets that have a "
            f"bucket each; got max_distance {max_distance}",
        )
        self.window = window
        self.causal = causal
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        entries = num_buckets if window is None else sum(window) + 1
        self.table = nn.Parameter(torch.zeros(num_heads, entries, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set all entries to zero again."""
        nn.init.zeros_(self.table)

    def forward(self, offsets: Int[Tensor, " n"]) -> Float[Tensor, "heads n"]:
        """Look up the bias of every head at the given offsets.

        Args:
            offsets: Key position minus query position. Outside the window the bias is 0.

        Returns:
            [heads, n].
        """
        if self.window is None:
            return self.table[:, self._bucket(offsets)]
        before, after = self.window
        inside = (offsets >= -before) & (offsets <= after)
        entries = self.table[:, (offsets + before).clamp(0, before + after)]
        return torch.where(inside, entries, 0.0)

    def _bucket(self, offsets: Tensor) -> Tensor:
        """Number the buckets: those of the past, nearest first, then those of the future.

        Distances below `near` have a bucket each. From there on the bucket grows with
        log(distance / near) and reaches the last bucket of a side, `side - 1`, before
        `max_distance`.
        """
        side = self.num_buckets if self.causal else self.num_buckets // 2
        near = side // 2
        distance = offsets.abs()
        growth = (side - near) / math.log(self.max_distance / near)
        # clamp_min avoids log(0); distances below `near` are replaced in the next line.
        far = near + (torch.log(distance.clamp_min(1) / near) * growth).long()
        bucket = torch.where(distance < near, distance, far.clamp(max=side - 1))
        if self.causal:
            return torch.where(offsets > 0, 0, bucket)
        return torch.where(offsets > 0, side + bucket, bucket)

    def extra_repr(self) -> str:
        """Return the settings."""
        heads = f"num_heads={self.table.shape[0]}"
        if self.window is not None:
            return f"{heads}, window={self.window}"
        return (
            f"{heads}, causal={self.causal}, num_buckets={self.num_buckets}, "
            f"max_distance={self.max_distance}"
        )


class ALiBi(nn.Module):
    r"""A penalty that grows linearly with distance, with a slope per head and direction.

    .. math::
        b_h(o) = -\,s^{-}_h \max(-o, 0) \;-\; s^{+}_h \max(o, 0)

    for a key at offset o from the query. Equal slopes on both sides are the symmetric form;
    in causal attention only the slopes of the past matter. Nothing is learned.

    Args:
        num_heads: Number of query heads.
        slopes_before: Slopes of the past, one per head, >= 0; by default the geometric
            sequence of the paper, 2^(−8h/H).
        slopes_after: Slopes of the future; by default those of the past.
        device: Where the slopes are kept.

    Raises:
        ValueError: If there is not one slope per head, or one is negative.

    Example:
        >>> ALiBi(2, slopes_after=(0.5, 1.0))(torch.tensor([-2, 2])).tolist()
        [[-0.125, -1.0], [-0.0078125, -2.0]]

    References:
        Train Short, Test Long, 2022, arXiv:2108.12409.
    """

    def __init__(
        self,
        num_heads: int,
        *,
        slopes_before: tuple[float, ...] | None = None,
        slopes_after: tuple[float, ...] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        before = _geometric(num_heads) if slopes_before is None else slopes_before
        after = before if slopes_after is None else slopes_after
        for name, slopes in (("slopes_before", before), ("slopes_after", after)):
            require(
                len(slopes) == num_heads and min(slopes, default=0) >= 0,
                f"ALiBi: {name} must be {num_heads} numbers >= 0, one per head; "
                f"got {name} {tuple(slopes)}",
            )
        self._slopes = {"slopes_before": before, "slopes_after": after}
        self.slopes_before: Tensor
        self.slopes_after: Tensor
        for name in self._slopes:
            values = torch.empty(num_heads, dtype=torch.float32, device=device)
            self.register_buffer(name, values, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Write the slopes again, which `to_empty` leaves undefined."""
        for name, slopes in self._slopes.items():
            buffer = getattr(self, name)
            buffer.copy_(torch.tensor(slopes, dtype=buffer.dtype, device=buffer.device))

    def restore(self, device: torch.device | str | None = None) -> None:
        """Make and write the slopes, also of a module that was built on the meta device.

        Loading calls it, since no file has the slopes.

        Args:
            device: Where they are made if they have no memory yet.
        """
        for name in self._slopes:
            if getattr(self, name).is_meta:
                setattr(self, name, torch.empty_like(getattr(self, name), device=device or "cpu"))
        self.reset_parameters()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.restore()

    def forward(self, offsets: Int[Tensor, " n"]) -> Float[Tensor, "heads n"]:
        """Compute the bias of every head at the given offsets.

        Args:
            offsets: Key position minus query position.

        Returns:
            [heads, n].
        """
        past, future = (-offsets).clamp_min(0), offsets.clamp_min(0)
        return -(self.slopes_before[:, None] * past + self.slopes_after[:, None] * future)

    def extra_repr(self) -> str:
        """Return the number of heads."""
        return f"num_heads={len(self.slopes_before)}"


def _geometric(num_heads: int) -> tuple[float, ...]:
    """Compute the slopes 2^(−8h/H), h = 1 … H.

    If H is not a power of two: the slopes for the next lower power, then every second one of the
    slopes for twice that power.
    """
    require(num_heads > 0, f"ALiBi: num_heads must be positive; got num_heads {num_heads}")
    power = 2 ** int(math.log2(num_heads))
    slopes = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    finer = [2 ** (-4 * h / power) for h in range(1, 2 * power + 1, 2)]
    return tuple(slopes + finer[: num_heads - power])


def spread_offsets(
    bias: RelativeBias | ALiBi, queries: int, keys: int, device: torch.device
) -> Float[Tensor, "heads queries keys"]:
    """Compute the bias at every pair of positions; the last query stands at the last key."""
    # All offsets, from the last query to the first key up to the first query to the last key.
    offsets = torch.arange(1 - keys, max(queries, 1), device=device)
    return slide(bias(offsets), queries, keys)


def slide(line: Tensor, queries: int, keys: int) -> Tensor:
    """Spread [H, queries + keys - 1] over all pairs, [H, queries, keys].

    The last query reads the line from index 0 on, every earlier query one place further.
    """
    if not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
        return line.unfold(-1, keys, 1).flip(1)
    # `unfold` would fix the number of keys. Here each row is one longer than the rows that it is
    # read as afterwards, so row i moves i places right: out[i, c] = line[c - i].
    rows = F.pad(line, (0, 1))[:, None].expand(-1, queries, -1).flatten(1)
    length = queries + keys - 1
    return rows[:, : queries * length].unflatten(1, (queries, length))[..., queries - 1 :]


def window_offsets(
    bias: RelativeBias | ALiBi, window: tuple[int, int], device: torch.device
) -> Float[Tensor, "heads offsets"]:
    """Compute the bias within a window, oldest key first."""
    if isinstance(bias, RelativeBias) and bias.window == window and is_plain(bias, RelativeBias):
        return bias.table
    return bias(torch.arange(-window[0], window[1] + 1, device=device))
