"""What a translation must keep unchanged: placeholders, markup, addresses."""

import re
from collections import Counter

KINDS = {
    "role": r":[\w.:+-]+:`[^`]+`",
    "literal": r"``.+?``",
    "link": r"`[^`]+`__?",
    "substitution": r"\|[^\s|][^|\n]*?\|",
    "address": r"https?://[^\s<>)\]]+[^\s<>)\].,;:]",
    "tag": r"</?[A-Za-z][^<>]*>",
    "printf": (
        r"(?<!%)%(?:\([\w.]+\)|\d+\$)?[-+#0']*(?:\d+|\*)?(?:\.(?:\d+|\*))?"
        r"(?:hh?|ll?|[jzL])?[diouxXeEfFgGcspr@]"
    ),
    "field": r"\{[A-Za-z0-9_.\[\]]*(?:![rsa])?(?::[^{}\s]*)?\}",
    "strong": r"(?<![\w*])\*\*[^\s*][^*]*\*\*(?![\w*])",
    "emphasis": r"(?<![\w*])\*[^\s*][^*]*\*(?![\w*])",
}
_ANY = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in KINDS.items()), re.S)
TARGET = re.compile(r"`.*?<([^<>`]+)>`", re.S)


def find_placeholders(text: str) -> Counter[str]:
    """Find what a translation of a text must keep, and how often it occurs.

    That is printf and format fields, reStructuredText roles, literals, links, substitutions and
    emphasis, addresses and tags. If a role or link has a text for the reader, only the role and
    the target count. Of emphasis and other links, whose text is translated, only their presence
    counts.

    Args:
        text: Any text.

    Returns:
        The number of occurrences of each.

    Example:
        >>> sorted(find_placeholders("see :ref:`the list <lists>` in %(name)s, *now*"))
        ['%(name)s', '*…*', ':ref:`<lists>`']
    """
    return Counter(_kept(match) for match in _ANY.finditer(text))


def placeholder_kind(placeholder: str) -> str:
    """Return the kind of a placeholder.

    Args:
        placeholder: A key of the result of `find_placeholders`.

    Returns:
        role, literal, link, substitution, address, tag, printf, field, strong or emphasis.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> [placeholder_kind(key) for key in find_placeholders("*Open* %s at {0}")]
        ['emphasis', 'printf', 'field']
    """
    match = _ANY.fullmatch(placeholder)
    kind = match.lastgroup if match else None
    if kind is None:
        raise ValueError(f"placeholder_kind: a placeholder is needed; got {placeholder!r}")
    return kind


def _kept(match: re.Match[str]) -> str:
    text, kind = match.group(), match.lastgroup or ""
    if kind in ("role", "link") and TARGET.search(text):
        return TARGET.sub(r"`<\1>`", text)
    return {"emphasis": "*…*", "strong": "**…**", "link": "`…`_"}.get(kind, text)
