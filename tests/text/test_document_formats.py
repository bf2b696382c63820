"""Documents of other formats than text: what is read, what is left out, and what is refused."""

import gzip
import subprocess
import sys
import time

import pytest
from document_files import DOCUMENTS, FIRST, HEADING, SECOND, docx, epub, html, pdf, zipped

from askew.text import (
    Context,
    PassageSearch,
    Place,
    cut_passages,
    find_place,
    list_documents,
    read_documents,
)
from askew.text._conversion import Converter

BROKEN = {
    "broken.pdf": (b"%PDF-1.4 nothing", "it is no whole PDF"),
    "cut.pdf": (pdf(FIRST)[:200], "it is no whole PDF"),
    "locked.pdf": (pdf(FIRST, locked=True), "it is encrypted"),
    "scan.pdf": (pdf("", ""), "no page has text; scanned pages need text recognition first"),
    "broken.docx": (b"PK\3\4 nothing", "it is damaged"),
    "other.docx": (zipped({"a": "b"}), "it is damaged"),
    "bomb.docx": (docx("<w:p/>" * 12_000_000), "it unpacks to more than 64 MB of text"),
    "deep.docx": (docx("<w:p>" * 20_000 + "</w:p>" * 20_000), "it is nested too deeply"),
    "bomb.epub": (epub({"OEBPS/a.xhtml": "a " * 2**26}), "it unpacks to more than 64 MB of text"),
    "entities.epub": (
        epub({"OEBPS/book.opf": '<!DOCTYPE p [<!ENTITY a "b">]><p>&a;</p>'}),
        "it defines entities",
    ),
    "locked.epub": (
        epub(
            {"META-INF/encryption.xml": "<e xmlns='x'><CipherReference URI='OEBPS/a.xhtml'/></e>"}
        ),
        "it is encrypted",
    ),
    "outside.epub": (
        epub({"META-INF/container.xml": "<c><rootfile full-path='../../etc/passwd'/></c>"}),
        "it is damaged",
    ),
    "broken.ipynb": (b'{"cells": 3}', "it is damaged"),
    "deep.ipynb": (b"[" * 200_000, "it is nested too deeply"),
    "none.eml": (b"\n\nno headers", "it is no message"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_format_gives_its_text_and_nothing_unseen(name, tmp_path):
    (tmp_path / name).write_bytes(DOCUMENTS[name])
    (context,) = read_documents(tmp_path)
    assert context.title == name
    assert FIRST in context.text
    assert SECOND in context.text
    assert context.text.index(FIRST) < context.text.index(SECOND)
    assert "secret" not in context.text
    assert "<" not in context.text.replace("<ana@example.org>", "")
    place = find_place(context, context.text.index(SECOND))
    assert place == (Place(2, None) if name == "a.pdf" else Place(None, HEADING))
    found = PassageSearch([context]).search("What lies in the mountains?", top=1)[0]
    assert context.text[slice(*found.sentence)] == SECOND


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_given_directly_is_read_too(name, tmp_path):
    path = tmp_path / name.upper()
    path.write_bytes(DOCUMENTS[name])
    assert list_documents(path) == [path]
    assert FIRST in read_documents(path)[0].text


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_has_its_reason_in_one_line(name, tmp_path):
    raw, reason = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=f"must be readable; got {path}: {reason}") as caught:
        read_documents(path)
    assert "\n" not in str(caught.value)


def test_files_of_a_folder_that_cannot_be_read_are_named_and_the_others_read(tmp_path):
    for name in ("locked.pdf", "broken.docx"):
        (tmp_path / name).write_bytes(BROKEN[name][0])
    (tmp_path / "a.txt.gz").write_bytes(b"no gzip")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"Ada wrote."))
    with pytest.warns(UserWarning, match="read_documents") as caught:
        assert read_documents(tmp_path) == [Context("b.txt.gz", "Ada wrote.")]
    messages = [str(warning.message) for warning in caught]
    assert [m.partition("got ")[2].split(":")[0].split()[0] for m in messages[:3]] == [
        str(tmp_path / name) for name in ("a.txt.gz", "broken.docx", "locked.pdf")
    ]
    assert messages[3:] == [
        "read_documents: 3 of 4 files cannot be read, so nothing is found in them"
    ]
    (tmp_path / "b.txt.gz").unlink()
    with pytest.raises(ValueError, match=r"must be a document with text; .*a\.txt\.gz damaged"):
        read_documents(tmp_path)


def test_a_document_that_takes_too_long_is_refused_and_the_next_one_read(tmp_path):
    deep, plain = tmp_path / "a.html", tmp_path / "b.html"
    deep.write_bytes(b"<div>" * 1_000_000)  # which an HTML parser takes hours for
    plain.write_bytes(html())
    start = time.monotonic()
    with Converter("read", seconds=2) as converter:
        with pytest.raises(ValueError, match=r"^reading it takes more than 2 seconds$"):
            converter.read(deep, ".html")
        assert time.monotonic() - start < 30
        assert FIRST in converter.read(plain, ".html")


def test_a_parser_that_crashes_ends_no_other_reading(tmp_path):
    path = tmp_path / "b.html"
    path.write_bytes(html())
    with Converter("read") as converter:
        assert FIRST in converter.read(path, ".html")
        process = converter._process
        process.kill()
        process.wait()
        with pytest.raises(ValueError, match=r"^reading it ended the process that did$"):
            converter.read(path, ".html")
        assert FIRST in converter.read(path, ".html")
    assert converter._process is None


