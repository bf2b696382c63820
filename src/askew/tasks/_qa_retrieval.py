"""Answers searched among all contexts, and how much the retrieval counts in their scores."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from askew.metrics import answer_f1
from askew.models import Answer, ContextIndex, QuestionAnswerer
from askew.text import QuestionSet
from askew.tradeoffs import Progress

_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_MOST = 400
"""Questions that a weight is fitted on, at most: each is read in up to 100 windows."""

ByWindow = Sequence[tuple[Answer, float]]
"""Answers with the scores of the retrieval, as `QuestionAnswerer.answer_each_window` makes them."""


class Searched(NamedTuple):
    """Questions that have an answer, each searched among all contexts.

    Attributes:
        numbers: Of the questions in their set.
        found: What was found for each; nothing where the model cannot read the question.
    """

    numbers: list[int]
    found: list[ByWindow]

    def answers(self, weight: float) -> list[str]:
        """Return the answer to each question if the retrieval has this weight, "" for none."""
        return [_best(by_window, weight) for by_window in self.found]


def _best(by_window: ByWindow, weight: float) -> str:
    if not by_window:
        return ""
    best = max(answer.score + weight * found for answer, found in by_window)
    equal = [one for one, found in by_window if one.score + weight * found == best]
    return min(equal, key=lambda answer: (answer.context, answer.start, answer.end)).text


def search_all(
    answerer: QuestionAnswerer,
    index: ContextIndex,
    part: QuestionSet,
    *,
    most: int | None = None,
    progress: Progress | None = None,
) -> Searched:
    """Search the answers of questions among all contexts.

    Args:
        answerer: The model.
        index: The contexts.
        part: The questions; those without an answer are left out.
        most: Of more questions, so many are chosen, evenly.
        progress: Called with the number of questions done and of all.

    Returns:
        What was found.
    """
    numbers = [number for number, one in enumerate(part.questions) if one.answers]
    if most is not None and len(numbers) > most:
        numbers = [numbers[k * len(numbers) // most] for k in range(most)]
    found: list[ByWindow] = []
    for done, number in enumerate(numbers, 1):
        text = part.questions[number].text
        readable = answerer.can_read(text)
        found.append(answerer.answer_each_window(text, index) if readable else [])
        if progress is not None:
            progress(done, len(numbers))
    return Searched(numbers, found)


def fit_retrieval_weight(
    answerer: QuestionAnswerer, part: QuestionSet, *, language: str
) -> dict[str, object] | None:
    """Find the weight of the retrieval with which answers are found best among all contexts.

    Args:
        answerer: The model.
        part: Questions that are not to be tested with, such as validation questions.
        language: Language of the answers; its articles are ignored when answers are compared.

    Returns:
        What `AsymmetricQAConfig` keeps as `retrieval`: the "weight" of a grid from 0 to 8 with the
        highest F1, of equal ones that in the middle; how many "questions", chosen evenly if there
        are more than 400, and "contexts" it was fitted on; and there "f1", and "f1_unweighted"
        with a weight of 0. None if no question has an answer.

    Example:
        >>> from askew.models import AsymmetricQAConfig, AsymmetricQAModel
        >>> from askew.text import Context, Question, train_tokenizer
        >>> question = Question("q", "Who?", 0, ((0, 4),))
        >>> part = QuestionSet([Context("a", "Cats sleep.")], [question], [])
        >>> tokenizer = train_tokenizer(["Cats sleep."], vocab_size=300)
        >>> model = AsymmetricQAModel(AsymmetricQAConfig(question_vocab=300, context_vocab=300))
        >>> answerer = QuestionAnswerer(model, tokenizer, tokenizer)
        >>> fitted = fit_retrieval_weight(answerer, part, language="en")
        >>> fitted["questions"], fitted["contexts"]
        (1, 1)
    """
    index = answerer.encode(part.contexts, dtype="float32")
    searched = search_all(answerer, index, part, most=_MOST)
    if not searched.numbers:
        return None
    right = [part.answer_texts(part.questions[number]) for number in searched.numbers]
    reached = np.array(
        [answer_f1(searched.answers(w), right, language=language).value for w in _WEIGHTS]
    )
    best = np.flatnonzero(reached >= reached.max() - 1e-9)
    chosen = int(best[len(best) // 2])
    return {
        "weight": _WEIGHTS[chosen],
        "questions": len(searched.numbers),
        "contexts": len(index.contexts),
        "f1": float(reached[chosen]),
        "f1_unweighted": float(reached[0]),
    }
