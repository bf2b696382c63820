"""The asymmetric encoder-decoder as a model that transformers can train, save and decode."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from askew.attention import KeyValueCache
from askew.models._configuration import AsymmetricTranslationConfig
from askew.models._missing_weights import draw_missing_weights
from askew.models._transformers_versions import (
    DecodesWithCache,
    append_to_cache,
    cached_length,
    seq2seq_output,
)
from askew.transformer import AsymmetricEncoderDecoder, LayerCache


class AsymmetricTranslationModel(PreTrainedModel, DecodesWithCache, GenerationMixin):
    """Translation with an encoder and a decoder, each with its own width, depth and heads.

    `generate` decodes greedily, by beam or by sampling, with a key/value cache.

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
    _supports_sdpa = True

    def __init__(self, config: AsymmetricTranslationConfig) -> None:
        super().__init__(config)
        self.model = AsymmetricEncoderDecoder(config.to_plain())
        self.post_init()

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
        return _GenerationEncoder(self.model)

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

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of source tokens.

        Returns:
            The embedding.
        """
        table = self.model.source_embedding
        return self.model.target_embedding if table is None else table

    def get_output_embeddings(self) -> nn.Module | None:
        """Return the output layer, if it has weights of its own.

        Returns:
            The layer, or None if it is the target table.
        """
        return self.model.output

    def forward(
        self,
        input_ids: Int[Tensor, "batch source"] | None = None,
        attention_mask: Int[Tensor, "batch source"] | None = None,
        decoder_input_ids: Int[Tensor, "batch target"] | None = None,
        decoder_attention_mask: Int[Tensor, "batch keys"] | None = None,
        encoder_outputs: BaseModelOutput | tuple[Float[Tensor, "..."], ...] | None = None,
        cache: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Score the next target token at every position.

        Args:
            input_ids: Source tokens; not needed with `encoder_outputs`.
            attention_mask: 1 = a real source token.
            decoder_input_ids: Target tokens, a start token first; with a cache the new ones.
            decoder_attention_mask: 1 = a real target token, cached ones included.
            encoder_outputs: States of an earlier encoding.
            cache: Keys and values of earlier steps.
            use_cache: Whether to keep keys and values for the next step.
            return_dict: Whether the result has named fields or is a plain tuple, by default as
                the config says.

        Returns:
            Logits [batch, target, vocab], the cache and the encoder's states.

        Raises:
            ValueError: If neither `input_ids` nor `encoder_outputs` is given, or no
                `decoder_input_ids`, or the cache cannot keep all positions.
            TypeError: If the cache is not one of an encoder-decoder.
        """
        if decoder_input_ids is None or (input_ids is None and encoder_outputs is None):
            raise ValueError(
                "AsymmetricTranslationModel: input_ids (or encoder_outputs) and "
                "decoder_input_ids are needed; got None"
            )
        if not (cache is None or isinstance(cache, EncoderDecoderCache)):
            raise TypeError(
                "AsymmetricTranslationModel: cache must be an EncoderDecoderCache; "
                f"got {type(cache).__name__}. Put one for self- and one for cross-attention into it"
            )
        source_mask = None if attention_mask is None else attention_mask.bool()
        if encoder_outputs is not None:
            memory = encoder_outputs[0]
        else:
            memory = self.model.encode(input_ids, source_mask=source_mask)
        if use_cache and cache is None:
            cache = EncoderDecoderCache(
                DynamicCache(config=self.config), DynamicCache(config=self.config)
            )
        logits = self.model.decode(
            decoder_input_ids,
            memory,
            source_mask=source_mask,
            target_mask=None if decoder_attention_mask is None else decoder_attention_mask.bool(),
            caches=None if cache is None else _layer_caches(cache, len(self.model.decoder.layers)),
        )
        output = seq2seq_output(logits=logits, cache=cache, encoder_last_hidden_state=memory)
        named = self.config.return_dict if return_dict is None else return_dict
        return output if named else output.to_tuple()

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


class _GenerationEncoder(nn.Module):
    """The encoder with the call that `generate` makes."""

    main_input_name = "input_ids"

    def __init__(self, model: AsymmetricEncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: object,
    ) -> BaseModelOutput:
        mask = None if attention_mask is None else attention_mask.bool()
        return BaseModelOutput(last_hidden_state=self.model.encode(input_ids, source_mask=mask))


class _SharedCache(KeyValueCache):
    """One layer of a cache of transformers, as the cache of one attention layer."""

    def __init__(self, cache: Cache, layer: int) -> None:
        self.cache, self.layer = cache, layer

    @property
    def length(self) -> int:
        return cached_length(self.cache, self.layer)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        length, room = self.length + keys.shape[2], self._room()
        if room is not None and length > room:
            raise ValueError(
                "AsymmetricTranslationModel: the cache must have room for every position; "
                f"got {room} positions for {length}. Make it longer"
            )
        keys, values = append_to_cache(self.cache, keys, values, self.layer)
        self._stored(length)
        if keys.shape[2] == length:
            return keys, values
        return keys[:, :, :length], values[:, :, :length]  # the rest of a static cache is empty

    def read(self) -> tuple[Tensor, Tensor]:
        length = self.length
        layer = self._stored(length)
        # A cache that is offloaded keeps on the CPU what it computed on `layer.device`.
        keys, values = (tensor.to(layer.device) for tensor in (layer.keys, layer.values))
        return keys[:, :, :length], values[:, :, :length]

    def reorder(self, rows: Tensor) -> None:
        raise RuntimeError("the cache of transformers reorders all its layers itself")

    def _room(self) -> int | None:
        """Return the positions for which a static cache has memory, or None."""
        made = self.cache.layers[self.layer : self.layer + 1]  # none before the first use
        return getattr(made[0], "max_cache_len", None) if made else None

    def _stored(self, length: int) -> Any:
        """Return the layer of the cache, if it keeps the keys of all positions as they were."""
        layer: Any = self.cache.layers[self.layer]
        kept = layer.keys.shape[2] if layer.keys.dim() == 4 else 0
        if kept < length:
            raise ValueError(
                "AsymmetricTranslationModel: the cache must keep the keys of every position; "
                f"got {type(layer).__name__} with {kept} of {length}. Take a DynamicCache or a "
                "StaticCache"
            )
        return layer


def _layer_caches(cache: EncoderDecoderCache, num_layers: int) -> Sequence[LayerCache]:
    return [
        LayerCache(
            _SharedCache(cache.self_attention_cache, i),
            _SharedCache(cache.cross_attention_cache, i),
        )
        for i in range(num_layers)
    ]
