"""Models of the applications, in the form of transformers."""

from transformers import AutoConfig, AutoModelForSeq2SeqLM

from askew.models._configuration import AsymmetricTranslationConfig
from askew.models._folder import load_translation_model, write_checksums
from askew.models._skeleton import model_skeleton
from askew.models._translation import AsymmetricTranslationModel
from askew.models._translator import Translator

AutoConfig.register("askew-translation", AsymmetricTranslationConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(
    AsymmetricTranslationConfig, AsymmetricTranslationModel, exist_ok=True
)

__all__ = [
    "AsymmetricTranslationConfig",
    "AsymmetricTranslationModel",
    "Translator",
    "load_translation_model",
    "model_skeleton",
    "write_checksums",
]
