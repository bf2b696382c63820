"""Headings of Markdown, as `find_place` reads them."""

import time

import pytest

from askew.text import Context, find_place


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("# C#", "C#"),
        ("## C# and F# ##", "C# and F#"),
        ("# Two # \t", "Two"),
        ("# Two #\r", "Two"),
        ("   #\tTwo#", "Two#"),
        ("# # One", "# One"),
        ("## ##", None),
        ("    # code", None),
        ("#hashtag", None),
    ],
)
def test_a_closing_mark_of_a_heading_stands_after_a_space(line, heading):
    text = line + "\nIt is here."
    assert find_place(Context("a.md", text), len(text)).heading == heading


@pytest.mark.parametrize("line", ["# a" + " " * 1000 + "x", "# a" + " #" * 500 + "x"])
def test_a_heading_is_read_in_linear_time(line):
    start = time.perf_counter()
    place = find_place(Context("a.md", line + "\nIt is here."), len(line) + 2)
    assert time.perf_counter() - start < 1
    assert place.heading == line[2:]
