"""The asymmetric encoder-decoder as a model that transformers can train, save and decode."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from askew._check import require
from askew.models._asked_outputs import asked_for, new_trace
from askew.models._checkpointed_layers import CheckpointedDecoderLayer, CheckpointedEncoderLayer
from askew.models._configuration import AsymmetricTranslationConfig
from askew.models._conversion import converted_config, copy_from_transformers, to_transformers
from askew.models._devices import input_device
from askew.models._generation_encoder import GenerationEncoder, tokens_or_rows
from askew.models._label_losses import token_loss
from askew.models._missing_weights import draw_missing_weights
from askew.models._shared_cache import layer_caches
from askew.models._transformers_versions import DecodesWithCache, seq2seq_output
from askew.transformer import AsymmetricEncoderDecoder

_LONGEST = 512
"""Target tokens after which `generate` stops by default, the start token included."""


class AsymmetricTranslationModel(PreTrainedModel, DecodesWithCache, GenerationMixin):
    """Translation with an encoder and a decoder, each with its own width, depth and heads.

    `generate` decodes greedily, by beam or by sampling, with a key/value cache, up to 512 tokens
    by default.

    Args:
        config: Its numbers.

    Example:
        >>> import torch
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig()).eval()
        >>> model.generate(torch.tensor([[3, 2]]), max_new_tokens=4).shape[0]
        1
    """

    config_class = AsymmetricTranslationConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    accepts_loss_kwargs = False
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: AsymmetricTranslationConfig) -> None:
        super().__init__(config)
        self.model = AsymmetricEncoderDecoder(
            config.to_plain(),
            encoder_layer=CheckpointedEncoderLayer,
            decoder_layer=CheckpointedDecoderLayer,
        )
        self.post_init()
        self.generation_config.max_length = _LONGEST

    @classmethod
    def from_transformers(cls, model: PreTrainedModel) -> "AsymmetricTranslationModel":
        """Make a model of this class that computes what one of transformers does.

        Its sides can then be given different widths, as `shrink` does. Settings of generation,
        mode, type and device are kept. LayerDrop, a setting of training, is not. Positions of
        M2M100 are right where padding stands at the end.

        Args:
            model: Marian, BART, mBART, Pegasus, M2M100 (also NLLB) or Blenderbot, with the output
                layer: `MarianMTModel`, `BartForConditionalGeneration`, …

        Returns:
            A model with copies of its weights and tied as it is. In float32 logits are equal to
            about 1e-5.

        Raises:
            ValueError: If the model is none of these, or has a setting that this class lacks.

        Example:
            >>> from transformers import MarianConfig, MarianMTModel
            >>> sizes = {"d_model": 8, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "vocab_size": 9}
            >>> marian = MarianMTModel(MarianConfig(**sizes, pad_token_id=8, decoder_layers=1,
            ...     encoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2))
            >>> AsymmetricTranslationModel.from_transformers(marian).config.decoder_stack["norm"]
            'post'
        """
        converted = cls(converted_config(model))
        copy_from_transformers(converted, model)
        return converted

    def to_transformers(self) -> PreTrainedModel:
        """Make the model of transformers that computes what this one does.

        Returns:
            One of the classes that `from_transformers` takes, with copies of the weights.

        Raises:
            ValueError: If there is none, as with sides of different width; the message says what
                stands in the way.

        Example:
            >>> AsymmetricTranslationModel(AsymmetricTranslationConfig()).to_transformers()
            Traceback (most recent call last):
            ValueError: ...to_transformers: PegasusForConditionalGeneration has one table for ...
        """
        return to_transformers(self)

    def _init_weights(self, module: nn.Module) -> None:
        draw_missing_weights(self, module)

    def init_weights(self) -> None:
        """Keep the weights, which every layer has drawn when it was built."""

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        """Return what `generate` calls once per source.

        Args:
            modality: Ignored: there is only text.

        Returns:
            A callable that maps tokens and their mask to the encoder's states.
        """
        return GenerationEncoder(self._encode)

    @staticmethod
    def create_masks_for_generate(
        attention_mask: Int[Tensor, "batch keys"] | None = None, **kwargs: object
    ) -> Tensor | None:
        """Return the mask of target tokens that `generate` passes on with a static cache.

        Args:
            attention_mask: 1 = a real target token.
            **kwargs: Not needed, since the decoder itself hides what comes later.

        Returns:
            The mask as it is.
        """
        return attention_mask

    @property
    def device(self) -> torch.device:
        """Return the device of inputs, also where accelerate has offloaded the weights.

        Returns:
            The device.
        """
        return input_device(self)

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of source tokens.

        Returns:
            The embedding.
        """
        table = self.model.source_embedding
        return self.model.target_embedding if table is None else table

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the table of source tokens, which may be that of target tokens too.

        Args:
            value: The new table.
        """
        side = "target" if self.model.source_embedding is None else "source"
        setattr(self.model, f"{side}_embedding", value)

    def get_output_embeddings(self) -> nn.Module | None:
        """Return the output layer, if it has weights of its own.

        Returns:
            The layer, or None if it is the target table.
        """
        return self.model.output

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the output layer.

        Args:
            new_embeddings: The new layer.

        Raises:
            ValueError: If the output layer is the target table.
        """
        require(
            self.model.output is not None,
            "AsymmetricTranslationModel.set_output_embeddings: the output layer must have weights "
            f"of its own; got tie_embeddings {self.config.tie_embeddings!r}",
        )
        self.model.output = new_embeddings

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Embedding:
        """Change the number of tokens of both sides, which must have one number.

        Args:
            new_num_tokens: Rows of the new tables; None keeps their number.
            pad_to_multiple_of: Rounds the number up.
            mean_resizing: Draw new rows like the old ones.

        Returns:
            The table of source tokens.

        Raises:
            ValueError: If the sides have different numbers of tokens.
        """
        config, model = self.config, self.model
        require(
            config.source_vocab == config.vocab_size,
            "AsymmetricTranslationModel.resize_token_embeddings: both sides must have one number "
            f"of tokens; got source_vocab {config.source_vocab}, vocab_size {config.vocab_size}",
        )
        table = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        if model.source_embedding is not None:
            trained = model.target_embedding.weight.requires_grad
            model.target_embedding = self._get_resized_embeddings(
                model.target_embedding, table.num_embeddings, mean_resizing=mean_resizing
            ).requires_grad_(trained)
        if model.output_bias is not None:  # of new tokens 0
            missing = table.num_embeddings - len(model.output_bias)
            resized = nn.functional.pad(model.output_bias.detach(), (0, missing))
            model.output_bias = nn.Parameter(resized, model.output_bias.requires_grad)
        config.source_vocab = config.vocab_size = table.num_embeddings
        model.config = config.to_plain()
        return table

    def forward(
        self,
        input_ids: Int[Tensor, "batch source"] | None = None,
        attention_mask: Int[Tensor, "batch source"] | None = None,
        decoder_input_ids: Int[Tensor, "batch target"] | None = None,
        decoder_attention_mask: Int[Tensor, "batch keys"] | None = None,
        encoder_outputs: BaseModelOutput | tuple[Any, ...] | None = None,
        cache: EncoderDecoderCache | None = None,
        inputs_embeds: Float[Tensor, "batch source width"] | None = None,
        decoder_inputs_embeds: Float[Tensor, "batch target width"] | None = None,
        labels: Int[Tensor, "batch target"] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: EncoderDecoderCache | None = None,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Score the next target token at every position.

        The weights of attention are computed only if they are asked for or the implementation of
        attention is "eager"; else, with "sdpa", the fused kernels of torch compute attention.

        Args:
            input_ids: Source tokens; not needed with `encoder_outputs`.
            attention_mask: 1 = a real source token.
            decoder_input_ids: Target tokens, a start token first; with a cache the new ones.
            decoder_attention_mask: 1 = a real target token, cached ones included.
            encoder_outputs: States of an earlier encoding.
            cache: Keys and values of earlier steps.
            inputs_embeds: Rows of the table of source tokens in place of `input_ids`.
            decoder_inputs_embeds: Rows of the table of target tokens in place of
                `decoder_input_ids`.
            labels: The right next token at every position, -100 = not counted. From them come the
                `decoder_input_ids`, if none are given, and the loss.
            use_cache: Whether to keep keys and values for the next step.
            output_attentions: Whether to return the weights of all attentions, by default as the
                config says.
            output_hidden_states: Whether to return the states between all layers, by default as
                the config says.
            return_dict: Named fields in the result or a plain tuple, by default as the config says.
            past_key_values: Another name of `cache`, that of the first versions 5 of transformers.

        Returns:
            Logits [batch, target, vocab], the cache and the encoder's states; with `labels` the
            mean cross-entropy of the counted ones, and what else was asked for.

        Raises:
            ValueError: If neither `input_ids` nor `encoder_outputs` is given, or no
                `decoder_input_ids`, or tokens and their rows, or both names of the cache, or the
                labels have another shape than the target, or the cache cannot keep all positions,
                or layers are computed twice.
            TypeError: If the cache is not one of an encoder-decoder.
        """
        if decoder_input_ids is None and decoder_inputs_embeds is None and labels is not None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        source = tokens_or_rows("", input_ids, inputs_embeds)
        target = tokens_or_rows("decoder_", decoder_input_ids, decoder_inputs_embeds)
        if target is None or (source is None and encoder_outputs is None):
            raise ValueError(
                "AsymmetricTranslationModel: input_ids (or encoder_outputs) and "
                "decoder_input_ids are needed; got None"
            )
        require(
            cache is None or past_key_values is None,
            "AsymmetricTranslationModel: cache or past_key_values must be None; got both",
        )
        cache = past_key_values if cache is None else cache
        if not (cache is None or isinstance(cache, EncoderDecoderCache)):
            raise TypeError(
                "AsymmetricTranslationModel: cache must be an EncoderDecoderCache; "
                f"got {type(cache).__name__}. Put one for self- and one for cross-attention into it"
            )
        no_cache = cache is None and not use_cache
        require(
            no_cache or not self._checkpoints_decoder(),
            "AsymmetricTranslationModel: there must be no cache in training with gradient "
            "checkpointing, which computes layers twice; got one. Pass use_cache=False",
        )
        if encoder_outputs is None:
            encoder_outputs = self._encode(
                source, attention_mask, output_attentions, output_hidden_states
            )
        elif not isinstance(encoder_outputs, BaseModelOutput):
            encoder_outputs = BaseModelOutput(*encoder_outputs)
        memory = encoder_outputs.last_hidden_state
        if use_cache and cache is None and labels is None:
            cache = EncoderDecoderCache(
                DynamicCache(config=self.config), DynamicCache(config=self.config)
            )
        trace = new_trace(self.config, output_attentions, output_hidden_states)
        logits = self.model.decode(
            target,
            memory,
            source_mask=None if attention_mask is None else attention_mask.bool(),
            target_mask=None if decoder_attention_mask is None else decoder_attention_mask.bool(),
            caches=None if cache is None else layer_caches(cache, len(self.model.decoder.layers)),
            trace=trace,
        )
        states, weights, cross_weights = asked_for(trace, self.config, output_attentions)
        output = seq2seq_output(
            loss=None if labels is None else token_loss(logits, labels),
            logits=logits,
            cache=cache,
            decoder_hidden_states=states,
            decoder_attentions=weights,
            cross_attentions=cross_weights,
            encoder_last_hidden_state=memory,
            encoder_hidden_states=encoder_outputs.hidden_states,
            encoder_attentions=encoder_outputs.attentions,
        )
        named = self.config.return_dict if return_dict is None else return_dict
        return output if named else output.to_tuple()

    def _checkpoints_decoder(self) -> bool:
        trains = self.training and torch.is_grad_enabled()
        return trains and any(layer.gradient_checkpointing for layer in self.model.decoder.layers)

    def _encode(
        self,
        source: Tensor | None,
        attention_mask: Tensor | None,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> BaseModelOutput:
        """Encode source tokens, or rows of their table; the caller knows that there are some."""
        trace = new_trace(self.config, output_attentions, output_hidden_states)
        mask = None if attention_mask is None else attention_mask.bool()
        memory = self.model.encode(source, source_mask=mask, trace=trace)
        states, weights, _ = asked_for(trace, self.config, output_attentions)
        return BaseModelOutput(last_hidden_state=memory, hidden_states=states, attentions=weights)

    def prepare_decoder_input_ids_from_labels(
        self, labels: Int[Tensor, "batch target"]
    ) -> Int[Tensor, "batch target"]:
        """Shift labels to the right, as the decoder reads them; collators of transformers call it.

        Args:
            labels: Target tokens with an end; -100 = padding, which is not predicted.

        Returns:
            The start token and all but the last label, with padding tokens.
        """
        start = labels.new_full((len(labels), 1), self.config.decoder_start_token_id)
        shifted = torch.cat([start, labels[:, :-1]], dim=1)
        return shifted.masked_fill(shifted == -100, self.config.pad_token_id)
