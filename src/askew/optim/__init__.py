"""One optimizer, every parameter in exactly one part, each part with its rate and schedule."""

from askew.optim._describe import PartRow, PartsTable, RatesTable, describe, parts_table, preview
from askew.optim._groups import layerwise_parts, parameter_groups
from askew.optim._optimizer import AsymmetricOptimizer, part_rates
from askew.optim._parts import partition_parameters
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

__all__ = [
    "AsymmetricOptimizer",
    "AsymmetricScheduler",
    "PartRow",
    "PartsTable",
    "RatesTable",
    "constant",
    "cosine",
    "describe",
    "freeze_until",
    "inverse_sqrt",
    "join",
    "layerwise_parts",
    "linear",
    "parameter_groups",
    "part_rates",
    "partition_parameters",
    "parts_table",
    "preview",
    "step_decay",
    "warmup",
    "wsd",
]
