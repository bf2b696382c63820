"""Keys and values that decoding keeps instead of computing them again."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from askew._check import require


class KeyValueCache:
    """The keys and values of one attention layer, [batch, kv_heads, length, width].

    A self-attention layer appends what each step adds. A cross-attention layer fills an
    empty cache once from its source and reads it from then on. With `before` it keeps only
    what later queries can still see: the first `num_sinks` keys and the last `before`.

    Args:
        before: Keys before a query's position that its window shows, >= 0; None keeps all.
        num_sinks: First keys that are always visible, >= 0.

    Raises:
        ValueError: If a setting is negative, or there are sinks without a window.

    Example:
        >>> cache = KeyValueCache(before=2)
        >>> keys, values = cache.append(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 3))
        >>> tuple(values.shape), cache.length, cache.kept
        ((1, 2, 5, 3), 5, 2)
    """

    before: int | None = None
    num_sinks: int = 0

    def __init__(self, *, before: int | None = None, num_sinks: int = 0) -> None:
        require(
            before is None or before >= 0,
            f"KeyValueCache: before must be at least 0; got before {before}",
        )
        require(
            num_sinks == 0 or (num_sinks > 0 and before is not None),
            "KeyValueCache: num_sinks must be at least 0 and needs a window; "
            f"got num_sinks {num_sinks}, before {before}",
        )
        self.before = before
        self.num_sinks = num_sinks
        self._length = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def length(self) -> int:
        """Number of positions appended so far, which is the index of the next one."""
        return self._length

    @property
    def kept(self) -> int:
        """Number of positions held."""
        return 0 if self.keys is None else self.keys.shape[2]

    def append(
        self,
        keys: Float[Tensor, "batch kv_heads new d_key"],
        values: Float[Tensor, "batch kv_heads new d_value"],
    ) -> tuple[Tensor, Tensor]:
        """Add new positions at the end and return all keys and values that they can see.

        Args:
            keys: Keys of the new positions.
            values: Values of the new positions.

        Returns:
            The keys and values held before, followed by the new ones.
        """
        self._length += keys.shape[2]
        if self.keys is not None and self.values is not None:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        self.keys, self.values = self._visible(keys, 2), self._visible(values, 2)
        return keys, values

    def visible_mask(
        self, key_mask: Bool[Tensor, "batch length"], keys: int
    ) -> Bool[Tensor, "batch keys"]:
        """Select from a mask over all positions the part for the keys that `append` returned.

        Args:
            key_mask: True = a real key, for every position appended so far.
            keys: Number of keys that `append` returned last.

        Returns:
            The mask of these keys.

        Raises:
            ValueError: If the mask has not as many positions.
        """
        require(
            key_mask.shape[1] == self.length,
            lambda: (
                f"KeyValueCache.visible_mask: key_mask must have all {self.length} positions "
                f"so far; got key_mask {tuple(key_mask.shape)}"
            ),
        )
        if keys == key_mask.shape[1]:
            return key_mask
        recent = key_mask[:, key_mask.shape[1] - (keys - self.num_sinks) :]
        return torch.cat([key_mask[:, : self.num_sinks], recent], dim=1)

    def _visible(self, rows: Tensor, axis: int) -> Tensor:
        """Drop what no later query sees; a copy, so that the memory of the rest can be freed."""
        if self.before is None or rows.shape[axis] <= self.num_sinks + self.before:
            return rows
        first = rows.narrow(axis, 0, self.num_sinks)
        last = rows.narrow(axis, rows.shape[axis] - self.before, self.before)
        return torch.cat([first, last], dim=axis)

    def read(self) -> tuple[Tensor, Tensor]:
        """Return everything held.

        Returns:
            All keys and all values.

        Raises:
            RuntimeError: If nothing was appended yet.
        """
        if self.keys is None or self.values is None:
            raise RuntimeError("KeyValueCache.read: append keys and values first; got none")
        return self.keys, self.values

    def reorder(self, rows: Int[Tensor, " batch"]) -> None:
        """Reorder the batch as beam search does: row i becomes what row `rows[i]` was.

        Args:
            rows: Which row each new row continues.
        """
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, rows)
            self.values = self.values.index_select(0, rows)
