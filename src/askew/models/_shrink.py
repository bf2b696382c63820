"""A model with fewer layers, cut from one that is trained."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

from accelerate import init_empty_weights
from torch import nn
from transformers import PreTrainedModel

from askew._check import require
from askew.models._activations import Batch, measure_activations
from askew.models._families import SIDES, Family, check_key_groups, check_pretrained, family_of
from askew.models._widths import Widths, check_widths, narrowed

Model = TypeVar("Model", bound=PreTrainedModel)
Keep = Literal["spread", "first", "last", "measured"] | Sequence[int]
"""Which layers are kept: a rule, or their numbers from 0."""

_RULES = ("spread", "first", "last", "measured")


class Removal(NamedTuple):
    """A layer that was tried to be left out, and the loss without it.

    Attributes:
        side: "encoder" or "decoder".
        left: Layers of the side before, by their numbers in the given model.
        layer: Which of them was left out.
        loss: Of the model without it.

    Example:
        >>> Removal("decoder", (0, 1, 2), 1, 3.25).layer
        1
    """

    side: str
    left: tuple[int, ...]
    layer: int
    loss: float


def shrink(
    model: Model,
    *,
    encoder_layers: int | None = None,
    decoder_layers: int | None = None,
    keep: Keep | Mapping[str, Keep] = "spread",
    loss: Callable[[PreTrainedModel], float] | None = None,
    on_removal: Callable[[Removal], None] | None = None,
    encoder_width: int | None = None,
    decoder_width: int | None = None,
    encoder_heads: int | None = None,
    decoder_heads: int | None = None,
    encoder_ff: int | None = None,
    decoder_ff: int | None = None,
    batches: Iterable[Batch] | None = None,
) -> Model:
    r"""Return a model of the same class with some of the layers, whose weights are copied.

    The model is built anew from a changed config and filled by name, never cut in place: what
    belongs to the first layer alone, such as the relative positions of T5, stays with the first
    layer, and the student saves and loads like any other model of transformers. All else is kept:
    tables and what is tied, generation config, dtype. Nothing is trained; a student that has lost
    layers answers badly until it is.

    Of an `AsymmetricTranslationModel`, also a converted one, each side can be made narrower too:
    by channels c of the stream, heads h and feed-forward units u. Those stay whose mean absolute
    activation over the real tokens of all batches is largest,

    .. math::
        I_c = \sum_n E\,|\mathrm{LN}_n(x)_c|,\qquad I_h = E\,|A_h(x)|,\qquad
        I_u = E\,|\sigma(W_1 x + b_1)_u|,

    with n over all norms of the side; heads and units are chosen in every layer by itself. The
    gain of a norm is multiplied by the root mean square that its kept channels had. Attention to
    the encoder's states reads all channels that the encoder has. A table that both sides share
    stays as wide as it is, and the narrower side reads it through a map, which so far picks the
    kept channels; if both sides become equally narrow, they keep the same channels, and so does
    the table.

    Args:
        model: An encoder-decoder: ours, or Marian, BART, mBART, Pegasus, T5, mT5, UMT5, LongT5,
            Switch, T5Gemma, M2M100 and NLLB, ProphetNet, LED, Blenderbot, Moonshine or Whisper.
        encoder_layers: How many encoder layers to keep, all by default.
        decoder_layers: How many decoder layers to keep, all by default.
        keep: Which: "spread" (the first, the last, and evenly between; of one, the first), "first",
            "last", "measured", or their numbers from 0. A mapping from "encoder" and "decoder"
            tells the sides apart. "measured" leaves out one layer at a time, the one whose absence
            costs least. Numbers of a mapping also say how many.
        loss: For "measured", a function from a model to its loss on validation data. It must change
            neither its weights nor the generator of random numbers.
        on_removal: For "measured", called with every layer that was tried.
        encoder_width: How many channels of the encoder's stream (`d_model`) to keep.
        decoder_width: The same of the decoder.
        encoder_heads: How many heads of every attention of the encoder to keep.
        decoder_heads: The same of the decoder.
        encoder_ff: How many units of every feed-forward block of the encoder (`d_ff`) to keep.
        decoder_ff: The same of the decoder.
        batches: For widths, what the model is run on: mappings with input_ids, attention_mask, and
            labels or decoder_input_ids. About 1,024 examples are enough.

    Returns:
        The student, in the mode of the model, on its device. It shares no memory with it.

    Raises:
        ValueError: If the model is of no known kind, has fewer layers, or its layers of experts
            would no longer be evenly spaced, or others read keys of other layers; or `keep` does
            not fit. For widths, if the model is of another class or narrower, or there are no
            batches.

    Example:
        >>> from transformers import MarianConfig, MarianMTModel
        >>> sizes = {"d_model": 8, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "vocab_size": 9}
        >>> teacher = MarianMTModel(MarianConfig(**sizes, pad_token_id=0, decoder_layers=6,
        ...     encoder_layers=6, encoder_attention_heads=2, decoder_attention_heads=2))
        >>> student = shrink(teacher, decoder_layers=2)
        >>> student.config.decoder_layers, kept_layers(6, 2, "spread")
        (2, [0, 5])

    References:
        Distil-Whisper, 2023, arXiv:2311.00430 (spread). Iterative Layer Pruning for Efficient
        Translation Inference, 2025, arXiv:2510.22763 (measured). Compact Language Models via
        Pruning and Knowledge Distillation, 2024, arXiv:2407.14679, section 2.2 (widths).
    """
    check_pretrained("shrink", model)
    check_widths(
        model,
        encoder_width=encoder_width,
        decoder_width=decoder_width,
        encoder_heads=encoder_heads,
        decoder_heads=decoder_heads,
        encoder_ff=encoder_ff,
        decoder_ff=decoder_ff,
    )
    widths = {
        "encoder": Widths(encoder_width, encoder_heads, encoder_ff),
        "decoder": Widths(decoder_width, decoder_heads, decoder_ff),
    }
    narrow = any(number is not None for side in SIDES for number in widths[side])
    require(
        batches is not None or not narrow,
        "shrink: to cut widths, batches must show what matters; got batches None. Give about "
        "1,024 examples, in mappings with input_ids, attention_mask and labels",
    )
    kept = choose_layers(
        model,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        keep=keep,
        loss=loss,
        on_removal=on_removal,
    )
    student = copy.deepcopy(_student(model, family_of(model.config), kept))
    if batches is None or not narrow:
        return student
    return narrowed(student, widths, measure_activations(model, batches), kept)


def choose_layers(
    model: PreTrainedModel,
    *,
    encoder_layers: int | None = None,
    decoder_layers: int | None = None,
    keep: Keep | Mapping[str, Keep] = "spread",
    loss: Callable[[PreTrainedModel], float] | None = None,
    on_removal: Callable[[Removal], None] | None = None,
) -> dict[str, list[int]]:
    """Return which layers `shrink` keeps of a model, without cutting it.

    Args:
        model: As for `shrink`, and so are all others.
        encoder_layers: How many encoder layers to keep.
        decoder_layers: How many decoder layers to keep.
        keep: Which.
        loss: For "measured", a function from a model to its loss.
        on_removal: For "measured", called with every layer that was tried.

    Returns:
        Numbers of layers for "encoder" and "decoder", which `shrink` takes as `keep`.

    Raises:
        ValueError: As `shrink`.

    Example:
        >>> from transformers import T5Config, T5ForConditionalGeneration
        >>> sizes = {"vocab_size": 9, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2}
        >>> teacher = T5ForConditionalGeneration(T5Config(**sizes, num_layers=4))
        >>> choose_layers(teacher, decoder_layers=2, keep="last")
        {'encoder': [0, 1, 2, 3], 'decoder': [2, 3]}
    """
    check_pretrained("choose_layers", model)
    family = family_of(model.config)
    wanted = {"encoder": encoder_layers, "decoder": decoder_layers}
    rules = _rules(keep, wanted)
    depths = {side: family.depth(model.config, side) for side in SIDES}
    counts = {side: _count(wanted[side], rules[side], depths[side]) for side in SIDES}
    _check_counts(family, depths, counts)
    kept = {
        side: list(range(depths[side]))
        if rules[side] == "measured"
        else kept_layers(depths[side], counts[side], rules[side], side=side)
        for side in SIDES
    }
    for side in SIDES:
        if rules[side] == "measured":
            if loss is None:
                raise ValueError('shrink: keep "measured" needs a loss; got loss None')
            _measure(model, family, kept, side, counts[side], loss, on_removal or (lambda _: None))
    return kept


def _count(wanted: int | None, rule: Keep, depth: int) -> int:
    """Return how many layers of a side are kept: as many as wanted, or as there are numbers."""
    if wanted is not None:
        return wanted
    return depth if isinstance(rule, str) else len(rule)


def _check_counts(family: Family, depths: Mapping[str, int], counts: Mapping[str, int]) -> None:
    for side in SIDES:
        require(
            1 <= counts[side] <= depths[side],
            f"shrink: {side}_layers must be in [1, {depths[side]}], the layers of the model; got "
            f"{side}_layers {counts[side]}",
        )
    require(
        not family.caches_by_encoder
        or counts["decoder"] <= counts["encoder"]
        or depths["decoder"] > depths["encoder"],
        "shrink: in this kind of model the decoder must be no deeper than the encoder, or "
        "`generate` of transformers fails; got encoder_layers "
        f"{counts['encoder']}, decoder_layers {counts['decoder']}",
    )


def kept_layers(depth: int, count: int, rule: Keep, *, side: str = "decoder") -> list[int]:
    """Return the numbers of the layers that a rule keeps.

    Args:
        depth: Number of layers.
        count: How many are kept.
        rule: "spread", "first", "last", or the numbers themselves.
        side: How messages call the side.

    Returns:
        As many numbers, in ascending order.

    Raises:
        ValueError: If the numbers do not fit.

    Example:
        >>> kept_layers(12, 3, "spread"), kept_layers(12, 3, "last"), kept_layers(12, 1, "spread")
        ([0, 6, 11], [9, 10, 11], [0])
    """
    if not isinstance(rule, str):
        numbers = [int(layer) for layer in rule]
        require(
            numbers == sorted(set(numbers))
            and len(numbers) == count
            and all(0 <= layer < depth for layer in numbers),
            f"shrink: keep must hold {count} different layers of 0 to {depth - 1}, in ascending "
            f"order, for the {side}; got {numbers}",
        )
        return numbers
    if rule == "first":
        return list(range(count))
    if rule == "last":
        return list(range(depth - count, depth))
    if count == 1:
        return [0]
    return [round(place * (depth - 1) / (count - 1)) for place in range(count)]


def _rules(keep: Keep | Mapping[str, Keep], wanted: Mapping[str, int | None]) -> dict[str, Keep]:
    if not isinstance(keep, Mapping):
        cut = [side for side in SIDES if wanted[side] is not None]
        require(
            isinstance(keep, str) or len(cut) == 1,
            "shrink: numbers of layers must be of one side; got keep "
            f"{keep!r} for {' and '.join(cut) or 'none'}. Give a mapping from encoder and decoder",
        )
        keep = dict.fromkeys(cut, keep)
    unknown = [side for side in keep if side not in SIDES]
    require(not unknown, f"shrink: keep must be of encoder and decoder; got {unknown}")
    for rule in keep.values():
        require(
            not isinstance(rule, str) or rule in _RULES,
            f"shrink: keep must be {', '.join(_RULES)} or numbers; got keep {rule!r}",
        )
    return {side: keep.get(side, "first") for side in SIDES}


def _measure(
    model: PreTrainedModel,
    family: Family,
    kept: dict[str, list[int]],
    side: str,
    count: int,
    loss: Callable[[PreTrainedModel], float],
    on_removal: Callable[[Removal], None],
) -> None:
    """Leave out one layer after another, each time the one whose absence costs least."""
    while len(kept[side]) > count:
        before = tuple(kept[side])
        tried = []
        for layer in before:
            left = {**kept, side: [other for other in before if other != layer]}
            removal = Removal(side, before, layer, float(loss(_student(model, family, left))))
            on_removal(removal)
            tried.append(removal)
        least = min(tried, key=lambda removal: removal.loss)
        kept[side] = [layer for layer in before if layer != least.layer]


def _student(model: Model, family: Family, kept: Mapping[str, list[int]]) -> Model:
    """Build a model with some layers, whose weights are those of `model` and shared with it."""
    check_key_groups(model.config, kept)
    weights = model.state_dict()
    student, sources = _built(model, family, kept, weights)
    student.load_state_dict(
        {name: weights[source] for name, source in sources.items()}, assign=True
    )
    student.tie_weights()
    student.generation_config = copy.deepcopy(model.generation_config)
    if family.mend_generation is not None and student.generation_config is not None:
        family.mend_generation(student.generation_config, kept["decoder"])
    learns = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(learns.get(sources[name], True))
    return student.train(model.training)


def _built(
    model: Model, family: Family, kept: Mapping[str, list[int]], weights: Mapping[str, object]
) -> tuple[Model, dict[str, str]]:
    """Build the student without weights, and find for each the name that it has in the model.

    Layers of experts stand at places that follow from their number, so all numbers are tried.
    """
    unplaced: list[str] = []
    for placement in family.placements(kept):
        config = copy.deepcopy(model.config)
        for side in SIDES:
            family.set_layers(config, side, kept[side])
        for setting, number in placement.items():
            setattr(config, setting, number)
        with init_empty_weights(include_buffers=False):
            student = type(model)(config)
        sources, unplaced = _sources(model, student, kept, weights)
        if not unplaced:
            return student, sources
    raise ValueError(
        "shrink: the kept layers must be those of a model of this kind; got layers "
        f"{dict(kept)}, which leave no place for {unplaced[0]}. Keep others"
    )


def _sources(
    model: PreTrainedModel,
    student: PreTrainedModel,
    kept: Mapping[str, list[int]],
    weights: Mapping[str, object],
) -> tuple[dict[str, str], list[str]]:
    """Find where each weight of the student comes from, and what has no counterpart."""
    stacks = {_stack(model, side): layers for side, layers in kept.items()}
    depths = {stack: len(list(model.get_submodule(stack).children())) for stack in stacks}
    sources: dict[str, str] = {}
    for name in student.state_dict():
        source = name
        for stack, layers in stacks.items():
            if not name.startswith(f"{stack}."):
                continue
            place, rest = name.removeprefix(f"{stack}.").split(".", 1)
            source = f"{stack}.{layers[int(place)]}.{rest}"
            if source not in weights and place == "0":  # what the first layer has for all of them
                source = name
        sources[name] = source
    missing = [name for name, source in sources.items() if source not in weights]
    cut = tuple(
        f"{stack}.{layer}."
        for stack, layers in stacks.items()
        for layer in range(depths[stack])
        if layer not in layers
    )
    unused = sorted(set(weights) - set(sources.values()))
    return sources, missing + [name for name in unused if not name.startswith(cut)]


def _stack(model: PreTrainedModel, side: str) -> str:
    """Return the name of the list that holds the layers of a side."""
    lists = (name for name, module in model.named_modules() if isinstance(module, nn.ModuleList))
    return next(name for name in lists if re.search(rf"(^|\.){side}\.(layers|block)$", name))
