"""A reader: scores the spans of a context as answers to a question, from encoded states."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from askew._check import require
from askew._key_mask import check_key_mask
from askew._plain import is_plain
from askew.attention import AsymmetricAttention

_SHARPNESS = 10.0  # factor of the cosines, in [-1, 1], before their softmax


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderConfig:
    """Sizes of the reader, which runs for every pair of question and context, so it is small.

    Attributes:
        d_model: Width of the stored states of a context.
        num_layers: Number of layers.
        num_heads: Number of attention heads.
        d_key: Width of all query heads together, of all key heads, and of all value heads. It
            decides what attention costs at every position of the context.
        d_ff: Width inside the feed-forward blocks.
        kernel_size: Positions that the convolution over the context reads, odd.
        d_span: Width of the vectors of start and end whose product scores a span.
        dropout: Share dropped from the output of every block, in [0, 1).

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> ReaderConfig().d_model
        192
    """

    d_model: int = 192
    num_layers: int = 2
    num_heads: int = 4
    d_key: int = 64
    d_ff: int = 192
    kernel_size: int = 7
    d_span: int = 32
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("d_model", "num_layers", "num_heads", "d_key", "d_ff", "d_span"):
            value = getattr(self, name)
            require(value > 0, f"ReaderConfig: {name} must be positive; got {name} {value}")
        require(
            self.d_key % self.num_heads == 0,
            "ReaderConfig: d_key must be a multiple of num_heads; "
            f"got d_key {self.d_key}, num_heads {self.num_heads}",
        )
        require(
            self.kernel_size > 0 and self.kernel_size % 2 == 1,
            f"ReaderConfig: kernel_size must be odd; got kernel_size {self.kernel_size}",
        )
        require(
            0.0 <= self.dropout < 1.0,
            f"ReaderConfig: dropout must be in [0, 1); got dropout {self.dropout}",
        )


class SpanScores(NamedTuple):
    """Scores of all spans of a context as the answer, and the score of there being none.

    Args:
        spans: [batch, start, end], where `end` is the last token of the span; -inf where a span
            is not allowed.
        nothing: [batch], the score that the context has no answer.

    Example:
        >>> scores = SpanScores(spans=torch.zeros(1, 4, 4), nothing=torch.ones(1))
        >>> scores.spans.amax((1, 2)) > scores.nothing  # is there an answer?
        tensor([False])
    """

    spans: Tensor
    nothing: Tensor


class ReaderLayer(nn.Module):
    """One layer: the question attends to the context, then the context to the question.

    After that a depthwise convolution and a feed-forward block update the context.

    Args:
        config: Sizes of the layer.

    Example:
        >>> layer = ReaderLayer(ReaderConfig(d_model=8, num_heads=2, d_key=4, d_ff=8))
        >>> context, question = layer(torch.zeros(1, 9, 8), torch.zeros(1, 3, 8))
        >>> context.shape, question.shape
        (torch.Size([1, 9, 8]), torch.Size([1, 3, 8]))
    """

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        width = config.d_model

        def attention() -> AsymmetricAttention:
            layer = AsymmetricAttention(
                width,
                d_query=config.d_key,
                d_value=config.d_key,
                num_heads=config.num_heads,
                qk_norm=False,
            )
            assert layer.key is not None
            layer.key.load_state_dict(layer.query.state_dict())  # at first, like attends to like
            return layer

        self.context_norm = nn.LayerNorm(width)
        self.question_norm = nn.LayerNorm(width)
        self.question_attention = attention()
        self.context_attention = attention()
        self.neighbour_norm = nn.LayerNorm(width)
        self.neighbours = nn.Conv1d(
            width, width, config.kernel_size, padding=config.kernel_size // 2, groups=width
        )
        self.expand = nn.Linear(width, config.d_ff)
        self.contract = nn.Linear(config.d_ff, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        context: Float[Tensor, "batch context d_model"],
        question: Float[Tensor, "batch question d_model"],
        *,
        context_mask: Bool[Tensor, "batch context"] | None = None,
        question_mask: Bool[Tensor, "batch question"] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Update both streams.

        Args:
            context: States of the context.
            question: States of the question.
            context_mask: True = a real token.
            question_mask: True = a real token.

        Returns:
            The new states of both.
        """
        normed = self.context_norm(context)
        attended = self.question_attention(
            self.question_norm(question), normed, key_mask=context_mask
        ).output
        question = question + self.dropout(attended)
        attended = self.context_attention(
            normed, self.question_norm(question), key_mask=question_mask
        ).output
        context = context + self.dropout(attended)
        x = self.neighbour_norm(context)
        if context_mask is not None:
            x = x.masked_fill(~context_mask.unsqueeze(-1), 0.0)  # padding counts as zeros
        x = _convolved(x, self.neighbours)
        x = self.contract(F.gelu(self.expand(x)))
        return context + self.dropout(x), question


