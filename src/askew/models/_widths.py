"""A model of ours with fewer channels, heads and feed-forward units, by their activations."""

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from askew._check import require
from askew._config import to_dict
from askew.models._activations import Activations
from askew.models._families import SIDES
from askew.models._forms import FORMS, NAMES
from askew.models._translation import AsymmetricTranslationModel
from askew.transformer import EncoderDecoderConfig, PositionConfig, StackConfig

_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")
Model = TypeVar("Model", bound=PreTrainedModel)
Kept = Mapping[str, list[int]]
"""Numbers of the layers that are kept, by side."""


class Widths(NamedTuple):
    """How wide a side is to be; None keeps what there is.

    Attributes:
        width: Channels of the stream, `d_model` of the stack.
        heads: Heads of every attention, `num_heads`.
        ff: Units of every feed-forward block, `d_ff`.
    """

    width: int | None = None
    heads: int | None = None
    ff: int | None = None

    def of(self, stack: StackConfig) -> "Widths":
        """Return the same without what is as wide already."""
        given = zip(self, (stack.d_model, stack.num_heads, stack.d_ff), strict=True)
        return Widths(*(None if wanted == there else wanted for wanted, there in given))


def check_widths(
    model: PreTrainedModel,
    *,
    encoder_width: int | None = None,
    decoder_width: int | None = None,
    encoder_heads: int | None = None,
    decoder_heads: int | None = None,
    encoder_ff: int | None = None,
    decoder_ff: int | None = None,
) -> None:
    """Refuse widths that `shrink` cannot give to a model, without cutting it.

    Args:
        model: As for `shrink`, and so are all others.
        encoder_width: Channels of the encoder's stream.
        decoder_width: Channels of the decoder's stream.
        encoder_heads: Heads of every attention of the encoder.
        decoder_heads: Heads of every attention of the decoder.
        encoder_ff: Units of every feed-forward block of the encoder.
        decoder_ff: Units of every feed-forward block of the decoder.

    Raises:
        ValueError: If a width is given and the model is not ours or narrower.

    Example:
        >>> from askew.models import AsymmetricTranslationConfig
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig())
        >>> check_widths(model, decoder_heads=3)
        Traceback (most recent call last):
        ValueError: shrink: decoder_heads must be in [1, 2], what the model has; got decoder_he...
    """
    widths = {
        "encoder": Widths(encoder_width, encoder_heads, encoder_ff),
        "decoder": Widths(decoder_width, decoder_heads, decoder_ff),
    }
    if all(number is None for side in SIDES for number in widths[side]):
        return
    convertible = any(type(model) is form.model_class for form in FORMS)
    require(
        isinstance(model, AsymmetricTranslationModel),
        "shrink: widths are cut of an AsymmetricTranslationModel alone; got "
        f"{type(model).__name__}. "
        + (
            "Convert it with AsymmetricTranslationModel.from_transformers"
            if convertible
            else f"Those that can be converted: {NAMES}"
        ),
    )
    config: Any = model.config
    plain = config.to_plain()
    for side in SIDES:
        _check_side(side, widths[side], getattr(plain, side), plain)


def _check_side(side: str, wanted: Widths, stack: StackConfig, plain: EncoderDecoderConfig) -> None:
    most = Widths(stack.d_model, stack.num_heads, stack.d_ff)
    for name, least in (("width", 2), ("heads", 1), ("ff", 1)):
        number, limit = getattr(wanted, name), getattr(most, name)
        require(
            number is None or least <= number <= limit,
            f"shrink: {side}_{name} must be in [{least}, {limit}], what the model has; got "
            f"{side}_{name} {number}",
        )
    groups = stack.num_kv_heads or stack.num_heads
    require(
        wanted.heads is None or groups == stack.num_heads or wanted.heads % groups == 0,
        f"shrink: {side}_heads must be a multiple of num_kv_heads, which share keys; got "
        f"{side}_heads {wanted.heads}, num_kv_heads {groups}",
    )
    mapped = plain.tie_embeddings == "all" and stack.d_model != plain.shared_width
    require(
        not mapped or wanted.width != plain.shared_width,
        f"shrink: {side}_width must not be that of the shared table, from which a map leads; got "
        f"{side}_width {wanted.width}. Take another",
    )


def narrowed(
    model: Model, widths: Mapping[str, Widths], activations: Activations, kept: Kept
) -> Model:
    """Build a model with those channels, heads and units of another that respond most.

    Args:
        model: A model of ours that has lost no layer but those that are not in `kept`.
        widths: By side.
        activations: Of the model with all its layers.
        kept: Which of those it has.

    Returns:
        A model that shares no memory with the other.
    """
    config: Any = copy.deepcopy(model.config)
    plain = config.to_plain()
    wanted = {side: widths[side].of(getattr(plain, side)) for side in SIDES}
    if all(number is None for side in SIDES for number in wanted[side]):
        return model
    cut = _Cut(plain, wanted, _renumbered(activations, kept))
    config.encoder_stack, config.decoder_stack = to_dict(cut.encoder), to_dict(cut.decoder)
    config.d_embedding = cut.d_embedding
    student: Any = type(model)(config)
    student.to(model.dtype)
    student.load_state_dict(cut.weights(model.state_dict(), student.state_dict()))
    student.generation_config = copy.deepcopy(model.generation_config)
    learns = {name: weight.requires_grad for name, weight in model.named_parameters()}
    for name, weight in student.named_parameters():
        weight.requires_grad_(learns.get(name, True))
    return student.to(model.device).train(model.training)


