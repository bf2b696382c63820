import pytest
from tradeoffs.conftest import InProcess

from askew.tradeoffs._running import trials


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(trials, "ProcessPoolExecutor", InProcess)
