"""The settings of a training of question answering."""

import math
from dataclasses import dataclass, field

from askew._check import require
from askew._config import ADDED
from askew.training._config import PartConfig, RunConfig, require_finite, require_share


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderPartConfig(PartConfig):
    """How the training of an encoder differs from the rest of the run.

    Attributes:
        frozen_layers: Of an encoder of transformers: how many of its lowest layers keep their
            weights, with the embeddings below them. 0 trains all. All other settings are those of
            `PartConfig`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> EncoderPartConfig(lr=2e-4, frozen_layers=2).frozen_layers
        2
    """

    frozen_layers: int = 0

    def __post_init__(self) -> None:
        PartConfig.__post_init__(self)
        require(
            self.frozen_layers >= 0,
            "EncoderPartConfig: frozen_layers must be >= 0; "
            f"got frozen_layers {self.frozen_layers}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LayeredPartConfig(EncoderPartConfig):
    """How the training of an encoder differs from the rest of the run, layer by layer.

    Attributes:
        layer_decay: Rate of a layer divided by that of the layer above it, in (0, 1]. The highest
            layer has the rate of the part, and what lies below the lowest one, such as the table
            of tokens, the rate of a layer more. 1 gives all layers one rate. All other settings
            are those of `EncoderPartConfig`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> LayeredPartConfig(lr=2e-4, layer_decay=0.8).layer_decay
        0.8

    References:
        ELECTRA, 2020, arXiv:2003.10555, table 6.
    """

    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        EncoderPartConfig.__post_init__(self)
        require(
            0 < self.layer_decay <= 1,
            f"LayeredPartConfig: layer_decay must be in (0, 1]; got layer_decay {self.layer_decay}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class QATrainingConfig(RunConfig):
    """How a question-answering model is trained.

    Attributes:
        batch_tokens: Budget of a batch in tokens: windows of contexts times the length of the
            longest; all questions about a window come with it.
        question: Settings of the encoder of questions alone.
        context: Settings of the encoder of contexts alone.
        reader: Settings of all other parameters.
        retrieval_weight: Weight of the contrastive loss between questions and contexts, >= 0.
        temperature: Of that loss, > 0.
        unanswerable: Share of questions that are also put to a window of another article of
            the batch, where there is no answer, in [0, 1).
        teacher_weight: With a teacher, the weight of `soft_span_loss`, in [0, 1]; that of
            `span_loss` is the rest. 0 trains as without a teacher.
        teacher_temperature: As in `soft_span_loss`, > 0.
        teacher_top_k: How many probabilities of starts and of ends are kept of the teacher for each
            question; the others count as one class. All other settings are those of `RunConfig`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> QATrainingConfig(steps=100).retrieval_weight
        0.1
    """

    batch_tokens: int = 1024
    lr: float = 1e-3
    question: EncoderPartConfig = field(default_factory=EncoderPartConfig)
    context: EncoderPartConfig = field(default_factory=EncoderPartConfig)
    reader: PartConfig = field(default_factory=PartConfig)
    retrieval_weight: float = 0.1
    temperature: float = 0.05
    unanswerable: float = 0.2
    teacher_weight: float = field(default=0.5, metadata=ADDED)
    teacher_temperature: float = field(default=2.0, metadata=ADDED)
    teacher_top_k: int = field(default=8, metadata=ADDED)

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        require(
            self.retrieval_weight >= 0 and self.temperature > 0,
            "QATrainingConfig: retrieval_weight must be >= 0 and temperature positive; "
            f"got retrieval_weight {self.retrieval_weight}, temperature {self.temperature}",
        )
        for key in ("retrieval_weight", "temperature"):
            require_finite("QATrainingConfig", key, getattr(self, key))
        require_share("QATrainingConfig", "unanswerable", self.unanswerable)
        require(
            0 <= self.teacher_weight <= 1,
            "QATrainingConfig: teacher_weight must be in [0, 1]; "
            f"got teacher_weight {self.teacher_weight}",
        )
        require(
            0 < self.teacher_temperature < math.inf and self.teacher_top_k >= 1,
            "QATrainingConfig: teacher_temperature must be finite and positive, and teacher_top_k "
            f"at least 1; got teacher_temperature {self.teacher_temperature}, teacher_top_k "
            f"{self.teacher_top_k}",
        )
