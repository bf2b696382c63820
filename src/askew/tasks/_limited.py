"""The layers of a model that are kept under a limit of latency."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from transformers import PreTrainedModel

from askew.models import Seq2Seq, choose_layers, shrink
from askew.tasks._layers import (
    Answer,
    Fits,
    LayerTable,
    Loss,
    cut_within,
    layer_table,
    measured_removals,
    seconds_in_turn,
)


class Limited(NamedTuple):
    """The layers that are kept under a limit.

    Attributes:
        table: What each layer is worth and costs.
        kept: Numbers of layers by side.
        latency_ms: Of the cut.
    """

    table: LayerTable
    kept: dict[str, list[int]]
    latency_ms: float

    def plain(self) -> dict[str, Any]:
        """Return all fields as values that JSON can hold."""
        return {**self._asdict(), "table": self.table.plain()}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Limited":
        """Make it from what `plain` returned."""
        return cls(LayerTable.of(plain["table"]), plain["kept"], plain["latency_ms"])


class FixedAnswers:
    """Answers of one length, whatever the weights are.

    Args:
        reader: Makes batches.
        rows: What is answered, one by one.
        tokens: Of each answer.
    """

    def __init__(self, reader: Seq2Seq, rows: Sequence[Any], *, tokens: int) -> None:
        self.reader, self.rows, self.tokens = reader, rows, max(1, tokens)

    def __call__(self, model: PreTrainedModel) -> int:
        """Answer all, and return their number."""
        for row in self.rows:
            model.generate(  # pyrefly: ignore[not-callable]  every encoder-decoder generates
                **self.reader.inputs([row]),
                num_beams=1,
                do_sample=False,
                min_length=self.tokens + 1,
                max_length=self.tokens + 1,
                min_new_tokens=None,
                max_new_tokens=None,
            )
        return len(self.rows)


def latency_of(model: PreTrainedModel, kept: Mapping[str, list[int]], answer: Answer) -> float:
    """Return the milliseconds of an answer of a cut."""
    (seconds,) = seconds_in_turn([shrink(model, keep=kept)], answer)
    return 1000 * median(seconds)


def limit_layers(model: PreTrainedModel, latency_ms: float, loss: Loss, answer: Answer) -> Limited:
    """Measure the layers of a model, and choose the best cut that meets a limit.

    Args:
        model: The model.
        latency_ms: The longest time of an answer.
        loss: A function from a model to its loss on validation data.
        answer: A function that answers, and returns how often.

    Returns:
        The layers.

    Raises:
        ValueError: If no cut meets the limit, or of this kind of model no layer of a side can be
            left out alone.
    """
    removals = measured_removals(model, loss, to_one=False)
    table = layer_table(model, removals, loss(model), answer)
    kept, took = cut_within(
        table,
        latency_ms,
        lambda kept: latency_of(model, kept, answer),
        fits=_fits(model),
        caller="shrink",
    )
    return Limited(table, kept, took)


def _fits(model: PreTrainedModel) -> Fits:
    """Return which numbers of layers this kind of model may have."""

    def fits(encoder: int, decoder: int) -> bool:
        try:
            choose_layers(model, encoder_layers=encoder, decoder_layers=decoder)
        except ValueError:
            return False
        return True

    return fits
