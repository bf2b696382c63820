"""Questions answered from contexts that are encoded once."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.modeling_outputs import ModelOutput

from askew._check import require
from askew.models._asked_outputs import asked_for, new_trace
from askew.models._checkpointed_layers import CheckpointedEncoderLayer
from askew.models._encoders import PretrainedEncoder
from askew.models._encoding_model import EncodingModel
from askew.models._label_losses import position_loss
from askew.models._qa_configuration import AsymmetricQAConfig
from askew.transformer import Reader, SpanScores, StackConfig, TokenEncoder, Trace


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


_ABSENT: Any = None  # transformers wants a default for every field


@dataclass
class QAOutput(ModelOutput):
    """Scores of spans, and the vectors of questions and contexts.

    Args:
        loss: If positions were given; else None, as is what follows `contexts` if not asked for.
        spans: As in `SpanScores`.
        nothing: As in `SpanScores`.
        questions: Vectors of the questions.
        contexts: Vectors of the contexts.
        hidden_states: Of the encoder of contexts: the embedded tokens and the stream after every
            layer.
        attentions: Weights of the encoder of contexts.
        question_hidden_states: The same of the encoder of questions.
        question_attentions: The same of the encoder of questions.

    Example:
        >>> tokens = torch.tensor([[1, 2, 3]])
        >>> model = AsymmetricQAModel(AsymmetricQAConfig())
        >>> output = model(question_ids=tokens, context_ids=tokens)
        >>> isinstance(output, QAOutput), output.spans.shape
        (True, torch.Size([1, 3, 3]))
    """

    loss: Tensor | None = None
    spans: Tensor = _ABSENT
    nothing: Tensor = _ABSENT
    questions: Tensor = _ABSENT
    contexts: Tensor = _ABSENT
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    question_hidden_states: tuple[Tensor, ...] | None = None
    question_attentions: tuple[Tensor, ...] | None = None


class AsymmetricQAModel(EncodingModel):
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
    main_input_name = "question_ids"
    _table_of = ("context_encoder", "context_pretrained")

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
        if config._attn_implementation == "eager":
            self.set_attn_implementation("eager")  # of encoders of transformers too
        self.post_init()

    def encode_questions(
        self,
        tokens: Int[Tensor, "batch question"] | Float[Tensor, "batch question width"],
        mask: Bool[Tensor, "batch question"] | None = None,
        trace: Trace | None = None,
    ) -> Encoded:
        """Read questions.

        Args:
            tokens: Token numbers, or rows of their table in their place.
            mask: True = a real token; all by default.
            trace: Takes states and weights of the encoder.

        Returns:
            Their states and vectors.
        """
        return self._encode(self.question_encoder, self.question_pool, tokens, mask, trace)

    def encode_contexts(
        self,
        tokens: Int[Tensor, "batch context"] | Float[Tensor, "batch context width"],
        mask: Bool[Tensor, "batch context"] | None = None,
        trace: Trace | None = None,
    ) -> Encoded:
        """Read contexts; nothing in the result depends on a question.

        Args:
            tokens: Token numbers, or rows of their table in their place.
            mask: True = a real token; all by default.
            trace: Takes states and weights of the encoder.

        Returns:
            The states to store, and vectors.
        """
        encoded = self._encode(self.context_encoder, self.context_pool, tokens, mask, trace)
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
        question_ids: Int[Tensor, "questions question"]
        | Float[Tensor, "questions question width"]
        | None = None,
        question_mask: Bool[Tensor, "questions question"] | None = None,
        context_ids: Int[Tensor, "contexts context"]
        | Float[Tensor, "contexts context width"]
        | None = None,
        context_mask: Bool[Tensor, "contexts context"] | None = None,
        answer_mask: Bool[Tensor, "contexts context"] | None = None,
        question_rows: Int[Tensor, " pairs"] | None = None,
        context_rows: Int[Tensor, " pairs"] | None = None,
        start_positions: Int[Tensor, " pairs"] | None = None,
        end_positions: Int[Tensor, " pairs"] | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QAOutput | tuple[Any, ...]:
        """Encode everything once and read pairs of a question and a context.

        Args:
            question_ids: Tokens of the questions, or rows of their table in their place.
            question_mask: True = a real token; all by default.
            context_ids: Tokens of the contexts, or rows of their table in their place.
            context_mask: True = a real token; all by default.
            answer_mask: True = a token that may be in an answer; all real ones by default.
            question_rows: The question of each pair, by default one after the other.
            context_rows: The context of each pair, by default one after the other.
            start_positions: The first token of each pair's answer; -1 = there is none, -100 = the
                pair does not count for the loss, nor does one whose answer is out of reach.
            end_positions: The last token of each pair's answer.
            output_attentions: Whether to return the weights of both encoders, by default as the
                config says.
            output_hidden_states: Whether to return the states between their layers, by default as
                the config says.
            return_dict: Whether the result has named fields or is a plain tuple, by default as
                the config says.

        Returns:
            The scores of the pairs, the vectors of all questions and contexts; with positions the
            mean cross-entropy of the right spans among all and none, and what else was asked for.

        Raises:
            ValueError: If questions or contexts are missing or do not make pairs, or only one kind
                of position is given.
        """
        if question_ids is None or context_ids is None:
            raise ValueError("AsymmetricQAModel: question_ids and context_ids are needed; got None")
        asked = {"attentions": output_attentions, "states": output_hidden_states}
        both = (self.question_encoder, self.context_encoder)
        traces = [self._new_trace(encoder, **asked) for encoder in both]
        questions = self.encode_questions(question_ids, question_mask, traces[0])
        contexts = self.encode_contexts(context_ids, context_mask, traces[1])
        answer_mask = contexts.mask if answer_mask is None else answer_mask
        question, context = questions, contexts
        if question_rows is not None:
            question = Encoded(*(part[question_rows] for part in questions))
        if context_rows is not None:
            context = Encoded(*(part[context_rows] for part in contexts))
            answer_mask = answer_mask[context_rows]
        pairs = (len(question.mask), len(context.mask))
        require(
            pairs[0] == pairs[1],
            f"AsymmetricQAModel: every question needs its context; got {pairs[0]} questions and "
            f"{pairs[1]} contexts. Pass question_rows and context_rows",
        )
        scores = self.read(question, context, answer_mask)
        of_question, of_context = (asked_for(t, self.config, output_attentions) for t in traces)
        output = QAOutput(
            loss=_loss(scores, start_positions, end_positions),
            spans=scores.spans,
            nothing=scores.nothing,
            questions=questions.vectors,
            contexts=contexts.vectors,
            hidden_states=of_context[0],
            attentions=of_context[1],
            question_hidden_states=of_question[0],
            question_attentions=of_question[1],
        )
        named = self.config.return_dict if return_dict is None else return_dict
        return output if named else output.to_tuple()

    def _encode(
        self,
        encoder: nn.Module,
        pool: nn.Linear,
        tokens: Tensor,
        mask: Tensor | None,
        trace: Trace | None,
    ) -> Encoded:
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        if trace is None:
            trace = self._new_trace(encoder, attentions=False, states=False)
        states = encoder(tokens, mask, trace)
        # The reader reads all tokens of a text without a real one: padding must not count there.
        states = states.masked_fill(~mask.any(1)[:, None, None], 0.0)
        shown = mask.unsqueeze(-1).to(states.dtype)
        vectors = pool((states * shown).sum(1) / shown.sum(1).clamp(min=1))
        return Encoded(states, F.normalize(vectors, dim=-1), mask)

    def _new_trace(
        self, encoder: nn.Module, *, attentions: bool | None, states: bool | None
    ) -> Trace | None:
        ours = isinstance(encoder, TokenEncoder)
        return new_trace(self.config, attentions, states, ours=ours)


def _loss(scores: SpanScores, start: Tensor | None, end: Tensor | None) -> Tensor | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise ValueError(
            "AsymmetricQAModel: start_positions and end_positions go together; got one of them"
        )
    return position_loss(scores.spans, scores.nothing, start, end)


def _encoder(
    vocab: int, stack: StackConfig, pretrained: dict | None
) -> tuple[TokenEncoder | PretrainedEncoder, int]:
    if pretrained is None:
        return TokenEncoder(vocab, stack, layer=CheckpointedEncoderLayer), stack.d_model
    encoder = PretrainedEncoder(pretrained)
    return encoder, encoder.width


def _pool(width: int, d_pool: int) -> nn.Linear:
    """Make the map to the vectors; with equal widths it begins as the identity."""
    pool = nn.Linear(width, d_pool, bias=False)
    if width == d_pool:
        nn.init.eye_(pool.weight)
    return pool
