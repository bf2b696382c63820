"""Answers to questions read in their own context, the rank of that context, and their scores."""

from collections.abc import Sequence

import numpy as np

from askew.metrics import CorpusScore, answer_exact_match, answer_f1, mean_reciprocal_rank
from askew.models import ContextIndex, QuestionAnswerer
from askew.text import BM25, QuestionSet, TfidfIndex, fuse_ranks
from askew.tradeoffs import Progress


def references(part: QuestionSet) -> list[list[str]]:
    """Return the right answers of every question.

    Args:
        part: Questions.

    Returns:
        Texts for each question, none where it has no answer.

    Example:
        >>> from askew.text import Context, Question
        >>> questions = [Question("1", "where", 0, ((3, 7),))]
        >>> references(QuestionSet([Context("", "in Rome")], questions, []))
        [['Rome']]
    """
    return [part.answer_texts(question) for question in part.questions]


def question_scores(
    answers: Sequence[str], ranks: Sequence[int | None], part: QuestionSet, *, language: str
) -> dict[str, CorpusScore]:
    """Score answers, and the ranks of the right contexts, by the metrics of a comparison."""
    right = references(part)
    return {
        "f1": answer_f1(answers, right, language=language),
        "exact_match": answer_exact_match(answers, right, language=language),
        "mrr": mean_reciprocal_rank(ranks),
    }


def read_own_contexts(
    answerer: QuestionAnswerer,
    index: ContextIndex,
    part: QuestionSet,
    *,
    progress: Progress | None = None,
) -> tuple[list[str], list[int | None]]:
    """Answer every question from its own context, and rank that context among all.

    The answer is "" to a question that the model cannot read, and, where some questions of the set
    have no answer, if the model finds it likelier that there is none. The ranks begin at 1.
    """
    may_be_unanswerable = any(not question.answers for question in part.questions)
    answers: list[str] = []
    ranks: list[int | None] = []
    rows = [index.row(context) for context in part.contexts]
    for done, question in enumerate(part.questions, 1):
        row = rows[question.context]
        if progress is not None:
            progress(done, len(part.questions))
        if not answerer.can_read(question.text):
            answers.append("")
            ranks.append(None)
            continue
        own = [] if row is None else [row]
        best = answerer.answer(question.text, index, contexts=own, retrieval_weight=0.0)
        is_empty = not best or (may_be_unanswerable and best[0].nothing)
        answers.append("" if is_empty else best[0].text)
        ranks.append(_rank(row, answerer.rank(question.text, index)))
    return answers, ranks


def tfidf_answers(part: QuestionSet) -> tuple[list[str], list[int | None]]:
    """Answer every question with the most similar sentence of its context, and rank the context.

    Both go by TF-IDF: a baseline that needs no training.
    """
    tfidf = TfidfIndex([context.text for context in part.contexts])
    answers: list[str] = []
    ranks: list[int | None] = []
    for question in part.questions:
        start, end = tfidf.best_sentence(question.text, question.context)
        answers.append(part.contexts[question.context].text[start:end])
        ranks.append(_rank(question.context, tfidf.search(question.text, len(part.contexts))))
    return answers, ranks


def fused_ranks(
    answerer: QuestionAnswerer, index: ContextIndex, part: QuestionSet
) -> tuple[list[int | None], list[int | None]]:
    """Rank the context of every question by BM25, and by BM25 and the vectors of a model, fused.

    The second ranks by `askew.text.fuse_ranks`; it is None where the model cannot read a question.
    """
    bm25 = BM25([context.text for context in index.contexts])
    by_words: list[int | None] = []
    fused: list[int | None] = []
    for question in part.questions:
        row = index.row(part.contexts[question.context])
        by_words.append(_rank(row, bm25.search(question.text, max(1, len(bm25)))))
        if not answerer.can_read(question.text):
            fused.append(None)
            continue
        vectors = np.full(len(bm25), -np.inf)
        for ranked, score in answerer.rank(question.text, index):
            vectors[ranked] = score
        both = fuse_ranks([vectors, bm25.scores(question.text)])
        order = np.argsort(-both, kind="stable").tolist()
        fused.append(None if row is None else 1 + order.index(row))
    return by_words, fused


def _rank(row: int | None, ranking: Sequence[tuple[int, float]]) -> int | None:
    """Return the 1-based place of a row in a ranking, or None where it is absent."""
    rows = [ranked for ranked, _ in ranking]
    return rows.index(row) + 1 if row in rows else None
