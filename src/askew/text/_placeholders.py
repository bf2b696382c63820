"""What a translation must keep unchanged: placeholders, markup, addresses."""

import re
from collections import Counter

_NOT_PERCENT = r"(?<!%)(?<!\d)(?<!\d[ \u00a0\u202f])"  # not in "100%ige" or "100 %ige"
_CONVERSION = (
    r"%(?:\([^()\n]+\)|\d+\$)?[-+#0']*(?:\d+|\*)?(?:\.(?:\d+|\*))?"
    r"(?:hh?|ll?|[jzL])?[diouxXeEfFgGcspr@]"
)
_NUMBERED = r"%(?:L?\d{1,2}|n)(?!\w)"  # of Qt and KDE
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"'<>=]+)"""
_BARE = (
    "allowfullscreen|async|autofocus|autoplay|checked|controls|defer|disabled|download|hidden|loop|"
    "multiple|muted|novalidate|open|readonly|required|reversed|selected"
)
_INSIDE = r"(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*"
KINDS = {
    "role": r":[\w.:+-]+:`[^`]+`",
    "literal": r"``.+?``",
    "link": r"`[^`]+`__?",
    "substitution": r"\|[^\s|][^|\n]*?\|",
    "address": r"https?://[^\s<>)\]]+[^\s<>)\].,;:]|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "tag": (
        rf"</?[A-Za-z][\w:.-]*(?:\s+(?:[\w:@.-]+\s*=\s*{_VALUE}|(?:{_BARE})\b))*\s*/?>|</?\d+/?>"
    ),
    "entity": r"&(?:[A-Za-z][\w.-]+|\#\d+|\#x[0-9A-Fa-f]+);",
    "printf": (rf"{_NOT_PERCENT}(?:{_CONVERSION}|{_NUMBERED})|(?<!%){_CONVERSION}(?![^\W\d_])"),
    "field": (
        r"\{\{\s*[\w.$-]+\s*\}\}|\{\s*(?:\$[\w.-]+|-[A-Za-z][\w-]*)\s*\}"
        r"|[$%]?\{[A-Za-z0-9_.\[\]]*(?:![rsa])?(?::[^{}\s]*)?\}"
    ),
    "message": (  # of ICU and Fluent: a choice of texts
        r"\{\s*[\w.-]+\s*,\s*(?:plural|select|selectordinal|number|date|time)\b"
        rf"{_INSIDE}\}}|\{{\s*\$[\w.-]+\s*->{_INSIDE}\}}"
    ),
    "strong": r"(?<![\w*])\*\*[^\s*][^*]*\*\*(?![\w*])",
    "emphasis": r"(?<![\w*])\*[^\s*][^*]*\*(?![\w*])",
}
_ANY = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in KINDS.items()), re.S)
_CHOICE = re.compile(r"\{\s*([$\w.-]+)\s*(?:,\s*(\w+)|(->))")
TARGET = re.compile(r"`.*?<([^<>`]+)>`", re.S)


def find_placeholders(text: str) -> Counter[str]:
    """Find what a translation of a text must keep, and how often it occurs.

    That is printf and format fields, those of Qt, KDE, Fluent, ICU and templates among them,
    reStructuredText roles, literals, links, substitutions and emphasis, addresses, tags and
    entities of XML. If a role or link has a text for the reader, only the role and the target
    count. Of emphasis and other links, whose text is translated, only their presence counts, and
    of a message of ICU or Fluent with texts to choose from, only what it chooses by.

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
        role, literal, link, substitution, address, tag, entity, printf, field, message, strong or
        emphasis.

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
    choice = _CHOICE.match(text) if kind == "message" else None
    if choice is not None:
        name, word, arrow = choice.groups()
        return f"{{{name} {arrow} …}}" if arrow else f"{{{name}, {word}, …}}"
    return {"emphasis": "*…*", "strong": "**…**", "link": "`…`_"}.get(kind, text)
