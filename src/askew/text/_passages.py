"""Documents cut into passages, and passages into sentences."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from askew._check import require
from askew.text._words import split_words

_Span = tuple[int, int]

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_LINE_END = re.compile(r"\n")
# A sentence ends before white space that follows its last mark, or after a CJK one.
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'\u201d\u2019»)\]]*\s+|(?<=[\u3002\uff01\uff1f])")
_WORD_END = re.compile(r"(?<=\S)\s+")
_STARTS_ITEM = re.compile(r"\s*(?:[-+*>|#=~^]|\d+[.)]\s|`{3}|\.\. )")
_HEADING = re.compile(r"#{1,6}\s")
_WRAPPED = 40  # characters; a shorter line ends its sentence


def cut_passages(
    text: str, *, longest: int = 150, length: Callable[[str], int] | None = None
) -> list[tuple[int, int]]:
    r"""Cut a text into passages that end where a paragraph does, else a sentence, else a word.

    Paragraphs are put together while they are short enough. A heading of Markdown begins a new
    passage.

    Args:
        text: Any text.
        longest: Length of a passage at most, > 0; a single longer word stays whole.
        length: Measures a part of the text; by default it counts words. The length of a whole
            may not be above that of its parts together.

    Returns:
        Start and end (exclusive) of each passage, in characters and without white space around
        it; none of a blank text.

    Raises:
        ValueError: If `longest` is not positive.

    Example:
        >>> text = "# Lima\n\nIt is in Peru. It is large.\n\n# Santiago\n\nIt is in Chile."
        >>> [text[start:end] for start, end in cut_passages(text, longest=5)]
        ['# Lima\n\nIt is in Peru.', 'It is large.', '# Santiago\n\nIt is in Chile.']
    """
    require(longest > 0, f"cut_passages: longest must be positive; got longest {longest}")
    measure = length or _count_words
    passages: list[_Span] = []
    size, only_headings = 0, False  # of the last passage
    for start, end, more in _parts(text, longest, measure):
        is_heading = _HEADING.match(text, start) is not None
        if passages and size + more <= longest and (only_headings or not is_heading):
            passages[-1] = (passages[-1][0], end)
            size, only_headings = size + more, only_headings and is_heading
        else:
            passages.append((start, end))
            size, only_headings = more, is_heading
    return passages


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Find the sentences of a text.

    A sentence ends with ".", "!" or "?" before white space, with a mark of Chinese or Japanese, at
    a blank line, and at the end of a short line or before an item of a list; a long line is taken
    to go on in the next one.

    Args:
        text: Any text.

    Returns:
        Start and end (exclusive) of each, without white space around it; none of a blank text.

    Example:
        >>> text = "Lima is in Peru. It is large!"
        >>> [text[start:end] for start, end in sentence_spans(text)]
        ['Lima is in Peru.', 'It is large!']
    """
    blocks = _cut(text, (0, len(text)), _BLANK_LINES)
    return [sentence for block in blocks for sentence in _sentences(text, block)]


def _parts(
    text: str, longest: int, measure: Callable[[str], int]
) -> Iterator[tuple[int, int, int]]:
    """Cut at blank lines, and what is too long at sentences and then at words; with lengths."""
    for block in _cut(text, (0, len(text)), _BLANK_LINES):
        size = measure(text[slice(*block)])
        if size <= longest:
            yield *block, size
            continue
        for sentence in _sentences(text, block):
            size = measure(text[slice(*sentence)])
            if size <= longest:
                yield *sentence, size
                continue
            for start, end in _cut(text, sentence, _WORD_END):
                yield start, end, measure(text[start:end])


def _sentences(text: str, block: _Span) -> list[_Span]:
    units = _unwrapped(text, block)
    return [sentence for unit in units for sentence in _cut(text, unit, _SENTENCE_END)]


def _unwrapped(text: str, block: _Span) -> list[_Span]:
    """Join the lines of a block that go on in the next line."""
    lines = _cut(text, block, _LINE_END)
    joined = lines[:1]
    for (start, end), following in pairwise(lines):
        goes_on = end - start >= _WRAPPED and not _STARTS_ITEM.match(text, following[0])
        if goes_on and not _HEADING.match(text, start):
            joined[-1] = (joined[-1][0], following[1])
        else:
            joined.append(following)
    return joined


def _cut(text: str, span: _Span, pattern: re.Pattern[str]) -> list[_Span]:
    """Cut a part of a text after each match, without white space around the pieces."""
    start, end = span
    cuts = [start, *(match.end() for match in pattern.finditer(text, start, end)), end]
    return [piece for first, last in pairwise(cuts) if (piece := _stripped(text, first, last))]


def _stripped(text: str, start: int, end: int) -> _Span | None:
    piece = text[start:end]
    inner = piece.strip()
    if not inner:
        return None
    start += len(piece) - len(piece.lstrip())
    return start, start + len(inner)


def _count_words(text: str) -> int:
    return len(split_words(text))
