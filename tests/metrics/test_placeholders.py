"""Placeholders are counted one by one, as often as they stand there."""

import pytest

from askew.metrics import Survival, placeholder_survival
from askew.text import find_placeholders


def test_counts_each_occurrence_and_no_more_than_the_source_has():
    sources = ["%s and %s", "plain", "``x``"]
    found = placeholder_survival(sources, ["%s", "%d", "``x`` ``x``"], find_placeholders)
    assert found == Survival(kept=2, total=3) and found.share == pytest.approx(2 / 3)


def test_nothing_to_keep_has_no_share():
    assert placeholder_survival(["a"], ["%s"], find_placeholders).share is None


def test_refuses_sides_of_different_length():
    with pytest.raises(ValueError, match="got 2 hypotheses, 1 sources"):
        placeholder_survival(["a"], ["b", "c"], find_placeholders)
