"""What models of encoders share: their initial weights, and the table of tokens of one encoder."""

from typing import Any, ClassVar

from torch import nn
from transformers import PreTrainedModel

from askew.models._encoders import PretrainedEncoder
from askew.models._missing_weights import draw_missing_weights


class EncodingModel(PreTrainedModel):
    """A model whose table of tokens is that of an encoder, of this library or of transformers."""

    accepts_loss_kwargs = False
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _table_of: ClassVar[tuple[str, str]]
    """Name of the encoder, and of its config of transformers in the config of the model."""

    def _init_weights(self, module: nn.Module) -> None:
        draw_missing_weights(self, module)

    def init_weights(self) -> None:
        """Keep the weights, which every layer has drawn when it was built."""

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of tokens, of contexts where questions have one of their own.

        Returns:
            The embedding.
        """
        encoder: Any = getattr(self, self._table_of[0])
        if isinstance(encoder, PretrainedEncoder):
            return encoder.encoder.get_input_embeddings()
        return encoder.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace that table.

        Args:
            value: The new table.
        """
        encoder: Any = getattr(self, self._table_of[0])
        if isinstance(encoder, PretrainedEncoder):
            encoder.encoder.set_input_embeddings(value)
        else:
            encoder.register_module("embedding", value)

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Embedding:
        """Change the number of tokens of that table.

        Args:
            new_num_tokens: Rows of the new table; None keeps their number.
            pad_to_multiple_of: Rounds the number up.
            mean_resizing: Draw new rows like the old ones.

        Returns:
            The table.
        """
        table = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        name, stored = self._table_of
        encoder, number = getattr(self, name), {"vocab_size": table.num_embeddings}
        if isinstance(encoder, PretrainedEncoder):
            encoder.encoder.config.vocab_size = table.num_embeddings
            setattr(self.config, stored, (getattr(self.config, stored) or {}) | number)
        return table
