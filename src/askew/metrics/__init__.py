"""Scores of translations, answers and retrieval, each tested against another implementation."""

from askew.metrics._answers import (
    Interval,
    answer_exact_match,
    answer_f1,
    bootstrap_interval,
    mean_reciprocal_rank,
    normalize_answer,
    recall_at,
)
from askew.metrics._bleu_tokenizers import bleu_tokenizer, tokenizer_note
from askew.metrics._placeholders import Survival, placeholder_survival
from askew.metrics._translation import (
    CorpusScore,
    bleu,
    chrf,
    exact_match,
    sentence_chrf,
    word_error_rate,
)

__all__ = [
    "CorpusScore",
    "Interval",
    "Survival",
    "answer_exact_match",
    "answer_f1",
    "bleu",
    "bleu_tokenizer",
    "bootstrap_interval",
    "chrf",
    "exact_match",
    "mean_reciprocal_rank",
    "normalize_answer",
    "placeholder_survival",
    "recall_at",
    "sentence_chrf",
    "tokenizer_note",
    "word_error_rate",
]
