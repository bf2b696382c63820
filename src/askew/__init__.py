"""Asymmetric deep learning: two sides, each with its own numbers, compared fairly."""

from importlib import import_module
from types import ModuleType

__version__ = "0.2.0"

__all__ = [
    "attention",
    "export",
    "inspection",
    "losses",
    "metrics",
    "models",
    "optim",
    "regularizers",
    "tasks",
    "text",
    "tradeoffs",
    "training",
    "transformer",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module 'askew' has no attribute {name!r}")
    return import_module(f"askew.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
