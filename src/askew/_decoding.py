"""How a translation is searched for, and what an engine returns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

from askew._check import refuse_quoted, require

_RANGES = {"length_penalty": (-10, 10), "temperature": (1e-3, 1e3)}
"""Beyond them a power of a length or a logit could overflow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingConfig:
    """How translations are searched for. The defaults are greedy.

    Attributes:
        num_beams: Hypotheses kept at every step; 1 is greedy.
        num_hypotheses: Translations returned per sentence, the best first: at most `num_beams`, or
            as many samples.
        length_penalty: Hypotheses are ranked by the sum of log-probabilities over their
            length to this power, in [-10, 10]; above 1 prefers longer ones.
        sample: Draw every token instead of taking the most probable; needs one beam.
        temperature: Divides the logits before sampling, in [0.001, 1000].
        top_k: Sample among the k most probable tokens; 0 means all.
        top_p: Sample among the fewest tokens that hold this share of probability, in (0, 1].
        seed: Of sampling, in [0, 2^32).

    Raises:
        ValueError: If a number is out of range or contradicts another.

    Example:
        >>> DecodingConfig(num_beams=5, num_hypotheses=3).length_penalty
        1.0
    """

    num_beams: int = 1
    num_hypotheses: int = 1
    length_penalty: float = 1.0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_quoted(self)
        for name in ("num_beams", "num_hypotheses", "temperature"):
            value = getattr(self, name)
            require(value > 0, f"DecodingConfig: {name} must be positive; got {name} {value}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            require(
                low <= value <= high,
                f"DecodingConfig: {name} must be in [{low:g}, {high:g}]; got {name} {value}",
            )
        require(
            0 <= self.seed < 2**32,
            f"DecodingConfig: seed must be in [0, 2^32); got seed {self.seed}",
        )
        require(
            self.sample or self.num_hypotheses <= self.num_beams,
            "DecodingConfig: num_hypotheses must be at most num_beams; "
            f"got num_hypotheses {self.num_hypotheses}, num_beams {self.num_beams}",
        )
        require(
            not self.sample or self.num_beams == 1,
            f"DecodingConfig: sampling needs one beam; got num_beams {self.num_beams}",
        )
        require(self.top_k >= 0, f"DecodingConfig: top_k must be >= 0; got top_k {self.top_k}")
        require(
            0.0 < self.top_p <= 1.0,
            f"DecodingConfig: top_p must be in (0, 1]; got top_p {self.top_p}",
        )
        usual = {one.name: one.default for one in fields(self)}
        for name in ("temperature", "top_k", "top_p", "seed"):
            value = getattr(self, name)
            require(
                self.sample or value == usual[name],
                f"DecodingConfig: {name} needs sample; got {name} {value} without",
            )


class TokenHypothesis(NamedTuple):
    """A decoded sequence, without start and end tokens, and its score.

    Args:
        tokens: Token numbers.
        score: Sum of log-probabilities over length to the power of the length penalty, at most 0.

    Example:
        >>> TokenHypothesis(tokens=[7, 8], score=-0.5).tokens
        [7, 8]
    """

    tokens: list[int]
    score: float


class Engine(Protocol):
    """The interface of a search engine, from source tokens to target tokens.

    Example:
        >>> from askew.models import CTranslate2Engine, TorchEngine
        >>> all(hasattr(engine, "decode") for engine in (TorchEngine, CTranslate2Engine))
        True
    """

    def decode(
        self, sources: Sequence[Sequence[int]], limits: Sequence[int], config: DecodingConfig
    ) -> list[list[TokenHypothesis]]:
        """Search for translations.

        Args:
            sources: Source tokens without an end token.
            limits: Maximum number of new tokens for each source.
            config: Settings of the search.

        Returns:
            For every source its hypotheses, the best first.
        """
        ...
