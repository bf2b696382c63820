"""One optimizer, every parameter in one part, each part with its algorithm, rate and schedule."""

from askew.optim._bases import ALGORITHMS
from askew.optim._describe import PartRow, PartsTable, RatesTable, describe, parts_table, preview
from askew.optim._groups import layerwise_parts, parameter_groups
from askew.optim._lora import lora_a, lora_b
from askew.optim._optimizer import AsymmetricOptimizer, part_rates
from askew.optim._parts import partition_parameters
from askew.optim._roles import embeddings, heads, hidden_matrices, norms_and_biases
from askew.optim._scheduler import AsymmetricScheduler
from askew.optim._schedules import (
    constant,
    cosine,
    freeze_until,
    inverse_sqrt,
    join,
    linear,
    step_decay,
    warmup,
    wsd,
)
from askew.optim._split_muon import SplitMuon

__all__ = [
    "ALGORITHMS",
    "AsymmetricOptimizer",
    "AsymmetricScheduler",
    "PartRow",
    "PartsTable",
    "RatesTable",
    "SplitMuon",
    "constant",
    "cosine",
    "describe",
    "embeddings",
    "freeze_until",
    "heads",
    "hidden_matrices",
    "inverse_sqrt",
    "join",
    "layerwise_parts",
    "linear",
    "lora_a",
    "lora_b",
    "norms_and_biases",
    "parameter_groups",
    "part_rates",
    "partition_parameters",
    "parts_table",
    "preview",
    "step_decay",
    "warmup",
    "wsd",
]
