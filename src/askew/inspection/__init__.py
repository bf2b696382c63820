"""Scores of a trained model's attention: symmetry, direction, rank and entropy, head by head."""

from askew.inspection._maps import QueryKeyMap, query_key_maps
from askew.inspection._model import AttentionScores, Inspection, StackShape, inspect_model
from askew.inspection._page import AttentionPicture, write_inspection_page, write_picture_page
from askew.inspection._recording import record_attention
from askew.inspection._scores import (
    attention_entropy,
    directionality_score,
    effective_rank,
    symmetry_score,
)

__all__ = [
    "AttentionPicture",
    "AttentionScores",
    "Inspection",
    "QueryKeyMap",
    "StackShape",
    "attention_entropy",
    "directionality_score",
    "effective_rank",
    "inspect_model",
    "query_key_maps",
    "record_attention",
    "symmetry_score",
    "write_inspection_page",
    "write_picture_page",
]
