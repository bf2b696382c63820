"""The settings of one training run."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, get_args

from askew._check import refuse_quoted, require
from askew._config import ADDED

Decay = Literal["linear", "cosine", "inverse_sqrt", "constant", "wsd"]
"""How rates fall after their warm-up: linearly, along half a cosine, as 1/√step, or not.

"wsd" keeps them, and lets them fall linearly in the last two fifths.
"""

Base = Literal["adamw", "muon"]
"""The algorithm of the hidden matrices: AdamW, or Muon at 0.2 √max(rows, columns) of the rate.

With this factor the updates are as large as those of AdamW, so that the rates of AdamW fit. Tables,
output layers, norms and biases always have AdamW.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartConfig:
    """How the training of one part of a model differs from the rest of the run.

    Attributes:
        lr: Highest learning rate of this part.
        warmup_steps: Steps in which its rate rises from 0.
        schedule: How its rate falls afterwards.
        weight_decay: Of its matrices.
        base: The algorithm of its hidden matrices.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> PartConfig(lr=1e-3).warmup_steps is None
        True
    """

    lr: float | None = None
    warmup_steps: int | None = None
    schedule: Decay | None = None
    weight_decay: float | None = None
    base: Base | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        refuse_quoted(self)
        name = type(self).__name__
        require(self.lr is None or self.lr > 0, f"{name}: lr must be positive; got lr {self.lr}")
        for key in ("warmup_steps", "weight_decay"):
            value = getattr(self, key)
            require(value is None or value >= 0, f"{name}: {key} must be >= 0; got {key} {value}")
        for key in ("lr", "weight_decay"):
            require_finite(name, key, getattr(self, key))
        _check_schedule(name, self.schedule)
        _check_base(name, self.base)


@dataclass(frozen=True, kw_only=True, slots=True)
class SideConfig(PartConfig):
    """How the training of one side, encoder or decoder, differs from the rest of the run.

    Attributes:
        bpe_dropout: Share of merges left out when the text of this side is cut into tokens,
            anew in every epoch, in [0, 1]. All other settings are those of `PartConfig`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> TrainingConfig(steps=100, decoder=SideConfig(lr=1e-3)).decoder.lr
        0.001

    References:
        BPE-Dropout: Simple and Effective Subword Regularization, 2020, arXiv:1910.13267.
    """

    bpe_dropout: float = 0.0

    def __post_init__(self) -> None:
        PartConfig.__post_init__(self)
        require(
            0.0 <= self.bpe_dropout <= 1.0,
            f"SideConfig: bpe_dropout must be in [0, 1]; got bpe_dropout {self.bpe_dropout}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Length, rates and batches of a training, whatever its objective.

    Attributes:
        steps: Number of optimizer steps.
        batch_tokens: Budget of a batch in tokens: rows times the length of its longest side.
        accumulate: Batches of one optimizer step, over all processes.
        lr: Highest learning rate.
        warmup_steps: Steps in which the rate rises from 0 to `lr`.
        schedule: How it falls afterwards; "linear" and "cosine" end at 0.
        weight_decay: Decoupled, on matrices only.
        clip_norm: Largest norm of the gradient.
        average_decay: Of the running average of the weights, in [0, 1): the averaged weights
            are evaluated and kept. 0 keeps the last weights as they are. Step t averages with
            min(average_decay, (1 + t) / (10 + t)).
        patience: Evaluations without a better validation loss after which training stops; the
            best weights are kept. None trains all steps and keeps the last weights.
        precision: "bf16" computes matrix products in bfloat16; weights, moments and, on the
            CPU, attention stay in float32.
        evaluations: How often the validation loss is computed.
        checkpoints: How often everything needed to resume is written, at evaluations.
        schedule_steps: Steps that rates are planned for; None means `steps`. With more of them than
            steps, a training is the beginning of a longer one.
        base: The algorithm of hidden matrices, for parts that name none.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> RunConfig(steps=100).schedule
        'linear'
    """

    steps: int
    batch_tokens: int = 512
    accumulate: int = 1
    lr: float = 2e-3
    warmup_steps: int = 100
    schedule: Decay = "linear"
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average_decay: float = 0.0
    patience: int | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    evaluations: int = 10
    checkpoints: int = 5
    schedule_steps: int | None = None
    base: Base = field(default="adamw", metadata=ADDED)

    def __post_init__(self) -> None:
        refuse_quoted(self)
        name = type(self).__name__
        require(
            self.schedule_steps is None or self.schedule_steps >= self.steps,
            f"{name}: schedule_steps must be None or at least steps; got schedule_steps "
            f"{self.schedule_steps}, steps {self.steps}",
        )
        positive = ("steps", "batch_tokens", "accumulate", "lr", "clip_norm")
        for key in (*positive, "evaluations", "checkpoints"):
            value = getattr(self, key)
            require(value > 0, f"{name}: {key} must be positive; got {key} {value}")
        for key in ("warmup_steps", "weight_decay"):
            value = getattr(self, key)
            require(value >= 0, f"{name}: {key} must be >= 0; got {key} {value}")
        for key in ("lr", "weight_decay"):
            require_finite(name, key, getattr(self, key))
        require_share(name, "average_decay", self.average_decay)
        require(
            self.patience is None or self.patience > 0,
            f"{name}: patience must be positive or None; got patience {self.patience}",
        )
        _check_schedule(name, self.schedule)
        _check_base(name, self.base)
        require_word(name, "precision", self.precision, ("fp32", "bf16"))

    @property
    def stop_margin(self) -> float:
        """How much lower a validation loss must be to count as better for `patience`."""
        return 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig(RunConfig):
    """How a translation model is trained; each side may have its own settings.

    Attributes:
        encoder: Settings of the encoder and the source alone.
        decoder: Settings of the decoder and the target alone.
        label_smoothing: Share of the target spread over all tokens, in [0, 1).
        target: What is learnt: the "reference", the translations of a "teacher", or "both" in
            one data set. All other settings are those of `RunConfig`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> TrainingConfig(steps=100).lr
        0.002

    References:
        Sequence-Level Knowledge Distillation, 2016, arXiv:1606.07947.
    """

    encoder: SideConfig = field(default_factory=SideConfig)
    decoder: SideConfig = field(default_factory=SideConfig)
    label_smoothing: float = 0.1
    target: Literal["reference", "teacher", "both"] = "reference"

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        require_share("TrainingConfig", "label_smoothing", self.label_smoothing)
        require_word("TrainingConfig", "target", self.target, ("reference", "teacher", "both"))


def require_finite(name: str, key: str, value: float | None) -> None:
    """Check that a setting is a finite number, or None."""
    require(value is None or isfinite(value), f"{name}: {key} must be finite; got {key} {value}")


def require_share(caller: str, name: str, value: float) -> None:
    """Refuse a number outside [0, 1)."""
    require(0.0 <= value < 1.0, f"{caller}: {name} must be in [0, 1); got {name} {value}")


def require_word(caller: str, name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not known."""
    require(value in known, f"{caller}: {name} must be {' or '.join(known)}; got {name} {value!r}")


def _check_base(caller: str, base: str | None) -> None:
    require(
        base is None or base in get_args(Base),
        f"{caller}: base must be adamw or muon; got base {base!r}",
    )


def _check_schedule(caller: str, schedule: str | None) -> None:
    require(
        schedule is None or schedule in get_args(Decay),
        f"{caller}: schedule must be linear, cosine, inverse_sqrt, constant or wsd; "
        f"got schedule {schedule!r}",
    )
