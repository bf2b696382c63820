"""Passages of documents found by a question, with the sentence that fits it best."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from askew._check import refuse_string, require
from askew.text._bm25 import BM25, best_rows
from askew.text._passages import cut_passages, sentence_spans
from askew.text._questions import Context

SentenceScores = Callable[[int, list[tuple[int, int]]], np.ndarray]


class Passage(NamedTuple):
    """A passage of a document that was found for a question.

    Args:
        context: Row of the document.
        start: Its first character in the text of the document.
        end: The position after its last character.
        text: The passage.
        score: Its score; only the order of the scores of one question means something.
        sentence: Start and end of its best sentence, in characters of the document.

    Example:
        >>> found = PassageSearch([Context("Peru", "Lima is large.")]).search("large")[0]
        >>> isinstance(found, Passage), found.text
        (True, 'Lima is large.')
    """

    context: int
    start: int
    end: int
    text: str
    score: float
    sentence: tuple[int, int]


class PassageSearch:
    """Finds passages of documents by the words that they share with a question; needs no model.

    Passages and their sentences are scored by `BM25`.

    Args:
        contexts: The documents.
        passages: Row of the document, start and end (exclusive) in characters of each passage; by
            default `cut_passages` cuts every document.

    Attributes:
        contexts: As given.
        passages: As given, or as they were cut.
        bm25: Of the passages.

    Raises:
        ValueError: If a passage is not a part of a document.
        TypeError: If `contexts` is a string or a single context.

    Example:
        >>> search = PassageSearch([Context("Peru", "It is old. Lima is large."), Context("", "-")])
        >>> found = search.search("What is large?")[0]
        >>> start, end = found.sentence
        >>> search.contexts[found.context].text[start:end]
        'Lima is large.'
    """

    def __init__(
        self,
        contexts: Sequence[Context],
        *,
        passages: Sequence[tuple[int, int, int]] | None = None,
    ) -> None:
        refuse_string("PassageSearch", "contexts", contexts)
        if isinstance(contexts, Context):
            raise TypeError(
                "PassageSearch: contexts must be a list of Context; got one. Put it into a list"
            )
        self.contexts = list(contexts)
        wrong = [one for one in self.contexts if not isinstance(one, Context)]
        if wrong:
            raise TypeError(
                "PassageSearch: contexts must be a list of Context; got one of type "
                f"{type(wrong[0]).__name__}. Write Context(title, text)"
            )
        if passages is None:
            passages = [
                (row, *span)
                for row, context in enumerate(self.contexts)
                for span in cut_passages(context.text)
            ]
        self.passages = list(passages)
        for row, start, end in self.passages:
            require(
                0 <= row < len(self.contexts) and 0 <= start <= end <= len(self.contexts[row].text),
                "PassageSearch: a passage must be a part of a context; got context "
                f"{row} of {len(self.contexts)}, characters {start} to {end}",
            )
        self.bm25 = BM25([self._text(number) for number in range(len(self.passages))])

    def search(
        self,
        question: str,
        *,
        top: int = 3,
        scores: np.ndarray | None = None,
        sentence_scores: SentenceScores | None = None,
    ) -> list[Passage]:
        """Find the best passages for a question.

        Args:
            question: Any text.
            top: How many at most, at least 1.
            scores: Of all passages, -inf for one that is not to be found. By default those of
                `BM25`, where passages that share no word with the question are not found.
            sentence_scores: Scores the sentences of a passage, of which the first with the
                highest score is the best. It is called with the number of the passage and start
                and end of each sentence in the document. By default those of `BM25`.

        Returns:
            The passages, the best first; equal ones in their order.

        Raises:
            ValueError: If `top` is below 1, or the scores are not one for each passage.
        """
        require(top >= 1, f"PassageSearch.search: top must be at least 1; got top {top}")
        if scores is None:
            scores = self.bm25.scores(question)
            scores = np.where(scores > 0, scores, -np.inf)
        require(
            scores.shape == (len(self.passages),),
            "PassageSearch.search: there must be a score for each passage; "
            f"got {tuple(scores.shape)} for {len(self.passages)} passages",
        )
        best = best_rows(scores, top)
        by_words = partial(self._score_sentences, question)
        score_sentences = by_words if sentence_scores is None else sentence_scores
        return [
            self._found(number, float(scores[number]), score_sentences)
            for number in best
            if scores[number] > -np.inf
        ]

    def _found(self, number: int, score: float, sentence_scores: SentenceScores) -> Passage:
        row, start, end = self.passages[number]
        text = self._text(number)
        spans = sentence_spans(text) or [(0, len(text))]
        spans = [(start + first, start + last) for first, last in spans]
        best = spans[int(np.argmax(sentence_scores(number, spans)))]
        return Passage(row, start, end, text, score, best)

    def _score_sentences(
        self, question: str, number: int, spans: list[tuple[int, int]]
    ) -> np.ndarray:
        text = self.contexts[self.passages[number][0]].text
        return self.bm25.score_others(question, [text[start:end] for start, end in spans])

    def _text(self, number: int) -> str:
        row, start, end = self.passages[number]
        return self.contexts[row].text[start:end]
