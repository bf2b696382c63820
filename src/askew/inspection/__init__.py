"""Scores of a trained model's attention, head by head, and pictures of masks, losses and rates."""

from askew.inspection._attention_plots import BiasData, bias_data, plot_bias, plot_mask
from askew.inspection._loss_plots import LossSidesData, loss_sides_data, plot_loss_sides
from askew.inspection._maps import QueryKeyMap, query_key_maps
from askew.inspection._model import AttentionScores, Inspection, StackShape, inspect_model
from askew.inspection._page import AttentionPicture, write_inspection_page, write_picture_page
from askew.inspection._rate_plots import plot_parts, plot_schedule
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
    "BiasData",
    "Inspection",
    "LossSidesData",
    "QueryKeyMap",
    "StackShape",
    "attention_entropy",
    "bias_data",
    "directionality_score",
    "effective_rank",
    "inspect_model",
    "loss_sides_data",
    "plot_bias",
    "plot_loss_sides",
    "plot_mask",
    "plot_parts",
    "plot_schedule",
    "query_key_maps",
    "record_attention",
    "symmetry_score",
    "write_inspection_page",
    "write_picture_page",
]