def _renumbered(activations: Activations, kept: Kept) -> Activations:
    """Return the activations of the kept layers, under their new numbers."""

    def of_kept(values: dict[str, Tensor]) -> dict[str, Tensor]:
        renamed = {}
        for name, value in values.items():
            layer = _LAYER.fullmatch(name)
            if layer is None:
                renamed[name] = value
            elif int(layer[2]) in kept[layer[1]]:
                place = kept[layer[1]].index(int(layer[2]))
                renamed[f"{layer[1]}.layers.{place}.{layer[3]}"] = value
        return renamed

    return Activations(*(of_kept(one) for one in activations[:-1]), memory=activations.memory)


class _Cut:
    """Which channels, heads and units stay, and the configuration that follows."""

    def __init__(
        self, plain: EncoderDecoderConfig, wanted: Mapping[str, Widths], activations: Activations
    ) -> None:
        self.plain, self.wanted, self.activations = plain, wanted, activations
        self.table: Tensor | None = None
        self.channels = {side: self._channels(side) for side in SIDES}
        self._share_channels()
        self.memory = self._memory()
        self.encoder, self.decoder = (self._stack(side) for side in SIDES)
        self.d_embedding = plain.d_embedding
        if plain.tie_embeddings == "all":
            self.d_embedding = plain.shared_width if self.table is None else len(self.table)

    def weights(self, old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of the new model."""
        return {name: self._weight(name.removeprefix("model."), name, old) for name in new}

    def _channels(self, side: str) -> Tensor | None:
        width = self.wanted[side].width
        return None if width is None else _strongest(self._response(side), width)

    def _response(self, side: str) -> Tensor:
        """Return how strongly the channels of a side respond, summed over its norms."""
        own = side, f"{'source' if side == 'encoder' else 'target'}_embedding_norm"
        norms = self.activations.norms.items()
        return torch.stack([value for name, value in norms if name.startswith(own)]).sum(0)

    def _share_channels(self) -> None:
        """Let sides that read one table, and are to be as wide, keep the same of its channels."""
        plain, (one, other) = self.plain, (self.wanted[side].width for side in SIDES)
        widths = {plain.encoder.d_model, plain.decoder.d_model, plain.shared_width}
        if plain.tie_embeddings == "all" and one is not None and one == other and len(widths) == 1:
            response = torch.stack([self._response(side) for side in SIDES]).sum(0)
            self.table = _strongest(response, one)
            self.channels = dict.fromkeys(SIDES, self.table)

    def _memory(self) -> Tensor | None:
        """Return which channels of the states that the decoder reads stay."""
        if self.plain.adapter == "none":
            return self.channels["encoder"]
        width, response = self.wanted["decoder"].width, self.activations.memory
        return None if width is None or response is None else _strongest(response, width)

    def _stack(self, side: str) -> StackConfig:
        stack, wanted = getattr(self.plain, side), self.wanted[side]
        heads = wanted.heads or stack.num_heads
        values: dict[str, Any] = {"num_heads": heads, "d_ff": wanted.ff or stack.d_ff}
        if wanted.heads is not None or wanted.width is not None:
            for name in ("d_key", "d_value"):
                values[name] = (getattr(stack, name) or stack.d_model) // stack.num_heads * heads
        if stack.num_kv_heads == stack.num_heads:
            values["num_kv_heads"] = heads
        if wanted.width is not None:
            values |= {
                "d_model": wanted.width,
                "embedding_scale": stack.embedding_scale or stack.d_model**0.5,
                "positions": _positions(stack),
            }
        return replace(stack, **values)

    def _weight(self, name: str, full_name: str, old: Mapping[str, Tensor]) -> Tensor:
        side = _side(name)
        if full_name not in old:  # what only a model with cut channels has
            return self._added(name, side, old)
        weight = old[full_name]
        layer = _LAYER.fullmatch(name)
        if layer is not None:
            return self._in_layer(name, side, layer[3], weight)
        if name.endswith("norm.weight") or name.endswith("norm.bias"):
            return self._norm(name, side, weight)
        channels = self.channels[side]
        if name.endswith("embedding.weight"):
            shared = self.plain.tie_embeddings == "all"
            return _take(weight, 1, self.table if shared else channels)
        if name.startswith("adapter"):
            weight = _take(weight, 0, self.memory)
            return weight if weight.dim() == 1 else _take(weight, 1, self.channels["encoder"])
        if name == "output_bias":
            return weight
        if name.endswith(("projection.weight", "channels")):
            return _take(weight, 0, channels)
        return _take(weight, 1, channels)  # learned positions, and an output layer of its own

    def _added(self, name: str, side: str, old: Mapping[str, Tensor]) -> Tensor:
        channels = self.channels[side]
        assert channels is not None
        if name.endswith("channels"):
            return channels
        table = old["model.target_embedding.weight"]
        chosen = torch.eye(self.plain.shared_width, dtype=table.dtype, device=table.device)
        return chosen[channels]  # the map from a shared table

    def _norm(self, name: str, side: str, weight: Tensor) -> Tensor:
        channels = self.channels[side]
        if channels is None:
            return weight
        norm, kind = name.rsplit(".", 1)
        weight = weight[channels]
        if kind == "bias":
            return weight
        # The channels that stay were not of size 1 on average; the gain keeps their size.
        size = self.activations.squares[norm][channels].mean().sqrt()
        return (weight * size.to(weight.device)).to(weight.dtype)

    def _in_layer(self, name: str, side: str, place: str, weight: Tensor) -> Tensor:
        channels, wanted = self.channels[side], self.wanted[side]
        block, _, rest = place.partition(".")
        if block.endswith("norm"):
            return self._norm(name, side, weight)
        module = name.removesuffix(f".{rest}")
        if block == "feed_forward":
            units = None
            if wanted.ff is not None:
                units = _strongest(self.activations.units[module], wanted.ff)
            rows, columns = (units, channels) if "expand" in rest else (channels, units)
        else:
            heads = None
            if wanted.heads is not None:
                heads = self._heads(side, self._response_of_heads(side, module), wanted.heads)
            if rest in ("log_temperature", "sinks"):
                return _take(weight, 0, heads)
            read = self.memory if block == "cross_attention" else channels
            kind = rest.split(".")[0]
            rows, columns = self._projection(side, kind, heads, channels, read)
            latent = getattr(self.plain, side).d_latent
            if latent is not None and block == "attention":
                rows, columns = self._of_latent(side, kind, heads, (rows, columns))
        weight = _take(weight, 0, rows)
        return weight if weight.dim() == 1 else _take(weight, 1, columns)

    def _response_of_heads(self, side: str, module: str) -> Tensor:
        """Return how strongly heads respond, in all layers that share their keys together."""
        layer, heads = _LAYER.fullmatch(module), self.activations.heads
        assert layer is not None
        if layer[3] != "attention":
            return heads[module]
        every, depth = (
            getattr(getattr(self.plain, side), n) for n in ("kv_shared_every", "num_layers")
        )
        first = int(layer[2]) - int(layer[2]) % every
        group = range(first, min(first + every, depth))
        return torch.stack([heads[f"{side}.layers.{i}.attention"] for i in group]).sum(0)

    def _heads(self, side: str, response: Tensor, count: int) -> Tensor:
        """Return the heads that stay: as many of each group that shares keys."""
        groups = self._groups(side)
        if groups is None:
            return _strongest(response, count)
        each = len(response) // groups
        return torch.cat(
            [
                _strongest(response[first : first + each], count // groups) + first
                for first in range(0, len(response), each)
            ]
        )

    def _groups(self, side: str) -> int | None:
        """Return how many groups of heads share keys, or None if every head has its own."""
        stack = getattr(self.plain, side)
        return None if stack.num_kv_heads in (None, stack.num_heads) else stack.num_kv_heads

    def _projection(
        self,
        side: str,
        kind: str,
        heads: Tensor | None,
        channels: Tensor | None,
        read: Tensor | None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the rows and columns of a map of attention that stay."""
        stack = getattr(self.plain, side)
        total = stack.d_key if kind in ("query", "key") else stack.d_value
        each = (total or stack.d_model) // stack.num_heads
        features = None if heads is None else (heads[:, None] * each + torch.arange(each)).flatten()
        if kind == "output":
            return channels, features
        if kind == "query":
            return features, channels
        if kind == "gate":
            return (heads if stack.gate == "head" else features), channels
        return (features if self._groups(side) is None else None), read

    def _of_latent(
        self, side: str, kind: str, heads: Tensor | None, usual: tuple[Tensor | None, Tensor | None]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the same where keys and values read a latent, which stays as it is."""
        if kind == "latent":
            return None, self.channels[side]
        if kind in ("key", "value"):
            return usual[0], None
        if kind != "query" or heads is None:
            return usual
        stack = getattr(self.plain, side)
        each = (stack.d_key or stack.d_model) // stack.num_heads + stack.d_rotary
        return (heads[:, None] * each + torch.arange(each)).flatten(), usual[1]


def _side(name: str) -> str:
    return "encoder" if name.startswith(("encoder", "source")) else "decoder"


def _positions(stack: StackConfig) -> PositionConfig:
    """Return the same positions, of which channels are left out."""
    positions = stack.positions or PositionConfig()
    if positions.kind == "learned":
        return positions
    return replace(positions, width=stack.d_sinusoids)


def _strongest(response: Tensor, count: int) -> Tensor:
    """Return the places of the largest values, in ascending order."""
    return response.sort(descending=True, stable=True).indices[:count].sort().values


def _take(weight: Tensor, axis: int, kept: Tensor | None) -> Tensor:
    return weight if kept is None else weight.index_select(axis, kept.to(weight.device))
