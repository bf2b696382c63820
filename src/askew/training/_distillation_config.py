"""The settings of a distillation."""

import math
from dataclasses import dataclass

from askew._check import require
from askew._config import to_dict
from askew.losses import Divergence
from askew.training._config import RunConfig, require_finite, require_share, require_word


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillationConfig(RunConfig):
    r"""How a student learns from its teacher.

    .. math:: w_{ce}\operatorname{CE}(\text{labels}) + w_{kl}\,T^2\,D(\text{teacher},\text{student})

    Attributes:
        cross_entropy_weight: Of the cross-entropy, >= 0.
        divergence_weight: Of the divergence from the teacher's distributions, >= 0; 0 needs no
            teacher.
        divergence: Its direction, as `distillation_loss` describes it.
        skew: As in `distillation_loss`.
        temperature: As in `distillation_loss`.
        top_k: How many probabilities of the teacher are kept for each token; the others count as
            one class.
        freeze_encoder: Whether the encoder keeps its weights, except in the last steps. Its states
            are then computed once, and a step costs the decoder alone.
        unfrozen_share: Share of the steps, the last ones, in which a frozen encoder learns, too.
        unfrozen_rate: Learning rate of the encoder in these, as a share of `lr`.
        stop_margin: How much lower a validation loss must be, in nats a token, to count as better
            for `patience`, >= 0. All other settings are those of `RunConfig`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> DistillationConfig(steps=100).temperature
        2.0

    References:
        Distil-Whisper, 2023, arXiv:2311.00430 (weights, frozen encoder).
    """

    lr: float = 5e-4
    cross_entropy_weight: float = 0.8
    divergence_weight: float = 1.0
    divergence: Divergence = "forward"
    skew: float | None = None
    temperature: float = 2.0
    top_k: int = 8
    freeze_encoder: bool = True
    unfrozen_share: float = 0.1
    unfrozen_rate: float = 0.1
    stop_margin: float = 0.0  # pyrefly: ignore[bad-override]  a setting here, a constant elsewhere

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        name = type(self).__name__
        for key in ("cross_entropy_weight", "divergence_weight", "stop_margin"):
            value = getattr(self, key)
            require(value >= 0, f"{name}: {key} must be >= 0; got {key} {value}")
            require_finite(name, key, value)
        require(
            self.cross_entropy_weight + self.divergence_weight > 0,
            f"{name}: cross_entropy_weight or divergence_weight must be positive; got 0 for both",
        )
        require(
            0 < self.temperature < math.inf,
            f"{name}: temperature must be positive; got temperature {self.temperature}",
        )
        require(self.top_k >= 1, f"{name}: top_k must be positive; got top_k {self.top_k}")
        require_word(name, "divergence", self.divergence, ("forward", "reverse", "skewed", "js"))
        self._check_skew(name)
        require_share(name, "unfrozen_share", self.unfrozen_share)
        require(
            self.unfrozen_rate > 0,
            f"{name}: unfrozen_rate must be positive; got unfrozen_rate {self.unfrozen_rate}",
        )

    def _check_skew(self, name: str) -> None:
        if self.skew is None:
            return
        lowest = {"skewed": 0.0, "js": math.ulp(0.0)}.get(self.divergence)
        require(
            lowest is not None,
            f"{name}: skew belongs to the divergences skewed and js; got skew {self.skew}, "
            f"divergence {self.divergence}. Leave skew out",
        )
        require(
            lowest is not None and lowest <= self.skew < 1,
            f"{name}: skew must be in {'[0, 1)' if lowest == 0 else '(0, 1)'} for "
            f"{self.divergence}; got skew {self.skew}",
        )

    def plain(self) -> dict[str, object]:
        """Return all settings as plain values; without a margin, as before there was one."""
        plain = to_dict(self)
        return plain if self.stop_margin else {k: v for k, v in plain.items() if k != "stop_margin"}

    @property
    def unfrozen_steps(self) -> int:
        """Number of the last steps in which a frozen encoder learns, too."""
        return round(self.unfrozen_share * self.steps) if self.freeze_encoder else 0
