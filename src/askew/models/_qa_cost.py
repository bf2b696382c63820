"""What a question-answering model costs, from its configuration alone."""

from typing import NamedTuple

from askew.models._qa_configuration import QAConfig
from askew.transformer import ReaderConfig, stack_flops, stack_parameters


class QAParameterCount(NamedTuple):
    """Trainable numbers of a question-answering model.

    Args:
        total: In all.
        question: Of the encoder of questions.
        context: Of the encoder of contexts.
        reader: Of the reader between them.

    Example:
        >>> QAParameterCount(total=9, question=2, context=4, reader=3).total
        9
    """

    total: int
    question: int
    context: int
    reader: int


def qa_parameter_count(config: QAConfig) -> QAParameterCount:
    """Count the parameters of a question-answering model without building it.

    Args:
        config: Of the model; encoders of transformers are not counted.

    Returns:
        What `count_parameters` returns for the built model.

    Example:
        >>> qa_parameter_count(QAConfig(question_vocab=9, context_vocab=9)).reader > 0
        True
    """
    question, context = (
        vocab * side.d_model + stack_parameters(side) + side.d_model * config.d_pool
        for vocab, side in (
            (config.question_vocab, config.question),
            (config.context_vocab, config.context),
        )
    )
    reader = _reader_parameters(config.reader, config.question.d_model, config.context.d_model)
    return QAParameterCount(question + context + reader, question, context, reader)


def _reader_parameters(config: ReaderConfig, d_question: int, d_context: int) -> int:
    d, key, ff = config.d_model, config.d_key, config.d_ff
    attention = 3 * key * (d + 1) + d * (key + 1)
    layer = 2 * attention + 3 * 2 * d + d * (config.kernel_size + 1) + 2 * d * ff + ff + d
    maps = d * (d_question + 1) + d * (d_context + 1) + d * (2 * d + 2 + 1) + d * (d + 1)
    ends = (2 + 2 * config.d_span) * (d + 1)
    return config.num_layers * layer + maps + 3 * 2 * d + ends + 2 * d + 1


def qa_question_flops(config: QAConfig, *, question_length: float, context_length: float) -> float:
    """Count the floating-point operations of reading one stored window for one question.

    Counted are matrix products and the convolution, with two operations for each multiplication
    and addition. The encoding of the question, which is done once, is not included.

    Args:
        config: The model.
        question_length: Tokens of the question.
        context_length: Tokens of the window.

    Returns:
        Operations of a forward pass of the reader.

    Example:
        >>> config = QAConfig(question_vocab=9, context_vocab=9)
        >>> qa_question_flops(config, question_length=16, context_length=160) > 1e6
        True
    """
    reader, q, c = config.reader, question_length, context_length
    d, key = reader.d_model, reader.d_key
    attention = 2 * (q + c) * d * key + 2 * q * c * key  # four maps and two products
    layer = 2 * attention + c * d * reader.kernel_size + 2 * c * d * reader.d_ff
    before = q * config.question.d_model * d + 2 * q * c * d + c * (2 * d + 2) * d + d * d
    after = c * d * (2 + 2 * reader.d_span) + c * c * reader.d_span + 2 * d
    return 2 * (reader.num_layers * layer + before + after)


def qa_training_flops(
    config: QAConfig,
    *,
    question_length: float,
    context_length: float,
    questions_per_context: float,
) -> float:
    """Count the floating-point operations of training on one window and its questions.

    As `training_flops` counts: the backward pass costs twice the forward pass.

    Args:
        config: The model.
        question_length: Tokens of a question.
        context_length: Tokens of a window.
        questions_per_context: Questions about it.

    Returns:
        Operations of one forward and one backward pass.

    Example:
        >>> config = QAConfig(question_vocab=9, context_vocab=9)
        >>> one, two = (
        ...     qa_training_flops(
        ...         config, question_length=9, context_length=99, questions_per_context=n
        ...     )
        ...     for n in (1, 2)
        ... )
        >>> one < two < 2 * one
        True
    """
    reader = config.reader
    per_question = stack_flops(config.question, question_length)
    per_question += 2 * config.question.d_model * config.d_pool
    per_question += qa_question_flops(
        config, question_length=question_length, context_length=context_length
    )
    once = stack_flops(config.context, context_length)
    once += 2 * config.context.d_model * (config.d_pool + context_length * reader.d_model)
    return 3 * (once + questions_per_context * per_question)
