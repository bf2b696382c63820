"""Pairs through the datasets library, which is stood in for where it is not installed."""

import sys
from types import SimpleNamespace

import pytest

from askew.text import ParallelText, read_dataset

ROWS = [{"source": "a", "target": "b", "id": 1}, {"source": "c", "target": "d", "id": 2}]


@pytest.fixture
def library(monkeypatch):
    made = SimpleNamespace(load_dataset=None, load_from_disk=None)
    monkeypatch.setitem(sys.modules, "datasets", made)
    return made


def test_reads_two_columns_or_two_languages(library, tmp_path):
    library.load_dataset = lambda name: {"train": ROWS, "test": ROWS[:1]}
    assert read_dataset("any/name") == ParallelText(["a", "c"], ["b", "d"])
    assert read_dataset("any/name", split="test") == ParallelText(["a"], ["b"])
    library.load_from_disk = lambda name: [{"translation": {"en": "x", "de": "y"}}]
    assert read_dataset(str(tmp_path)) == ParallelText(["x"], ["y"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there must be rows; got none in n"),
        ([{"text": "a"}], r"got row 0 of n with \['text'\]"),
        ([*ROWS, {"source": " ", "target": "b"}], "got row 2 of n"),
        ([{"translation": {"en": "a", "de": "b", "fr": "c"}}], "in two languages; got row 0"),
    ],
)
def test_refuses_other_rows(library, rows, message):
    library.load_dataset = lambda name: rows
    with pytest.raises(ValueError, match=message):
        read_dataset("n")


def test_refuses_an_unknown_split_and_says_that_the_library_is_missing(library, monkeypatch):
    library.load_dataset = lambda name: {"train": ROWS}
    with pytest.raises(ValueError, match=r"one of \['train'\]; got split 'test'"):
        read_dataset("n", split="test")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match="datasets"):
        read_dataset("n")
