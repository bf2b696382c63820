"""Small documents of every format, made of a heading and two paragraphs."""

import io
import json
import zipfile
from email.message import EmailMessage

HEADING, FIRST, SECOND = "Coast", "Lima lies on the coast.", "Cusco lies in the mountains."
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf(*pages: str, locked: bool = False) -> bytes:
    """A PDF of one line a page; `locked` with a password that nobody knows."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        font = "/Resources << /Font << /F1 3 0 R >> >>"
        shown = f"BT /F1 12 Tf 40 700 Td ({text}) Tj ET" if text else ""
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] {font} "
            f"/Contents {5 + 2 * number} 0 R >>",
            f"<< /Length {len(shown)} >>\nstream\n{shown}\nendstream",
        ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    lock = (
        f"/ID [<{'00' * 16}> <{'00' * 16}>] /Encrypt << /Filter /Standard /V 1 /R 2 "
        f"/O <{'41' * 32}> /U <{'42' * 32}> /P -4 >>"
    )
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R "
    return out + f"{end}{lock if locked else ''} >>\nstartxref\n{len(out)}\n%%EOF\n".encode()


def html(body: str | None = None) -> bytes:
    """A page with what a browser does not show."""
    body = body or f"<h2>{HEADING}</h2><p>{FIRST}</p><p>{SECOND}</p>"
    unseen = "<script>var secret</script><style>.secret{}</style><p hidden>secret</p>"
    return f"<!doctype html><title>secret</title>{unseen}{body}{unseen}".encode()


def zipped(files: dict[str, str]) -> bytes:
    """An archive of files."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return raw.getvalue()


def docx(body: str | None = None) -> bytes:
    """A document of Word with a heading."""
    style = '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'
    lines = ((style, HEADING), ("", FIRST), ("", SECOND))
    body = body or "".join(f"<w:p>{s}<w:r><w:t>{text}</w:t></w:r></w:p>" for s, text in lines)
    body = f"<w:body>{body}</w:body>"
    types = (
        '<Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-'
        'officedocument.wordprocessingml.document.main+xml"/>'
        '<Override PartName="/word/styles.xml" ContentType="application/vnd.openxmlformats-'
        'officedocument.wordprocessingml.styles+xml"/>'
    )

    def relation(kind: str, target: str) -> str:
        one = f'<Relationship Id="r" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        return f'<Relationships xmlns="{_PACKAGE}/relationships">{one}</Relationships>'

    heading = '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/>'
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">{types}</Types>',
            "_rels/.rels": relation("officeDocument", "word/document.xml"),
            "word/_rels/document.xml.rels": relation("styles", "styles.xml"),
            "word/document.xml": f'<w:document xmlns:w="{_WORD}">{body}</w:document>',
            "word/styles.xml": f'<w:styles xmlns:w="{_WORD}">{heading}</w:style></w:styles>',
        },
    )


def epub(more: dict[str, str] | None = None) -> bytes:
    """A book of two chapters, in another order than in the archive."""
    page = "<html xmlns='http://www.w3.org/1999/xhtml'><body>{}</body></html>"
    item = '<item id="{0}" href="{0}.xhtml" media-type="application/xhtml+xml"/>'
    book = "".join(map(item.format, ("b", "a")))
    spine = '<itemref idref="a"/><itemref idref="b"/>'
    return zipped(
        {
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:'
            'container"><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf">'
            f"<manifest>{book}</manifest><spine>{spine}</spine></package>",
            "OEBPS/b.xhtml": page.format(f"<p>{SECOND}</p>"),
            "OEBPS/a.xhtml": page.format(f"<h1>{HEADING}</h1><p>{FIRST}</p>"),
        }
        | (more or {})
    )


def mail() -> bytes:
    """A message with a text, the same as a page, and an attachment."""
    message = EmailMessage()
    message["From"], message["To"] = "Ana <ana@example.org>", "ben@example.org"
    message["Subject"] = HEADING
    message.set_content(f"{FIRST}\n\n{SECOND}")
    message.add_alternative(html().decode(), subtype="html")
    message.add_attachment(b"secret", maintype="application", subtype="x", filename="a.bin")
    return bytes(message)


def notebook() -> bytes:
    """A notebook with a comment in its code and an output."""
    code = {"cell_type": "code", "source": ["# no heading\n", "1 + 1"], "outputs": ["secret"]}
    texts = [f"# {HEADING}\n\n{FIRST}", SECOND]
    cells = [{"cell_type": "markdown", "source": texts[0]}, code]
    return json.dumps({"cells": [*cells, {"cell_type": "markdown", "source": [texts[1]]}]}).encode()


DOCUMENTS = {
    "a.pdf": pdf(FIRST, SECOND),
    "a.html": html(),
    "a.docx": docx(),
    "a.epub": epub(),
    "a.eml": mail(),
    "a.ipynb": notebook(),
}
