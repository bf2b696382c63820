"""What tests of comparisons share."""

import concurrent.futures

import pytest
from report_pages import example_results

from askew.tradeoffs._running import trials


class InProcess(concurrent.futures.Executor):
    """Runs what is submitted at once, where starting processes is not the point."""

    def __init__(self, *_, **__):
        pass

    def submit(self, fn, /, *args, **kwargs):
        future = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False, kill_workers=False):
        pass


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(trials, "ProcessPoolExecutor", InProcess)


@pytest.fixture(scope="module")
def all_in_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "ProcessPoolExecutor", InProcess)
        yield


@pytest.fixture
def results():
    return example_results()


@pytest.fixture
def short_script(monkeypatch):
    """Leave plotly's five megabytes out where a test doesn't ask for them by undoing this."""
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
