"""The numbers of one training run."""

from dataclasses import dataclass
from typing import Literal

from askew._check import require


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How long and how fast a model is trained.

    Attributes:
        steps: Number of optimizer steps.
        batch_tokens: Budget of a batch: rows times its longest side, in tokens.
        lr: Highest learning rate of AdamW.
        warmup_steps: Steps in which the rate rises from 0 to `lr`.
        schedule: How it falls afterwards; "linear" and "cosine" end at 0.
        weight_decay: Of AdamW.
        label_smoothing: Share of the target spread over all tokens, in [0, 1).
        clip_norm: Largest norm of the gradient.
        evaluations: How often the validation loss is computed.
        checkpoints: How often everything needed to go on is written, at evaluations.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> TrainingConfig(steps=100).lr
        0.002
    """

    steps: int
    batch_tokens: int = 512
    lr: float = 2e-3
    warmup_steps: int = 100
    schedule: Literal["linear", "cosine", "inverse_sqrt"] = "linear"
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    evaluations: int = 10
    checkpoints: int = 5

    def __post_init__(self) -> None:
        for name in ("steps", "batch_tokens", "lr", "clip_norm", "evaluations", "checkpoints"):
            value = getattr(self, name)
            require(value > 0, f"TrainingConfig: {name} must be positive; got {name} {value}")
        for name in ("warmup_steps", "weight_decay"):
            value = getattr(self, name)
            require(value >= 0, f"TrainingConfig: {name} must be >= 0; got {name} {value}")
        require(
            0.0 <= self.label_smoothing < 1.0,
            "TrainingConfig: label_smoothing must be in [0, 1); "
            f"got label_smoothing {self.label_smoothing}",
        )
        require(
            self.schedule in ("linear", "cosine", "inverse_sqrt"),
            "TrainingConfig: schedule must be linear, cosine or inverse_sqrt; "
            f"got schedule {self.schedule!r}",
        )
