"""What a translation must keep as it is: placeholders, markup, addresses."""

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
    """Find what a translation of a text must keep, and how often it stands there.

    printf and format fields, reStructuredText roles, literals, links, substitutions and
    emphasis, addresses and tags. Of a role or link with a text of its own only the role and
    the target count; of emphasis and other links, whose text is translated, only that they
    are there.

    Args:
        text: Any text.

    Returns:
        How often each stands in the text.

    Example:
        >>> sorted(find_placeholders("see :ref:`the list <lists>` in %(name)s, *now*"))
        ['%(name)s', '*…*', ':ref:`<lists>`']
    """
    return Counter(_kept(match) for match in _ANY.finditer(text))


def placeholder_kind(placeholder: str) -> str:
    """Name the kind of what `find_placeholders` found.

    Args:
        placeholder: One of its keys.

    Returns:
        role, literal, link, substitution, address, tag, printf, field, strong or emphasis.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> [placeholder_kind(found) for found in find_placeholders("*Open* %s at {0}")]
        ['emphasis', 'printf', 'field']
    """
    match = _ANY.fullmatch(placeholder)
    kind = match.lastgroup if match else None
    if kind is None:
        raise ValueError(f"placeholder_kind: a placeholder is needed; got {placeholder!r}")
    return kind


def _kept(match: re.Match[str]) -> str:
    found, kind = match.group(), match.lastgroup or ""
    if kind in ("role", "link") and TARGET.search(found):
        return TARGET.sub(r"`<\1>`", found)
    return {"emphasis": "*…*", "strong": "**…**", "link": "`…`_"}.get(kind, found)
