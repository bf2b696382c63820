"""Threads are as many as named, for as long as the work takes."""

import os
from contextlib import suppress

import pytest
import torch

from askew._threads import use_threads

POOLS = ("RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in POOLS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_all_pools_have_the_threads_and_are_restored(threads):
    before = torch.get_num_threads()
    with suppress(KeyError), use_threads("train", threads):
        assert torch.get_num_threads() == threads
        assert os.environ["RAYON_NUM_THREADS"] == str(threads)
        assert os.environ.get("TOKENIZERS_PARALLELISM") == {1: "false"}.get(threads)
        raise KeyError
    assert torch.get_num_threads() == before
    assert not set(POOLS) & set(os.environ)


def test_what_the_user_has_set_is_left_alone(monkeypatch):
    monkeypatch.setenv("RAYON_NUM_THREADS", "5")
    with use_threads("train", 1):
        assert os.environ["RAYON_NUM_THREADS"] == "5"
    assert os.environ["RAYON_NUM_THREADS"] == "5"


def test_there_must_be_a_thread():
    with (
        pytest.raises(ValueError, match="train: threads must be at least 1; got threads 0"),
        use_threads("train", 0),
    ):
        pass
