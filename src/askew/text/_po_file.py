"""A gettext file as text, and messages with their places in it, so that the rest can stay.

The grammar is that of msgfmt. polib and Babel write the whole file anew, and polib, Babel and
translate-toolkit read wrong texts from octal escapes and from several strings on one line.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from dataclasses import dataclass, field
from gettext import c2py
from pathlib import Path
from string import printable
from typing import NamedTuple

from askew._check import require
from askew._files import existing_file

_INSIDE = r'(?:[^"\\\n]|\\\r?\n|\\.)*'
_TOKEN = re.compile(
    r"(?P<comment>#[^\n]*)|(?P<keyword>msgctxt|msgid_plural|msgid|msgstr(?:\s*\[\s*\d+\s*\])?)"
    rf'|"(?P<text>{_INSIDE})"|(?P<domain>domain\s*"{_INSIDE}")',
    re.ASCII,
)
_ORDER = "read_po: msgctxt, msgid, msgid_plural and msgstr must stand in this order"
_SPACE = re.compile(r"[ \t\r\n\f\v]*")
_MAY_FOLLOW = {  # for each keyword those that may stand before it; "" begins a message
    "msgctxt": ("",),
    "msgid": ("", "msgctxt"),
    "msgid_plural": ("msgid",),
    "msgstr": ("msgid",),
    "msgstr[]": ("msgid_plural", "msgstr[]"),
}
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPED = {'"': '"', "\\": "\\", "\n": "", "\r\n": ""} | _LETTERS
_ESCAPES = {text: f"\\{letter}" for letter, text in _ESCAPED.items() if text in ('\n\t\r"\\')}
_BYTES = r"(?:\\(?:[0-7]{1,3}|x[0-9a-fA-F]+))+"
_ESCAPE = re.compile(rf'(?P<bytes>{_BYTES})|\\(?P<one>[\\"abfnrtv]|\r?\n)')
_HEADER = re.compile(  # the message with an empty msgid and no context
    rb'^[ \t]*(msgctxt\s*(?:"(?:[^"\\]|\\.)*"\s*)+)?msgid\s*(?:""\s*)+'
    rb'msgstr\s*((?:"(?:[^"\\]|\\.)*"\s*)+)',
    re.MULTILINE,
)


@dataclass(slots=True)
class PoMessage:
    """A message and its places in the text: comments, keywords, then its translations."""

    first: int = -1  # where its comments begin, or its keywords
    keywords: int = -1
    end: int = -1  # exclusive
    forms: list[tuple[int, int]] = field(default_factory=list)  # from each msgstr to its end
    contexts: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    last: str = ""

    @property
    def is_header(self) -> bool:
        """Whether it describes the file."""
        return self.sources == [""] and not self.contexts

    def texts(self) -> list[str]:
        """Return the texts of the last keyword's kind."""
        if self.last == "msgctxt":
            return self.contexts
        return self.targets if self.last.startswith("msgstr") else self.sources


class PluralRule(NamedTuple):
    """How many plural forms a language has, and which of them stand for one and for many.

    `many` is None if it may be any of several forms.
    """

    num_forms: int | None
    one: int | None
    many: int | None


_ONE_FORM = PluralRule(1, None, 0)


class PoFile(NamedTuple):
    """A file: its text, its messages, its encoding and what its header says of plurals."""

    text: str
    messages: list[PoMessage]
    encoding: str
    plural: PluralRule

    def plural_rule(self, message: PoMessage) -> PluralRule:
        """Return the rule for a message: that of the header, or of its only form without one."""
        unknown = self.plural.num_forms is None
        return _ONE_FORM if unknown and len(message.forms) == 1 else self.plural


def read_po_file(path: Path) -> PoFile:
    """Read a file; the header and messages without a text are not among the messages."""
    existing_file("read_po", path)
    raw = path.read_bytes()
    require(
        not raw.startswith((BOM_UTF16_BE, BOM_UTF16_LE)) and b"\0" not in raw,
        f"read_po: a catalogue must be in UTF-8 or another encoding with ASCII in it; got UTF-16 "
        f"or a NUL byte in {path}. Convert it, for example with iconv",
    )
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
    messages = list(_Reader(text, encoding, path).messages())
    header = next((message.targets[0] for message in messages if message.is_header), "")
    kept = [message for message in messages if message.sources[0]]
    return PoFile(text, kept, encoding, _plural_rule(header, path))


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
    headers = (match[2] for match in _HEADER.finditer(raw) if not match[1])
    named = re.search(rb"charset=([\w.:-]+)", next(headers, b""))
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


