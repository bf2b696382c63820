"""A gettext file as lines, and messages with their line numbers, so that the rest can stay."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import printable
from typing import NamedTuple

from askew._check import require
from askew._files import existing_file

_TEXT = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)?\s*"((?:[^"\\]|\\.)*)"')
_MAY_FOLLOW = {  # for each keyword those that may stand before it; "" begins a message
    "msgctxt": ("",),
    "msgid": ("", "msgctxt"),
    "msgid_plural": ("msgid",),
    "msgstr": ("msgid",),
    "msgstr[]": ("msgid_plural", "msgstr[]"),
}
_BLANK = " \t\r\f\v"
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_ESCAPES = {text: f"\\{letter}" for letter, text in _ESCAPED.items()}


@dataclass(slots=True)
class PoMessage:
    """A message and its lines: comments from `first`, then keywords, then translations to `end`."""

    first: int
    keywords: int = -1
    translations: int = -1
    end: int = -1  # exclusive
    sources: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    last: str = ""

    @property
    def is_translated(self) -> bool:
        """Whether no form of its translation is empty."""
        return all(text.strip() for text in self.targets)


class PoFile(NamedTuple):
    """A file: its lines without line breaks, its messages, encoding and number of plural forms."""

    lines: list[str]
    messages: list[PoMessage]
    encoding: str
    num_plurals: int | None


def read_po_file(path: Path) -> PoFile:
    """Read a file; the header is not among the messages."""
    existing_file("read_po", path)
    raw = path.read_bytes()
    encoding = _encoding(raw, path)
    try:
        text = raw.decode(encoding)
        text.encode("utf-8")  # fails on half a surrogate pair, which some encodings let through
    except UnicodeEncodeError:
        raise ValueError(
            f"read_po: text must be whole Unicode; got half a surrogate pair in {path}"
        ) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"read_po: the text must be {encoding}, as the header says, or UTF-8 without one; "
            f"got byte 0x{raw[error.start]:02x} at {path}, line {line}"
        ) from None
    lines = text.split("\n")
    messages = list(_messages(lines, path))
    header = messages.pop(0).targets[0] if messages and messages[0].sources == [""] else ""
    plurals = re.search(r"^Plural-Forms:.*\bnplurals\s*=\s*([1-9])", header, re.MULTILINE)
    return PoFile(lines, messages, encoding, int(plurals[1]) if plurals else None)


def quote_po(keyword: str, text: str) -> list[str]:
    """Write a text as gettext does: on one line, or each of its lines on a line of its own."""
    quoted = re.sub(r'[\n\t\r"\\]', lambda match: _ESCAPES[match[0]], text)
    if "\n" not in text.removesuffix("\n"):
        return [f'{keyword} "{quoted}"']
    *complete, rest = text.split("\n")
    lines = [f"{line}\n" for line in complete] + ([rest] if rest else [])
    return [f'{keyword} ""', *(quote_po("", line)[0].lstrip() for line in lines)]


def _encoding(raw: bytes, path: Path) -> str:
    if raw.startswith(BOM_UTF8):
        return "UTF-8-sig"
    parts = re.split(rb"(?m)^msgid ", raw, maxsplit=2)
    named = re.search(rb"charset=([\w.:-]+)", parts[1]) if len(parts) > 1 else None
    name = named[1].decode() if named and named[1] != b"CHARSET" else "UTF-8"
    try:
        contains_ascii = printable.encode(name) == printable.encode("ascii")
    except (LookupError, UnicodeError):
        contains_ascii = False
    require(
        contains_ascii,
        "read_po: the charset in the header, with ASCII in it, must be one that Python knows; "
        f"got charset {name} in {path}",
    )
    return name


def _messages(lines: Sequence[str], path: Path) -> Iterator[PoMessage]:
    message: PoMessage | None = None
    for number, raw_line in enumerate(lines):
        line, place = raw_line.strip(_BLANK), f"{path}, line {number + 1}"
        if not line or line.startswith("#~"):
            if line and message is not None and not message.last:
                message = None  # the comments so far belong to an obsolete message
            continue
        match = _TEXT.fullmatch(line)
        require(
            line[0] == "#" or match is not None,
            f"read_po: a line must be a comment or a text in quotes; got {line[:40]!r} at {place}",
        )
        begins = match is None or match[1] in ("msgctxt", "msgid")
        if message is not None and message.targets and begins:
            yield message
            message = None
        message = message or PoMessage(number)
        if match is not None:
            _add_line(message, number, match, place)
        elif line.startswith("#,"):
            message.flags.update(flag.strip() for flag in line[2:].split(","))
    if message is not None and message.last:
        require(
            bool(message.targets),
            f"read_po: a message needs msgstr; got none at {path}, line {message.end}",
        )
        yield message


def _add_line(message: PoMessage, number: int, match: re.Match[str], place: str) -> None:
    """Add a keyword and its text, or another line of its text, to the message."""
    text = re.sub(r'\\([\\trn"])', lambda escape: _ESCAPED[escape[1]], match[2])
    word = re.sub(r"\d+", "", match[1] or "")
    require(
        message.last in _MAY_FOLLOW[word] if word else bool(message.last),
        "read_po: msgctxt, msgid, msgid_plural and msgstr must stand in this order; "
        f"got {match[1] or 'a text'} after {message.last or 'none of them'} at {place}",
    )
    require(
        word != "msgstr[]" or match[1] == f"msgstr[{len(message.targets)}]",
        f"read_po: plural forms must be numbered from 0 on; got {match[1]} at {place}",
    )
    message.last, message.end = word or message.last, number + 1
    message.keywords = number if message.keywords < 0 else message.keywords
    if message.last.startswith("msgstr"):
        message.translations = number if message.translations < 0 else message.translations
        texts = message.targets
    else:
        texts = message.sources if message.last != "msgctxt" else [""]
    if word:
        texts.append(text)
    else:
        texts[-1] += text