def test_without_the_package_the_message_names_the_extra(tmp_path, monkeypatch):
    for name in ("pypdfium2", "selectolax", "mammoth"):
        (tmp_path / "hidden" / name).mkdir(parents=True)
        code = f"raise ModuleNotFoundError('no', name={name!r})"
        (tmp_path / "hidden" / name / "__init__.py").write_text(code)
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, raw in DOCUMENTS.items():
        (folder / name).write_bytes(raw)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))
    with pytest.warns(UserWarning, match="read_documents") as caught:
        titles = [context.title for context in read_documents(folder)]
    assert titles == ["a.eml", "a.ipynb"]
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 5
    assert all("pip install 'askew[documents]'" in message for message in messages[:-1])
    with pytest.raises(ModuleNotFoundError, match=r"pypdfium2 must be installed to read \.pdf"):
        read_documents(folder / "a.pdf")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("a<b>b</b> c\n d", "ab c d"),
        ("<p>a<p>b", "a\n\nb"),
        ("<ul><li>a</li><li>b</li></ul>c", "- a\n- b\n\nc"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "a | b\nc"),
        ("<table><tr><td>a<td><td>c<tr><td><td>e<td></table>f", "a | | c\n| e\n\nf"),
        ("<table><tr><td><p>a</p><td><p></p><td><p>c</p></table>d", "a | | c\n\nd"),
        ("<table><tr><td>a<td><h1>b</h1><p>c<p>d<td>e</table>", "a\n\n# b\n\nc\n\nd\n\ne"),
        ("<pre>a\n  b</pre>c", "a\n  b\n\nc"),
        ("<pre><i>a</i>\n<b>  b</b>\n\n<i> </i> c</pre>", "a\n  b\n\n  c"),
        ("a<br>b<hr>c", "a\nb\n\nc"),
        ("<h3>a <i>b</i></h3>c", "### a b\n\nc"),
        ("&lt;script&gt;", "<script>"),
        ("<scr<script>ipt>a</script>b", "ipt>ab"),
        ("a<!-- b --><template>c</template><svg><text>d</text></svg>", "a"),
        ("<div hidden>a<p>b</p></div><nav>c</nav>d", "d"),
        ("<noscript>a</noscript><iframe>b</iframe>c", "c"),
    ],
)
def test_a_page_becomes_what_a_reader_sees(body, text, tmp_path):
    (tmp_path / "a.html").write_text(f"<body>{body}</body>")
    assert read_documents(tmp_path)[0].text == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<p>é".encode(), "é"),
        (b"\xef\xbb\xbf<p>a", "a"),
        ("<meta charset=latin-1><p>é".encode("latin-1"), "é"),
        ("<script>no</script><p>é".encode("utf-16"), "é"),
        ("<?xml version='1.0'?><p>é".encode("utf-16-be"), "é"),
        ("<!doctype html><p>é".encode("utf-16-le"), "é"),
        ('<?xml version="1.0" encoding="iso-8859-2"?><html><p>č'.encode("iso-8859-2"), "č"),
        ("<meta charset=iso-2022-jp><p>語".encode("iso-2022-jp"), "語"),
        ("<meta charset=latin-1><p>“é".encode("cp1252"), "“é"),
        ("<meta charset=latin-1><p>“é".encode(), "“é"),
        (b"<meta charset=utf-16><p>ab", "ab"),
        (b"<meta charset=undefined><p>ab", "ab"),
        (b"<meta charset=nonsense><p>\xff", "\ufffd"),
        (b"<meta charset=rot13><p>\xff", "\ufffd"),
        (b"<p>a\0\x1b\x0c b", "a b"),
    ],
)
def test_bytes_of_a_page_are_decoded_as_it_says(raw, text, tmp_path):
    (tmp_path / "a.html").write_bytes(raw)
    assert read_documents(tmp_path)[0].text == text


def test_pages_and_headings_begin_a_passage(tmp_path):
    text = "# One\n\nIt is here.\n\n```\n# no heading\n```\n\n## Two ##\n\nAnd there."
    assert next(text[slice(*span)] for span in cut_passages(text, longest=4)).startswith("# One")
    context = Context("a.md", text)
    headings = {find_place(context, at).heading for at in range(text.index("## Two"))}
    assert headings == {"One"}
    assert find_place(context, len(text)).heading == "Two"
    under = (
        "One\n===\n\nA line.\n\nTwo words\n---------\nB.\n\nshorter\n---\n\n=====\nThree\n=====\nC"
    )
    rst = Context("a.rst", under)
    marks = ("A line", "B.", "short", "C")
    found = [find_place(rst, under.index(mark)).heading for mark in marks]
    assert found == ["One", "Two words", "Two words", "Three"]
    assert find_place(Context("a.txt", text), len(text)) == Place(None, None)
    with pytest.raises(ValueError, match="position must be of the text; got position -1 of"):
        find_place(context, -1)


def test_the_process_that_reads_imports_nothing_heavy():
    code = "import sys; sys.path.insert(0, 'src/askew/text'); import _document_worker as w; "
    code += "w.html_text('<p>a'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"askew", "torch", "numpy"} & set(done.stdout.split())
