"""Scores of a trained question-answering model on questions of one's own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from askew.metrics import (
    CorpusScore,
    answer_exact_match,
    answer_f1,
    bootstrap_interval,
    mean_reciprocal_rank,
    recall_at,
)
from askew.models import QuestionAnswerer
from askew.tasks._qa_contexts import read_own_contexts, references
from askew.text import QuestionSet, TfidfIndex

RANKS = (1, 5, 20)


class QAEvaluated(NamedTuple):
    """Answers, and what is said of them as plain values."""

    answers: list[str]
    results: dict


def evaluate_answerer(
    answerer: QuestionAnswerer,
    part: QuestionSet,
    *,
    language: str,
    progress: Callable[[int, int], None],
) -> QAEvaluated:
    """Answer and score.

    Args:
        answerer: The model.
        part: Questions with their contexts.
        language: Whose articles do not count in answers.
        progress: Called with questions done and questions in all.

    Returns:
        The answers, and `scores`: F1 and exact match of each question read in its own context,
        over the answerable ones and over all; the same of the answers to another question of
        the same context, which a model that ignores the question reaches too; of the most
        similar sentence by TF-IDF; and how well contexts are found. Intervals are 95 %, by a
        bootstrap over articles, or over questions where there is one article. `by_length`
        has F1 by thirds of the contexts' lengths.

    Example:
        >>> from askew.models import AsymmetricQAConfig, AsymmetricQAModel
        >>> from askew.text import Context, Question, train_tokenizer
        >>> question = Question("q", "Who?", 0, ((0, 4),))
        >>> part = QuestionSet([Context("a", "Cats sleep.")], [question], [])
        >>> tokenizer = train_tokenizer(["Cats sleep."], vocab_size=300)
        >>> model = AsymmetricQAModel(AsymmetricQAConfig(question_vocab=300, context_vocab=300))
        >>> answerer = QuestionAnswerer(model, tokenizer, tokenizer)
        >>> silent = lambda done, total: None
        >>> len(evaluate_answerer(answerer, part, language="en", progress=silent).answers)
        1
    """
    index = answerer.encode(part.contexts, dtype="float32")
    found, ranks = read_own_contexts(answerer, index, part, progress=progress)
    right = references(part)
    articles = [part.contexts[question.context].title for question in part.questions]
    groups = articles if len(set(articles)) > 1 else None

    def told(score: CorpusScore) -> dict:
        if len(score.items) < 2:
            return {"value": score.value, "interval": None}
        return {
            "value": score.value,
            "interval": list(bootstrap_interval(score.items, groups=groups)),
        }

    f1 = answer_f1(found, right, language=language)
    tfidf = TfidfIndex([context.text for context in part.contexts])
    sentences = [_best_sentence(tfidf, part, number) for number in range(len(part.questions))]
    tfidf_ranks = [_tfidf_rank(tfidf, part, number) for number in range(len(part.questions))]
    scores = {
        "f1": told(f1),
        "exact_match": told(answer_exact_match(found, right, language=language)),
        "f1_wrong_question": told(
            answer_f1(_of_another_question(found, part), right, language=language)
        ),
        "f1_best_sentence": told(answer_f1(sentences, right, language=language)),
        "mrr": told(mean_reciprocal_rank(ranks)),
        "mrr_tf_idf": told(mean_reciprocal_rank(tfidf_ranks)),
        **{f"recall_at_{k}": told(recall_at(ranks, k)) for k in RANKS},
        **{f"recall_at_{k}_tf_idf": told(recall_at(tfidf_ranks, k)) for k in RANKS},
    }
    results: dict[str, object] = {
        "version": 1,
        "questions": len(part.questions),
        "unreadable_questions": sum(not answerer.can_read(q.text) for q in part.questions),
        "contexts": len(part.contexts),
        "scores": scores,
        "by_length": _by_length(f1.items, part),
    }
    unanswerable = np.array([not question.answers for question in part.questions])
    if unanswerable.any():
        items = np.array(f1.items)
        silent = np.array([answer == "" for answer in found])
        results["answerable_f1"] = (
            float(items[~unanswerable].mean()) if (~unanswerable).any() else None
        )
        results["no_answer_accuracy"] = float((silent == unanswerable).mean())
    return QAEvaluated(found, results)


def _of_another_question(found: Sequence[str], part: QuestionSet) -> list[str]:
    """The answer to the next question of the same context, or "" where there is none."""
    rows: dict[int, list[int]] = {}
    for number, question in enumerate(part.questions):
        rows.setdefault(question.context, []).append(number)
    other = {}
    for numbers in rows.values():
        for place, number in enumerate(numbers):
            other[number] = numbers[(place + 1) % len(numbers)]
    return [found[other[n]] if other[n] != n else "" for n in range(len(found))]


def _best_sentence(tfidf: TfidfIndex, part: QuestionSet, number: int) -> str:
    question = part.questions[number]
    start, end = tfidf.best_sentence(question.text, question.context)
    return part.contexts[question.context].text[start:end]


def _tfidf_rank(tfidf: TfidfIndex, part: QuestionSet, number: int) -> int | None:
    question = part.questions[number]
    rows = [row for row, _ in tfidf.search(question.text, len(part.contexts))]
    return rows.index(question.context) + 1 if question.context in rows else None


def _by_length(items: Sequence[float], part: QuestionSet) -> list[dict]:
    lengths = np.array([len(part.contexts[q.context].text) for q in part.questions])
    edges = np.quantile(lengths, [0, 1 / 3, 2 / 3, 1])
    held = np.clip(np.searchsorted(edges, lengths, side="left") - 1, 0, 2)
    values = np.array(items)
    return [
        {
            "characters": [int(edges[third]), int(edges[third + 1])],
            "questions": int((held == third).sum()),
            "f1": float(values[held == third].mean()),
        }
        for third in range(3)
        if (held == third).any()
    ]
