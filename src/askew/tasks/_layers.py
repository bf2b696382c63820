"""What each layer of a model is worth and what it costs, and which to keep under a limit."""

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from askew.models import Removal, choose_layers, shrink

SIDES = ("encoder", "decoder")
Loss = Callable[[PreTrainedModel], float]
"""A function from a model to its loss on validation data."""
Answer = Callable[[PreTrainedModel], int]
"""A function that lets a model answer, one by one, and returns the number of answers."""
Fits = Callable[[int, int], bool]
"""Whether a cut may have so many encoder and decoder layers."""
_ROUNDS = 9
_CORRECTIONS = 5
_LOWERED = 0.01  # share of a limit by which it is lowered at least


class Layer(NamedTuple):
    """A layer of a model.

    Attributes:
        side: "encoder" or "decoder".
        layer: Its number.
        loss: Of the model without it, on validation data; None of the only layer of a side.
        milliseconds: By so much an answer is shorter without it.
    """

    side: str
    layer: int
    loss: float | None
    milliseconds: float


class LayerTable(NamedTuple):
    """All layers of a model.

    Attributes:
        loss: Of the whole model, on validation data.
        latency_ms: Time of one answer of the whole model.
        layers: Its layers, those of the encoder first.
    """

    loss: float
    latency_ms: float
    layers: list[Layer]

    def plain(self) -> dict[str, Any]:
        """Return all numbers as values that JSON can hold."""
        return {**self._asdict(), "layers": [layer._asdict() for layer in self.layers]}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "LayerTable":
        """Make a table from what `plain` returned."""
        layers = [Layer(**layer) for layer in plain["layers"]]
        return cls(plain["loss"], plain["latency_ms"], layers)

    def lines(self) -> list[str]:
        """Write the table, one line a layer."""
        rows = [
            (f"{one.side} {one.layer}", one.loss, f"{one.milliseconds:.3f}") for one in self.layers
        ]
        rows = [("layer", "loss without it", "ms"), *rows]
        rows.append(("the whole model", self.loss, f"{self.latency_ms:.3f}"))
        return [f"{name:15}  {_loss(loss):>15}  {ms:>9}" for name, loss, ms in rows]


def _loss(loss: float | str | None) -> str:
    if isinstance(loss, str):
        return loss
    return "-" if loss is None else f"{loss:.4f}"


def measured_removals(model: PreTrainedModel, loss: Loss, *, to_one: bool) -> list[Removal]:
    """Leave out layers of each side while the other one is whole.

    Args:
        model: The model.
        loss: A function from a model to its loss on validation data.
        to_one: Whether to go on, always without the layer whose absence cost least, until one is
            left; otherwise each layer is left out once.

    Returns:
        Every layer that was tried.
    """
    removals: list[Removal] = []
    for side, layers in choose_layers(model).items():
        count = 1 if to_one else max(1, len(layers) - 1)
        choose_layers(
            model,
            **{f"{side}_layers": count},  # pyrefly: ignore[bad-argument-type]  both are numbers
            keep={side: "measured"},
            loss=loss,
            on_removal=removals.append,
        )
    return removals


def order_of(removals: Sequence[Removal], side: str, depth: int) -> list[int]:
    """Return the layers of a side, the one that is left at the end first.

    Example:
        >>> tried = [((0, 1, 2), 0, 1.0), ((0, 1, 2), 1, 0.5), ((0, 1, 2), 2, 2.0)]
        >>> tried += [((0, 2), 0, 3.0), ((0, 2), 2, 4.0)]
        >>> order_of([Removal("decoder", *each) for each in tried], "decoder", 3)
        [2, 0, 1]
    """
    left, gone = list(range(depth)), []
    while len(left) > 1:
        tried = [one for one in removals if (one.side, one.left) == (side, tuple(left))]
        gone.append(min(tried, key=lambda removal: removal.loss).layer)
        left.remove(gone[-1])
    return [*left, *reversed(gone)]


def layer_table(
    model: PreTrainedModel,
    removals: Sequence[Removal],
    loss: float,
    answer: Answer,
) -> LayerTable:
    """Time each layer of a model: what an answer takes with it and without it, in turn.

    Args:
        model: The model.
        removals: Losses without each layer, among others.
        loss: Of the whole model.
        answer: A function from a model to the number of answers that it gave one by one, each
            with as much work whatever the weights are.

    Returns:
        The table. Milliseconds are medians over rounds of the difference of neighbours.
    """
    whole = choose_layers(model)
    layers, spent = [], []
    for side, numbers in whole.items():
        if len(numbers) == 1:
            layers.append(Layer(side, 0, None, 0.0))
            continue
        for number in numbers:
            others = [other for other in numbers if other != number]
            without = shrink(model, keep={side: others})
            long, short = seconds_in_turn([model, without], answer)
            spent += long
            saved = median(one - other for one, other in zip(long, short, strict=True))
            without_it = next(
                one.loss
                for one in removals
                if (one.side, one.left, one.layer) == (side, tuple(numbers), number)
            )
            layers.append(Layer(side, number, without_it, 1000 * saved))
    return LayerTable(loss, 1000 * median(spent), layers)


@torch.inference_mode()
def seconds_in_turn(models: Sequence[PreTrainedModel], answer: Answer) -> list[list[float]]:
    """Time single answers of models in turn; return the seconds of each round, by model."""
    spent: list[list[float]] = [[] for _ in models]
    for turn in range(_ROUNDS + 1):
        for seconds, model in zip(spent, models, strict=True):
            model.eval()
            started = time.perf_counter()
            answers = answer(model)
            if turn:  # the first round warms up
                seconds.append((time.perf_counter() - started) / answers)
    return spent