class Reader(nn.Module):
    r"""Score every span of a context as the answer to a question.

    Before the layers, each state x of the context is compared with the states of the question, and
    a linear map of four results is added to it: its largest and its mean cosine to these states;
    their mean q, weighted by a softmax of ten times the cosines; and the product x·q, feature by
    feature. Then x is gated by the mean state of the question. The span from i to j has the score

    .. math:: a_i + b_j + u_i^\top v_j / \sqrt{d},

    in which the last term says how well start and end go together. One more score stands for "no
    answer".

    Args:
        config: Sizes of the reader.
        d_question: Width of the states of the question.
        d_context: Width of the states of the context.

    Example:
        >>> reader = Reader(ReaderConfig(), d_question=16, d_context=24)
        >>> states = reader.context_states(torch.zeros(1, 9, 24))
        >>> reader(torch.zeros(1, 3, 16), states).spans.shape
        torch.Size([1, 9, 9])
    """

    def __init__(self, config: ReaderConfig, *, d_question: int, d_context: int) -> None:
        super().__init__()
        width = config.d_model
        self.config = config
        self.context_in = nn.Linear(d_context, width)
        self.question_in = nn.Linear(d_question, width)
        self.context_norm = nn.LayerNorm(width)
        self.question_norm = nn.LayerNorm(width)
        self.joined = nn.Linear(2 * width + 2, width)
        self.gate = nn.Linear(width, width)
        self.layers = nn.ModuleList(ReaderLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width)
        self.ends = nn.Linear(width, 2 + 2 * config.d_span)
        self.nothing = nn.Linear(2 * width, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        if d_question == d_context:  # two copies of one encoder start out comparable
            self.question_in.load_state_dict(self.context_in.state_dict())

    def context_states(
        self, states: Float[Tensor, "batch context d_context"]
    ) -> Float[Tensor, "batch context d_model"]:
        """Map an encoder's states to those that are stored, which depend on no question.

        Args:
            states: States of the encoder of contexts.

        Returns:
            Normalised states, which half precision can hold.
        """
        return self.context_norm(self.context_in(states))

    def forward(
        self,
        question: Float[Tensor, "batch question d_question"],
        context: Float[Tensor, "batch context d_model"],
        *,
        question_mask: Bool[Tensor, "batch question"] | None = None,
        context_mask: Bool[Tensor, "batch context"] | None = None,
        answer_mask: Bool[Tensor, "batch context"] | None = None,
        max_answer_tokens: int | None = None,
    ) -> SpanScores:
        """Score all spans.

        In a row whose mask has no real token, all tokens count as real.

        Args:
            question: States of the encoder of questions.
            context: States from `context_states`.
            question_mask: True = a real token.
            context_mask: True = a real token.
            answer_mask: True = a token that may be in an answer.
            max_answer_tokens: Tokens of the longest span allowed; None for any length.

        Returns:
            The scores.
        """
        for name, mask, stream in (
            ("question_mask", question_mask, question),
            ("context_mask", context_mask, context),
            ("answer_mask", answer_mask, context),
        ):
            if mask is not None:
                check_key_mask("Reader", name, mask, *stream.shape[:2])
        question_mask, context_mask = _never_empty(question_mask), _never_empty(context_mask)
        question = self.question_norm(self.question_in(question))
        context = context + self.joined(_matched(question, context, question_mask))
        context = context * (1 + torch.tanh(self.gate(_mean(question, question_mask))).unsqueeze(1))
        for layer in self.layers:
            context, question = layer(
                context, question, context_mask=context_mask, question_mask=question_mask
            )
        context = self.norm(context)
        hidden = (
            context
            if context_mask is None
            else context.masked_fill(~context_mask.unsqueeze(-1), -torch.inf)
        )
        summary = torch.cat([_mean(question, question_mask), hidden.amax(1)], -1)
        d_span = self.config.d_span
        start, end, u, v = self.ends(context).split([1, 1, d_span, d_span], -1)
        if answer_mask is not None:
            start = start.masked_fill(~answer_mask.unsqueeze(-1), -torch.inf)
            end = end.masked_fill(~answer_mask.unsqueeze(-1), -torch.inf)
        spans = u @ v.transpose(1, 2) * d_span**-0.5 + start + end.transpose(1, 2)
        allowed = _allowed(context.shape[1], max_answer_tokens, context.device)
        return SpanScores(
            spans.masked_fill(~allowed, -torch.inf), self.nothing(summary).squeeze(-1)
        )


def _matched(question: Tensor, context: Tensor, question_mask: Tensor | None) -> Tensor:
    """Compare each state of the context with those of the question; see `Reader`."""
    cosines = F.normalize(context, dim=-1) @ F.normalize(question, dim=-1).transpose(1, 2)
    if question_mask is None:
        weights = (_SHARPNESS * cosines).softmax(-1)
        mean = cosines.mean(-1, keepdim=True)
    else:
        hidden = ~question_mask.unsqueeze(1)
        count = question_mask.sum(-1)[:, None, None]
        mean = cosines.masked_fill(hidden, 0.0).sum(-1, keepdim=True) / count
        cosines = cosines.masked_fill(hidden, -torch.inf)
        weights = (_SHARPNESS * cosines).softmax(-1)
    similar = weights @ question
    return torch.cat([context * similar, similar, cosines.amax(-1, keepdim=True), mean], -1)


def _convolved(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Apply the convolution over positions; in two dimensions it is four times as fast on a CPU."""
    if not is_plain(convolution, nn.Conv1d):
        return convolution(x.transpose(1, 2)).transpose(1, 2)
    flat = x.transpose(1, 2).unsqueeze(2)
    weight, around = convolution.weight.unsqueeze(2), convolution.kernel_size[0] // 2
    groups = convolution.groups
    flat = F.conv2d(flat, weight, convolution.bias, padding=(0, around), groups=groups)
    return flat.squeeze(2).transpose(1, 2)


def _never_empty(mask: Tensor | None) -> Tensor | None:
    """Show all positions of a row that shows none: no states have no mean and no maximum."""
    return None if mask is None else mask | ~mask.any(1, keepdim=True)


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return x.mean(1)
    shown = mask.unsqueeze(-1).to(x.dtype)
    return (x * shown).sum(1) / shown.sum(1)


def _allowed(length: int, longest: int | None, device: torch.device) -> Tensor:
    """Find the spans [start, end] whose end is not before their start, nor too far after it."""
    places = torch.arange(length, device=device)
    distance = places - places.unsqueeze(1)
    return (distance >= 0) & (distance < (length if longest is None else longest))
