"""Models of the applications, in the form of transformers."""

from transformers import AutoConfig, AutoModelForSeq2SeqLM

from askew.models._attention_map import AttentionMap, attention_map, write_attention_page
from askew.models._configuration import AsymmetricTranslationConfig
from askew.models._ctranslate2 import CTranslate2Engine
from askew.models._decoding import DecodingConfig, Engine, TokenHypothesis
from askew.models._folder import load_translation_model, write_checksums
from askew.models._skeleton import model_skeleton
from askew.models._torch_engine import TorchEngine
from askew.models._translation import AsymmetricTranslationModel
from askew.models._translator import Hypothesis, Translator

AutoConfig.register("askew-translation", AsymmetricTranslationConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(
    AsymmetricTranslationConfig, AsymmetricTranslationModel, exist_ok=True
)

__all__ = [
    "AsymmetricTranslationConfig",
    "AsymmetricTranslationModel",
    "AttentionMap",
    "CTranslate2Engine",
    "DecodingConfig",
    "Engine",
    "Hypothesis",
    "TokenHypothesis",
    "TorchEngine",
    "Translator",
    "attention_map",
    "load_translation_model",
    "model_skeleton",
    "write_attention_page",
    "write_checksums",
]
