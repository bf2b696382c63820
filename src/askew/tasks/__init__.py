"""What can be compared: data, models and scores of one kind of work."""

from askew.tasks._choices import (
    chosen_arms,
    chosen_budget,
    chosen_model,
    chosen_settings,
    chosen_task,
    default_folder,
)
from askew.tasks._data import Sources, load_text
from askew.tasks._presets import SHAPES, SIZES, translation_preset
from askew.tasks._teacher import Teacher, find_teacher, teach
from askew.tasks._train import prepare_training, train_translation
from askew.tasks._translation import TranslationTask, translation_task

__all__ = [
    "SHAPES",
    "SIZES",
    "Sources",
    "Teacher",
    "TranslationTask",
    "chosen_arms",
    "chosen_budget",
    "chosen_model",
    "chosen_settings",
    "chosen_task",
    "default_folder",
    "find_teacher",
    "load_text",
    "prepare_training",
    "teach",
    "train_translation",
    "translation_preset",
    "translation_task",
]
