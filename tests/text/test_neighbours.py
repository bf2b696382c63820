"""The nearest neighbour is the target of the most similar source."""

import sys

import pytest

from askew.text import _neighbours
from askew.text._neighbours import nearest_neighbour
from askew.text._pairs import ParallelText

TRAIN = ParallelText(
    ["in 5 hours", "3 May 2001", "Peru and Chile", "五時間後"],
    ["em 5 horas", "3 de maio de 2001", "Peru e Chile", "cinco"],
)


def test_known_sources_find_themselves_in_any_block(monkeypatch):
    monkeypatch.setattr(_neighbours, "_BLOCK", 3)
    assert nearest_neighbour(TRAIN.sources[::-1], TRAIN) == TRAIN.targets[::-1]


def test_the_most_similar_source_counts():
    queries = ["8 May 2017", "Chile and Cuba", "9 hours", "六時間後"]
    expected = ["3 de maio de 2001", "Peru e Chile", "em 5 horas", "cinco"]
    assert nearest_neighbour(queries, TRAIN) == expected


def test_the_first_of_equals_counts_also_where_nothing_is_shared():
    twice = ParallelText(["ab", "cd", "cd"], ["x", "y", "z"])
    assert nearest_neighbour(["cd", "!"], twice) == ["y", "x"]


def test_case_matters():
    cased = ParallelText(["bb aa", "BB AA"], ["low", "high"])
    assert nearest_neighbour(["AA", "aa"], cased) == ["high", "low"]


def test_no_query_gives_no_answer():
    assert nearest_neighbour([], TRAIN) == []


def test_errors_name_the_values(monkeypatch):
    with pytest.raises(ValueError, match=r"^nearest_neighbour: .*got 0 sources, 0 targets$"):
        nearest_neighbour(["a"], ParallelText([], []))
    with pytest.raises(ValueError, match=r"got 2 sources, 1 targets$"):
        nearest_neighbour(["a"], ParallelText(["a", "b"], ["x"]))
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(ImportError, match=r"sklearn.* must be .*pip install 'askew\[apps\]'$"):
        nearest_neighbour(["a"], TRAIN)
