"""XLIFF files filled in, byte for byte as they were elsewhere."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape

from askew._check import require
from askew._files import replacing
from askew.text._bitext import XliffUnit, pieces_of, read_xml, text_of, xliff_units
from askew.text._placeholders import find_placeholders

_FOR_REVIEW = "needs-review-translation"
_LOST = re.compile(rb"<!-- lost: .*? -->", re.S)


def translate_xliff(
    path: str | Path,
    translate: Callable[[list[str]], list[str]],
    out: str | Path,
    *,
    overwrite: bool = False,
    in_place: bool = False,
) -> int:
    """Copy an XLIFF file, 1.x or 2.x, with translations for the units that have none.

    A new target of XLIFF 1.x has the state "needs-review-translation", for a human to check. Inline
    codes are kept where the translation has all of them, in a valid order; otherwise it is plain
    text. A comment names the codes and placeholders that a translation has lost. All other bytes
    stay unchanged. Units with translate="no" are left alone.

    Args:
        path: The file.
        translate: Function from texts to one translation each. Inline codes stand in the texts as
            tags.
        out: The file to write; an existing one is replaced as a whole.
        overwrite: Translate every unit, also those that have a translation.
        in_place: Whether `out` may be `path` itself.

    Returns:
        The number of units translated.

    Raises:
        ValueError: If the file is missing, damaged or no XLIFF in UTF-8, `out` is the file itself
            without `in_place`, or the number of translations is not that of the texts.

    Example:
        >>> import tempfile
        >>> unit = '<trans-unit id="1"><source>Open</source></trans-unit>'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path, out = Path(folder) / "a.xlf", Path(folder) / "b.xlf"
        ...     _ = path.write_text(f'<xliff version="1.2">{unit}</xliff>')
        ...     _ = translate_xliff(path, lambda texts: ["Abrir" for _ in texts], out)
        ...     "<target state=" in out.read_text(), "Abrir</target>" in out.read_text()
        (True, True)
    """
    path, out = Path(path), Path(out)
    require(
        in_place or not (out.exists() and path.exists() and out.samefile(path)),
        f"translate_xliff: out must be another file; got out {out}. Name another, or set in_place",
    )
    raw = read_xml(path)
    units = [
        unit
        for unit in xliff_units(raw, path)
        if unit.translatable
        and text_of(raw, unit.source).strip()
        and (overwrite or not text_of(raw, unit.target).strip())
    ]
    texts = list(dict.fromkeys(text_of(raw, unit.source) for unit in units))
    translations = translate(texts) if texts else []
    require(
        len(translations) == len(texts),
        "translate_xliff: translate must give one translation for each text; "
        f"got {len(translations)} for {len(texts)} texts",
    )
    known = dict(zip(texts, translations, strict=True))
    pieces, at = [], 0
    for unit in units:
        start, end = _place(raw, unit)
        target = _target(raw, unit, known[text_of(raw, unit.source)])
        pieces += [raw[at:start], target.encode("utf-8")]
        at = end
    with replacing(out) as partial:
        partial.write_bytes(b"".join([*pieces, raw[at:]]))
    return len(units)


def _place(raw: bytes, unit: XliffUnit) -> tuple[int, int]:
    """Return where the target begins and ends, with an older note of what it has lost."""
    if unit.target is None:
        return unit.after, unit.after
    note = _LOST.match(raw, unit.target.end)
    return unit.target.start, note.end() if note else unit.target.end


def _target(raw: bytes, unit: XliffUnit, translation: str) -> str:
    """Write the element of a translation, and a comment that names what it has lost."""
    source = text_of(raw, unit.source)
    tags = [piece for piece, is_tag in pieces_of(raw, unit.source) if is_tag]
    inner = _with_tags(translation, tags)
    lost = Counter(tags if inner is None else ())
    plain = _without(translation, tags)
    lost += find_placeholders(_without(source, tags)) - find_placeholders(plain)
    name = unit.source.name.removesuffix("source") + "target"
    element = f"{_opening(raw, unit, name)}{escape(plain) if inner is None else inner}</{name}>"
    named = " ".join(sorted(lost.elements())).replace("--", "- -")
    return f"{element}<!-- lost: {named} -->" if lost else element


def _opening(raw: bytes, unit: XliffUnit, name: str) -> str:
    state = "" if unit.is_segment else f' state="{_FOR_REVIEW}"'
    if unit.target is None:
        return f"<{name}{state}>"
    tag = raw[unit.target.start : unit.target.inner[0]].decode("utf-8")
    bare = re.sub(r"\s*/?>$", "", re.sub(r"""\sstate=("[^"]*"|'[^']*')""", "", tag))
    return f"{tag.rstrip('/>').rstrip() if unit.is_segment else bare + state}>"


def _with_tags(translation: str, tags: list[str]) -> str | None:
    """Write a text with its inline codes as XML; None if they are not all there or not in order."""
    if not tags:
        return escape(translation)
    pattern = "|".join(map(re.escape, sorted(set(tags), key=len, reverse=True)))
    parts = re.split(f"({pattern})", translation)
    inner = "".join(part if i % 2 else escape(part) for i, part in enumerate(parts))
    if Counter(parts[1::2]) != Counter(tags):
        return None
    try:
        ParserCreate().Parse(f"<a>{inner}</a>", True)
    except ExpatError:
        return None
    return inner


def _without(text: str, tags: list[str]) -> str:
    for tag in sorted(set(tags), key=len, reverse=True):
        text = text.replace(tag, "")
    return text
