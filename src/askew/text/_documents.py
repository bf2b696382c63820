"""Text files as contexts to ask about."""

import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from askew._check import require
from askew._encoding import BOM, refuse_utf16
from askew.text._questions import Context
from askew.text._squad import read_bytes

_SUFFIXES = (".txt", ".md", ".rst", ".markdown")


def read_documents(paths: str | Path | Iterable[str | Path]) -> list[Context]:
    """Read text files, or all text files in folders and below, as contexts to ask about.

    The names end with .txt, .md, .rst or .markdown, or with .gz after one of these. The files of a
    folder come in the order of their paths; hidden files (with a leading dot, or in such a
    folder) and blank ones are left out. A file that is reached twice is read once.

    Text is unchanged, except that a byte order mark is dropped. Bytes that are not UTF-8 become
    U+FFFD, and a warning says in how many files. A file in UTF-16 is refused.

    Args:
        paths: A file or folder, or several.

    Returns:
        One context per file. Its title is the path within the folder, or the name of a file
        given directly; if two titles are equal, both are whole paths.

    Raises:
        ValueError: If there is no such path, a file given directly has another ending, is blank
            or damaged, a file is in UTF-16, or a folder has no such file with text.

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
        ...     for name in ("b.md", "a.txt", "c.pdf"):
        ...         Path(folder, name).touch()
        ...     [file.name for file in list_documents(folder)]
        ['a.txt', 'b.md']
    """
    return [file for file, _ in _documents(Path(top))]


def _read(paths: str | Path | Iterable[str | Path]) -> list[tuple[Path, Context]]:
    tops = [paths] if isinstance(paths, str | Path) else list(paths)
    require(bool(tops), "read_documents: there must be a path; got none")
    contexts: dict[Path, tuple[Path, Context]] = {}
    damaged: set[Path] = set()
    for top in map(Path, tops):
        blank = True
        for file, title in _documents(top):
            text, is_utf8 = _document(file)
            blank = blank and not text.strip()
            if text.strip():
                contexts.setdefault(file.resolve(), (file, Context(title, text)))
            if not is_utf8:
                damaged.add(file.resolve())
        require(not blank, f"read_documents: there must be a document with text; got none in {top}")
    if damaged:
        warnings.warn(
            "read_documents: text must be UTF-8; "
            f"got other bytes in {len(damaged)} of {len(contexts)} files, replaced by U+FFFD. "
            f"The first is {min(damaged)}",
            stacklevel=3,
        )
    titles = Counter(context.title for _, context in contexts.values())
    return [
        (file, context if titles[context.title] == 1 else context._replace(title=file.as_posix()))
        for file, context in contexts.values()
    ]


def _documents(top: Path) -> list[tuple[Path, str]]:
    """List the files of a folder, or the file itself, with their titles."""
    require(top.exists(), f"read_documents: the path must exist; got {top}")
    if not top.is_dir():
        require(
            _is_document(top),
            "read_documents: the name must end with "
            f"{', '.join(_SUFFIXES)}, or .gz after one of them; got {top}",
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
    return path.name.lower().removesuffix(".gz").endswith(_SUFFIXES)


def _document(path: Path) -> tuple[str, bool]:
    """Read the text of a file, and whether all of it is UTF-8."""
    raw = read_bytes(path, "read_documents")
    refuse_utf16(raw, "read_documents", path)
    text = raw.decode("utf-8", "replace")
    return text.removeprefix(BOM), text.encode() == raw
