r"""Reads documents in a process of its own, which may be killed; imports nothing of askew.

A line of JSON on stdin names a file, and a line on stdout has its text or why there is none.
Headings become lines of Markdown, and pages of a PDF are divided by \f.
"""

import codecs
import io
import json
import posixpath
import re
import sys
import zipfile
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from urllib.parse import unquote
from xml.etree import ElementTree

_MOST_BYTES = 256 * 2**20
"""Of a file."""
_MOST_UNPACKED = 64 * 2**20
"""Of the texts in a DOCX or EPUB together."""
_MOST_MEMORY = 4 * 2**30
_UNSEEN = {"script", "style", "template", "noscript", "head", "svg", "nav", "iframe", "object"}
_UNSEEN |= {"embed", "canvas", "audio", "video", "select", "textarea", "datalist"}
_PARAGRAPHS = {"p", "div", "section", "article", "main", "aside", "header", "footer", "figure"}
_PARAGRAPHS |= {"ul", "ol", "dl", "table", "blockquote", "pre", "hr", "body", "form", "address"}
_PARAGRAPHS |= {"details", "summary", "figcaption", "caption", "fieldset"}
_LINES = {"li", "tr", "dt", "dd", "br", "option", "legend"}
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_CHARSET = re.compile(rb"(?:<meta[^>]+charset|<\?xml[^>]+encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
# What browsers read under these names has more characters.
_LARGER = {"iso8859-1": "cp1252", "ascii": "cp1252", "shift_jis": "cp932", "euc_kr": "cp949"}
_LARGER |= {"gb2312": "gb18030", "gbk": "gb18030"}


class UnreadableError(Exception):
    """Why a document has no text for us."""


def read_pdf(raw: bytes) -> str:
    r"""Read the pages of a PDF, which `\f` divides."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(raw)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower() or "security" in str(error).lower()
        reason = "it is encrypted" if locked else "it is no whole PDF"
        raise UnreadableError(reason) from None
    pages = []
    for page in document:
        text = page.get_textpage().get_text_bounded().replace("\r\n", "\n").replace("\r", "\n")
        pages.append(_CONTROLS.sub("", text.replace("\ufffe", "")).strip("\n"))
        page.close()
    if not any(page.strip() for page in pages):
        raise UnreadableError("no page has text; scanned pages need text recognition first")
    return "\n\f\n".join(pages)


def read_html(raw: bytes) -> str:
    """Read what a browser shows of a page, and no script or style."""
    charset = _MARKS.get(raw[:2])
    if charset is None:
        named = _CHARSET.search(raw[:2048])
        charset = _known(named[1].decode("ascii")) if named else "utf-8"
        # Many pages name another encoding than their own; what is whole UTF-8 is hardly another.
        charset = charset if raw.isascii() or not _is_utf8(raw) else "utf-8"
    try:
        text = raw.decode(charset, "replace")
    except (LookupError, UnicodeError):  # such as rot13, which is no encoding of text
        text = raw.decode("utf-8", "replace")
    return html_text(text.removeprefix("\ufeff"))


def _known(charset: str) -> str:
    """Name what an encoding is read as; UTF-8 if it is none that a page can name in ASCII."""
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        return "utf-8"
    return "utf-8" if name.startswith(("utf-16", "utf-32")) else _LARGER.get(name, name)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeError:
        return False
    return True


def html_text(html: str) -> str:
    """Write a page as text, with headings as in Markdown."""
    from selectolax.lexbor import LexborHTMLParser

    written = _Written()
    node = LexborHTMLParser(html).root
    while node is not None:  # a loop, because pages may be nested without end
        tag = node.tag or ""
        if tag == "-text":
            written.add(node.text_content or "")
        is_seen = tag not in _UNSEEN and "hidden" not in (node.attributes or {})
        if is_seen:
            written.begin(tag)
        if is_seen and node.child is not None:
            node = node.child
            continue
        if is_seen:
            written.end(tag)
        while node is not None and node.next is None:
            node = node.parent
            if node is not None:
                written.end(node.tag or "")
        node = node.next if node is not None else None
    return written.text()


class _Written:
    """Text that is put together of the elements of a page."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._due = ""  # white space before the next text
        self._prefix = ""
        self._literal = 0  # elements of type pre around
        self._bars = 0  # cells that ended since the last text of the row
        self._in_row = False  # whether the row has text already
        self._is_blank = False  # whether we are in a cell that has none yet
        self._is_broken = False  # whether this cell has several lines

    def begin(self, tag: str) -> None:
        self._break(tag)
        if tag in ("td", "th"):
            self._is_blank, self._is_broken = True, False
        self._literal += tag == "pre"
        self._prefix = _HEADINGS[tag] + " " if tag in _HEADINGS else self._prefix
        self._prefix = "- " if tag == "li" else self._prefix

    def end(self, tag: str) -> None:
        self._break(tag)
        if tag in _PARAGRAPHS or tag in _HEADINGS:
            self._prefix = ""
        elif tag in ("td", "th"):
            self._is_blank = False
            if not (self._is_broken and "\n" in self._due):
                self._bars += 1
                self._due = "" if self._in_row else self._due
        self._literal -= tag == "pre"

    def _break(self, tag: str) -> None:
        """Begin a paragraph or a line; the first paragraph of a cell stays in its row."""
        is_first = self._is_blank and tag in ("p", "div")
        if (tag in _PARAGRAPHS or tag in _HEADINGS) and not is_first:
            self._due, self._bars = "\n\n", 0
            self._is_broken = self._is_broken or tag == "table"
        elif tag in _LINES and self._due != "\n\n":
            self._due = "\n"
        if tag == "tr":
            self._in_row, self._bars = False, 0

    def add(self, text: str) -> None:
        if self._literal:
            plain = text
        else:
            plain = " ".join(text.split())
            if text[:1].isspace() and not self._due:
                self._due = " "
        if not plain.strip():
            self._due = self._due + text if self._literal else self._due or (" " if text else "")
            return
        before = self._due if self._pieces else ""
        if self._bars:
            before = " " + "| " * self._bars if self._in_row else before + "| " * self._bars
        self._is_broken = self._is_broken or (not self._is_blank and "\n" in before)
        self._pieces += [before, self._prefix, plain]
        self._prefix, self._bars = "", 0
        self._is_blank, self._in_row = False, True
        self._due = " " if not self._literal and text[-1].isspace() else ""

    def text(self) -> str:
        return _CONTROLS.sub("", "".join(self._pieces))


def read_docx(raw: bytes) -> str:
    """Read a document of Word."""
    import mammoth

    with _opened(raw) as archive:
        parts = [part for part in archive.infolist() if part.filename.endswith((".xml", ".rels"))]
        if sum(part.file_size for part in parts) > _MOST_UNPACKED:
            raise UnreadableError("it unpacks to more than 64 MB of text")
    none = mammoth.images.img_element(lambda image: {"src": ""})
    return html_text(mammoth.convert_to_html(io.BytesIO(raw), convert_image=none).value)


def read_epub(raw: bytes) -> str:
    """Read the chapters of a book in their order."""
    with _opened(raw) as archive:
        left = [_MOST_UNPACKED]

        def read(name: str) -> bytes:
            left[0] -= archive.getinfo(name).file_size
            if left[0] < 0:
                raise UnreadableError("it unpacks to more than 64 MB of text")
            return archive.read(name)

        root = next(
            _xml(read("META-INF/container.xml")).iterfind(".//{*}rootfile[@full-path]")
        ).attrib["full-path"]
        book = _xml(read(root))
        files = {
            item.get("id"): posixpath.normpath(
                posixpath.join(posixpath.dirname(root), unquote(item.get("href", "")))
            )
            for item in book.iterfind(".//{*}manifest/{*}item")
            if "html" in item.get("media-type", "")
        }
        chapters = [
            files.get(item.get("idref")) for item in book.iterfind(".//{*}spine/{*}itemref")
        ]
        locked = "META-INF/encryption.xml"
        if locked in archive.namelist() and any(
            unquote(part.get("URI", "")) in chapters
            for part in _xml(read(locked)).iterfind(".//{*}CipherReference")
        ):
            raise UnreadableError("it is encrypted")
        return "\n\n".join(read_html(read(name)) for name in chapters if name)


def read_mail(raw: bytes) -> str:
    """Read subject, sender, receiver, date and body of a message."""
    message = message_from_bytes(raw, policy=policy.default)
    if not isinstance(message, EmailMessage) or not message.keys():
        raise UnreadableError("it is no message")
    names = ("From", "To", "Cc", "Date")
    lines = [f"{name}: {message[name]}" for name in names if message[name]]
    body = message.get_body(("plain", "html"))
    text = "" if body is None else _body(body)
    subject = " ".join(str(message["Subject"] or "").split())
    parts = [f"# {subject}" if subject else "", "\n".join(lines), text]
    return _CONTROLS.sub("", "\n\n".join(part for part in parts if part))


def _body(part: MIMEPart) -> str:
    raw = part.get_payload(decode=True)
    raw = raw if isinstance(raw, bytes) else b""
    try:
        text = raw.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeError):
        text = raw.decode("utf-8", "replace")
    return html_text(text) if part.get_content_subtype() == "html" else text.replace("\r\n", "\n")


