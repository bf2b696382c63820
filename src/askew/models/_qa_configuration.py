"""The configuration of the question-answering model, as transformers saves and loads it."""

from dataclasses import dataclass, field

from askew._check import require
from askew._config import load_config, to_dict
from askew.models._encoders import encoder_config
from askew.models._foreign_sizes import derived_size, refuse_foreign_sizes
from askew.models._transformers_versions import ModelConfig
from askew.transformer import ReaderConfig, StackConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class QAConfig:
    """Two encoders, the reader of both, and the lengths at which texts are cut.

    Attributes:
        question_vocab: Number of tokens of questions.
        context_vocab: Number of tokens of contexts.
        question: The encoder of questions.
        context: The encoder of contexts.
        reader: What is computed for each question and context together.
        d_pool: Width of the vectors by which contexts are retrieved.
        max_question_tokens: Longer questions are refused.
        max_context_tokens: Tokens of a window of a context.
        overlap: Tokens that two windows share.
        max_answer_tokens: Tokens of the longest answer; no more than `overlap`, so that every
            answer lies within some window.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> QAConfig(question_vocab=9, context_vocab=9).context.num_layers
        8
    """

    question_vocab: int
    context_vocab: int
    question: StackConfig = field(
        default_factory=lambda: StackConfig(d_model=128, num_layers=4, num_heads=4, d_ff=512)
    )
    context: StackConfig = field(
        default_factory=lambda: StackConfig(d_model=192, num_layers=8, num_heads=6, d_ff=768)
    )
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    d_pool: int = 128
    max_question_tokens: int = 64
    max_context_tokens: int = 256
    overlap: int = 64
    max_answer_tokens: int = 32

    def __post_init__(self) -> None:
        for name in ("question_vocab", "context_vocab", "d_pool", "max_question_tokens"):
            value = getattr(self, name)
            require(value > 0, f"QAConfig: {name} must be positive; got {name} {value}")
        require(
            0 < self.max_answer_tokens <= self.overlap < self.max_context_tokens,
            "QAConfig: max_answer_tokens must be positive and at most overlap, and overlap "
            f"below max_context_tokens; got max_answer_tokens {self.max_answer_tokens}, "
            f"overlap {self.overlap}, max_context_tokens {self.max_context_tokens}",
        )


MOST_RETRIEVAL = 100
"""The largest weight of the retrieval: beyond, nothing that a reader finds would count."""

_LENGTHS = ("d_pool", "max_question_tokens", "max_context_tokens", "overlap", "max_answer_tokens")


_FIELDS = "question_stack, context_stack, reader"


def _context_size(ours: str, theirs: str) -> property:
    """Make a property that reads a number of the encoder of contexts, which may be of others."""

    def read(config: "AsymmetricQAConfig") -> int | None:
        if config.context_pretrained is None:
            return (config.context_stack or {}).get(ours)
        return getattr(encoder_config(config.context_pretrained), theirs)

    return derived_size(_FIELDS, read)


def _check_retrieval(retrieval: object) -> None:
    numbers = retrieval if isinstance(retrieval, dict) else {}
    require(
        all(isinstance(value, int | float) for value in numbers.values())
        and 0 <= numbers.get("weight", -1) <= MOST_RETRIEVAL,
        f"AsymmetricQAConfig: retrieval must be numbers, with a weight in [0, {MOST_RETRIEVAL}]; "
        f"got retrieval {retrieval!r:.80}",
    )


