"""Every test starts from the same seeds, on one thread, without the network or a screen.

Those with the fixture `device` run on the CPU and, where there is one, on a CUDA device:
`pytest -m gpu` selects the latter. All others train on the CPU.
"""

import gc
import os
import random
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import hypothesis
import numpy as np
import pytest
import torch

torch.set_num_threads(1)
CUDA = torch.cuda.is_available()
if CUDA:
    os.environ["ACCELERATE_USE_CPU"] = "true"
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    if CUDA:
        torch.manual_seed(0)
    torch.default_generator.manual_seed(0)  # torch.manual_seed also walks through all frames


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)] if CUDA else None)
def device(request, monkeypatch) -> str:
    """The CPU, and in a second test a CUDA device, without its shortened single precision."""
    if getattr(request, "param", "cpu") == "cpu":
        return "cpu"
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return "cuda"


@pytest.fixture
def few_rounds(monkeypatch) -> None:
    """Time answers in one round: their time is no part of what a test asserts."""
    monkeypatch.setattr("askew.tasks._teacher_outputs._TIMING_ROUNDS", 1)
    monkeypatch.setattr("askew.tasks._layers._ROUNDS", 1)
    monkeypatch.setattr("askew.tasks._shrink._TIMED", 2)
    for name, value in {"ROUNDS": 1, "LATENCY_ITEMS": 2, "THROUGHPUT_ITEMS": 64}.items():
        monkeypatch.setattr(f"askew.tradeoffs._running.cost_measurement.{name}", value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    compiler = any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++"))
    missing = {
        "gpu": None if CUDA else "no CUDA device",
        "compiler": None if compiler else "no C++ compiler",
    }
    for item in items:
        for mark, reason in missing.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Keep modules and tests out of later searches for garbage, which every training makes."""
    gc.collect()
    gc.freeze()
