"""Training with the Trainer of transformers."""

from askew.training._average import WeightAverage
from askew.training._callbacks import last_checkpoint
from askew.training._config import Decay, PartConfig, RunConfig, SideConfig, TrainingConfig
from askew.training._distillation import DistillationObjective, Lessons, distil
from askew.training._distillation_config import DistillationConfig
from askew.training._examples import EpochBatches, TranslationExamples, collate_translation
from askew.training._kept_outputs import KeptOutputs
from askew.training._objective import TranslationObjective
from askew.training._optimizer import (
    parts_optimizer,
    parts_scheduler,
    rise_and_fall,
    training_optimizer,
    training_scheduler,
)
from askew.training._part_rates import LogsPartRates
from askew.training._qa_config import EncoderPartConfig, LayeredPartConfig, QATrainingConfig
from askew.training._qa_examples import QuestionExamples, Window, WindowQuestion, collate_questions
from askew.training._qa_objective import QAObjective, span_loss
from askew.training._question_students import distil_questions
from askew.training._sharded import load_sharded, save_sharded, shard_model
from askew.training._taught_spans import (
    SoftSpan,
    TaughtSpans,
    soft_span,
    soft_span_loss,
    teach_spans,
)
from askew.training._trainer import OnRecord, TokenBatchTrainer, train_model

__all__ = [
    "Decay",
    "DistillationConfig",
    "DistillationObjective",
    "EncoderPartConfig",
    "EpochBatches",
    "KeptOutputs",
    "LayeredPartConfig",
    "Lessons",
    "LogsPartRates",
    "OnRecord",
    "PartConfig",
    "QAObjective",
    "QATrainingConfig",
    "QuestionExamples",
    "RunConfig",
    "SideConfig",
    "SoftSpan",
    "TaughtSpans",
    "TokenBatchTrainer",
    "TrainingConfig",
    "TranslationExamples",
    "TranslationObjective",
    "WeightAverage",
    "Window",
    "WindowQuestion",
    "collate_questions",
    "collate_translation",
    "distil",
    "distil_questions",
    "last_checkpoint",
    "load_sharded",
    "parts_optimizer",
    "parts_scheduler",
    "rise_and_fall",
    "save_sharded",
    "shard_model",
    "soft_span",
    "soft_span_loss",
    "span_loss",
    "teach_spans",
    "train_model",
    "training_optimizer",
    "training_scheduler",
]