class AsymmetricQAConfig(ModelConfig):
    """A `QAConfig` in the form of transformers; either encoder may be one of transformers.

    Attributes:
        question_vocab: As in `QAConfig`.
        context_vocab: As in `QAConfig`.
        question_stack: The fields of a `StackConfig`.
        context_stack: The fields of a `StackConfig`.
        question_pretrained: The config of an encoder of transformers instead.
        context_pretrained: The config of an encoder of transformers instead.
        reader: The fields of a `ReaderConfig`.
        d_pool: As in `QAConfig`, as are the rest.
        retrieval: How much the retrieval counts in the score of an answer that is searched among
            many contexts: its "weight", fitted on validation questions, and numbers that say what
            it was fitted on. None is a weight of 0.
        hidden_size: Width of the encoder of contexts, which cannot be set; so are
            `num_attention_heads` and `num_hidden_layers`. `vocab_size` is `context_vocab`.

    Raises:
        ValueError: If a size has a name that this class does not know, or is set under one that
            can only be read, or the weight of the retrieval is out of range.

    Example:
        >>> plain = QAConfig(question_vocab=9, context_vocab=11)
        >>> AsymmetricQAConfig.from_plain(plain).to_plain() == plain
        True
    """

    model_type = "askew-qa"
    attribute_map = {"vocab_size": "context_vocab"}  # noqa: RUF012  (read by transformers)

    question_vocab: int = 4
    context_vocab: int = 4
    question_stack: dict | None = None
    context_stack: dict | None = None
    question_pretrained: dict | None = None
    context_pretrained: dict | None = None
    reader: dict | None = None
    d_pool: int = 8
    max_question_tokens: int = 64
    max_context_tokens: int = 256
    overlap: int = 64
    max_answer_tokens: int = 32
    retrieval: dict | None = None

    hidden_size = _context_size("d_model", "hidden_size")
    num_attention_heads = _context_size("num_heads", "num_attention_heads")
    num_hidden_layers = _context_size("num_layers", "num_hidden_layers")

    def __post_init__(self, **kwargs: object) -> None:
        """Fill in stacks and reader, and pass the rest to transformers."""
        if kwargs.get("tie_word_embeddings") is False:  # which is so: there is no output layer
            del kwargs["tie_word_embeddings"]
        refuse_foreign_sizes(
            "AsymmetricQAConfig",
            kwargs,
            _FIELDS,
            more=("num_hidden_layers", "vocab_size", "tie_word_embeddings"),
        )
        tiny = to_dict(StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16))
        small = to_dict(ReaderConfig(d_model=8, num_layers=1, num_heads=2, d_key=4, d_ff=8))
        self.question_stack = dict(self.question_stack or tiny)
        self.context_stack = dict(self.context_stack or tiny)
        self.reader = dict(self.reader or small)
        super().__post_init__(**kwargs)
        if self.retrieval is not None:
            _check_retrieval(self.retrieval)

    @property
    def retrieval_weight(self) -> float:
        """How much the retrieval counts in the score of an answer."""
        return 0.0 if self.retrieval is None else self.retrieval["weight"]

    @classmethod
    def from_plain(
        cls,
        config: QAConfig,
        *,
        question_pretrained: dict | None = None,
        context_pretrained: dict | None = None,
    ) -> "AsymmetricQAConfig":
        """Wrap the plain configuration.

        Args:
            config: The numbers.
            question_pretrained: Config of an encoder that takes the place of `question`.
            context_pretrained: Config of an encoder that takes the place of `context`.

        Returns:
            The same numbers in the form of transformers.
        """
        return cls(
            question_vocab=config.question_vocab,
            context_vocab=config.context_vocab,
            question_stack=to_dict(config.question),
            context_stack=to_dict(config.context),
            question_pretrained=question_pretrained,
            context_pretrained=context_pretrained,
            reader=to_dict(config.reader),
            **{name: getattr(config, name) for name in _LENGTHS},
        )

    def to_plain(self) -> QAConfig:
        """Return the plain configuration.

        Returns:
            The numbers.

        Raises:
            ValueError: If a saved configuration holds unknown or unfit values.
        """
        return load_config(
            QAConfig,
            {
                "question_vocab": self.question_vocab,
                "context_vocab": self.context_vocab,
                "question": self.question_stack or {},
                "context": self.context_stack or {},
                "reader": self.reader or {},
                **{name: getattr(self, name) for name in _LENGTHS},
            },
        )
