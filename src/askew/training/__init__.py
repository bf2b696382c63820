"""Training with the Trainer of transformers."""

from askew.training._config import TrainingConfig
from askew.training._examples import TranslationExamples, collate_translation
from askew.training._part_rates import LogsPartRates
from askew.training._trainer import TokenBatchTrainer, last_checkpoint, train_model

__all__ = [
    "LogsPartRates",
    "TokenBatchTrainer",
    "TrainingConfig",
    "TranslationExamples",
    "collate_translation",
    "last_checkpoint",
    "train_model",
]
