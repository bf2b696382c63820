"""The encoder-decoders whose depth can be cut: where each keeps its layers, in one table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

from askew._check import require

SIDES = ("encoder", "decoder")


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What a kind of encoder-decoder calls its depths, and what else it stores by layer.

    Attributes:
        encoder: Settings that hold the number of encoder layers; dots lead into a part.
        decoder: The same of the decoder.
        encoder_lists: Settings with an entry for every encoder layer.
        decoder_lists: The same of the decoder.
        has_experts: Whether some layers have experts: those at places that follow from their
            number, which the settings num_sparse_…_layers and …_sparse_step hold.
        caches_by_encoder: Whether `generate` of transformers has a cache of as many layers as the
            encoder, so that a deeper decoder fails.
        mend_generation: Corrects settings of generation that name decoder layers, from the layers
            that are kept.
    """

    encoder: tuple[str, ...]
    decoder: tuple[str, ...]
    encoder_lists: tuple[str, ...] = ()
    decoder_lists: tuple[str, ...] = ()
    has_experts: bool = False
    caches_by_encoder: bool = False
    mend_generation: Callable[[GenerationConfig, list[int]], None] | None = None

    def depth(self, config: PreTrainedConfig, side: str) -> int:
        """Return the number of layers of a side."""
        return int(_get(config, getattr(self, side)[0]))

    def set_layers(self, config: PreTrainedConfig, side: str, kept: list[int]) -> None:
        """Describe a model that has some of its layers."""
        before = self.depth(config, side)
        shared = "num_hidden_layers"  # of some versions a setting of its own
        if side == "encoder" and vars(config).get(shared) == before:
            _set(config, shared, len(kept))
        for path in getattr(self, side):
            _set(config, path, len(kept))
        for path in getattr(self, f"{side}_lists"):
            values = _get(config, path)
            if isinstance(values, (list, tuple)):
                _set(config, path, [values[layer] for layer in kept])

    def placements(self, kept: Mapping[str, list[int]]) -> Iterator[dict[str, int]]:
        """Yield settings, one set for every possible number of layers with experts."""
        if not self.has_experts:
            yield {}
            return
        for numbers in product(*(range(len(kept[side]) + 1) for side in SIDES)):
            settings = {}
            for side, number in zip(SIDES, numbers, strict=True):
                settings[f"num_sparse_{side}_layers"] = number
                settings[f"{side}_sparse_step"] = len(kept[side]) // max(number, 1)
            yield settings


def _get(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = config[name] if isinstance(config, dict) else getattr(config, name)
    return config


def _set(config: Any, path: str, value: object) -> None:
    *parts, name = path.split(".")
    part = _get(config, ".".join(parts)) if parts else config
    if isinstance(part, dict):
        part[name] = value
    else:
        setattr(part, name, value)


def _keep_alignment_heads(generation: Any, kept: list[int]) -> None:
    """Renumber the heads by which Whisper finds the times of its words; none may be left."""
    heads = getattr(generation, "alignment_heads", None)
    if heads is not None:
        left = [[kept.index(layer), head] for layer, head in heads if layer in kept]
        generation.alignment_heads = left or None


_BART = Family(encoder=("encoder_layers",), decoder=("decoder_layers",))
_T5 = Family(encoder=("num_layers",), decoder=("num_decoder_layers",), caches_by_encoder=True)

FAMILIES = {
    "askew-translation": Family(
        encoder=("encoder_stack.num_layers", "encoder_layers"),
        decoder=("decoder_stack.num_layers", "decoder_layers"),
    ),
    "bart": _BART,
    "blenderbot": _BART,
    "blenderbot-small": _BART,
    "led": Family(
        encoder=("encoder_layers",),
        decoder=("decoder_layers",),
        encoder_lists=("attention_window",),
    ),
    "longt5": _T5,
    "m2m_100": _BART,
    "marian": _BART,
    "mbart": _BART,
    "moonshine": Family(
        encoder=("encoder_num_hidden_layers",), decoder=("decoder_num_hidden_layers",)
    ),
    "mt5": _T5,
    "pegasus": _BART,
    "prophetnet": Family(
        encoder=("num_encoder_layers",), decoder=("num_decoder_layers",), caches_by_encoder=True
    ),
    "switch_transformers": Family(
        encoder=("num_layers",),
        decoder=("num_decoder_layers",),
        has_experts=True,
        caches_by_encoder=True,
    ),
    "t5": _T5,
    "t5gemma": Family(
        encoder=("encoder.num_hidden_layers",),
        decoder=("decoder.num_hidden_layers",),
        encoder_lists=("encoder.layer_types",),
        decoder_lists=("decoder.layer_types",),
    ),
    "umt5": _T5,
    "whisper": Family(
        encoder=("encoder_layers",),
        decoder=("decoder_layers",),
        mend_generation=_keep_alignment_heads,
    ),
}
"""By `model_type`; M2M100 is also NLLB."""


def family_of(config: PreTrainedConfig, *, caller: str = "shrink") -> Family:
    """Find the family of a model.

    Raises:
        ValueError: If it is none of the table.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise ValueError(
            f"{caller}: the model must be an encoder-decoder of {', '.join(sorted(FAMILIES))}; got "
            f"model_type {config.model_type!r}"
        )
    return family


def check_pretrained(caller: str, model: object) -> None:
    """Refuse what is no model of transformers, such as a path or a plain module.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(model, PreTrainedModel):
        raise TypeError(
            f"{caller}: model must be a model of transformers or of askew.models; got model of "
            f"type {type(model).__name__}. Load a folder with from_pretrained"
        )


def check_key_groups(config: PreTrainedConfig, kept: Mapping[str, list[int]]) -> None:
    """Refuse layers of ours that would read the keys of others than before.

    Raises:
        ValueError: If a layer would lose the one whose keys it reads, or its place in a group.
    """
    for side in SIDES:
        stack = getattr(config, f"{side}_stack", None) or {}
        every = stack.get("kv_shared_every", 1)
        layers = kept[side]
        firsts = [layers[place - place % every] for place in range(len(layers))]
        require(
            firsts == [layer - layer % every for layer in layers],
            f"shrink: {side} layers that share keys must be kept with the first of their group; "
            f"got layers {layers}, kv_shared_every {every}. Keep whole groups by their numbers",
        )
