"""What can be compared: applications, and their data, models and scores."""

from importlib import import_module
from typing import TYPE_CHECKING

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
from askew.tasks._read_data import describe_read
from askew.tasks._sources import QuestionSources, Sources, is_catalogue, is_xliff

if TYPE_CHECKING:
    from askew.tasks._arms import default_folder, search_folder
    from askew.tasks._data import load_text, read_any
    from askew.tasks._evaluate import Evaluated, evaluate_translator, load_test
    from askew.tasks._labels import LabelTask, LabelTrainingConfig, best_threshold
    from askew.tasks._presets import SHAPES, SIZES, translation_preset
    from askew.tasks._qa import Pretrained, QATask, qa_task
    from askew.tasks._qa_contexts import references
    from askew.tasks._qa_data import (
        describe_refused,
        load_questions,
        load_test_questions,
        shipped_questions,
    )
    from askew.tasks._qa_evaluate import evaluate_answerer
    from askew.tasks._qa_presets import QA_SHAPES, qa_preset
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
    "_arms": "default_folder search_folder",
    "_data": "load_text read_any",
    "_evaluate": "Evaluated evaluate_translator load_test",
    "_labels": "LabelTask LabelTrainingConfig best_threshold",
    "_presets": "SHAPES SIZES translation_preset",
    "_qa": "Pretrained QATask qa_task",
    "_qa_contexts": "references",
    "_qa_data": "load_questions load_test_questions shipped_questions describe_refused",
    "_qa_evaluate": "evaluate_answerer",
    "_qa_presets": "QA_SHAPES qa_preset",
    "_retrieval": "RetrievalTask RetrievalTrainingConfig retrieval_scores",
    "_shrink": "prepare_shrinking shrink_folder",
    "_shrinking": "Shrinking Shrunk",
    "_student_cuts": "read_cut",
    "_tabular": "MLP MLPConfig TableTask TableTrainingConfig",
    "_tabular_data": "SplitTable TableRows load_eights load_unseen_digits load_yeast split_table",
    "_tabular_files": "read_table_file",
    "_tabular_losses": "LabelLossConfig RetrievalLossConfig",
    "_teacher": "Teacher find_teacher teach",
    "_text_label_data": "LabelSources SplitLabelled load_labelled load_labelled_test",
    "_text_labels": "TextLabelTask text_label_task",
    "_text_labels_training": "TextLabelTrainingConfig",
    "_text_losses": "TextLossConfig",
    "_train": "is_first_process prepare_training train_into",
    "_translation": "TranslationTask translation_task",
}


def __getattr__(name: str) -> object:
    """Import a name on first use: `--help` must not wait for torch."""
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(f"askew.tasks.{home}"), name)
    raise AttributeError(f"module 'askew.tasks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
