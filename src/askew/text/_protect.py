"""Marks in place of what a translation must copy unchanged."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from askew.text._pairs import ParallelText, refuse_strings
from askew.text._placeholders import KINDS, TARGET

# Unicode's noncharacters: reserved for use within a program, so a text should not have them.
MARKS = tuple(map(chr, range(0xFDD0, 0xFDE0)))
MARK = re.compile(f"[{MARKS[0]}-{MARKS[-1]}]")
_VERBATIM = re.compile(
    "|".join(
        f"(?P<{kind}>{pattern})"
        for kind, pattern in KINDS.items()
        if kind not in ("strong", "emphasis")
    ),
    re.S,
)


class Protected(NamedTuple):
    """A text with marks in place of what must be kept, and the originals of the marks.

    Args:
        text: The text; mark number i stands for `originals[i]`.
        originals: Different texts.

    Example:
        >>> protect("Open :file:`a.txt`").originals
        (':file:`a.txt`',)
    """

    text: str
    originals: tuple[str, ...]


def protect(text: str) -> Protected:
    """Replace what must be copied unchanged by marks of one character each.

    That is all that `find_placeholders` finds, except emphasis. If a role or link has a text for
    the reader, that text stays in place; a link without a target stays whole. Equal originals
    have the same mark. There are 16 marks; further originals stay in the text. If a text
    already contains the character of a mark, that character is protected first.

    Args:
        text: Any text.

    Returns:
        The text with marks, and their originals in the order of the text.

    Example:
        >>> protect("see :ref:`the list <lists>` and ``x``").originals
        (':ref:`', '<lists>`', '``x``')
    """
    return _masked(text, _spans(text))


def protect_target(text: str, originals: Sequence[str]) -> str:
    """Replace the originals of a source by their marks in its translation.

    Args:
        text: The translation; a mark in it that is not an original is dropped.
        originals: Originals that `protect` found in the source.

    Returns:
        The translation with a mark in place of every original; longer originals go first.

    Example:
        >>> source = protect("open %s")
        >>> restore(protect_target("%s abrir", source.originals), source.originals)
        '%s abrir'
    """
    numbers = dict(zip(originals, MARKS, strict=False))
    longest = sorted(numbers, key=len, reverse=True)
    pattern = "|".join([*map(re.escape, longest), MARK.pattern])
    return re.sub(pattern, lambda match: numbers.get(match[0], ""), text)


def restore(text: str, originals: Sequence[str]) -> str:
    """Replace the marks by their originals.

    Args:
        text: A text with marks; a mark without an original is dropped.
        originals: Originals from `protect`.

    Returns:
        The text without marks.

    Example:
        >>> restore(*protect("%s of {total}"))
        '%s of {total}'
    """
    known = dict(zip(MARKS, originals, strict=False))
    return MARK.sub(lambda match: known.get(match[0], ""), text)


def protect_pairs(pairs: ParallelText) -> ParallelText:
    """Put the same marks into sources and targets, so that a mark is always copied.

    A placeholder that is absent from the target, because it was translated, stays in the source.

    Args:
        pairs: The pairs.

    Returns:
        The pairs with marks.

    Raises:
        TypeError: If a side is a string and not a list of them.

    Example:
        >>> marked = protect_pairs(ParallelText(["open %s"], ["%s abrir"]))
        >>> [text.count(MARKS[0]) for side in marked for text in side]
        [1, 1]
    """
    refuse_strings("protect_pairs", pairs)
    marked = [_protected_pair(*pair) for pair in zip(*pairs, strict=True)]
    return ParallelText([source for source, _ in marked], [target for _, target in marked])


def _protected_pair(source: str, target: str) -> tuple[str, str]:
    spans = _spans(source)
    originals = _masked(source, spans).originals
    target_characters = set(protect_target(target, originals))
    kept = set(MARKS)  # characters that are marks already can't stay in the source
    kept.update(o for o, m in zip(originals, MARKS, strict=False) if m in target_characters)
    masked = _masked(source, [(start, end) for start, end in spans if source[start:end] in kept])
    return masked.text, protect_target(target, masked.originals)


def _spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of everything that must be kept, in order."""
    spans = []
    for match in _VERBATIM.finditer(text):
        start, end = match.span()
        target = TARGET.search(match[0]) if match.lastgroup in ("role", "link") else None
        if target is not None:
            if match.lastgroup == "role":
                spans.append((start, start + target.start() + 1))
            spans.append((start + target.start(1) - 1, end))
        elif match.lastgroup != "link":
            spans.append((start, end))
    if not MARK.search(text):
        return spans
    plain = [(start, end) for start, end in spans if not MARK.search(text, start, end)]
    return sorted(plain + [match.span() for match in MARK.finditer(text)])


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> Protected:
    spans = list(spans)
    originals = dict.fromkeys(text[start:end] for start, end in spans)
    marks_first = sorted(originals, key=lambda original: original not in MARKS)  # else in order
    numbers = dict(zip(marks_first, MARKS, strict=False))
    pieces, at = [], 0
    for start, end in spans:
        mark = numbers.get(text[start:end])
        if mark is not None:
            pieces += [text[at:start], mark]
            at = end
    return Protected("".join([*pieces, text[at:]]), tuple(numbers))