class _Part(NamedTuple):
    """Some layers of one side: their time, what the loss rises by without the others, and which."""

    milliseconds: float
    harm: float
    kept: tuple[int, ...]


def best_cut(
    table: LayerTable, latency_ms: float, *, fits: Fits = lambda encoder, decoder: True
) -> dict[str, list[int]] | None:
    r"""Choose the layers to keep under a limit of latency: a knapsack over both sides, exactly.

    .. math::
        \min \sum_{i \text{ left out}} \max(0, \ell_i - \ell)
        \quad\text{with}\quad t - \sum_{i \text{ left out}} \max(0, t_i) \le \text{limit}

    with the loss and the latency of the whole model, :math:`\ell` and :math:`t`, and of each layer.
    Among equals the cut with more layers is chosen, then the faster one. Each side keeps a layer.

    Args:
        table: All layers.
        latency_ms: The limit.
        fits: Which numbers of layers are allowed.

    Returns:
        Numbers of layers by side; None if no cut meets the limit.

    Example:
        >>> layers = [Layer("encoder", 0, None, 0.0)]
        >>> layers += [Layer("decoder", n, loss, 2.0) for n, loss in enumerate((5.0, 1.5, 3.0))]
        >>> best_cut(LayerTable(1.0, 10.0, layers), latency_ms=8.0)
        {'encoder': [0], 'decoder': [0, 2]}
    """
    fixed = table.latency_ms - sum(_cost(layer) for layer in table.layers)
    fronts = {side: _fronts(table, side) for side in SIDES}
    found = []
    for encoder_count, encoders in fronts["encoder"].items():
        for decoder_count, decoders in fronts["decoder"].items():
            if not fits(encoder_count, decoder_count):
                continue
            times = [part.milliseconds for part in decoders]
            for one in encoders:
                place = bisect_right(times, latency_ms - fixed - one.milliseconds)
                if place:  # the slowest that fits does the least harm
                    other = decoders[place - 1]
                    harm, took = one.harm + other.harm, one.milliseconds + other.milliseconds
                    found.append((harm, -encoder_count - decoder_count, took, one.kept, other.kept))
    if not found:
        return None
    *_, encoder, decoder = min(found)
    return {"encoder": list(encoder), "decoder": list(decoder)}


def _cost(layer: Layer) -> float:
    return max(0.0, layer.milliseconds)


def _fronts(table: LayerTable, side: str) -> dict[int, list[_Part]]:
    """Return, by the number of kept layers, what no other choice beats in time and in harm."""
    fronts = {0: [_Part(0.0, 0.0, ())]}
    for layer in table.layers:
        if layer.side != side:
            continue
        harm = math.inf if layer.loss is None else max(0.0, layer.loss - table.loss)
        grown: dict[int, list[_Part]] = {}
        for count, parts in fronts.items():
            for part in parts:
                left_out = part._replace(harm=part.harm + harm)
                kept = (*part.kept, layer.layer)
                grown.setdefault(count, []).append(left_out)
                grown.setdefault(count + 1, []).append(
                    _Part(part.milliseconds + _cost(layer), part.harm, kept)
                )
        fronts = {count: _undominated(parts) for count, parts in grown.items()}
    return {count: parts for count, parts in fronts.items() if count}


def _undominated(parts: list[_Part]) -> list[_Part]:
    """Return those that are better than every faster one, the fastest first."""
    front: list[_Part] = []
    for part in sorted(parts):
        if not front or part.harm < front[-1].harm:
            front.append(part)
    return front


def cut_within(
    table: LayerTable,
    latency_ms: float,
    measure: Callable[[Mapping[str, list[int]]], float],
    *,
    fits: Fits = lambda encoder, decoder: True,
    caller: str,
) -> tuple[dict[str, list[int]], float]:
    """Choose the best cut whose measured latency meets a limit.

    Latencies of layers don't quite add up: where the cut is too slow, a lower limit is tried.

    Args:
        table: All layers.
        latency_ms: The limit.
        measure: A function from the kept layers to the latency of the cut.
        fits: Which numbers of layers are allowed.
        caller: What messages name.

    Returns:
        The kept layers and their measured latency.

    Raises:
        ValueError: If no cut meets the limit; the message names the nearest.
    """
    aim, nearest = latency_ms, math.inf
    for _ in range(_CORRECTIONS):
        kept = best_cut(table, aim, fits=fits)
        if kept is None:
            break
        took = measure(kept)
        if took <= latency_ms:
            return kept, took
        nearest = min(nearest, took)
        aim = min(aim - (took - latency_ms), aim - _LOWERED * latency_ms)
    if nearest == math.inf:
        nearest = _fastest(table, fits)
    raise ValueError(
        f"{caller}: a cut must meet latency_ms {latency_ms:g}; got {nearest:.3g} ms at the "
        f"nearest, and {table.latency_ms:.3g} ms of the whole model. Raise the limit"
    )


def _fastest(table: LayerTable, fits: Fits) -> float:
    """Return the latency of the fastest cut."""
    fixed = table.latency_ms - sum(_cost(layer) for layer in table.layers)
    counts = {side: _fronts(table, side) for side in SIDES}
    return fixed + min(
        one[0].milliseconds + other[0].milliseconds
        for encoder, one in counts["encoder"].items()
        for decoder, other in counts["decoder"].items()
        if fits(encoder, decoder)
    )
