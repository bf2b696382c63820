"""Questions answered from contexts that are encoded once."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from askew.models._encoders import PretrainedEncoder
from askew.models._missing_weights import draw_missing_weights
from askew.models._qa_configuration import AsymmetricQAConfig
from askew.transformer import Reader, SpanScores, StackConfig, TokenEncoder


class Encoded(NamedTuple):
    """What an encoder makes of texts.

    Args:
        states: [batch, length, width], a state per token.
        vectors: [batch, d_pool] of norm 1; their product ranks contexts for a question.
        mask: [batch, length], True = a real token.

    Example:
        >>> model = AsymmetricQAModel(AsymmetricQAConfig())
        >>> encoded = model.encode_questions(torch.tensor([[1, 2, 3]]))
        >>> isinstance(encoded, Encoded), encoded.states.shape[:2]
        (True, torch.Size([1, 3]))
    """

    states: Tensor
    vectors: Tensor
    mask: Tensor


class QAOutput(NamedTuple):
    """Scores of spans, and the vectors of questions and contexts.

    Args:
        spans: As in `SpanScores`.
        nothing: As in `SpanScores`.
        questions: Vectors of the questions.
        contexts: Vectors of the contexts.

    Example:
        >>> pair = torch.zeros(1, dtype=torch.long)
        >>> tokens = torch.tensor([[1, 2, 3]])
        >>> real = torch.ones_like(tokens, dtype=torch.bool)
        >>> model = AsymmetricQAModel(AsymmetricQAConfig())
        >>> output = model(tokens, real, tokens, real, real, pair, pair)
        >>> isinstance(output, QAOutput), output.spans.shape
        (True, torch.Size([1, 3, 3]))
    """

    spans: Tensor
    nothing: Tensor
    questions: Tensor
    contexts: Tensor


class AsymmetricQAModel(PreTrainedModel):
    """A small encoder of questions, a large one of contexts, and a reader of both.

    Nothing about a question reaches the encoder of contexts, so its states are computed once
    and stored; a question then costs its own encoding and the reader. Equal encoders make the
    ordinary symmetric model.

    Args:
        config: Its numbers.

    Example:
        >>> model = AsymmetricQAModel(AsymmetricQAConfig()).eval()
        >>> context = model.encode_contexts(torch.tensor([[1, 2, 3]]))
        >>> question = model.encode_questions(torch.tensor([[2, 3]]))
        >>> model.read(question, context).spans.shape
        torch.Size([1, 3, 3])

    References:
        Poly-encoders: Architectures and Pre-training Strategies for Fast and Accurate
        Multi-sentence Scoring, 2020, arXiv:1905.01969.
    """

    config_class = AsymmetricQAConfig
    base_model_prefix = "qa"
    main_input_name = "context_ids"
    accepts_loss_kwargs = False
    _supports_sdpa = True

    def __init__(self, config: AsymmetricQAConfig) -> None:
        super().__init__(config)
        plain = config.to_plain()
        self.question_encoder, d_question = _encoder(
            plain.question_vocab, plain.question, config.question_pretrained
        )
        self.context_encoder, d_context = _encoder(
            plain.context_vocab, plain.context, config.context_pretrained
        )
        self.question_pool = _pool(d_question, plain.d_pool)
        self.context_pool = _pool(d_context, plain.d_pool)
        self.reader = Reader(plain.reader, d_question=d_question, d_context=d_context)
        self.max_answer_tokens = plain.max_answer_tokens
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        draw_missing_weights(self, module)

    def init_weights(self) -> None:
        """Keep the weights, which every layer has drawn when it was built."""

    def encode_questions(
        self,
        tokens: Int[Tensor, "batch question"],
        mask: Bool[Tensor, "batch question"] | None = None,
    ) -> Encoded:
        """Read questions.

        Args:
            tokens: Token numbers.
            mask: True = a real token; all by default.

        Returns:
            Their states and vectors.
        """
        return _encode(self.question_encoder, self.question_pool, tokens, mask)

    def encode_contexts(
        self,
        tokens: Int[Tensor, "batch context"],
        mask: Bool[Tensor, "batch context"] | None = None,
    ) -> Encoded:
        """Read contexts; nothing in the result depends on a question.

        Args:
            tokens: Token numbers.
            mask: True = a real token; all by default.

        Returns:
            The states to store, and vectors.
        """
        encoded = _encode(self.context_encoder, self.context_pool, tokens, mask)
        return encoded._replace(states=self.reader.context_states(encoded.states))

    def read(
        self,
        question: Encoded,
        context: Encoded,
        answer_mask: Bool[Tensor, "batch context"] | None = None,
    ) -> SpanScores:
        """Score the spans of each context as answers to the question of the same row.

        A text without a real token is read as one whose states are all zero.

        Args:
            question: Encoded questions.
            context: As many encoded contexts.
            answer_mask: True = a token that may be in an answer.

        Returns:
            The scores.
        """
        return self.reader(
            question.states,
            context.states,
            question_mask=question.mask,
            context_mask=context.mask,
            answer_mask=answer_mask,
            max_answer_tokens=self.max_answer_tokens,
        )

    def forward(
        self,
        question_ids: Int[Tensor, "questions question"],
        question_mask: Bool[Tensor, "questions question"],
        context_ids: Int[Tensor, "contexts context"],
        context_mask: Bool[Tensor, "contexts context"],
        answer_mask: Bool[Tensor, "contexts context"],
        question_rows: Int[Tensor, " pairs"],
        context_rows: Int[Tensor, " pairs"],
    ) -> QAOutput:
        """Encode everything once and read pairs of a question and a context.

        Args:
            question_ids: Tokens of the questions.
            question_mask: True = a real token.
            context_ids: Tokens of the contexts.
            context_mask: True = a real token.
            answer_mask: True = a token that may be in an answer.
            question_rows: The question of each pair.
            context_rows: The context of each pair.

        Returns:
            The scores of the pairs, and the vectors of all questions and contexts.
        """
        questions = self.encode_questions(question_ids, question_mask)
        contexts = self.encode_contexts(context_ids, context_mask)
        scores = self.read(
            Encoded(*(part[question_rows] for part in questions)),
            Encoded(*(part[context_rows] for part in contexts)),
            answer_mask[context_rows],
        )
        return QAOutput(scores.spans, scores.nothing, questions.vectors, contexts.vectors)


def _encoder(
    vocab: int, stack: StackConfig, pretrained: dict | None
) -> tuple[TokenEncoder | PretrainedEncoder, int]:
    if pretrained is None:
        return TokenEncoder(vocab, stack), stack.d_model
    encoder = PretrainedEncoder(pretrained)
    return encoder, encoder.width


def _pool(width: int, d_pool: int) -> nn.Linear:
    """Make the map to the vectors; with equal widths it begins as the identity."""
    pool = nn.Linear(width, d_pool, bias=False)
    if width == d_pool:
        nn.init.eye_(pool.weight)
    return pool


def _encode(encoder: nn.Module, pool: nn.Linear, tokens: Tensor, mask: Tensor | None) -> Encoded:
    mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    states = encoder(tokens, mask)
    # The reader reads all tokens of a text without a real one: what padding holds must not count.
    states = states.masked_fill(~mask.any(1)[:, None, None], 0.0)
    shown = mask.unsqueeze(-1).to(states.dtype)
    vectors = pool((states * shown).sum(1) / shown.sum(1).clamp(min=1))
    return Encoded(states, F.normalize(vectors, dim=-1), mask)