def read_notebook(raw: bytes) -> str:
    """Read text and code of a notebook, without outputs."""
    book = json.loads(raw)
    cells = book["cells"] if "cells" in book else book["worksheets"][0]["cells"]
    parts = []
    for cell in cells:
        lines = cell.get("source", cell.get("input", ""))
        text = lines if isinstance(lines, str) else "".join(lines)
        if text.strip():
            parts.append(f"```\n{text}\n```" if cell["cell_type"] == "code" else text)
    return _CONTROLS.sub("", "\n\n".join(parts))


READERS: dict[str, Callable[[bytes], str]] = {
    ".pdf": read_pdf,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".docx": read_docx,
    ".epub": read_epub,
    ".eml": read_mail,
    ".ipynb": read_notebook,
}


def _opened(raw: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(raw))
    if any(part.flag_bits & 1 for part in archive.infolist()):
        raise UnreadableError("it is encrypted")
    return archive


def _xml(raw: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in raw:
        raise UnreadableError("it defines entities")
    return ElementTree.fromstring(raw)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = _MOST_MEMORY if most == resource.RLIM_INFINITY else min(most, _MOST_MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    if len(raw) > _MOST_BYTES:
        raise UnreadableError("it is larger than 256 MB")
    return raw


def answer(path: str, suffix: str) -> dict[str, str]:
    """Read a file; the answer has "text", or why there is none."""
    try:
        return {"text": READERS[suffix](_bytes(path))}
    except ModuleNotFoundError as error:
        return {"missing": error.name or str(error)}
    except UnreadableError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "it needs more than 4 GB of memory"}
    except RecursionError:
        return {"refused": "it is nested too deeply"}
    except Exception as error:  # of damaged files, from any of the libraries
        shown = " ".join(str(error).split())[:100]
        return {"refused": f"it is damaged ({type(error).__name__}: {shown})"}


def main() -> None:
    """Answer until stdin ends."""
    _limit_memory()
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        out.write(json.dumps(answer(**json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
