"""Reads docstrings for the site: examples become code, formulas MathML."""

import re
from html import unescape
from typing import Any

import griffe
from latex2mathml.converter import convert

INLINE = re.compile(r":math:`([^`]+)`")
BLOCK = re.compile(r"^( *)\.\. math::[ \n]+(\S.*(?:\n(?:\1 +\S.*))*)", flags=re.MULTILINE)
TEXT = re.compile(r"(?<=>)[^<>]+(?=<)")


def _mathml(formula: str, display: str) -> str:
    """Return a formula as MathML in which Markdown finds nothing to interpret."""
    # Sizes of brackets are those of MathML.
    plain = re.sub(r"\\[Bb]ig[glr]?", "", " ".join(formula.split()))
    markup = convert(plain, display=display)
    return TEXT.sub(lambda text: "".join(f"&#{ord(sign)};" for sign in unescape(text[0])), markup)


def readable(docstring: str) -> str:
    """Return a docstring with formulas in MathML and its example under the heading of examples."""
    docstring = re.sub(r"^( *)Example:$", r"\1Examples:", docstring, flags=re.MULTILINE)
    docstring = re.sub(r"^( *)>(?!>>)", r"\1\>", docstring, flags=re.MULTILINE)  # no quotation
    docstring = BLOCK.sub(
        lambda block: f"\n{block[1]}<div>{_mathml(block[2], 'block')}</div>\n", docstring
    )
    # Within a span, since Markdown takes a line that begins with <math> for a block.
    return INLINE.sub(lambda inline: f"<span>{_mathml(inline[1], 'inline')}</span>", docstring)


class Docstrings(griffe.Extension):
    """Rewrites each docstring when griffe reads it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)
            if obj.is_class and "NamedTuple" in map(str, obj.bases):
                fields = re.sub("^Args:$", "Attributes:", obj.docstring.value, flags=re.MULTILINE)
                obj.docstring.value = fields
