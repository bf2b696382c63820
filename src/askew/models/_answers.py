"""The best spans of many windows, as places in their texts."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from askew.models._context_index import ContextIndex
from askew.models._context_windows import WindowStates
from askew.models._qa import AsymmetricQAModel, Encoded
from askew.transformer import SpanScores

_MORE = 4  # spans looked at for each one wanted, since some are blank or repeated
_Place = tuple[int, int, int]
"""Row of the context, first character, and the position after the last one."""
_Score = tuple[float, float]
"""The whole score, and what of it was added."""


class Answer(NamedTuple):
    """A span of a context.

    Args:
        text: The span, without white space around it.
        start: Its first character in the text of the context.
        end: The position after its last character.
        score: The score of the span minus that of no answer in its window, a difference of
            log-probabilities, plus `retrieval`; it can be compared between windows.
        context: Row of the context in the index.
        title: Of the context.
        retrieval: What `score` has from how well the window was found: the weight of the retrieval
            times its standardised score.

    Example:
        >>> Answer("Lima", 0, 4, score=-0.5, context=0, title="Peru").nothing
        True
    """

    text: str
    start: int
    end: int
    score: float
    context: int
    title: str
    retrieval: float = 0.0

    @property
    def nothing(self) -> bool:
        """Whether the model finds it more likely that there is no answer."""
        return self.score - self.retrieval < 0


@torch.inference_mode()
def find_answers(
    model: AsymmetricQAModel,
    question: Encoded,
    index: ContextIndex,
    batches: Iterable[Tensor],
    *,
    top_k: int,
    added: Tensor | None = None,
) -> list[Answer]:
    """Read the windows in these batches of rows and return the best distinct spans, best first.

    `added` is what every window of the index adds to the scores of its spans.
    """
    scored: dict[_Place, _Score] = {}
    floor = -torch.inf  # a batch whose best margin is below cannot change the answers
    for rows in batches:
        read = _Windows.read(model, question, index, rows, added)
        if len(scored) >= top_k and float(read.margins.max()) < floor:
            continue
        for place, score in _distinct(read, index, top_k).items():
            scored[place] = max(score, scored.get(place, score))
        best = sorted(scored, key=lambda place: (-scored[place][0], place))[:top_k]
        scored = {place: scored[place] for place in best}
        floor = scored[best[-1]][0] if best else floor
    return [_answer(index, place, score) for place, score in scored.items()]


@torch.inference_mode()
def window_answers(
    model: AsymmetricQAModel, question: Encoded, index: ContextIndex, batches: Iterable[Tensor]
) -> list[tuple[int, Answer]]:
    """Read the windows in these batches of rows; return the best span of each that has one."""
    found = []
    for rows in batches:
        read = _Windows.read(model, question, index, rows, None)
        for number, row in enumerate(rows.tolist()):
            for place, score in _distinct(read.one(number), index, 1).items():
                found.append((row, _answer(index, place, score)))
    return found


def _answer(index: ContextIndex, place: _Place, score: _Score) -> Answer:
    row, start, end = place
    context = index.contexts[row]
    return Answer(context.text[start:end], start, end, score[0], row, context.title, score[1])


class _Windows(NamedTuple):
    """A batch of windows, read for one question; `nothing` is without what is added."""

    scores: SpanScores
    margins: Tensor
    added: Tensor
    states: WindowStates

    @classmethod
    def read(
        cls,
        model: AsymmetricQAModel,
        question: Encoded,
        index: ContextIndex,
        rows: Tensor,
        added: Tensor | None,
    ) -> "_Windows":
        states = index.gather(rows)
        scores = _read(model, question, states)
        more = torch.zeros(len(rows)) if added is None else added[rows].float()
        scores = scores._replace(nothing=scores.nothing - more.to(scores.nothing.device))
        margins = scores.spans.amax(2) - scores.nothing.unsqueeze(1)
        return cls(scores, margins, more, states)

    def one(self, number: int) -> "_Windows":
        """Return one of the windows."""
        only = slice(number, number + 1)
        return _Windows(
            SpanScores(*(part[only] for part in self.scores)),
            self.margins[only],
            self.added[only],
            WindowStates(*(part[only] for part in self.states)),
        )


def _read(model: AsymmetricQAModel, question: Encoded, windows: WindowStates) -> SpanScores:
    count = len(windows.states)
    questions = Encoded(*(tensor.expand(count, *tensor.shape[1:]) for tensor in question))
    states = windows.states.to(question.states.device, question.states.dtype)
    mask = windows.mask.to(states.device)
    answer_mask = (windows.places[..., 0] >= 0).to(states.device)
    context = Encoded(states, questions.vectors, mask)  # the reader uses no vectors
    return SpanScores(*(scores.float() for scores in model.read(questions, context, answer_mask)))


def _distinct(read: _Windows, index: ContextIndex, top_k: int) -> dict[_Place, _Score]:
    """Find the best spans of a batch, without blank ones and without repeated places."""
    number, windows = _MORE * top_k, read.states
    while True:
        values, rows, firsts, lasts = _best(read.scores, read.margins, number)
        spans: dict[_Place, _Score] = {}
        starts = windows.places[rows, firsts, 0].tolist()
        ends = windows.places[rows, lasts, 1].tolist()
        contexts = windows.contexts[rows].tolist()
        scores = zip(values, read.added[rows].tolist(), strict=True)
        for score, context, start, end in zip(scores, contexts, starts, ends, strict=True):
            piece = index.contexts[context].text[start:end]
            text = piece.strip()
            if text:
                start += len(piece) - len(piece.lstrip())
                spans.setdefault((context, start, start + len(text)), score)
                if len(spans) == top_k:
                    return spans
        if len(values) < number:  # there are no more
            return spans
        number *= _MORE


def _best(
    scores: SpanScores, margins: Tensor, number: int
) -> tuple[list[float], Tensor, Tensor, Tensor]:
    """Find the highest margins with their window, first and last token, the highest first.

    The best `number` spans begin in the best `number` rows, so only these are compared.
    """
    length = margins.shape[1]
    starts = margins.flatten().topk(min(number, margins.numel())).indices
    rows, firsts = starts // length, starts % length
    ends = scores.spans[rows, firsts] - scores.nothing[rows].unsqueeze(1)
    top = ends.flatten().topk(min(number, ends.numel()))
    kept = top.indices[top.values > -torch.inf].cpu()
    pairs, lasts = kept // length, kept % length
    values = top.values[: len(kept)].tolist()
    return values, rows.cpu()[pairs], firsts.cpu()[pairs], lasts


def check_unicode(caller: str, name: str, text: str) -> None:
    """Refuse a text that cannot be written: it has half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{caller}: a {name} must be text without lone surrogates; "
            f"got {name} {text[error.start : error.start + 9]!r} from character {error.start} on"
        ) from None
