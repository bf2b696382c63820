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
from askew.tasks._data import Sources, is_catalogue, load_text, read_any
from askew.tasks._evaluate import Evaluated, evaluate_translator, load_test
from askew.tasks._presets import SHAPES, SIZES, translation_preset
from askew.tasks._teacher import Teacher, find_teacher, teach
from askew.tasks._train import is_first_process, prepare_training, train_translation
from askew.tasks._translation import TranslationTask, translation_task

__all__ = [
    "SHAPES",
    "SIZES",
    "Evaluated",
    "Sources",
    "Teacher",
    "TranslationTask",
    "chosen_arms",
    "chosen_budget",
    "chosen_model",
    "chosen_settings",
    "chosen_task",
    "default_folder",
    "evaluate_translator",
    "find_teacher",
    "from_teacher",
    "is_catalogue",
    "is_first_process",
    "load_test",
    "load_text",
    "prepare_training",
    "read_any",
    "teach",
    "train_translation",
    "translation_preset",
    "translation_task",
]
