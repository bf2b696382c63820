"""Trained models for engines that only decode."""

from typing import TYPE_CHECKING

from askew._lazy import on_first_use
from askew.export._engine import Prepared, prepare_engine

if TYPE_CHECKING:
    from askew.export._ctranslate2 import QUANTIZATIONS, export_ctranslate2
    from askew.export._onnx import export_onnx

__all__ = [
    "QUANTIZATIONS",
    "Prepared",
    "export_ctranslate2",
    "export_onnx",
    "prepare_engine",
]
_HOMES = {
    "askew.export._ctranslate2": "QUANTIZATIONS export_ctranslate2",
    "askew.export._onnx": "export_onnx",
}
__getattr__, __dir__ = on_first_use(__name__, __all__, _HOMES)
