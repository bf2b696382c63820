"""Texts to labels: an encoder, and a logit for every label."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from askew._check import require
from askew.models._asked_outputs import asked_for, new_trace
from askew.models._checkpointed_layers import CheckpointedEncoderLayer
from askew.models._encoders import PretrainedEncoder
from askew.models._encoding_model import EncodingModel
from askew.models._label_configuration import AsymmetricLabelConfig
from askew.transformer import TokenEncoder


class AsymmetricLabelModel(EncodingModel):
    """An encoder, the mean of its states over the tokens of a text, and a linear layer.

    Args:
        config: Its numbers and labels.

    Example:
        >>> model = AsymmetricLabelModel(AsymmetricLabelConfig()).eval()
        >>> model(torch.tensor([[1, 2, 3]])).logits.shape
        torch.Size([1, 2])
    """

    config_class = AsymmetricLabelConfig
    base_model_prefix = "labels"
    main_input_name = "input_ids"
    _table_of = ("encoder", "pretrained")

    def __init__(self, config: AsymmetricLabelConfig) -> None:
        super().__init__(config)
        plain = config.to_plain()
        if config.pretrained is None:
            layer = CheckpointedEncoderLayer
            self.encoder = TokenEncoder(plain.vocab, plain.encoder, layer=layer)
            width = plain.encoder.d_model
        else:
            self.encoder = PretrainedEncoder(config.pretrained)
            width = self.encoder.width
        self.head = nn.Linear(width, len(config.labels))
        if config._attn_implementation == "eager":
            self.set_attn_implementation("eager")  # of encoders of transformers too
        self.post_init()

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"] | Float[Tensor, "batch length width"] | None = None,
        attention_mask: Int[Tensor, "batch length"] | Bool[Tensor, "batch length"] | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Compute a logit for every text and label.

        Args:
            input_ids: Token numbers, or rows of their table in their place.
            attention_mask: 1 or True = a real token; all by default.
            labels: 0 or 1 for every text and label, [batch, labels]; where exactly one label
                holds, its number, [batch].
            output_attentions: Whether to return the weights of the encoder, by default as the
                config says.
            output_hidden_states: Whether to return the states between its layers, by default as
                the config says.
            return_dict: Whether the result has named fields or is a plain tuple, by default as
                the config says.

        Returns:
            Logits [batch, labels]; with labels the mean binary cross-entropy, or cross-entropy
            where exactly one holds; and what else was asked for.

        Raises:
            ValueError: If there are no tokens.
        """
        if input_ids is None:
            raise ValueError("AsymmetricLabelModel: input_ids are needed; got None")
        if attention_mask is None:
            attention_mask = torch.ones(input_ids.shape[:2], device=input_ids.device)
        mask = attention_mask.bool()
        ours = isinstance(self.encoder, TokenEncoder)
        trace = new_trace(self.config, output_attentions, output_hidden_states, ours=ours)
        states = self.encoder(input_ids, mask, trace)
        states = states.masked_fill(~mask.unsqueeze(-1), 0.0)
        count = mask.sum(1, keepdim=True).clamp(min=1).to(states.dtype)
        logits = self.head(states.sum(1) / count)
        hidden, attentions, _ = asked_for(trace, self.config, output_attentions)
        output = SequenceClassifierOutput(
            # pyrefly: ignore[bad-argument-type]  a tensor is what the field holds
            loss=None if labels is None else self._loss(logits, labels),
            logits=logits,
            hidden_states=hidden,
            attentions=attentions,
        )
        named = self.config.return_dict if return_dict is None else return_dict
        return output if named else output.to_tuple()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        shape = logits.shape[:1] if self.config.is_exclusive else logits.shape
        require(
            labels.shape == shape,
            f"AsymmetricLabelModel: labels must have the shape {tuple(shape)}; "
            f"got {tuple(labels.shape)}",
        )
        if self.config.is_exclusive:
            return F.cross_entropy(logits.float(), labels.long())
        return F.binary_cross_entropy_with_logits(logits.float(), labels.float())
