"""The best spans of many windows, as places in their texts."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from askew.models._context_index import ContextIndex, WindowStates
from askew.models._qa import AsymmetricQAModel, Encoded
from askew.transformer import SpanScores

_MORE = 4


class Answer(NamedTuple):
    """A span of a context.

    Args:
        text: The span, without white space around it.
        start: Its first character in the text of the context.
        end: The character behind its last.
        score: The score of the span less that of there being no answer in its window, so that
            it compares over windows; a difference of log-probabilities.
        context: Row of the context in the index.
        title: Of the context.

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

    @property
    def nothing(self) -> bool:
        """Whether the model holds it likelier that there is no answer."""
        return self.score < 0


@torch.inference_mode()
def find_answers(
    model: AsymmetricQAModel,
    question: Encoded,
    index: ContextIndex,
    batches: Iterable[Tensor],
    *,
    top_k: int,
) -> list[Answer]:
    """Read windows and keep the best spans that differ.

    Args:
        model: In evaluation mode.
        question: One, encoded.
        index: Of which windows are read.
        batches: Rows of windows that are read together.
        top_k: How many answers at most.

    Returns:
        Answers, the best first.
    """
    found: dict[tuple[int, int, int], float] = {}
    floor = -torch.inf
    for rows in batches:
        windows = index.gather(rows)
        scores = _read(model, question, windows)
        margins = scores.spans.amax(2) - scores.nothing.unsqueeze(1)
        if len(found) >= top_k and float(margins.max()) < floor:
            continue
        for place, score in _distinct(scores, margins, windows, index, top_k).items():
            found[place] = max(score, found.get(place, score))
        best = sorted(found, key=lambda place: (-found[place], place))[:top_k]
        found = {place: found[place] for place in best}
        floor = found[best[-1]] if best else floor
    return [
        Answer(
            index.contexts[context].text[start:end],
            start,
            end,
            score,
            context,
            index.contexts[context].title,
        )
        for (context, start, end), score in found.items()
    ]


def _read(model: AsymmetricQAModel, question: Encoded, windows: WindowStates) -> SpanScores:
    count = len(windows.states)
    asked = Encoded(*(part.expand(count, *part.shape[1:]) for part in question))
    states = windows.states.to(question.states.device, question.states.dtype)
    mask = windows.mask.to(states.device)
    answer_mask = (windows.places[..., 0] >= 0).to(states.device)
    context = Encoded(states, asked.vectors, mask)  # the reader looks at nobody's vector
    return SpanScores(*(part.float() for part in model.read(asked, context, answer_mask)))


def _distinct(
    scores: SpanScores, margins: Tensor, windows: WindowStates, index: ContextIndex, top_k: int
) -> dict[tuple[int, int, int], float]:
    """The best spans of a batch, none of them blank, no place twice."""
    number = _MORE * top_k
    while True:
        values, rows, firsts, lasts = _best(scores, margins, number)
        found: dict[tuple[int, int, int], float] = {}
        starts = windows.places[rows, firsts, 0].tolist()
        ends = windows.places[rows, lasts, 1].tolist()
        contexts = windows.contexts[rows].tolist()
        for score, context, start, end in zip(values, contexts, starts, ends, strict=True):
            piece = index.contexts[context].text[start:end]
            text = piece.strip()
            if text:
                start += len(piece) - len(piece.lstrip())
                found.setdefault((context, start, start + len(text)), score)
                if len(found) == top_k:
                    return found
        if len(values) < number:  # there are no more
            return found
        number *= _MORE


def _best(
    scores: SpanScores, margins: Tensor, number: int
) -> tuple[list[float], Tensor, Tensor, Tensor]:
    """The highest margins with their window, first and last token, the highest first.

    The best `number` spans begin in the best `number` rows, so only these are compared.
    """
    length = margins.shape[1]
    starts = margins.flatten().topk(min(number, margins.numel())).indices
    rows, firsts = starts // length, starts % length
    ends = scores.spans[rows, firsts] - scores.nothing[rows].unsqueeze(1)
    top = ends.flatten().topk(min(number, ends.numel()))
    kept = top.indices[top.values > -torch.inf].cpu()
    held, lasts = kept // length, kept % length
    values = top.values[: len(kept)].tolist()
    return values, rows.cpu()[held], firsts.cpu()[held], lasts
