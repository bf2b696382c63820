"""What can be compared: data, models and scores of one kind of work, each in one file."""

from askew.tasks._presets import SHAPES, SIZES, translation_preset
from askew.tasks._translation import TranslationTask, translation_task

__all__ = ["SHAPES", "SIZES", "TranslationTask", "translation_preset", "translation_task"]
