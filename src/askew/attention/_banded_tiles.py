"""The geometry of a band of keys cut into equal tiles, and the scratch memory of its steps."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

LOG2E = math.log2(math.e)
"""Scores are held in base 2, exp(s) = 2^(s · LOG2E): `exp2` is as fast for -inf as for others."""

SCRATCH_SCORES = 1 << 18
"""Scores of one step: fewer cost more in calls than is gained in the processor's cache."""


class Band(NamedTuple):
    """What a query sees: `before` keys before its own position, `after` after it, and sinks."""

    before: int
    after: int
    num_sinks: int = 0

    def clip(self, queries: int, keys: int) -> "Band":
        """Return the same band without the offsets that no query can reach."""
        before, after = min(self.before, keys - 1), min(self.after, queries - 1)
        return Band(max(before, 0), max(after, 0), min(self.num_sinks, keys))


class Tiles(NamedTuple):
    """Blocks of `block` queries; each block has a tile of `width` keys.

    A tile starts `left` >= `before` keys before the position of its first query and ends `after`
    keys after that of its last. Keys are packed with padding around them, so that the tile of
    the block at query `start` is the packed rows `start` to `start + width`, and row t holds key
    `t + shift`. Neighbouring tiles overlap; they are views of the same packed rows.
    """

    band: Band
    queries: int
    keys: int
    block: int
    width: int

    @property
    def left(self) -> int:
        """Number of keys of a tile before the position of its first query."""
        # The last query of a block stands block - 1 keys further and sees `after` keys more.
        return self.width - self.block - self.band.after

    @property
    def shift(self) -> int:
        """Key that the first packed row stands for; negative where that is padding."""
        # Query 0 stands at key keys - queries: the last query stands at the last key.
        return self.keys - self.queries - self.left

    @property
    def packed(self) -> int:
        """Number of packed rows: queries rounded up to blocks, and the rest of the last tile."""
        return -(-self.queries // self.block) * self.block + self.width - self.block

    def span(self) -> tuple[slice, slice]:
        """Locate the keys that can be seen: among the keys, and among the packed rows."""
        first = max(self.shift, 0)
        last = max(min(self.keys, self.shift + self.packed), first)
        return slice(first, last), slice(first - self.shift, last - self.shift)

    def pack(self, rows: Tensor, hidden: Tensor | None, packed: Tensor) -> Tensor:
        """Write the rows of one head into `packed`, zero for padding and for hidden keys."""
        keys, place = self.span()
        packed[: place.start].zero_()
        packed[place.stop :].zero_()
        packed[place] = rows[keys]
        if hidden is not None:
            packed[place].masked_fill_(hidden[keys, None], 0.0)
        return packed

    def penalty(self, like: Tensor, hidden: Tensor | None) -> Tensor:
        """Make a number for each packed row: 0 for a visible key, -inf for hidden and padding."""
        keys, place = self.span()
        penalty = like.new_full((self.packed,), -math.inf)
        penalty[place] = 0.0
        if hidden is not None:
            penalty[place].masked_fill_(hidden[keys], -math.inf)
        return penalty

    def clip_bias(self, bias: Tensor | None, before: int) -> Tensor | None:
        """Return the entries of the clipped band, of a bias that begins `before` keys back."""
        if bias is None:
            return None
        first = before - self.band.before  # index 0 is the oldest key: clipping cuts at both ends
        return bias[:, first : first + self.band.before + self.band.after + 1]

    def bias_tile(self, bias: Tensor | None, heads: int, like: Tensor) -> Tensor:
        """Make the bias of a tile in base 2, [heads, block, width], -inf outside the band.

        It depends on offsets alone, so it is the same for every block.
        """
        tile = like.new_full((heads, self.block, self.width), -math.inf)
        self.diagonals(tile).copy_(like.new_zeros(()) if bias is None else bias[:, None] * LOG2E)
        return tile

    def diagonals(self, tile: Tensor) -> Tensor:
        """View `tile` as [heads, block, offsets]: what each query sees, oldest key first.

        Query r of a block sees the columns from left - before + r on. One row down and one
        column right is a step of width + 1 in memory, so the band is a view.
        """
        offsets = self.band.before + self.band.after + 1
        return tile.as_strided(
            (tile.shape[0], self.block, offsets),
            (self.block * self.width, self.width + 1, 1),
            self.left - self.band.before,
        )

    def steps(self) -> Iterator["Step"]:
        """Group blocks into steps that fit the scratch; an incomplete last block comes alone."""
        most = max(SCRATCH_SCORES // (self.block * self.width), 1)
        full = self.queries // self.block
        _, place = self.span()
        for first in range(0, full, most):
            count = min(most, full - first)
            yield self._step(first * self.block, count, self.block, place)
        rest = self.queries - full * self.block
        if rest:
            yield self._step(full * self.block, 1, rest, place)

    def _step(self, start: int, count: int, rows: int, place: slice) -> "Step":
        stop = start + (count - 1) * self.block + self.width
        inside = place.start <= start and stop <= place.stop
        return Step(start, count, rows, self.block, self.width, inside)


class Step(NamedTuple):
    """`count` blocks of `rows` queries from query `start` on; `inside`: no key is padding."""

    start: int
    count: int
    rows: int
    block: int
    width: int
    inside: bool

    def queries(self, rows: Tensor) -> Tensor:
        """View the queries' rows (or one number per query) as [count, rows, ...]."""
        return rows[self.start : self.start + self.count * self.rows].unflatten(
            0, (self.count, self.rows)
        )

    def keys(self, packed: Tensor) -> Tensor:
        """View packed keys as overlapping tiles [count, width, d]."""
        size, stride = packed.shape[1], packed.stride(0)
        return packed.as_strided(
            (self.count, self.width, size), (self.block * stride, stride, 1), self.start * stride
        )

    def penalties(self, penalty: Tensor) -> Tensor:
        """View the packed penalties as overlapping [count, 1, width]."""
        return penalty.as_strided((self.count, 1, self.width), (self.block, 1, 1), self.start)

    def scores(self, scratch: Tensor) -> Tensor:
        """View the start of the scratch as [count, rows, width]."""
        shape = (self.count, self.rows, self.width)
        return scratch[: self.count * self.rows * self.width].view(shape)

    def apart(self, packed: Tensor) -> Iterator[tuple[Tensor, slice]]:
        """Yield views [blocks, width, d] of packed keys that do not overlap, and their blocks.

        Adding in place to overlapping tiles would lose updates. Tiles that are width / block
        blocks apart touch but do not overlap, so the blocks are taken in that many rounds.
        """
        every = self.width // self.block
        for first in range(min(every, self.count)):
            blocks = len(range(first, self.count, every))
            start = self.start + first * self.block
            rows = packed[start : start + blocks * self.width]
            yield rows.view(blocks, self.width, -1), slice(first, None, every)


def make_tiles(band: Band, queries: int, keys: int) -> Tiles:
    """Choose the sizes of blocks and tiles.

    A query sees at most before + after + 1 of the block + before + after columns of its tile. A
    small block wastes less of that, a large one makes larger, faster products.
    """
    band = band.clip(queries, keys)
    offsets = band.before + band.after + 1
    block = 32 if offsets <= 160 else 64
    width = -(-(block + offsets - 1) // block) * block  # a multiple of block, for `Step.apart`
    return Tiles(band, queries, keys, block, width)


def scratch_like(tiles: Tiles, like: Tensor, buffers: int) -> list[Tensor]:
    """Allocate buffers for the scores of one step."""
    size = max(SCRATCH_SCORES, tiles.block * tiles.width)
    return [like.new_empty(size) for _ in range(buffers)]


def sink_penalty(tiles: Tiles, like: Tensor, hidden: Tensor | None) -> Tensor:
    """Make [queries, sinks]: 0 where a query sees a sink outside its band, else -inf.

    A sink inside the band is already in the query's tile and must not count twice.
    """
    band = tiles.band
    if band.num_sinks == 0:
        return like.new_empty(0)
    position = torch.arange(tiles.queries, device=like.device)[:, None]
    position = position + (tiles.keys - tiles.queries)
    sink = torch.arange(band.num_sinks, device=like.device)
    seen = sink < position - band.before
    if band.after > 0:
        seen = seen | (sink > position + band.after)
    if hidden is not None:
        seen = seen & ~hidden[: band.num_sinks]
    return like.new_zeros(seen.shape).masked_fill_(~seen, -math.inf)
