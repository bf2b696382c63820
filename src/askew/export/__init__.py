"""Trained models for engines that only decode."""

from importlib import import_module
from typing import TYPE_CHECKING

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
    "QUANTIZATIONS": "_ctranslate2",
    "export_ctranslate2": "_ctranslate2",
    "export_onnx": "_onnx",
}


def __getattr__(name: str) -> object:
    """Import a name on first use: an exported model translates without torch."""
    if name in _HOMES:
        return getattr(import_module(f"askew.export.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'askew.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
