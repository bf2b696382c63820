"""Where in a document a character lies: its page and its heading."""

import re
from itertools import pairwise
from typing import NamedTuple

from askew._check import require
from askew.text._questions import Context

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_MARKED = re.compile(r" {0,3}#{1,6}([ \t]+\S.*)")
_RULE = re.compile(r"([=\-~^\"'`+*#:._])\1{2,}[ \t]*\r?$")


class Place(NamedTuple):
    """Where a reader of the original finds a part of a document.

    Args:
        page: Number of the page of a PDF, from 1 on; None of other documents.
        heading: The last heading before it, or the one that it lies in; None if there is none.

    Example:
        >>> Place(3, None).page
        3
    """

    page: int | None
    heading: str | None


def find_place(context: Context, position: int) -> Place:
    r"""Find the page and the heading of a character of a document.

    `\f` divides the pages of a PDF, as `read_documents` writes them. A heading is a line with `#`
    before it, as in Markdown, or with a line of equal marks below it that is at least as long, as
    in reStructuredText. In code between fences there is none, nor in a PDF or a .txt.

    Args:
        context: A document, of which the title tells the format.
        position: A character of its text.

    Returns:
        The place.

    Raises:
        ValueError: If the text has no such character; its end is allowed.

    Example:
        >>> text = "# Peru\n\nLima is large.\n\n# Chile\n\nSantiago too."
        >>> find_place(Context("south.md", text), text.index("Lima"))
        Place(page=None, heading='Peru')
        >>> find_place(Context("south.pdf", "One.\n\f\nTwo."), 7)
        Place(page=2, heading=None)
    """
    require(
        0 <= position <= len(context.text),
        "find_place: position must be of the text; "
        f"got position {position} of {len(context.text)} characters",
    )
    name = context.title.lower().removesuffix(".gz")
    if name.endswith(".pdf"):
        return Place(1 + context.text.count("\f", 0, position), None)
    return Place(None, None if name.endswith(".txt") else _heading(context.text, position))


def _heading(text: str, position: int) -> str | None:
    count = text.count("\n", 0, position) + 1
    lines = [*text.split("\n", count + 1)[: count + 1], ""]
    found, before, fence = None, "", ""
    for line, below in pairwise(lines[: count + 1]):
        marks, marked = _FENCE.match(line), _marked_title(line)
        title = line.strip()
        if fence:
            fence = "" if marks and marks[1].startswith(fence) else fence
        elif marks:
            fence = marks[1]
        elif marked:
            found = marked
        elif title and not before and _RULE.match(below) and len(below.strip()) >= len(title):
            found = found if _RULE.match(line) else title
        before = "" if _RULE.match(line) else title
    return found


def _marked_title(line: str) -> str:
    """Read a heading of Markdown; "" if the line is none, or one without text.

    A closing run of `#` is dropped only after a space, so that "C#" keeps its own.
    """
    marked = _MARKED.match(line)
    title = marked[1].rstrip() if marked else ""
    bare = title.rstrip("#")
    return (bare if bare.endswith((" ", "\t")) else title).strip()
