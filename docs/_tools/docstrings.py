"""Reads the docstrings as they are written: examples as code, formulas as MathML."""

import re
from html import unescape
from typing import Any

import griffe
from latex2mathml.converter import convert

INLINE = re.compile(r":math:`([^`]+)`")
BLOCK = re.compile(r"^( *)\.\. math::[ \n]+(\S.*(?:\n(?:\1 +\S.*))*)", flags=re.MULTILINE)
TEXT = re.compile(r"(?<=>)[^<>]+(?=<)")


def _mathml(formula: str, display: str) -> str:
    """A formula as MathML in which Markdown finds nothing to interpret."""
    # Sizes of brackets are those of MathML.
    plain = re.sub(r"\\[Bb]ig[glr]?", "", " ".join(formula.split()))
    markup = convert(plain, display=display)
    return TEXT.sub(lambda text: "".join(f"&#{ord(sign)};" for sign in unescape(text[0])), markup)


def readable(docstring: str) -> str:
    """A docstring with its formulas in MathML and its example in the section of that name."""
    docstring = re.sub(r"^( *)Example:$", r"\1Examples:", docstring, flags=re.MULTILINE)
    docstring = re.sub(r"^( *)>(?!>>)", r"\1\>", docstring, flags=re.MULTILINE)  # no quotation
    docstring = BLOCK.sub(
        lambda found: f"\n{found[1]}<div>{_mathml(found[2], 'block')}</div>\n", docstring
    )
    # Within a span, since Markdown takes a line that begins with <math> for a block.
    return INLINE.sub(lambda found: f"<span>{_mathml(found[1], 'inline')}</span>", docstring)


class Docstrings(griffe.Extension):
    """Rewrites every docstring when it is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)
            if obj.is_class and "NamedTuple" in map(str, obj.bases):
                fields = re.sub("^Args:$", "Attributes:", obj.docstring.value, flags=re.MULTILINE)
                obj.docstring.value = fields
