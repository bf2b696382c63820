"""What can be compared: data, models and scores of one kind of work."""

from askew.tasks._choices import (
    chosen_arms,
    chosen_budget,
    chosen_model,
    chosen_settings,
    chosen_task,
    default_folder,
    from_teacher,
)
from askew.tasks._data import Part, Sources, is_catalogue, load_text, read_any
from askew.tasks._evaluate import Evaluated, evaluate_translator, load_test
from askew.tasks._labels import LabelTask, LabelTrainingConfig, best_threshold
from askew.tasks._presets import SHAPES, SIZES, translation_preset
from askew.tasks._qa import Pretrained, QATask, qa_task
from askew.tasks._qa_choices import chosen_qa_arms, chosen_qa_model, chosen_qa_task
from askew.tasks._qa_contexts import read_own_contexts, references
from askew.tasks._qa_data import (
    QuestionSources,
    load_questions,
    load_test_questions,
    shipped_questions,
    tell_refused,
)
from askew.tasks._qa_evaluate import evaluate_answerer
from askew.tasks._qa_presets import QA_SHAPES, qa_preset
from askew.tasks._retrieval import RetrievalTask, RetrievalTrainingConfig, retrieval_scores
from askew.tasks._tabular import MLP, MLPConfig, TableTask, TableTrainingConfig
from askew.tasks._tabular_choices import TABLE_TASKS, table_arms, table_task
from askew.tasks._tabular_data import (
    SplitTable,
    TablePart,
    load_eights,
    load_unseen_digits,
    load_yeast,
    read_table_file,
    split_table,
)
from askew.tasks._tabular_losses import LabelLossConfig, RetrievalLossConfig
from askew.tasks._teacher import Teacher, find_teacher, teach
from askew.tasks._train import is_first_process, prepare_training, train_into
from askew.tasks._translation import TranslationTask, translation_task

__all__ = [
    "MLP",
    "QA_SHAPES",
    "SHAPES",
    "SIZES",
    "TABLE_TASKS",
    "Evaluated",
    "LabelLossConfig",
    "LabelTask",
    "LabelTrainingConfig",
    "MLPConfig",
    "Part",
    "Pretrained",
    "QATask",
    "QuestionSources",
    "RetrievalLossConfig",
    "RetrievalTask",
    "RetrievalTrainingConfig",
    "Sources",
    "SplitTable",
    "TablePart",
    "TableTask",
    "TableTrainingConfig",
    "Teacher",
    "TranslationTask",
    "best_threshold",
    "chosen_arms",
    "chosen_budget",
    "chosen_model",
    "chosen_qa_arms",
    "chosen_qa_model",
    "chosen_qa_task",
    "chosen_settings",
    "chosen_task",
    "default_folder",
    "evaluate_answerer",
    "evaluate_translator",
    "find_teacher",
    "from_teacher",
    "is_catalogue",
    "is_first_process",
    "load_eights",
    "load_questions",
    "load_test",
    "load_test_questions",
    "load_text",
    "load_unseen_digits",
    "load_yeast",
    "prepare_training",
    "qa_preset",
    "qa_task",
    "read_any",
    "read_own_contexts",
    "read_table_file",
    "references",
    "retrieval_scores",
    "shipped_questions",
    "split_table",
    "table_arms",
    "table_task",
    "teach",
    "tell_refused",
    "train_into",
    "translation_preset",
    "translation_task",
]
