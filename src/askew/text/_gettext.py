"""gettext catalogues: reading their translations, and filling in missing ones."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from askew._check import require
from askew._files import replacing
from askew.text._catalogues import catalogues
from askew.text._pairs import ParallelText
from askew.text._placeholders import find_placeholders
from askew.text._po_file import PoFile, PoMessage, quote_po, read_po_file

_LOST = "# lost: "  # the comment that names placeholders missing from a translation


def read_po(path: str | Path, *, language: str | None = None) -> ParallelText:
    r"""Read the translated messages of a `.po` file, or of all in a folder and below.

    Fuzzy, obsolete and untranslated messages and the header are left out. Text is read
    unchanged, with placeholders and markup, even if both languages have the same. A plural
    message with two forms gives two pairs, singular and plural; with one form, the pair of the
    plural; with more, that of the singular and the first form. Repeated pairs are read once.

    Args:
        path: A file, or a folder; its files are read in the order of their names.
        language: The one to read of a folder that holds several, such as "pt_BR". A file is of the
            language of the folder above LC_MESSAGES, of its header, or of its path.

    Returns:
        The pairs.

    Raises:
        ValueError: If there is no such file, it is damaged (the message names file and line),
            no message is translated, or a folder holds several languages and none is named.

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
    require(
        language is None or path.is_dir(),
        f"read_po: language goes with a folder; got language {language!r}, the file {path}",
    )
    files = catalogues(path, language) if path.is_dir() else [path]
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

    New translations are marked fuzzy, for a human to check; a comment names the placeholders
    that a translation has lost. All other lines stay unchanged.

    Args:
        path: The file.
        translate: Function from texts to one translation each.
        out: The file to write; an existing one is replaced as a whole.
        overwrite: Translate every message, also those that have a translation.
        in_place: Whether `out` may be `path` itself.

    Returns:
        The number of messages translated.

    Raises:
        ValueError: If the file is missing or damaged, `out` is the file itself without
            `in_place`, the number of translations is not that of the texts, or the file's
            encoding cannot represent one.

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
    messages = [message for message in file.messages if overwrite or not message.is_translated]
    translations = _translations(messages, translate)
    lines = list(file.lines)
    for message in reversed(messages):  # from the end, so that earlier line numbers stay valid
        forms = [_with_line_breaks_of(text, translations[text]) for text in message.sources]
        lines[message.first : message.end] = _message_lines(message, forms, file)
    _write(out, "\n".join(lines), file.encoding)
    return len(messages)


def _pairs(file: PoFile) -> Iterator[tuple[str, str]]:
    for message in file.messages:
        if not message.is_translated or "fuzzy" in message.flags:
            continue
        sources, targets = message.sources, message.targets
        if len(sources) != len(targets):
            sources = sources[-1:] if len(targets) == 1 else sources[:1]
        yield from zip(sources, targets, strict=False)


def _translations(
    messages: Sequence[PoMessage], translate: Callable[[list[str]], list[str]]
) -> dict[str, str]:
    texts = list(dict.fromkeys(text for message in messages for text in message.sources))
    translations = translate(texts) if texts else []
    require(
        len(translations) == len(texts),
        "translate_po: translate must give one translation for each text; "
        f"got {len(translations)} for {len(texts)} texts",
    )
    return dict(zip(texts, translations, strict=True))


def _with_line_breaks_of(source: str, target: str) -> str:
    r"""Begin and end with as many "\n" as the source, as gettext's own check requires."""
    core = source.strip("\n")
    if not core:
        return source
    before, _, after = source.partition(core)
    return before + target.strip("\n") + after


def _message_lines(message: PoMessage, forms: list[str], file: PoFile) -> list[str]:
    """Write the lines of a message: translation, flag, and a note of lost placeholders."""
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
    """Add the flag "fuzzy" to the flags, and drop an older note of lost placeholders."""
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
    with replacing(out) as partial:
        partial.write_bytes(raw)