def _plural_rule(header: str, path: Path) -> PluralRule:
    """Read Plural-Forms; without it form 0 is that of one thing, as gettext has it."""
    line = re.search(r"^Plural-Forms:(.*)$", header, re.MULTILINE)
    numbers = re.search(r"\bnplurals\s*=\s*([1-9]\d*)", line[1]) if line else None
    if line is None or numbers is None:  # a template has words there
        return PluralRule(None, 0, 1)
    num_forms = int(numbers[1])
    if num_forms == 1:
        return _ONE_FORM
    rule = re.search(r"\bplural\s*=([^;]*)", line[1])
    try:
        form_of = c2py(rule[1] if rule else "")
        chosen = [form_of(n) for n in range(1001)]
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"read_po: Plural-Forms must have a rule such as plural=(n != 1); got {error} in {path}"
        ) from None
    require(
        max(chosen) < num_forms,
        f"read_po: the plural rule must choose one of {num_forms} forms; "
        f"got {line[1].strip()} in {path}",
    )
    one = chosen[1]
    return PluralRule(num_forms, one, 1 - one if num_forms == 2 else None)


class _Reader:
    """Reads messages from a text; every fault is a ValueError that names the line."""

    def __init__(self, text: str, encoding: str, path: Path) -> None:
        self.text, self.encoding, self.path = text, encoding, path

    def messages(self) -> Iterator[PoMessage]:
        message = PoMessage()
        for match in self._tokens():
            continues = match["text"] is not None or (match["keyword"] or "").endswith("]")
            if message.targets and not continues:
                yield message
                message = PoMessage()
            if match["keyword"] is not None:
                self._add_keyword(message, match)
            elif match["text"] is not None:
                self._add_text(message, match)
            elif match["domain"] is not None or match["comment"].startswith("#~"):
                if not message.last:  # the comments so far do not belong to the next message
                    message = PoMessage()
            else:
                self._add_comment(message, match)
        if message.last:
            require(
                bool(message.targets),
                lambda: f"read_po: a message needs msgstr; got none at {self._place(message.end)}",
            )
            yield message

    def _tokens(self) -> Iterator[re.Match[str]]:
        at = _end_of_space(self.text, 0)
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                begin, line_end = self._line_start(at), self.text.find("\n", at)
                line = self.text[begin : None if line_end < 0 else line_end].strip()
                raise ValueError(
                    "read_po: a line must be a comment or a text in quotes; "
                    f"got {line[:40]!r} at {self._place(at)}"
                )
            yield match
            at = _end_of_space(self.text, match.end())

    def _add_comment(self, message: PoMessage, match: re.Match[str]) -> None:
        start = self._begin(match.start())
        if message.first < 0 and start == self._line_start(start):
            message.first = start
        if match["comment"].startswith("#,"):
            message.flags.update(flag.strip() for flag in match["comment"][2:].split(","))

    def _add_keyword(self, message: PoMessage, match: re.Match[str]) -> None:
        keyword = re.sub(r"\s", "", match["keyword"])
        word = re.sub(r"\d+", "", keyword)
        require(
            message.last in _MAY_FOLLOW[word],
            lambda: (
                f"{_ORDER}; got {keyword} after {message.last or 'none of them'} "
                f"at {self._place(match.start())}"
            ),
        )
        require(
            word != "msgstr[]" or int(keyword[7:-1]) == len(message.targets),
            lambda: (
                "read_po: plural forms must be numbered from 0 on; "
                f"got {keyword} at {self._place(match.start())}"
            ),
        )
        message.last, message.end = word, match.end()
        if message.keywords < 0:
            message.keywords = self._begin(match.start())
            message.first = message.keywords if message.first < 0 else message.first
        if word.startswith("msgstr"):
            message.forms.append((match.start(), match.end()))
        message.texts().append("")

    def _add_text(self, message: PoMessage, match: re.Match[str]) -> None:
        require(
            bool(message.last),
            lambda: f"{_ORDER}; got a text after none of them at {self._place(match.start())}",
        )
        message.end = match.end()
        if message.forms:
            message.forms[-1] = (message.forms[-1][0], match.end())
        message.texts()[-1] += _ESCAPE.sub(
            lambda escape: self._unescaped(escape, match.start()), match["text"]
        )

    def _unescaped(self, escape: re.Match[str], at: int) -> str:
        if escape["bytes"] is None:
            return _ESCAPED[escape["one"]]
        digits = escape["bytes"].split("\\")[1:]
        numbers = (int(d[1:], 16) if d[0] == "x" else int(d, 8) for d in digits)
        try:
            return bytes(number & 0xFF for number in numbers).decode(self.encoding)
        except UnicodeDecodeError:
            raise ValueError(
                f"read_po: escaped bytes must be {self.encoding}; "
                f"got {escape['bytes']} at {self._place(at)}"
            ) from None

    def _line_start(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _begin(self, at: int) -> int:
        """Return the beginning of the line if nothing but space stands before `at`, else `at`."""
        start = self._line_start(at)
        return start if not self.text[start:at].strip() else at

    def _place(self, at: int) -> str:
        return f"{self.path}, line {self.text.count(chr(10), 0, at) + 1}"


def _end_of_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
