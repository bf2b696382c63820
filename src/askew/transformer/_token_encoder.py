"""Tokens as vectors with their positions, and an encoder that reads them."""

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from askew._check import require
from askew._key_mask import check_key_mask
from askew.attention import sinusoidal_positions
from askew.transformer._config import StackConfig
from askew.transformer._layers import EncoderLayer, Trace
from askew.transformer._stacks import Encoder
from askew.transformer._token_positions import TokenPositions

_CACHED_POSITIONS = 512


def token_table(vocab: int, d_model: int) -> nn.Embedding:
    """Make a table of tokens whose rows have length about 1."""
    table = nn.Embedding(vocab, d_model)
    nn.init.normal_(table.weight, std=d_model**-0.5)
    return table


def embed_tokens(
    table: nn.Embedding,
    projection: nn.Linear | None,
    tokens: Tensor,
    *,
    start: int,
    scale: float | None = None,
    positions: TokenPositions | None = None,
) -> Tensor:
    """Look tokens up, map them to the stream's width, and add their positions from `start` on.

    In place of tokens there may be the rows of the table that they would be looked up as.
    """
    x = tokens if tokens.is_floating_point() else table(tokens)
    x = x if projection is None else projection(x)
    # By default numbers of size about 1, like those of positions.
    x = x * (x.shape[-1] ** 0.5 if scale is None else scale)
    length, width = tokens.shape[1], x.shape[-1]
    if positions is not None:
        return x + positions(length, start=start, like=x)
    decoding = length == 1 and start < _CACHED_POSITIONS and not torch.is_grad_enabled()
    if decoding and type(x) is Tensor:  # a fake tensor must not be cached for real ones
        return x + _first_positions(width, x.device, x.dtype)[start]
    return x + sinusoidal_positions(length, width, start=start, device=x.device, dtype=x.dtype)


@lru_cache(maxsize=8)
def _first_positions(width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Compute the first positions once: a step of decoding needs one row and little else."""
    with torch.inference_mode(False):  # else the cached tensor could not be used outside that mode
        return sinusoidal_positions(_CACHED_POSITIONS, width, device=device, dtype=dtype)


class TokenEncoder(nn.Module):
    """A Transformer encoder from token numbers to states.

    Args:
        vocab: Number of tokens.
        config: The stack of layers.
        layer: Makes a layer.

    Raises:
        ValueError: If the vocabulary is empty, the width is odd, or the stack has other embeddings
            than the usual ones.

    Example:
        >>> import torch
        >>> encoder = TokenEncoder(9, StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16))
        >>> encoder(torch.ones(2, 5, dtype=int)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        vocab: int,
        config: StackConfig,
        *,
        layer: Callable[..., EncoderLayer] = EncoderLayer,
    ) -> None:
        super().__init__()
        require(vocab > 0, f"TokenEncoder: vocab must be positive; got vocab {vocab}")
        require(
            config.d_model % 2 == 0,
            f"TokenEncoder: sinusoidal positions need an even width; got d_model {config.d_model}",
        )
        require(
            config.positions is None
            and config.embedding_scale is None
            and not config.embedding_norm,
            "TokenEncoder: embeddings must be scaled by the root of d_model, with sinusoids and "
            f"no norm; got embedding_scale {config.embedding_scale}, positions "
            f"{config.positions}, embedding_norm {config.embedding_norm}",
        )
        self.config = config
        self.embedding = token_table(vocab, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.stack = Encoder(config, layer=layer)

    def forward(
        self,
        tokens: Int[Tensor, "batch length"] | Float[Tensor, "batch length d_model"],
        mask: Bool[Tensor, "batch length"] | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Encode the tokens.

        Args:
            tokens: Token numbers, or the rows of the table in their place.
            mask: True = a real token.
            trace: Takes states and weights.

        Returns:
            One state per token.
        """
        if mask is not None:
            check_key_mask("TokenEncoder", "mask", mask, *tokens.shape[:2])
        x = self.dropout(embed_tokens(self.embedding, None, tokens, start=0))
        return self.stack(x, mask, trace)
