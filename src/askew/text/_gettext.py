"""gettext catalogues: reading their translations, and filling in missing ones."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from askew._check import require
from askew._files import replacing
from askew.text._catalogues import catalogues
from askew.text._pairs import ParallelText, leave_out
from askew.text._placeholders import find_placeholders
from askew.text._po_file import PoFile, PoMessage, quote_po, read_po_file

_LOST = "# lost: "  # the comment that names placeholders missing from a translation


def read_po(
    path: str | Path, *, language: str | None = None, left_out: Counter[str] | None = None
) -> ParallelText:
    r"""Read the translated messages of a `.po` file, or of all in a folder and below.

    Fuzzy, obsolete and untranslated messages and the header are left out. Text is read
    unchanged, with placeholders and markup, even if both languages have the same. Of a plural
    message, the singular is paired with the form for one thing, by the rule in the header, and
    the plural with the form for all other numbers, if there is only one. Repeated pairs are read
    once. A file may have all that msgfmt takes.

    Args:
        path: A file (`.po` or `.pot`), or a folder; its `.po` files are read in the order of
            their names.
        language: The one to read of a folder that holds several, such as "pt_BR". A file is of the
            language of the folder above LC_MESSAGES, of its header, or of its path.
        left_out: Is told how many pairs are left out, by reason.

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
    require(bool(files), f"read_po: a folder must hold .po files; got none in {path}")
    read = [read_po_file(file) for file in files]
    found = [pair for file in read for pair in _pairs(file)]
    pairs = dict.fromkeys(found)
    messages = (message for file in read for message in file.messages)
    texts = sum(bool(source.strip()) for message in messages for source in message.sources)
    leave_out(left_out, "untranslated or fuzzy", texts - len(found))
    leave_out(left_out, "repeated", len(found) - len(pairs))
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
    that a translation has lost. Of a plural message only the forms that are empty or missing are
    filled in; the form for one thing, by the rule in the header, translates the singular, all
    others the plural. All else stays unchanged.

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
    wanted = [_wanted(message, file, overwrite) for message in file.messages]
    translations = _translations([text for forms in wanted for text in forms.values()], translate)
    pieces, at = [], 0
    for message, forms in zip(file.messages, wanted, strict=True):
        if forms:
            texts = {i: _with_line_breaks_of(t, translations[t]) for i, t in forms.items()}
            pieces += [file.text[at : message.first], *_filled(message, forms, texts, file)]
            at = message.end
    _write(out, "".join([*pieces, file.text[at:]]), file.encoding)
    return sum(map(bool, wanted))


def _pairs(file: PoFile) -> Iterator[tuple[str, str]]:
    for message in file.messages:
        if "fuzzy" in message.flags:
            continue
        rule = file.plural_rule(message)
        forms = (0,) if len(message.sources) == 1 else (rule.one, rule.many)
        for source, form in zip(message.sources, forms, strict=True):
            known = form is not None and form < len(message.targets)
            if known and source.strip() and message.targets[form].strip():
                yield source, message.targets[form]


def _wanted(message: PoMessage, file: PoFile, overwrite: bool) -> dict[int, str]:
    """Return the source of each form that is to be filled in."""
    rule, targets = file.plural_rule(message), message.targets
    if len(message.sources) == 1:
        sources = message.sources
    else:
        count = rule.num_forms or len(targets)
        sources = [message.sources[0 if i == rule.one else 1] for i in range(count)]
    return {
        i: source
        for i, source in enumerate(sources)
        if overwrite or i >= len(targets) or not targets[i].strip()
    }


def _translations(
    every: Iterable[str], translate: Callable[[list[str]], list[str]]
) -> dict[str, str]:
    texts = list(dict.fromkeys(every))
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


def _filled(
    message: PoMessage, sources: Mapping[int, str], texts: Mapping[int, str], file: PoFile
) -> Iterator[str]:
    """Yield a message anew: a note of lost placeholders, its comments, a flag, and its forms."""
    text, start = file.text, message.forms[0][0]
    end = "\r\n" if "\r\n" in text[message.first : message.end + 2] else "\n"
    if message.first > 0 and text[message.first - 1] != "\n":
        yield end  # another message stands before it on the line
    lost = {
        source: find_placeholders(source) - find_placeholders(texts[i])
        for i, source in sources.items()
    }
    for missing in filter(None, lost.values()):
        yield " ".join((_LOST + " ".join(sorted(missing.elements()))).splitlines()) + end
    yield from _flagged(text[message.first : message.keywords].splitlines(keepends=True), end)
    yield text[message.keywords : start]
    word = "msgstr[{}]" if len(message.sources) > 1 else "msgstr"
    for i, (begin, stop) in enumerate(message.forms):
        if i in texts:
            yield text[start:begin] + end.join(quote_po(word.format(i), texts[i]))
        elif message.targets[i].strip():  # else the language does not have the form
            yield text[start:stop]
        start = stop
    for i in range(len(message.forms), max(texts) + 1):
        yield end + end.join(quote_po(word.format(i), texts[i]))


def _flagged(comments: Sequence[str], end: str) -> list[str]:
    """Add the flag "fuzzy" to the flags, and drop an older note of lost placeholders."""
    kept = [line for line in comments if not line.startswith(_LOST)]
    flags = [i for i, line in enumerate(kept) if line.startswith("#,")]
    if not flags:
        previous = [i for i, line in enumerate(kept) if line.startswith("#|")]
        kept.insert(previous[0] if previous else len(kept), "#, fuzzy" + end)
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
