"""What a translation must keep as it is: placeholders, markup, addresses."""

import re
from collections import Counter

_KINDS = {
    "role": r":[\w.:+-]+:`[^`]+`",
    "literal": r"``.+?``",
    "link": r"`[^`]+`__?",
    "substitution": r"\|[^\s|][^|\n]*?\|",
    "address": r"https?://[^\s<>)\]]+[^\s<>)\].,;:]",
    "tag": r"</?[A-Za-z][^<>]*>",
    "printf": r"%(?:\(\w+\))?[-+#0]*(?:\d+|\*)?(?:\.\d+)?[sdifgGeExXocru]",
    "field": r"\{[A-Za-z0-9_.\[\]]*(?:![rsa])?(?::[^{}\s]*)?\}",
    "strong": r"(?<![\w*])\*\*[^\s*][^*]*\*\*(?![\w*])",
    "emphasis": r"(?<![\w*])\*[^\s*][^*]*\*(?![\w*])",
}
_ANY = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items()), re.S)
_ROLE_TARGET = re.compile(r"(:[\w.:+-]+:)`.*?<([^<>`]+)>`", re.S)


def find_placeholders(text: str) -> Counter[str]:
    """Find what a translation of a text must keep, and how often it stands there.

    printf and format fields, reStructuredText roles, literals, links, substitutions and
    emphasis, addresses and tags. Of a role with a text of its own only the role and its
    target count; of emphasis and links, whose text is translated, only that they are there.

    Args:
        text: Any text.

    Returns:
        How often each stands in the text.

    Example:
        >>> sorted(find_placeholders("see :ref:`the list <lists>` in %(name)s, *now*"))
        ['%(name)s', '*…*', ':ref:`<lists>`']
    """
    return Counter(_kept(match) for match in _ANY.finditer(text))


def _kept(match: re.Match[str]) -> str:
    found = match.group()
    if match.lastgroup == "role":
        return _ROLE_TARGET.sub(r"\1`<\2>`", found)
    return {"emphasis": "*…*", "strong": "**…**", "link": "`…`_"}.get(match.lastgroup or "", found)
