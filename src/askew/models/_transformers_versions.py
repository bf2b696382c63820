"""All that differs between the versions of transformers: nothing else looks at which one runs."""

import inspect
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, StaticLayer
from transformers.modeling_outputs import Seq2SeqLMOutput

CACHE = next(f.name for f in fields(Seq2SeqLMOutput) if f.name in ("cache", "past_key_values"))
"""What transformers calls the keys and values of earlier steps, in calls and in results."""

_POSITIONS_ARE_GIVEN = "cache_kwargs" in inspect.signature(Cache.update).parameters
"""Whether a cache is told the positions of new keys; in later versions it counts for itself."""


class ModelConfig(PreTrainedConfig):
    """A `PreTrainedConfig` whose annotated fields are its settings, all given by name.

    The first versions 5 have no such fields: there they are read here.
    """

    if not is_dataclass(PreTrainedConfig):

        def __init__(self, **values: Any) -> None:
            for name, default in self._defaults().items():
                setattr(self, name, values.pop(name, default))
            self.__post_init__(**values)

        def __post_init__(self, **values: Any) -> None:
            """Pass on to transformers what is no field of this class, and fields that it sets."""
            theirs = inspect.signature(PreTrainedConfig).parameters
            shared = {name: getattr(self, name) for name in self._defaults() if name in theirs}
            super().__init__(**shared, **values)

        @classmethod
        def _defaults(cls) -> dict[str, Any]:
            ours = [c for c in reversed(cls.__mro__) if issubclass(c, ModelConfig)]
            names = [name for c in ours for name in inspect.get_annotations(c)]
            return {name: getattr(cls, name) for name in names}


class DecodesWithCache(GenerationMixin):
    """`generate` for models whose `forward` calls its cache `cache` and counts positions itself."""

    def prepare_inputs_for_generation(
        self,
        *args: Any,
        cache: Cache | None = None,
        past_key_values: Cache | None = None,
        tokenizer: object = None,
        assistant_tokenizer: object = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the arguments of `forward` under its own names.

        Args:
            *args: As `generate` gives them.
            cache: The keys and values of earlier steps.
            past_key_values: The same.
            tokenizer: Left out: `stop_strings` alone need it.
            assistant_tokenizer: Left out.
            **kwargs: As `generate` gives them.

        Returns:
            Arguments by name.
        """
        kwargs[CACHE] = past_key_values if cache is None else cache
        inputs = super().prepare_inputs_for_generation(*args, **kwargs)
        inputs.pop("cache_position", None)
        if CACHE in inputs:
            inputs["cache"] = inputs.pop(CACHE)
        return inputs


def seq2seq_output(*, cache: Cache | None, **others: Any) -> Seq2SeqLMOutput:
    """Make the result of an encoder-decoder with the name of its cache that `generate` reads."""
    values: dict[str, Any] = {CACHE: cache, **others}
    return Seq2SeqLMOutput(**values)


def ask_for_weights(model: PreTrainedModel) -> None:
    """Have every later call of a model return the weights of its attentions."""
    model.set_attn_implementation("eager")  # the others return none
    model.config._attn_implementation = "eager"  # which the line above only logs for some models
    model.config.output_attentions = True  # without it, some layers return none


def cached_length(cache: Cache, layer: int) -> int:
    """Count the positions of which a cache has keys."""
    made = cache.layers[layer : layer + 1]  # none before the first use
    keys = made[0].keys if made and type(made[0]) is StaticLayer else None
    if _POSITIONS_ARE_GIVEN and keys is not None:
        # `get_seq_length` would count the keys of one head that are not 0; those of padding are.
        filled = keys.ne(0).any(-1).any(1).any(0).nonzero()
        return int(filled[-1]) + 1 if len(filled) else 0
    return int(cache.get_seq_length(layer))  # a tensor in static caches


def append_to_cache(
    cache: Cache, keys: Tensor, values: Tensor, layer: int
) -> tuple[Tensor, Tensor]:
    """Put the keys and values of new positions into a cache, and return all of a layer."""
    if not _POSITIONS_ARE_GIVEN:
        return cache.update(keys, values, layer)
    start = cached_length(cache, layer)
    positions = torch.arange(start, start + keys.shape[2], device=keys.device)
    return cache.update(keys, values, layer, {"cache_position": positions})
