"""Positions of tokens as vectors, in models that others have trained."""

import math

import torch
from torch import Tensor, nn

from askew._check import require
from askew.transformer._config import PositionConfig, StackConfig


def token_positions(config: StackConfig) -> "TokenPositions | None":
    """Make the positions of a stack; None stands for the sinusoids that need no module."""
    return None if config.positions is None else TokenPositions(config.positions, config.d_model)


class TokenPositions(nn.Module):
    """One vector for every position: a row of a trained table, or sines and cosines.

    Sinusoids that are wider than the stream keep the numbers of the channels that it has.
    """

    channels: Tensor | None

    def __init__(self, config: PositionConfig, d_model: int) -> None:
        super().__init__()
        self.config, self.d_model = config, d_model
        self.table = None
        if config.kind == "learned" and config.length is not None:
            self.table = nn.Embedding(config.length, d_model)
            nn.init.normal_(self.table.weight, std=d_model**-0.5)
        kept = None if config.width is None else torch.arange(d_model)
        self.register_buffer("channels", kept)

    @property
    def most(self) -> int | None:
        """Number of positions that there are; None = any."""
        return None if self.table is None else self.table.num_embeddings - self.config.offset

    def forward(self, length: int, *, start: int, like: Tensor) -> Tensor:
        """Return the vectors [length, d_model] of positions from `start` on."""
        first, end = start + self.config.offset, start + self.config.offset + length
        if self.table is None:
            return self._sinusoids(first, end, like.device).to(like.dtype)
        require(  # a graph has no lengths yet, and would be for some of them only
            torch.compiler.is_compiling() or end <= self.table.num_embeddings,
            f"AsymmetricEncoderDecoder: there must be at most {self.most} tokens, one a position; "
            f"got {start + length}",
        )
        return self.table(torch.arange(first, end, device=like.device))

    def _sinusoids(self, first: int, end: int, device: torch.device) -> Tensor:
        # With the precision of those who trained such models, so that every digit is theirs.
        plain = self.config.kind == "sinusoidal"
        precision = torch.float64 if plain else torch.float32
        width = self.config.width or self.d_model
        half = torch.arange(width // 2, device=device, dtype=precision)
        if plain:
            rates = torch.pow(10_000.0, -2 * half / width)
        else:
            rates = torch.exp(half * -(math.log(10_000.0) / (width // 2 - 1)))
        angle = torch.arange(first, end, device=device, dtype=precision)[:, None] * rates
        vectors = torch.cat([angle.sin(), angle.cos()], dim=-1)
        return vectors if self.channels is None else vectors[:, self.channels]
