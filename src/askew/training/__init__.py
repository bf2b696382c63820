"""Training with the Trainer of transformers."""

from askew.training._average import WeightAverage
from askew.training._callbacks import last_checkpoint
from askew.training._config import SideConfig, TrainingConfig
from askew.training._examples import EpochBatches, TranslationExamples, collate_translation
from askew.training._optimizer import training_optimizer, training_scheduler
from askew.training._part_rates import LogsPartRates
from askew.training._sharded import load_sharded, save_sharded, shard_model
from askew.training._trainer import OnRecord, TokenBatchTrainer, train_model

__all__ = [
    "EpochBatches",
    "LogsPartRates",
    "OnRecord",
    "SideConfig",
    "TokenBatchTrainer",
    "TrainingConfig",
    "TranslationExamples",
    "WeightAverage",
    "collate_translation",
    "last_checkpoint",
    "load_sharded",
    "save_sharded",
    "shard_model",
    "train_model",
    "training_optimizer",
    "training_scheduler",
]
