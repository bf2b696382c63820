"""What is cut of a model and how its student learns, and what became of it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from askew.models import Keep, Removal
from askew.tasks._layers import LayerTable
from askew.training import DistillationConfig


class Shrinking(NamedTuple):
    """What is cut and how the student learns.

    Attributes:
        encoder_layers: Encoder layers to keep; None keeps all.
        decoder_layers: Decoder layers to keep; None keeps all.
        keep: Which, as `shrink` takes it.
        training: How the student learns; None does not teach it.
        targets: What it learns to write: "reference", what its "teacher" writes, or "both".
        drop_worse: Share of the teacher's outputs, the worst by chrF against the references, that
            is left out, in [0, 1).
        beams: Hypotheses that the teacher keeps while it writes.
        seed: Of everything random.
        latency_ms: Instead of numbers of layers: the longest time of an answer, at batch 1 and of
            mean length. What each layer is worth and costs is measured, and the best cut that
            meets it is chosen.
        widths: Arguments of `shrink` that make sides narrower, such as "decoder_width", by name.

    Example:
        >>> Shrinking(decoder_layers=2).keep
        'spread'
    """

    encoder_layers: int | None = None
    decoder_layers: int | None = None
    keep: Keep | Mapping[str, Keep] = "spread"
    training: DistillationConfig | None = None
    targets: str = "reference"
    drop_worse: float = 0.1
    beams: int = 1
    seed: int = 0
    latency_ms: float | None = None
    widths: Mapping[str, int] = MappingProxyType({})


class Shrunk(NamedTuple):
    """What became of a model.

    Attributes:
        kept: Numbers of the layers that are kept, by side.
        parameters: Of the model and of the student.
        removals: Layers that were tried to be left out.
        scores: On the test data, of "teacher", "untaught" and "student"; empty without data.
        latency_ratio: Time of an answer of the teacher divided by that of the student, at batch 1;
            None without data.
        left_out: Outputs of the teacher that were not learnt.
        train_seconds: CPU time of the training.
        layers: What each layer is worth and costs, where a limit chose them.
        latency_ms: Of the cut, measured in the same way.

    Example:
        >>> Shrunk._fields[0]
        'kept'
    """

    kept: dict[str, list[int]]
    parameters: tuple[int, int]
    removals: list[Removal]
    scores: dict[str, dict[str, float]]
    latency_ratio: float | None
    left_out: int
    train_seconds: float
    layers: LayerTable | None = None
    latency_ms: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return all fields as values that JSON can hold."""
        layers = None if self.layers is None else self.layers.plain()
        removals = [one._asdict() for one in self.removals]
        return {**self._asdict(), "removals": removals, "layers": layers}
