"""gettext catalogues: what is translated in them, and translations back into them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from askew._check import require
from askew.text._pairs import ParallelText
from askew.text._placeholders import find_placeholders
from askew.text._po_file import PoFile, PoMessage, quote_po, read_po_file

_LOST = "# lost: "


def read_po(path: str | Path) -> ParallelText:
    r"""Read the translated messages of a `.po` file, or of all in a folder and below.

    Fuzzy, obsolete and untranslated messages and the header are left out; text is taken as
    it stands, placeholders and markup included, also where it is the same in both languages.
    Of a plural message the singular and its first form are a pair, and the plural and its
    second where there are just two; an only form translates the plural. A pair that comes
    again is taken once.

    Args:
        path: A file, or a folder; its files are read in the order of their names.

    Returns:
        The pairs.

    Raises:
        ValueError: If there is no such file, it is damaged (the message names file and line),
            or nothing is translated.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "pt.po"
        ...     _ = path.write_text('msgid "Open"\nmsgstr "Abrir"\n')
        ...     read_po(path)
        ParallelText(sources=['Open'], targets=['Abrir'])
    """
    path = Path(path)
    require(path.exists(), f"read_po: the file must exist; got {path}")
    files = sorted(path.rglob("*.po")) if path.is_dir() else [path]
    pairs = dict.fromkeys(pair for file in files for pair in _pairs(read_po_file(file)))
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
    in_place: bool = False,
) -> int:
    r"""Copy a `.po` file with translations for the messages that have none.

    What is filled in is marked fuzzy, for a human to look at; a comment names placeholders
    that the translation lost. All other lines stay as they are.

    Args:
        path: The file.
        translate: Gives a translation for each text.
        out: Where to; a file that is there is replaced as a whole.
        overwrite: Translate every message anew, also those that have a translation.
        in_place: Whether `out` may be `path` itself.

    Returns:
        The number of messages filled in.

    Raises:
        ValueError: If the file is missing or damaged, `out` is the file itself without
            `in_place`, there is not one translation for each text, or the file's encoding
            cannot hold one.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path, out = Path(folder) / "pt.po", Path(folder) / "new.po"
        ...     _ = path.write_text('msgid "Open"\nmsgstr ""\n')
        ...     count = translate_po(path, lambda texts: ["Abrir" for _ in texts], out)
        ...     print(out.read_text(), end="")
        #, fuzzy
        msgid "Open"
        msgstr "Abrir"
    """
    path, out = Path(path), Path(out)
    require(
        in_place or not (out.exists() and path.exists() and out.samefile(path)),
        f"translate_po: out must be another file; got out {out}. Name another, or set in_place",
    )
    file = read_po_file(path)
    open_ = [message for message in file.messages if overwrite or not message.is_translated]
    found = _translated(open_, translate)
    lines = list(file.lines)
    for message in reversed(open_):  # from the end, so that earlier places stay true
        forms = [_edged(text, found[text]) for text in message.sources]
        lines[message.first : message.end] = _filled(message, forms, file)
    _write(out, "\n".join(lines), file.encoding)
    return len(open_)


def _pairs(file: PoFile) -> Iterator[tuple[str, str]]:
    for message in file.messages:
        if not message.is_translated or "fuzzy" in message.flags:
            continue
        sources, targets = message.sources, message.targets
        if len(sources) != len(targets):
            sources = sources[-1:] if len(targets) == 1 else sources[:1]
        yield from zip(sources, targets, strict=False)


def _translated(
    messages: Sequence[PoMessage], translate: Callable[[list[str]], list[str]]
) -> dict[str, str]:
    texts = list(dict.fromkeys(text for message in messages for text in message.sources))
    found = translate(texts) if texts else []
    require(
        len(found) == len(texts),
        "translate_po: translate must give one translation for each text; "
        f"got {len(found)} for {len(texts)} texts",
    )
    return dict(zip(texts, found, strict=True))


def _edged(source: str, target: str) -> str:
    r"""Begin and end with as many "\n" as the source: gettext's own check asks for it."""
    core = source.strip("\n")
    if not core:
        return source
    before, _, after = source.partition(core)
    return before + target.strip("\n") + after


def _filled(message: PoMessage, forms: list[str], file: PoFile) -> list[str]:
    """Give the lines of the message: translated, marked, and with a note of what was lost."""
    end = "\r" if file.lines[message.translations].endswith("\r") else ""
    if len(forms) == 1:
        texts = quote_po("msgstr", forms[0])
    else:  # the plural's translation stands for all forms but the first
        count = file.num_plurals or len(message.targets)
        every = [*forms[:1], *forms[1:] * (count - 1)] if count > 1 else forms[1:]
        texts = [s for i, text in enumerate(every) for s in quote_po(f"msgstr[{i}]", text)]
    lost = [
        _LOST + " ".join(sorted((find_placeholders(source) - find_placeholders(form)).elements()))
        for source, form in zip(message.sources, forms, strict=True)
    ]
    notes = [" ".join(note.splitlines()) for note in lost if note != _LOST]
    comments = _flagged(file.lines[message.first : message.keywords], end)
    keywords = file.lines[message.keywords : message.translations]
    return [f"{note}{end}" for note in notes] + comments + keywords + [t + end for t in texts]


def _flagged(comments: Sequence[str], end: str) -> list[str]:
    """Add the flag "fuzzy" where flags stand, and leave out an older note of what was lost."""
    kept = [line for line in comments if not line.startswith(_LOST)]
    flags = [i for i, line in enumerate(kept) if line.startswith("#,")]
    if not flags:
        previous = [i for i, line in enumerate(kept) if line.startswith("#|")]
        kept.insert(previous[0] if previous else len(kept), f"#, fuzzy{end}")
    elif not any("fuzzy" in kept[i] for i in flags):
        kept[flags[0]] = kept[flags[0]].replace("#,", "#, fuzzy,", 1)
    return kept


def _write(out: Path, text: str, encoding: str) -> None:
    try:
        raw = text.encode(encoding)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"translate_po: the file must be in an encoding that holds the translations; "
            f"got {encoding}, which has no {error.object[error.start]!r}. "
            "Convert it to UTF-8, for example with msgconv"
        ) from None
    part = out.with_name(f"{out.name}.part")
    part.write_bytes(raw)
    part.replace(out)
