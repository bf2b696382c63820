"""gettext catalogues: what is translated in them, and translations back into them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from askew._check import require
from askew.text._pairs import ParallelText
from askew.text._placeholders import find_placeholders

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog, Message


def read_po(path: str | Path) -> ParallelText:
    """Read the translated messages of a `.po` file, or of all in a folder and below.

    Fuzzy, obsolete and untranslated messages and the header are left out; text is taken as
    it stands, placeholders and markup included. Of a plural message the singular and its
    first form are a pair, and the plural and its second where there are just two. A pair
    that comes again is taken once.

    Args:
        path: A file, or a folder; its files are read in the order of their names.

    Returns:
        The pairs.

    Raises:
        ValueError: If there is no such file, it is damaged, or nothing is translated.
    """
    path = Path(path)
    require(path.exists(), f"read_po: the file must exist; got {path}")
    files = sorted(path.rglob("*.po")) if path.is_dir() else [path]
    pairs = dict.fromkeys(pair for file in files for pair in _pairs(_catalogue(file)))
    require(
        bool(pairs),
        f"read_po: a message must be translated and not fuzzy; got none in {path}",
    )
    return ParallelText([source for source, _ in pairs], [target for _, target in pairs])


def translate_po(
    path: str | Path,
    translate: Callable[[list[str]], list[str]],
    out: str | Path,
    *,
    overwrite: bool = False,
) -> int:
    """Copy a `.po` file with translations for the messages that have none.

    What is filled in is marked fuzzy, for a human to look at; a comment names placeholders
    that the translation lost.

    Args:
        path: The file.
        translate: Gives a translation for each text.
        out: Where to; may be `path` itself only with `overwrite`.
        overwrite: Translate every message anew, also those that have a translation.

    Returns:
        The number of messages filled in.

    Raises:
        ValueError: If the file is missing or damaged, or `out` is the file itself and not to
            be overwritten.
    """
    from babel.messages.pofile import write_po

    path, out = Path(path), Path(out)
    require(
        overwrite or not (out.exists() and out.samefile(path)),
        f"translate_po: out must be another file; got out {out}. Name another, or overwrite",
    )
    catalogue = _catalogue(path)
    open_ = [m for m in catalogue if m.id and (overwrite or not _is_translated(m))]
    texts = list(dict.fromkeys(text for message in open_ for text in _forms(message.id)))
    found = dict(zip(texts, translate(texts), strict=True))
    for message in open_:
        _fill(message, [found[text] for text in _forms(message.id)], catalogue.num_plurals)
    part = out.with_name(f"{out.name}.part")
    with part.open("wb") as file:
        write_po(file, catalogue, width=0)
    part.replace(out)
    return len(open_)


def _catalogue(path: Path) -> "Catalog":
    from babel.messages.pofile import PoFileError, read_po

    require(path.is_file(), f"read_po: the file must exist; got {path}")
    try:
        with path.open("rb") as file:
            return read_po(file, abort_invalid=True)
    except (PoFileError, UnicodeDecodeError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", None)
        place = path if line is None else f"{path}, line {line + 1}"
        raise ValueError(f"read_po: the file must be gettext; got {place}: {error}") from None


def _pairs(catalogue: "Catalog") -> Iterator[tuple[str, str]]:
    for message in catalogue:
        if not message.id or message.fuzzy or not _is_translated(message):
            continue
        sources, targets = _forms(message.id), _forms(message.string)
        if len(sources) > 1 and len(targets) != 2:
            sources, targets = sources[:1], targets[:1]
        yield from zip(sources, targets, strict=True)


def _is_translated(message: "Message") -> bool:
    return all(text.strip() for text in _forms(message.string))


def _forms(text: str | Sequence[str] | None) -> list[str]:
    if text is None:
        return [""]
    return [text] if isinstance(text, str) else [form or "" for form in text]


def _fill(message: "Message", found: list[str], num_plurals: int) -> None:
    """Put in the translation: the last one stands for all further plural forms."""
    if len(found) == 1:
        message.string = found[0]
    else:
        message.string = tuple(found[min(i, 1)] for i in range(num_plurals))
    message.flags.add("fuzzy")
    for source, target in zip(_forms(message.id), found, strict=True):
        lost = find_placeholders(source) - find_placeholders(target)
        if lost:
            message.user_comments.append(f"lost: {' '.join(sorted(lost.elements()))}")
