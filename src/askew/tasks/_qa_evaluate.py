"""Scores of a trained question-answering model on the user's questions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from askew.metrics import (
    CorpusScore,
    answer_f1,
    bootstrap_interval,
    mean_reciprocal_rank,
    recall_at,
)
from askew.models import QuestionAnswerer
from askew.tasks._qa_contexts import (
    fused_ranks,
    question_scores,
    read_own_contexts,
    references,
    tfidf_answers,
)
from askew.tasks._qa_retrieval import search_all
from askew.text import QuestionSet

RANKS = (1, 5, 20)


class QAEvaluated(NamedTuple):
    """Answers, and their scores as plain values."""

    answers: list[str]
    results: dict


def evaluate_answerer(
    answerer: QuestionAnswerer,
    part: QuestionSet,
    *,
    language: str,
    progress: Callable[[int, int], None],
) -> QAEvaluated:
    """Answer every question from its own context, and from all, and score the answers.

    Args:
        answerer: The model.
        part: Questions with their contexts.
        language: Language of the answers; its articles are ignored when answers are compared.
        progress: Called with the number of questions done and of all; each is answered twice.

    Returns:
        The answers from the own contexts, and results as plain values. `scores` has F1, exact match
        and the rank and recall of the contexts; F1 of the questions that have an answer if it is
        searched among all contexts, `f1_among_all`, and the same where the retrieval does not count
        (`f1_among_all_unweighted`); as controls, F1 of the answers to another question of the same
        context, which a model that ignores the question also reaches, and of the most similar
        sentence by TF-IDF, with the ranks by TF-IDF, by BM25, and by the model's vectors and BM25
        fused. Each has a 95 % interval by a bootstrap over
        articles, or over questions if there is one article. `by_length` has F1 for thirds of the
        contexts' lengths. If some questions have no answer, `answerable_f1` is F1 of the others.

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
    count = len(part.questions)
    answers, ranks = read_own_contexts(
        answerer, index, part, progress=lambda done, _: progress(done, 2 * count)
    )
    searched = search_all(
        answerer, index, part, progress=lambda done, of: progress(2 * count - of + done, 2 * count)
    )
    sentences, tfidf_ranks = tfidf_answers(part)
    bm25_ranks, both_ranks = fused_ranks(answerer, index, part)
    right = references(part)
    of_context = part.articles
    articles = [of_context[question.context] for question in part.questions]

    def f1(texts: Sequence[str]) -> CorpusScore:
        return answer_f1(texts, right, language=language)

    def with_interval(name: str, score: CorpusScore) -> dict:
        own = [articles[number] for number in numbers] if name in among_all else articles
        groups = own if len(set(own)) > 1 else None
        interval = None
        if len(score.items) > 1:
            interval = list(bootstrap_interval(score.items, groups=groups))
        return {"value": score.value, "interval": interval}

    scores = question_scores(answers, ranks, part, language=language)
    numbers = searched.numbers
    weights = {"": answerer.retrieval_weight, "_unweighted": 0.0} if numbers else {}
    among_all = {
        f"f1_among_all{name}": answer_f1(
            searched.answers(weight), [right[n] for n in numbers], language=language
        )
        for name, weight in weights.items()
    }
    shown = {
        "f1": scores["f1"],
        "exact_match": scores["exact_match"],
        "f1_wrong_question": f1(_to_another_question(answers, part)),
        "f1_best_sentence": f1(sentences),
        **among_all,
        "mrr": scores["mrr"],
        "mrr_tf_idf": mean_reciprocal_rank(tfidf_ranks),
        **{f"recall_at_{k}": recall_at(ranks, k) for k in RANKS},
        **{f"recall_at_{k}_tf_idf": recall_at(tfidf_ranks, k) for k in RANKS},
        **{f"recall_at_{k}_bm25": recall_at(bm25_ranks, k) for k in RANKS},
        **{f"recall_at_{k}_fused": recall_at(both_ranks, k) for k in RANKS},
    }
    results: dict[str, object] = {
        "version": 1,
        "questions": count,
        "unreadable_questions": sum(not answerer.can_read(q.text) for q in part.questions),
        "contexts": len(part.contexts),
        "scores": {name: with_interval(name, score) for name, score in shown.items()},
        "by_length": _by_length(scores["f1"].items, part),
        "retrieval": answerer.model.config.retrieval,
    }
    return QAEvaluated(answers, results | _no_answer_scores(answers, scores["f1"].items, part))


def _no_answer_scores(
    answers: Sequence[str], f1: Sequence[float], part: QuestionSet
) -> dict[str, float | None]:
    """Score the answerable questions alone, and whether none was given where none is right."""
    answerable = np.array([bool(question.answers) for question in part.questions])
    if answerable.all():
        return {}
    is_answered = np.array([answer != "" for answer in answers])
    return {
        "answerable_f1": float(np.array(f1)[answerable].mean()) if answerable.any() else None,
        "no_answer_accuracy": float((is_answered == answerable).mean()),
    }


def _to_another_question(answers: Sequence[str], part: QuestionSet) -> list[str]:
    """Return the answer to the next question of the same context, or "" where there is none."""
    by_context: dict[int, list[int]] = {}
    for number, question in enumerate(part.questions):
        by_context.setdefault(question.context, []).append(number)
    others = [""] * len(answers)
    for numbers in by_context.values():
        if len(numbers) > 1:
            for number, following in zip(numbers, numbers[1:] + numbers[:1], strict=True):
                others[number] = answers[following]
    return others


def _by_length(items: Sequence[float], part: QuestionSet) -> list[dict]:
    """Average over thirds of the questions, by the length of their contexts."""
    lengths = np.array([len(part.contexts[q.context].text) for q in part.questions])
    edges = np.quantile(lengths, [0, 1 / 3, 2 / 3, 1])
    thirds = np.clip(np.searchsorted(edges, lengths, side="left") - 1, 0, 2)
    values = np.array(items)
    return [
        {
            "characters": [int(edges[third]), int(edges[third + 1])],
            "questions": int((thirds == third).sum()),
            "f1": float(values[thirds == third].mean()),
        }
        for third in range(3)
        if (thirds == third).any()
    ]
