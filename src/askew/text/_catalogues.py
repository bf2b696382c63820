"""The gettext catalogues of a folder, and the languages they translate into."""

import re
from pathlib import Path

from askew._check import require

_LOCALE = re.compile(r"[a-z]{2}([_-]\w{2,4})?(@\w+)?|[a-z]{3}[_-][A-Z]{2}")


def catalogues(folder: Path, language: str | None) -> list[Path]:
    """List the catalogues of one language in a folder and below, in the order of their paths.

    The language is the name of the folder above LC_MESSAGES, else the header says it, else a part
    of the path that looks like a language. A file that says none goes with the only language.

    Raises:
        ValueError: If there are several languages and none is named, not the one named, or a
            language is named and a file says none.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() == ".po")
    found = {file: _language(file, folder) for file in files if file.is_file()}
    known = sorted({one for one in found.values() if one is not None})
    if language is None:
        require(
            len(known) < 2,
            f"read_po: a folder must be of one language; got {', '.join(known)} in {folder}. "
            "Name the language, or give the file or folder of one",
        )
        return files
    wanted = _normal(language)
    require(
        wanted in known,
        f"read_po: language must be one of {', '.join(known) or 'none'} in {folder}; "
        f"got language {language!r}",
    )
    unknown = [file for file, one in found.items() if one is None]
    require(
        not unknown,
        "read_po: every file must say its language, if one is named; "
        f"got none of {', '.join(map(str, unknown[:1]))}. Write it into its header",
    )
    return [file for file in files if found.get(file) == wanted]


def _language(file: Path, folder: Path) -> str | None:
    parts = file.parts
    if "LC_MESSAGES" in parts[1:-1]:
        return _normal(parts[parts.index("LC_MESSAGES") - 1])
    header = file.read_bytes().split(b"\nmsgid ", 2)[:2]  # the second message has no header
    named = re.search(rb'(?m)^"Language:\s*([\w@-]+)', b"\n".join(header))
    if named:
        return _normal(named[1].decode())
    inner = file.relative_to(folder).with_suffix("").parts
    return next((_normal(part) for part in reversed(inner) if _LOCALE.fullmatch(part)), None)


def _normal(language: str) -> str:
    return language.replace("-", "_").lower()
