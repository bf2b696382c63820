"""A table of tokens with a stack of layers on it."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from askew._check import require
from askew.transformer._config import StackConfig
from askew.transformer._embedding import embed_tokens, token_table
from askew.transformer._stacks import Encoder


class TokenEncoder(nn.Module):
    """A Transformer encoder from token numbers to states.

    Args:
        vocab: Number of tokens.
        config: Its stack.

    Raises:
        ValueError: If the vocabulary is empty or the width is odd.

    Example:
        >>> import torch
        >>> encoder = TokenEncoder(9, StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16))
        >>> encoder(torch.ones(2, 5, dtype=int)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, vocab: int, config: StackConfig) -> None:
        super().__init__()
        require(vocab > 0, f"TokenEncoder: vocab must be positive; got vocab {vocab}")
        require(
            config.d_model % 2 == 0,
            f"TokenEncoder: sinusoidal positions need an even width; got d_model {config.d_model}",
        )
        self.config = config
        self.embedding = token_table(vocab, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.stack = Encoder(config)

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Read the tokens.

        Args:
            tokens: Token numbers.
            mask: True = a real token.

        Returns:
            A state for each.
        """
        return self.stack(self.dropout(embed_tokens(self.embedding, None, tokens, start=0)), mask)
