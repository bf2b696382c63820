"""Scores, each checked against a foreign implementation."""

from askew.metrics._translation import CorpusScore, bleu, chrf, exact_match

__all__ = ["CorpusScore", "bleu", "chrf", "exact_match"]
