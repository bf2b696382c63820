"""The encoder-decoders of transformers that our stacks can express: one row per class."""

from dataclasses import dataclass
from typing import Literal

from transformers import (
    BartForConditionalGeneration,
    BlenderbotForConditionalGeneration,
    M2M100ForConditionalGeneration,
    MarianMTModel,
    MBartForConditionalGeneration,
    PegasusForConditionalGeneration,
    PreTrainedModel,
)

from askew.transformer import PositionConfig, StackConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What a class of transformers computes, in the words of `StackConfig`.

    Attributes:
        model_class: The class.
        norm: As in `StackConfig`.
        final_norm: As in `StackConfig`.
        embedding_norm: As in `StackConfig`.
        positions: As `kind` of `PositionConfig`.
        offset: Number of the first position; None = the number after that of the padding token.
        two_tables: Whether the sides may have tables of their own, the target's tied to the output.
        output_bias: Whether the class has a bias of logits.
    """

    model_class: type[PreTrainedModel]
    norm: Literal["pre", "post"]
    final_norm: bool
    embedding_norm: bool
    positions: Literal["sinusoidal", "tensor2tensor", "learned"]
    offset: int | None = 0
    two_tables: bool = False
    output_bias: bool = True

    def first_position(self, padding: int) -> int:
        """Return the number of the first position."""
        return padding + 1 if self.offset is None else self.offset

    def fits(self, stack: StackConfig, padding: int) -> bool:
        """Return whether a stack has the norms and positions of this class."""
        positions = stack.positions or PositionConfig()
        return (stack.norm, stack.final_norm, stack.embedding_norm) == (
            self.norm,
            self.final_norm,
            self.embedding_norm,
        ) and (positions.kind, positions.offset) == (self.positions, self.first_position(padding))


FORMS = (
    Form(
        model_class=MarianMTModel,
        norm="post",
        final_norm=False,
        embedding_norm=False,
        positions="sinusoidal",
        two_tables=True,
    ),
    Form(
        model_class=BartForConditionalGeneration,
        norm="post",
        final_norm=False,
        embedding_norm=True,
        positions="learned",
        offset=2,
    ),
    Form(
        model_class=MBartForConditionalGeneration,
        norm="pre",
        final_norm=True,
        embedding_norm=True,
        positions="learned",
        offset=2,
    ),
    Form(
        model_class=PegasusForConditionalGeneration,
        norm="pre",
        final_norm=True,
        embedding_norm=False,
        positions="sinusoidal",
    ),
    Form(
        model_class=M2M100ForConditionalGeneration,
        norm="pre",
        final_norm=True,
        embedding_norm=False,
        positions="tensor2tensor",
        offset=None,
        output_bias=False,
    ),
    Form(
        model_class=BlenderbotForConditionalGeneration,
        norm="pre",
        final_norm=True,
        embedding_norm=False,
        positions="learned",
    ),
)
"""M2M100 is also NLLB."""
NAMES = ", ".join(form.model_class.__name__ for form in FORMS)
