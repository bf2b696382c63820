"""Keeps an index in step with the files that it was made of."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

from askew._check import require
from askew._files import file_sha256, read_json, write_json
from askew.cli._exits import in_one_line, print_notes, without_callable
from askew.tasks import describe_read

if TYPE_CHECKING:
    from askew.models import ContextIndex
    from askew.text import Context

_LIST = "documents.json"
_Record = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Documents:
    """Files that are given, as they were read.

    Attributes:
        contexts: Their texts.
        files: The path of each, as it was reached.
        records: For each whole path its folder, the SHA-256 of the file, and its title.
        read: What was read and left out, in one line; "" if nothing is given.
    """

    contexts: "list[Context]"
    files: list[Path]
    records: Mapping[str, _Record]
    read: str = ""


def read_with_records(tops: Iterable[Path]) -> Documents:
    """Read documents; they are hashed before, so that a change meanwhile is found next time."""
    from askew.text import list_documents, read_document_files

    tops = list(tops)
    print_notes(_other_kinds(tops))
    sums = {
        file.resolve(): {"top": str(top.resolve()), "sha256": _sum(file)}
        for top in tops
        for file in list_documents(top)
        if file.is_file()  # reading refuses pipes and devices
    }
    with _warnings_as_notes():
        pairs = read_document_files(tops) if tops else []
    records = {
        str(file.resolve()): {**sums[file.resolve()], "title": context.title}
        for file, context in pairs
    }
    place = ", ".join(map(str, tops))
    empty = {"empty or unreadable": len(sums) - len(records)}
    sizes = {"search": len(records)}
    return Documents(
        read=describe_read("documents", place, empty, sizes) if tops else "",
        contexts=[context for _, context in pairs],
        files=[file for file, _ in pairs],
        records=records,
    )


def check_documents(index: Path | None) -> list[str]:
    """Check that the documents of an index are as they were encoded.

    Documents whose whole surroundings are gone, as on another machine, cannot be compared, nor
    those that cannot be read.

    Returns:
        Notes on documents that are not encoded yet or cannot be compared, if there are such.

    Raises:
        ValueError: If a document was changed or deleted.
    """
    if index is None:
        return []
    stale, elsewhere, unreadable = [], [], []
    for path, record in _recorded(index).items():
        file = Path(path)
        if file.is_file():
            found = _sum(file)
            if not found:
                unreadable.append(path)
            elif found != record["sha256"]:
                stale.append(f"{path} changed")
        elif _is_elsewhere(record):
            elsewhere.append(path)
        else:
            stale.append(f"{path} deleted")
    more = f" and {len(stale) - 3} more" if len(stale) > 3 else ""
    require(
        not stale,
        "check_documents: the documents must be as they were when they were encoded; "
        f"got {', '.join(stale[:3])}{more}. Give --context, and {index} follows them",
    )
    notes = _note_uncompared(elsewhere, "are not here") + _note_uncompared(
        unreadable, "cannot be read"
    )
    return _note_unfinished(index) + notes


def follow_documents(
    folder: Path,
    given: Documents,
    stored: "ContextIndex | None",
    encode: "Callable[[ContextIndex | None, list[Context]], ContextIndex]",
) -> "tuple[ContextIndex, list[str]]":
    """Bring an index into step with the files given and with those that it was made of before.

    New and changed files are encoded, deleted ones dropped, and those that only have another
    name get it. Whatever stops this leaves an index that the next call brings into step.

    Args:
        folder: Of the index, which nobody else writes.
        given: Files to be in it.
        stored: The index, if there is one.
        encode: Adds contexts to an index, or makes one.

    Returns:
        The index, and notes on what was done.
    """
    recorded = _recorded(folder)
    given = _apart(given, recorded)
    kept = _Kept(given)
    for path, record in recorded.items():
        kept.compare(path, record, stored)
    # New files are listed first, so that no text is ever in an index whose file is not listed;
    # for changed ones the old sum stays until they are encoded.
    _write(folder, {**kept.records, **recorded}, unfinished=True)
    rows = {} if stored is None else kept.stale_rows(stored)
    by_text = {context.text: row for row, context in rows.items()}
    moved = {}
    for context in kept.contexts:
        is_new = stored is not None and stored.row(context) is None
        if is_new and context.text in by_text:
            moved[by_text.pop(context.text)] = context.title
    if stored is not None and moved:
        stored.update(titles=moved)
    index = encode(stored, list(kept.contexts))
    dropped = rows.keys() - moved.keys()
    if dropped:
        index.update(dropped=dropped)
        if 2 * len(index.dropped) >= len(index.contexts):
            index.compact()
    _write(folder, kept.records)
    gone = max(0, kept.deleted - len(moved))
    counts = ((kept.changed, "encoded again"), (len(moved), "renamed"), (gone, "dropped"))
    done = ", ".join(f"{count} {what}" for count, what in counts if count)
    notes = [f"of the documents of the index: {done}"] if done else []
    return index, notes + _note_uncompared(kept.elsewhere, "are not here")


def files_by_title(folder: Path) -> dict[str, Path]:
    """Name the file of every title of an index."""
    return {_titles(path, record)[0]: Path(path) for path, record in _recorded(folder).items()}


def _apart(given: Documents, recorded: Mapping[str, _Record]) -> Documents:
    """Give whole paths as titles where a file that is not given has the title already."""
    taken = {
        title
        for path, record in recorded.items()
        if path not in given.records and (Path(path).is_file() or _is_elsewhere(record))
        for title in _titles(path, record)
    }
    paths = [str(file.resolve()) for file in given.files]
    contexts = [
        context._replace(title=path) if context.title in taken else context
        for path, context in zip(paths, given.contexts, strict=True)
    ]
    records = {
        path: {**given.records[path], "title": context.title}
        for path, context in zip(paths, contexts, strict=True)
    }
    return replace(given, contexts=contexts, records=records)


class _Kept:
    """The contexts that an index is to hold, and the titles whose other contexts are stale."""

    def __init__(self, given: Documents) -> None:
        self.contexts = dict.fromkeys(given.contexts)
        self.records = dict(given.records)
        self.changed = self.deleted = 0
        self.elsewhere: list[str] = []
        self._right = set(given.contexts)  # also those that need not be encoded
        self._used = {context.title for context in given.contexts}
        self._titles: set[str] = set()
        self._untouched: set[str] = set()

    def compare(self, path: str, record: _Record, stored: "ContextIndex | None") -> None:
        """Take up a file that the index was made of."""
        file, titles = Path(path), _titles(path, record)
        if not file.is_file() and _is_elsewhere(record):
            self.elsewhere.append(path)
            self.records[path] = record
            self._untouched.update(titles)
            return
        self._titles.update(titles)
        if path in self.records:
            self.changed += self.records[path]["sha256"] != record["sha256"]
        elif not file.is_file() or not (found := _read_again(file)):
            self.deleted += 1
        else:
            text, digest = found
            known = {c.title for c in (stored.contexts if stored is not None else ())}
            title = next((title for title in titles if title in known), titles[0])
            if title in self._used:
                titles = [title := path]
            self._used.add(title)
            contexts = [text._replace(title=title) for title in titles]
            self._right.update(contexts)
            self.contexts[text._replace(title=title)] = None
            self.records[path] = {**record, "sha256": digest, "title": title}
            self.changed += digest != record["sha256"]

    def stale_rows(self, index: "ContextIndex") -> "dict[int, Context]":
        """Find what the index still holds of files that have other texts or names by now."""
        stale = self._titles - self._untouched
        return {
            row: context
            for row, context in enumerate(index.contexts)
            if row not in index.dropped and context.title in stale and context not in self._right
        }


def _read_again(file: Path) -> "tuple[Context, str] | None":
    """Read a file that no folder given leads to; None if nothing is in it any more."""
    from askew.text import read_documents

    try:
        digest = file_sha256(file)
        if not file.read_bytes().strip():
            return None
        with _warnings_as_notes():
            return read_documents(file)[0], digest
    except (ValueError, OSError) as error:
        print_notes([in_one_line(error)])
        return None


def _sum(file: Path) -> str:
    """Hash a file; "", which is of no file, if it cannot be read."""
    try:
        return file_sha256(file)
    except OSError:
        return ""


def _other_kinds(tops: Iterable[Path]) -> list[str]:
    """Count the files in folders that no reader is for."""
    from askew.text import list_documents

    kinds: Counter[str] = Counter()
    for top in tops:
        if not top.is_dir():
            continue
        known = set(list_documents(top))
        others = (path for path in top.rglob("*") if path not in known and path.is_file())
        kinds.update(
            path.suffix.lower() or "without ending"
            for path in others
            if not any(part.startswith(".") for part in path.relative_to(top).parts)
        )
    if not kinds:
        return []
    most = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common(5))
    more = ", …" if len(kinds) > 5 else ""
    return [f"{kinds.total()} files of other kinds are not read: {most}{more}"]


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Print what a reader warns of as notes, each in one line."""
    with catch_warnings(record=True) as caught:
        simplefilter("always")
        yield
    print_notes(without_callable(str(warning.message)) for warning in caught)


