"""Ready-made sizes and shapes of question-answering models."""

from askew._check import hint, require
from askew.models import QAConfig
from askew.tasks._arm_names import QA_SHAPES
from askew.tradeoffs import Metric, Range
from askew.transformer import ReaderConfig, StackConfig

QA_SIZES = {"tiny": 64, "small": 128, "base": 192}
METRICS = (
    Metric(name="f1", label="F1", equivalence=1.0, unit="points"),
    Metric(name="exact_match", label="exact match", equivalence=1.0, unit="points"),
    Metric(name="mrr", label="reciprocal rank of the context", equivalence=0.02),
)

SPEEDS = {"throughput": "questions answered", "latency_ms": "time per question"}


def qa_preset(shape: str, size: str, *, vocab_size: tuple[int, int]) -> QAConfig:
    """Return the config of a named shape in a named size.

    Args:
        shape: "asymmetric" (4 layers for questions, 8 layers a third wider for contexts) or
            "symmetric" (6 layers each, one width).
        size: "tiny", "small" or "base": the widest encoder is 64, 128 or 192 wide.
        vocab_size: Tokens of questions and of contexts.

    Returns:
        The config.

    Raises:
        ValueError: If a name is unknown.

    Example:
        >>> qa_preset("asymmetric", "base", vocab_size=(8000, 8000)).question.num_layers
        4
    """
    require(size in QA_SIZES, f"qa_preset: size must be {', '.join(QA_SIZES)}; got {size!r}")
    require(
        shape in QA_SHAPES,
        f"qa_preset: shape must be {', '.join(QA_SHAPES)}; got {shape!r}{hint(shape, QA_SHAPES)}",
    )
    width = QA_SIZES[size]
    narrow, depths = (
        (2 * width // 3 // 32 * 32, (4, 8)) if shape == "asymmetric" else (width, (6, 6))
    )
    question, context = (
        StackConfig(d_model=d, num_layers=layers, num_heads=d // 32, d_ff=4 * d)
        for d, layers in zip((max(32, narrow), width), depths, strict=True)
    )
    return QAConfig(
        question_vocab=vocab_size[0],
        context_vocab=vocab_size[1],
        question=question,
        context=context,
        reader=ReaderConfig(d_model=width, d_ff=width, d_key=max(32, width // 3 // 32 * 32)),
        d_pool=width,
    )


def search_space(*, pretrained: bool) -> dict[str, Range]:
    """Return what tuning draws: a rate and a dropout for each part; pretrained ones get less."""
    scratch = Range(low=2e-4, high=5e-3, log=True)
    encoder = Range(low=2e-5, high=5e-4, log=True) if pretrained else scratch
    rates = {"question": encoder, "context": encoder, "reader": scratch}
    dropout = Range(low=0.0, high=0.4)
    return {f"training.{part}.lr": rate for part, rate in rates.items()} | {
        f"{part}.dropout": dropout for part in rates
    }
