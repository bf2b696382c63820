"""Keys and values that decoding keeps instead of computing them again."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class KeyValueCache:
    """The keys and values of one attention layer, [batch, kv_heads, length, width].

    A self-attention layer appends what each step adds. A cross-attention layer fills an
    empty cache once from its source and reads it from then on.

    Example:
        >>> cache = KeyValueCache()
        >>> keys, values = cache.append(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 5))
        >>> cache.length, tuple(values.shape)
        (3, (1, 2, 3, 5))
    """

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def length(self) -> int:
        """Number of positions held."""
        return 0 if self.keys is None else self.keys.shape[2]

    def append(
        self,
        keys: Float[Tensor, "batch kv_heads new d_key"],
        values: Float[Tensor, "batch kv_heads new d_value"],
    ) -> tuple[Tensor, Tensor]:
        """Add new positions at the end and return everything held.

        Args:
            keys: Keys of the new positions.
            values: Values of the new positions.

        Returns:
            All keys and all values.
        """
        if self.keys is not None and self.values is not None:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

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
        """Take the rows of a beam search: row i becomes what row `rows[i]` was.

        Args:
            rows: Which row each new row continues.
        """
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, rows)
            self.values = self.values.index_select(0, rows)
