"""What can be compared: applications, and their data, models and scores."""

from typing import TYPE_CHECKING

from askew._lazy import on_first_use
from askew.tasks._application import (
    Application,
    MatchedOptions,
    Scored,
    Scorer,
    Scoring,
    ScoringOptions,
    SettingOptions,
    Setup,
    Split,
    Training,
    option,
)
from askew.tasks._applications import APPLICATIONS
from askew.tasks._arm_names import QA_SHAPES, SHAPES
from askew.tasks._read_data import describe_read
from askew.tasks._sources import QuestionSources, Sources, is_catalogue, is_xliff

if TYPE_CHECKING:
    from askew.tasks._arms import default_folder, search_folder
    from askew.tasks._data import load_text, read_any
    from askew.tasks._evaluate import Evaluated, evaluate_translator, load_test
    from askew.tasks._labels import LabelTask, LabelTrainingConfig, best_threshold
    from askew.tasks._presets import SIZES, translation_preset
    from askew.tasks._qa import Pretrained, QATask, qa_task
    from askew.tasks._qa_contexts import references
    from askew.tasks._qa_data import (
        describe_refused,
        load_questions,
        load_test_questions,
        shipped_questions,
    )
    from askew.tasks._qa_evaluate import evaluate_answerer
    from askew.tasks._qa_presets import qa_preset
    from askew.tasks._retrieval import RetrievalTask, RetrievalTrainingConfig, retrieval_scores
    from askew.tasks._shrink import prepare_shrinking, shrink_folder
    from askew.tasks._shrinking import Shrinking, Shrunk
    from askew.tasks._student_cuts import read_cut
    from askew.tasks._tabular import MLP, MLPConfig, TableTask, TableTrainingConfig
    from askew.tasks._tabular_data import (
        SplitTable,
        TableRows,
        load_eights,
        load_unseen_digits,
        load_yeast,
        split_table,
    )
    from askew.tasks._tabular_files import read_table_file
    from askew.tasks._tabular_losses import LabelLossConfig, RetrievalLossConfig
    from askew.tasks._teacher import Teacher, find_teacher, teach
    from askew.tasks._text_label_data import (
        LabelSources,
        SplitLabelled,
        load_labelled,
        load_labelled_test,
    )
    from askew.tasks._text_labels import TextLabelTask, text_label_task
    from askew.tasks._text_labels_training import TextLabelTrainingConfig
    from askew.tasks._text_losses import TextLossConfig
    from askew.tasks._train import is_first_process, prepare_training, train_into
    from askew.tasks._translation import TranslationTask, translation_task

__all__ = [
    "APPLICATIONS",
    "MLP",
    "QA_SHAPES",
    "SHAPES",
    "SIZES",
    "Application",
    "Evaluated",
    "LabelLossConfig",
    "LabelSources",
    "LabelTask",
    "LabelTrainingConfig",
    "MLPConfig",
    "MatchedOptions",
    "Pretrained",
    "QATask",
    "QuestionSources",
    "RetrievalLossConfig",
    "RetrievalTask",
    "RetrievalTrainingConfig",
    "Scored",
    "Scorer",
    "Scoring",
    "ScoringOptions",
    "SettingOptions",
    "Setup",
    "Shrinking",
    "Shrunk",
    "Sources",
    "Split",
    "SplitLabelled",
    "SplitTable",
    "TableRows",
    "TableTask",
    "TableTrainingConfig",
    "Teacher",
    "TextLabelTask",
    "TextLabelTrainingConfig",
    "TextLossConfig",
    "Training",
    "TranslationTask",
    "best_threshold",
    "default_folder",
    "describe_read",
    "describe_refused",
    "evaluate_answerer",
    "evaluate_translator",
    "find_teacher",
    "is_catalogue",
    "is_first_process",
    "is_xliff",
    "load_eights",
    "load_labelled",
    "load_labelled_test",
    "load_questions",
    "load_test",
    "load_test_questions",
    "load_text",
    "load_unseen_digits",
    "load_yeast",
    "option",
    "prepare_shrinking",
    "prepare_training",
    "qa_preset",
    "qa_task",
    "read_any",
    "read_cut",
    "read_table_file",
    "references",
    "retrieval_scores",
    "search_folder",
    "shipped_questions",
    "shrink_folder",
    "split_table",
    "teach",
    "text_label_task",
    "train_into",
    "translation_preset",
    "translation_task",
]

_HOMES = {
    "askew.tasks._arms": "default_folder search_folder",
    "askew.tasks._data": "load_text read_any",
    "askew.tasks._evaluate": "Evaluated evaluate_translator load_test",
    "askew.tasks._labels": "LabelTask LabelTrainingConfig best_threshold",
    "askew.tasks._presets": "SIZES translation_preset",
    "askew.tasks._qa": "Pretrained QATask qa_task",
    "askew.tasks._qa_contexts": "references",
    "askew.tasks._qa_data": "load_questions load_test_questions shipped_questions describe_refused",
    "askew.tasks._qa_evaluate": "evaluate_answerer",
    "askew.tasks._qa_presets": "qa_preset",
    "askew.tasks._retrieval": "RetrievalTask RetrievalTrainingConfig retrieval_scores",
    "askew.tasks._shrink": "prepare_shrinking shrink_folder",
    "askew.tasks._shrinking": "Shrinking Shrunk",
    "askew.tasks._student_cuts": "read_cut",
    "askew.tasks._tabular": "MLP MLPConfig TableTask TableTrainingConfig",
    "askew.tasks._tabular_data": "SplitTable TableRows load_eights load_unseen_digits load_yeast "
    "split_table",
    "askew.tasks._tabular_files": "read_table_file",
    "askew.tasks._tabular_losses": "LabelLossConfig RetrievalLossConfig",
    "askew.tasks._teacher": "Teacher find_teacher teach",
    "askew.tasks._text_label_data": "LabelSources SplitLabelled load_labelled load_labelled_test",
    "askew.tasks._text_labels": "TextLabelTask text_label_task",
    "askew.tasks._text_labels_training": "TextLabelTrainingConfig",
    "askew.tasks._text_losses": "TextLossConfig",
    "askew.tasks._train": "is_first_process prepare_training train_into",
    "askew.tasks._translation": "TranslationTask translation_task",
}
__getattr__, __dir__ = on_first_use(__name__, __all__, _HOMES)
