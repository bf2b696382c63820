"""What must be copied word for word, out of the way while a text is translated."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from askew.text._pairs import ParallelText
from askew.text._placeholders import KINDS, TARGET

# Unicode keeps these characters free of meaning, for use within a program.
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
    """A text with marks in place of what must be kept, and what they stand for.

    Args:
        text: Mark number i stands for `originals[i]`.
        originals: All different.

    Example:
        >>> protect("Open :file:`a.txt`").originals
        (':file:`a.txt`',)
    """

    text: str
    originals: tuple[str, ...]


def protect(text: str) -> Protected:
    """Put marks, of one character each, in place of what must be copied word for word.

    That is what `find_placeholders` finds, but for emphasis: of a role or link with a text of
    its own the text stays, and a link without a target stays as it is. The same original has
    the same mark. There are 16; what comes after 16 different originals stays. A character
    that is a mark by itself is protected like the rest, before the rest.

    Args:
        text: Any text.

    Returns:
        The text with marks, and their originals in the order in which they stand there.

    Example:
        >>> protect("see :ref:`the list <lists>` and ``x``").originals
        (':ref:`', '<lists>`', '``x``')
    """
    return _masked(text, _spans(text))


def protect_target(text: str, originals: Sequence[str]) -> str:
    """Put the marks of a source into its translation.

    Args:
        text: The translation; a mark in it that is no original is dropped.
        originals: What `protect` found in the source.

    Returns:
        The translation with a mark in place of every original, the longest first.

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
    """Put the originals back in place of their marks.

    Args:
        text: A text with marks; one that stands for nothing is dropped.
        originals: What `protect` found.

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

    What a target does not hold, since it was translated after all, stays in its source.

    Args:
        pairs: The pairs.

    Returns:
        The pairs with marks.

    Example:
        >>> marked = protect_pairs(ParallelText(["open %s"], ["%s abrir"]))
        >>> [text.count(MARKS[0]) for side in marked for text in side]
        [1, 1]
    """
    marked = [_protected_pair(*pair) for pair in zip(*pairs, strict=True)]
    return ParallelText([source for source, _ in marked], [target for _, target in marked])


def _protected_pair(source: str, target: str) -> tuple[str, str]:
    spans = _spans(source)
    found = _masked(source, spans)
    copied = set(protect_target(target, found.originals))
    kept = set(MARKS)  # those that are marks by themselves can't stay
    kept.update(own for own, mark in zip(found.originals, MARKS, strict=False) if mark in copied)
    found = _masked(source, [(start, end) for start, end in spans if source[start:end] in kept])
    return found.text, protect_target(target, found.originals)


def _spans(text: str) -> list[tuple[int, int]]:
    """Where what must be kept begins and ends, in order."""
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
    found = dict.fromkeys(text[start:end] for start, end in spans)
    first = sorted(found, key=lambda original: original not in MARKS)  # else in their order
    numbers = dict(zip(first, MARKS, strict=False))
    parts, at = [], 0
    for start, end in spans:
        mark = numbers.get(text[start:end])
        if mark is not None:
            parts += [text[at:start], mark]
            at = end
    return Protected("".join([*parts, text[at:]]), tuple(numbers))