def _titles(path: str, record: _Record) -> list[str]:
    """List the titles that the text of a file may have; earlier releases did not store it."""
    if "title" in record:
        return [record["title"]]
    file, top = Path(path), Path(record["top"])
    inner = file.relative_to(top).as_posix() if file.is_relative_to(top) else file.name
    return list(dict.fromkeys([file.name if inner == "." else inner, file.as_posix()]))


def _is_elsewhere(record: _Record) -> bool:
    return not Path(record["top"]).parent.exists()


def _note_uncompared(paths: list[str], why: str) -> list[str]:
    if not paths:
        return []
    return [
        f"{len(paths)} documents of the index {why}, so they are not compared with it: "
        f"{paths[0]}{' and others' if len(paths) > 1 else ''}"
    ]


def _note_unfinished(index: Path) -> list[str]:
    if not (index / _LIST).is_file() or "unfinished" not in read_json(index / _LIST):
        return []
    return [
        f"some documents of {index} are not encoded: that was stopped, or goes on. --context "
        "encodes the rest"
    ]


def _write(index: Path, records: Mapping[str, _Record], *, unfinished: bool = False) -> None:
    mark = {"unfinished": True} if unfinished else {}
    write_json(index / _LIST, {"version": 1, **mark, "documents": dict(records)})


def _recorded(index: Path) -> dict[str, _Record]:
    path = index / _LIST
    if not path.is_file():
        return {}
    documents = read_json(path).get("documents")
    documents = documents if isinstance(documents, dict) else {"": None}
    require(
        all(_is_record(record) for record in documents.values()),
        f"check_documents: the list must hold documents with their sums; got {path}. "
        f"Remove {index} and encode again with --context",
    )
    return documents


def _is_record(record: object) -> bool:
    return (
        isinstance(record, dict)
        and {"top", "sha256"} <= set(record) <= {"top", "sha256", "title"}
        and all(isinstance(value, str) for value in record.values())
    )
