"""The numbers of one training run."""

from dataclasses import dataclass, field
from typing import Literal

from askew._check import require

Decay = Literal["linear", "cosine", "inverse_sqrt", "constant"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SideConfig:
    """How the training of one side, encoder or decoder, differs from what the run says.

    Attributes:
        lr: Highest learning rate of this side.
        warmup_steps: Steps in which its rate rises from 0.
        schedule: How its rate falls afterwards.
        weight_decay: Of its matrices.
        bpe_dropout: Share of merges left out when the text of this side is cut into tokens,
            anew in every epoch, in [0, 1].

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> TrainingConfig(steps=100, decoder=SideConfig(lr=1e-3)).decoder.lr
        0.001

    References:
        BPE-Dropout: Simple and Effective Subword Regularization, 2020, arXiv:1910.13267.
    """

    lr: float | None = None
    warmup_steps: int | None = None
    schedule: Decay | None = None
    weight_decay: float | None = None
    bpe_dropout: float = 0.0

    def __post_init__(self) -> None:
        require(
            self.lr is None or self.lr > 0, f"SideConfig: lr must be positive; got lr {self.lr}"
        )
        for name in ("warmup_steps", "weight_decay"):
            value = getattr(self, name)
            require(
                value is None or value >= 0, f"SideConfig: {name} must be >= 0; got {name} {value}"
            )
        _check_schedule("SideConfig", self.schedule)
        require(
            0.0 <= self.bpe_dropout <= 1.0,
            f"SideConfig: bpe_dropout must be in [0, 1]; got bpe_dropout {self.bpe_dropout}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How long, how fast and on what a model is trained; the same for both sides, or not.

    Attributes:
        steps: Number of optimizer steps.
        batch_tokens: Budget of a batch: rows times its longest side, in tokens.
        accumulate: Batches of one optimizer step, on all processes together.
        lr: Highest learning rate of AdamW.
        warmup_steps: Steps in which the rate rises from 0 to `lr`.
        schedule: How it falls afterwards; "linear" and "cosine" end at 0.
        weight_decay: Of AdamW, on matrices only.
        encoder: What is different for the encoder and the source.
        decoder: What is different for the decoder and the target.
        label_smoothing: Share of the target spread over all tokens, in [0, 1).
        clip_norm: Largest norm of the gradient.
        average_decay: Of the running average of the weights, in [0, 1): the averaged weights
            are evaluated and kept. 0 keeps the last weights as they are. Step t averages with
            min(average_decay, (1 + t) / (10 + t)).
        patience: Stop after so many evaluations in a row without a better validation loss,
            and keep the best weights. None trains all steps and keeps the last weights.
        precision: "bf16" computes matrix products in bfloat16; weights, moments and, on the
            CPU, attention stay in float32.
        target: What is learnt: the "reference", the "teacher"'s translations of the same
            sources, or "both", one after the other.
        evaluations: How often the validation loss is computed.
        checkpoints: How often everything needed to go on is written, at evaluations.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> TrainingConfig(steps=100).lr
        0.002

    References:
        Sequence-Level Knowledge Distillation, 2016, arXiv:1606.07947.
    """

    steps: int
    batch_tokens: int = 512
    accumulate: int = 1
    lr: float = 2e-3
    warmup_steps: int = 100
    schedule: Decay = "linear"
    weight_decay: float = 0.01
    encoder: SideConfig = field(default_factory=SideConfig)
    decoder: SideConfig = field(default_factory=SideConfig)
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    average_decay: float = 0.0
    patience: int | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    target: Literal["reference", "teacher", "both"] = "reference"
    evaluations: int = 10
    checkpoints: int = 5

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_tokens",
            "accumulate",
            "lr",
            "clip_norm",
            "evaluations",
            "checkpoints",
        ):
            value = getattr(self, name)
            require(value > 0, f"TrainingConfig: {name} must be positive; got {name} {value}")
        for name in ("warmup_steps", "weight_decay"):
            value = getattr(self, name)
            require(value >= 0, f"TrainingConfig: {name} must be >= 0; got {name} {value}")
        for name in ("label_smoothing", "average_decay"):
            value = getattr(self, name)
            require(
                0.0 <= value < 1.0, f"TrainingConfig: {name} must be in [0, 1); got {name} {value}"
            )
        require(
            self.patience is None or self.patience > 0,
            f"TrainingConfig: patience must be positive or None; got patience {self.patience}",
        )
        _check_schedule("TrainingConfig", self.schedule)
        for name, known in (
            ("precision", ("fp32", "bf16")),
            ("target", ("reference", "teacher", "both")),
        ):
            value = getattr(self, name)
            require(
                value in known,
                f"TrainingConfig: {name} must be {' or '.join(known)}; got {name} {value!r}",
            )


def _check_schedule(caller: str, schedule: str | None) -> None:
    require(
        schedule in (None, "linear", "cosine", "inverse_sqrt", "constant"),
        f"{caller}: schedule must be linear, cosine, inverse_sqrt or constant; "
        f"got schedule {schedule!r}",
    )
