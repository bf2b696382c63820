"""The encoder of the translation model with the call that `generate` makes."""

from collections.abc import Callable

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from askew._check import require


class GenerationEncoder(nn.Module):
    """A call of `encode` with the arguments that `generate` passes."""

    main_input_name = "input_ids"

    def __init__(self, encode: Callable[..., BaseModelOutput]) -> None:
        super().__init__()
        self.encode = encode

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: object,
    ) -> BaseModelOutput:
        source = tokens_or_rows("", input_ids, inputs_embeds)
        return self.encode(source, attention_mask, output_attentions, output_hidden_states)


def tokens_or_rows(side: str, tokens: Tensor | None, rows: Tensor | None) -> Tensor | None:
    """Return whichever is given of a side's tokens and their rows of its table."""
    require(
        tokens is None or rows is None,
        f"AsymmetricTranslationModel: {side}input_ids or {side}inputs_embeds must be None; "
        "got both",
    )
    return rows if tokens is None else tokens
