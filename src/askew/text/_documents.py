"""Documents as contexts to ask about."""

import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from askew._check import require
from askew._encoding import BOM, refuse_utf16
from askew._files import existing_file
from askew.text._conversion import Converter
from askew.text._questions import Context
from askew.text._squad import read_bytes

_SUFFIXES = (".txt", ".md", ".rst", ".markdown")
_CONVERTED = (".pdf", ".html", ".htm", ".xhtml", ".docx", ".epub", ".eml", ".ipynb")


def read_documents(paths: str | Path | Iterable[str | Path]) -> list[Context]:
    r"""Read documents, or all documents in folders and below, as contexts to ask about.

    Text files end with .txt, .md, .rst or .markdown, or with .gz after one of these. Their text is
    unchanged, except that a byte order mark is dropped. Bytes that are not UTF-8 become U+FFFD,
    and a warning says in how many files. With the extra `documents`, PDF, HTML (.html, .htm,
    .xhtml), DOCX and EPUB are read too; mail (.eml) and notebooks (.ipynb) always. Of these the
    text has headings as in Markdown, and `\f` between the pages of a PDF. Scripts, styles, images
    and the outputs of notebooks are left out.

    The files of a folder come in the order of their paths; hidden files (with a leading dot, or in
    such a folder) and blank ones are left out. A file that is reached twice is read once. A
    warning names each file of a folder that cannot be read, with the reason.

    Args:
        paths: A file or folder, or several.

    Returns:
        One context per file. Its title is the path within the folder, or the name of a file
        given directly; if two titles are equal, both are whole paths.

    Raises:
        ValueError: If there is no such path, a file given directly has another ending, is blank
            or cannot be read, or a folder has no file with text that can be read.
        ModuleNotFoundError: If a file given directly needs a package that is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.md").write_text("Ada wrote.")
        ...     read_documents(folder)
        [Context(title='a.md', text='Ada wrote.')]
    """
    return [context for _, context in _read(paths)]


def read_document_files(
    paths: str | Path | Iterable[str | Path],
) -> list[tuple[Path, Context]]:
    """Read the same as `read_documents`, each with its file.

    Args:
        paths: A file or folder, or several.

    Returns:
        The path of each file, as it was reached, and its context.

    Raises:
        ValueError: As `read_documents`.
        ModuleNotFoundError: As `read_documents`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.md").write_text("Ada wrote.")
        ...     [(file.name, context.text) for file, context in read_document_files(folder)]
        [('a.md', 'Ada wrote.')]
    """
    return _read(paths)


def list_documents(top: str | Path) -> list[Path]:
    """List the files that `read_documents` reads, blank ones included.

    Args:
        top: A file or folder.

    Returns:
        The file itself, or the files of the folder and below in the order of their paths.

    Raises:
        ValueError: If there is no such path, or a file has another ending.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.md", "a.txt", "c.png"):
        ...         Path(folder, name).touch()
        ...     [file.name for file in list_documents(folder)]
        ['a.txt', 'b.md']
    """
    return [file for file, _ in _documents(Path(top))]


class _Document(NamedTuple):
    """What a file gave: its text, or why it cannot be read."""

    text: str
    is_utf8: bool = True
    fault: str = ""


def _read(paths: str | Path | Iterable[str | Path]) -> list[tuple[Path, Context]]:
    tops = [paths] if isinstance(paths, str | Path) else list(paths)
    require(bool(tops), "read_documents: there must be a path; got none")
    read: dict[Path, _Document] = {}
    contexts: dict[Path, tuple[Path, Context]] = {}
    with Converter("read_documents") as converter:
        for top in map(Path, tops):
            blank = True
            for file, title in _documents(top):
                key = file.resolve()
                if key not in read:
                    read[key] = _document(file, converter, skip=top.is_dir())
                text = read[key].text
                blank = blank and not text.strip()
                if text.strip():
                    contexts.setdefault(key, (file, Context(title, text)))
            faults = [one.fault for one in read.values() if one.fault] if blank else []
            require(
                not blank,
                f"read_documents: there must be a document with text; got none in {top}"
                + "".join(f". {fault}" for fault in faults[:1]),
            )
    _warn(read, len(contexts))
    return _titled(list(contexts.values()))


def _titled(read: list[tuple[Path, Context]]) -> list[tuple[Path, Context]]:
    """Give whole paths as titles where two titles are equal, until none are."""
    while True:
        titles = Counter(context.title for _, context in read)
        if len(titles) == len(read):
            return read
        read = [
            (file, text if titles[text.title] == 1 else text._replace(title=file.as_posix()))
            for file, text in read
        ]


def _warn(read: dict[Path, _Document], count: int) -> None:
    """Say which files cannot be read, and that others have bytes that are no UTF-8."""
    faults = list(dict.fromkeys(one.fault for one in read.values() if one.fault))
    for fault in faults:
        warnings.warn(fault, stacklevel=4)
    if faults:
        refused = sum(bool(one.fault) for one in read.values())
        warnings.warn(
            f"read_documents: {refused} of {len(read)} files cannot be read, so nothing is found "
            "in them",
            stacklevel=4,
        )
    damaged = [path for path, one in read.items() if not one.is_utf8]
    if damaged:
        warnings.warn(
            "read_documents: text must be UTF-8; "
            f"got other bytes in {len(damaged)} of {count} files, replaced by U+FFFD. "
            f"The first is {min(damaged)}",
            stacklevel=4,
        )


def _documents(top: Path) -> list[tuple[Path, str]]:
    """List the files of a folder, or the file itself, with their titles."""
    require(top.exists(), f"read_documents: the path must exist; got {top}")
    if not top.is_dir():
        require(
            _is_document(top),
            f"read_documents: the name must end with {', '.join(_SUFFIXES)}, or .gz after one of "
            f"them, or with {', '.join(_CONVERTED)}; got {top}",
        )
        return [(top, top.name)]
    files = sorted(path for path in top.rglob("*") if _is_document(path) and path.is_file())
    inner = [(path, path.relative_to(top)) for path in files]
    return [
        (path, name.as_posix())
        for path, name in inner
        if not any(part.startswith(".") for part in name.parts)
    ]


def _is_document(path: Path) -> bool:
    name = path.name.lower()
    return name.removesuffix(".gz").endswith(_SUFFIXES) or name.endswith(_CONVERTED)


def _document(file: Path, converter: Converter, *, skip: bool) -> _Document:
    """Read a file; with `skip`, one that cannot be read is described and not refused."""
    try:
        return _converted(file, converter) or _plain(file)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if not skip:
            raise
        why = error.strerror if isinstance(error, OSError) else None
        got = f"read_documents: a document must be readable; got {file}: {why}"
        return _Document("", fault=got if why else str(error))


def _converted(file: Path, converter: Converter) -> _Document | None:
    """Read a document of another format than text; None if it is text."""
    suffix = file.suffix.lower()
    if suffix not in _CONVERTED:
        return None
    existing_file("read_documents", file)
    try:
        return _Document(converter.read(file, suffix))
    except ValueError as error:
        raise ValueError(
            f"read_documents: a document must be readable; got {file}: {error}"
        ) from None


def _plain(file: Path) -> _Document:
    raw = read_bytes(file, "read_documents")
    refuse_utf16(raw, "read_documents", file)
    text = raw.decode("utf-8", "replace")
    return _Document(text.removeprefix(BOM), text.encode() == raw)
