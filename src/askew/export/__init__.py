"""Trained models for engines that only decode."""

from askew.export._ctranslate2 import QUANTIZATIONS, export_ctranslate2
from askew.export._engine import Prepared, prepare_engine
from askew.export._onnx import export_onnx

__all__ = [
    "QUANTIZATIONS",
    "Prepared",
    "export_ctranslate2",
    "export_onnx",
    "prepare_engine",
]
