"""The configuration of the model that labels texts, as transformers saves and loads it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from askew._check import require
from askew._config import load_config, to_dict
from askew.models._encoders import encoder_config
from askew.models._foreign_sizes import derived_size, refuse_foreign_sizes
from askew.models._transformers_versions import ModelConfig
from askew.transformer import StackConfig

_ONE, _SEVERAL = "single_label_classification", "multi_label_classification"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelModelConfig:
    """An encoder of texts, and the length at which they are cut.

    Attributes:
        vocab: Number of tokens.
        encoder: The encoder.
        max_tokens: Tokens of a text that are read; the rest of a longer one is not.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> LabelModelConfig(vocab=9).max_tokens
        128
    """

    vocab: int
    encoder: StackConfig = field(
        default_factory=lambda: StackConfig(d_model=128, num_layers=2, num_heads=4, d_ff=512)
    )
    max_tokens: int = 128

    def __post_init__(self) -> None:
        for name in ("vocab", "max_tokens"):
            value = getattr(self, name)
            require(value > 0, f"LabelModelConfig: {name} must be positive; got {name} {value}")


def _size(ours: str, theirs: str) -> property:
    def read(config: "AsymmetricLabelConfig") -> int | None:
        if config.pretrained is None:
            return (config.stack or {}).get(ours)
        return getattr(encoder_config(config.pretrained), theirs)

    return derived_size("stack", read)


class AsymmetricLabelConfig(ModelConfig):
    """A `LabelModelConfig` in the form of transformers, with the labels and their thresholds.

    Attributes:
        vocab_size: Number of tokens.
        stack: The fields of a `StackConfig`.
        pretrained: The config of an encoder of transformers instead.
        max_tokens: As in `LabelModelConfig`.
        thresholds: For each label the logit from which it is predicted, tuned on validation texts;
            None means 0. Of labels of which exactly one holds the largest logit counts instead.
        id2label: The names of the labels by number, as in every config of transformers, as is
            `problem_type`, "single_label_classification" or "multi_label_classification".

    Raises:
        ValueError: If a size is set under a name that this class does not know, labels are not
            different names, or there is not a finite threshold for every label.

    Example:
        >>> plain = LabelModelConfig(vocab=9)
        >>> config = AsymmetricLabelConfig.from_plain(plain, labels=["a", "b"], exclusive=False)
        >>> config.to_plain() == plain, config.labels
        (True, ['a', 'b'])
    """

    model_type = "askew-labels"

    vocab_size: int = 4
    stack: dict | None = None
    pretrained: dict | None = None
    max_tokens: int = 128
    thresholds: list[float] | None = None

    hidden_size = _size("d_model", "hidden_size")
    num_attention_heads = _size("num_heads", "num_attention_heads")
    num_hidden_layers = _size("num_layers", "num_hidden_layers")

    def __post_init__(self, **kwargs: object) -> None:
        """Fill in the stack, and pass the rest to transformers."""
        refuse_foreign_sizes("AsymmetricLabelConfig", kwargs, "stack", more=("num_hidden_layers",))
        tiny = to_dict(StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16))
        self.stack = dict(self.stack or tiny)
        super().__post_init__(**kwargs)
        _check_labels(self)

    @property
    def labels(self) -> list[str]:
        """The names of the labels, in the order of the logits."""
        # pyrefly: ignore[missing-attribute]  a config of transformers always has names
        return [name for _, name in sorted(self.id2label.items())]

    @property
    def is_exclusive(self) -> bool:
        """Whether exactly one label holds of every text."""
        return self.problem_type == _ONE

    @classmethod
    def from_plain(
        cls,
        config: LabelModelConfig,
        *,
        labels: Sequence[str],
        exclusive: bool,
        pretrained: dict | None = None,
    ) -> "AsymmetricLabelConfig":
        """Wrap the plain configuration.

        Args:
            config: The numbers.
            labels: The names of the labels.
            exclusive: Whether exactly one of them holds of every text.
            pretrained: Config of an encoder that takes the place of `encoder`.

        Returns:
            The same numbers in the form of transformers.
        """
        return cls(
            vocab_size=config.vocab,
            stack=to_dict(config.encoder),
            pretrained=pretrained,
            max_tokens=config.max_tokens,
            id2label=dict(enumerate(labels)),
            label2id={name: number for number, name in enumerate(labels)},
            problem_type=_ONE if exclusive else _SEVERAL,
        )

    def to_plain(self) -> LabelModelConfig:
        """Return the plain configuration.

        Returns:
            The numbers.

        Raises:
            ValueError: If a saved configuration holds unknown or unfit values.
        """
        values = {"vocab": self.vocab_size, "encoder": self.stack, "max_tokens": self.max_tokens}
        return load_config(LabelModelConfig, values)


def _check_labels(config: AsymmetricLabelConfig) -> None:
    labels, thresholds, kind = config.labels, config.thresholds, config.problem_type
    require(
        all(isinstance(name, str) for name in labels) and len(set(labels)) == len(labels) > 0,
        lambda: f"AsymmetricLabelConfig: labels must be different names; got {labels!r:.80}",
    )
    require(
        kind in (None, _ONE, _SEVERAL),
        f"AsymmetricLabelConfig: problem_type must be {_ONE} or {_SEVERAL}; got {kind!r:.80}",
    )
    require(
        thresholds is None
        or (len(thresholds) == len(labels) and all(_is_finite(one) for one in thresholds)),
        lambda: (
            "AsymmetricLabelConfig: every label must have a finite threshold; "
            f"got {thresholds!r:.80} for {len(labels)} labels"
        ),
    )


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
