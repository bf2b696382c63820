"""XLIFF (1.x and 2.x) and TMX as bytes with places, so that what is not filled in can stay.

translate-toolkit writes the whole file anew, and reads inline codes such as `<x/>` as nothing.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import NamedTuple
from xml.parsers.expat import ExpatError, ParserCreate

from askew._check import require
from askew.text._pairs import leave_out
from askew.text._squad import read_bytes

TAG = r"""<[^"'<>]*(?:"[^"]*"[^"'<>]*|'[^']*'[^"'<>]*)*>"""
_PIECE = re.compile(rf"<!\[CDATA\[(?P<data>.*?)\]\]>|(?P<comment><!--.*?-->)|(?P<tag>{TAG})", re.S)
_TAG_BYTES = re.compile(TAG.encode())
_UNFINISHED = ("new", "initial")


class Element(NamedTuple):
    """An element of the file: its bytes from `start` to `end`, and what is between its tags."""

    name: str
    attributes: dict[str, str]
    start: int
    inner: tuple[int, int]
    end: int


@dataclass(slots=True)
class XliffUnit:
    """A source, where its target is or belongs, and whether that is finished."""

    source: Element
    after: int  # where a target is inserted
    target: Element | None = None
    state: str = ""
    translatable: bool = True
    is_segment: bool = False  # of XLIFF 2.x


@dataclass(slots=True)
class _Open:
    """An element whose end has not come yet."""

    name: str
    attributes: dict[str, str]
    start: int
    translatable: bool
    parts: list[Element] = field(default_factory=list)


def read_xml(path: Path) -> bytes:
    """Read a file of XML in UTF-8."""
    raw = read_bytes(path, "read_pairs")
    named = re.match(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding=["']([\w.-]+)""", raw)
    require(
        not raw.startswith((b"\xff\xfe", b"\xfe\xff"))
        and (named is None or named[1].lower() in (b"utf-8", b"us-ascii")),
        f"read_pairs: XML must be in UTF-8; got another encoding in {path}. Convert it",
    )
    return raw


def xliff_units(raw: bytes, path: Path) -> list[XliffUnit]:
    """Find the translation units of XLIFF 1.x, and the segments of 2.x, in order."""
    units = []
    for parent in _parents(raw, path, ("trans-unit", "segment"), root="xliff"):
        parts = {part.name.rpartition(":")[2]: part for part in parent.parts}
        source, target = parts.get("source"), parts.get("target")
        if source is None:
            continue
        holder = parent if target is None or "state" in parent.attributes else target
        units.append(
            XliffUnit(
                source,
                parts.get("seg-source", source).end,
                target,
                holder.attributes.get("state", ""),
                parent.translatable,
                parent.name.rpartition(":")[2] == "segment",
            )
        )
    return units


def bitext_pairs(
    path: Path, columns: tuple[str, str] | None, left_out: Counter[str] | None = None
) -> Iterator[tuple[int, str, str]]:
    """Yield number of the unit, source and target of the finished units of XLIFF or TMX."""
    raw = read_xml(path)
    if ".tmx" in path.name.lower():
        yield from _tmx_pairs(raw, path, columns, left_out)
        return
    require(
        columns is None,
        lambda: f"read_pairs: XLIFF has no columns; got columns {columns}. Leave --columns out",
    )
    for number, unit in enumerate(xliff_units(raw, path), 1):
        unfinished = unit.state in _UNFINISHED or unit.state.startswith("needs-")
        source, target = text_of(raw, unit.source), text_of(raw, unit.target)
        if target.strip() and source.strip() and unit.translatable and not unfinished:
            yield number, source, target
        else:
            leave_out(left_out, "not translated or not finished")


def text_of(raw: bytes, element: Element | None) -> str:
    """Return the text of an element, with inline codes as they are written."""
    if element is None:
        return ""
    return "".join(text for text, _ in pieces_of(raw, element))


def pieces_of(raw: bytes, element: Element) -> list[tuple[str, bool]]:
    """Cut the inside of an element into texts and inline tags; True marks a tag."""
    inner = raw[element.inner[0] : element.inner[1]].decode("utf-8")
    pieces, at = [], 0
    for match in _PIECE.finditer(inner):
        pieces.append((unescape(inner[at : match.start()]), False))
        if match["data"] is not None:
            pieces.append((match["data"], False))
        elif match["tag"] is not None:
            pieces.append((match["tag"], True))
        at = match.end()
    pieces.append((unescape(inner[at:]), False))
    return [piece for piece in pieces if piece[0]]


def _tmx_pairs(
    raw: bytes, path: Path, columns: tuple[str, str] | None, left_out: Counter[str] | None
) -> Iterator[tuple[int, str, str]]:
    units: list[dict[str, str]] = []
    order: list[int] = []
    for variant in _parents(raw, path, ("tuv",), root="tmx"):
        given = variant.attributes
        language = (given.get("xml:lang") or given.get("lang") or "").lower()
        texts = [part for part in variant.parts if part.name == "seg"]
        unit = int(given["unit"])
        if not order or order[-1] != unit:
            units.append({})
            order.append(unit)
        for part in texts:
            units[-1][language] = "".join(t for t, is_tag in pieces_of(raw, part) if not is_tag)
    known = sorted({language for unit in units for language in unit})
    if columns is None:
        header = re.search(rb"""<header\b[^>]*?\ssrclang=["']([\w-]+)""", raw)
        first = header[1].decode().lower() if header else ""
        require(
            len(known) == 2 and any(_speaks(language, first) for language in known),
            f"read_pairs: of a TMX the languages must be named; got {', '.join(known)} in {path}. "
            "Give --columns SOURCE,TARGET",
        )
        columns = (first, next(language for language in known if not _speaks(language, first)))
    for name in columns:
        require(
            any(_speaks(language, name.lower()) for language in known),
            f"read_pairs: columns must be languages of the TMX; got {name!r}, {path} has "
            f"{', '.join(known)}",
        )
    for number, unit in zip(order, units, strict=True):
        source, target = (
            next((text for language, text in unit.items() if _speaks(language, name.lower())), None)
            for name in columns
        )
        if source is not None and target is not None:
            yield number, source, target
        else:
            leave_out(left_out, "not in both languages")


def _speaks(language: str, wanted: str) -> bool:
    return language == wanted or language.partition("-")[0] == wanted


def _parents(raw: bytes, path: Path, names: tuple[str, ...], *, root: str) -> list[_Open]:
    """Parse the file, and return the elements of these names with their direct parts."""
    parser = ParserCreate()
    stack: list[_Open] = []
    found: list[_Open] = []
    units = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal units
        local = name.rpartition(":")[2]
        require(
            bool(stack) or local == root,
            f"read_pairs: the file must be {root.upper()}; got <{name}> in {path}",
        )
        outer = stack[-1].translatable if stack else True
        translatable = attributes.get("translate", "yes" if outer else "no") != "no"
        units += local == "tu"
        if local == "tuv":
            attributes = attributes | {"unit": str(units)}
        stack.append(_Open(name, attributes, parser.CurrentByteIndex, translatable))

    def end(name: str) -> None:
        one, at = stack.pop(), parser.CurrentByteIndex
        opening = _tag_end(raw, one.start)
        is_empty = raw[opening - 2 : opening] == b"/>"
        closing = opening if is_empty else _tag_end(raw, at)
        inner = (opening, opening if is_empty else at)
        if name.rpartition(":")[2] in names:
            found.append(one)
        if stack:
            stack[-1].parts.append(Element(name, one.attributes, one.start, inner, closing))

    def refuse(*_: object) -> None:
        raise ValueError(f"read_pairs: XML must not define entities; got some in {path}")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(raw, True)
    except ExpatError as error:
        raise ValueError(f"read_pairs: the file must be whole XML; got {error} in {path}") from None
    return found


def _tag_end(raw: bytes, at: int) -> int:
    match = _TAG_BYTES.match(raw, at)
    return at if match is None else match.end()
