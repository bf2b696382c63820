"""Which files an index was made of, so that it never answers from what they held before."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from askew._check import require
from askew._files import file_sha256, read_json, write_json

_LIST = "documents.json"


def document_sums(index: Path | None, tops: Iterable[Path] | None) -> dict[str, dict[str, str]]:
    """Hash the files of documents, before they are read: a change meanwhile is then found."""
    if index is None:
        return {}
    from askew.text import list_documents

    return {
        str(file.resolve()): {"top": str(top.resolve()), "sha256": file_sha256(file)}
        for top in tops or ()
        for file in list_documents(top)
    }


def record_documents(index: Path | None, sums: Mapping[str, Mapping[str, str]]) -> None:
    """Add documents to the list beside an index, if there are both."""
    if index is None or not sums:
        return
    index.mkdir(parents=True, exist_ok=True)
    write_json(index / _LIST, {"version": 1, "documents": {**_recorded(index), **sums}})


def check_documents(index: Path | None) -> list[str]:
    """Check that the documents of an index are as they were encoded.

    Documents whose whole surroundings are gone, as on another machine, cannot be compared.

    Returns:
        A note on documents that cannot be compared, if there are such.

    Raises:
        ValueError: If a document was changed or deleted.
    """
    if index is None:
        return []
    stale, elsewhere = [], []
    for path, record in _recorded(index).items():
        file, top = Path(path), Path(record["top"])
        if file.is_file():
            if file_sha256(file) != record["sha256"]:
                stale.append(f"{path} changed")
        elif top.parent.exists():
            stale.append(f"{path} deleted")
        else:
            elsewhere.append(path)
    more = f" and {len(stale) - 3} more" if len(stale) > 3 else ""
    require(
        not stale,
        "answer: the documents must be as they were when they were encoded; "
        f"got {', '.join(stale[:3])}{more}. Remove {index} and encode them again with --context",
    )
    if not elsewhere:
        return []
    return [
        f"{len(elsewhere)} documents of the index are not here, so they are not compared with it: "
        f"{elsewhere[0]}{' and others' if len(elsewhere) > 1 else ''}"
    ]


def _recorded(index: Path) -> dict[str, dict[str, str]]:
    path = index / _LIST
    if not path.is_file():
        return {}
    documents = read_json(path).get("documents")
    documents = documents if isinstance(documents, dict) else {"": None}
    require(
        all(_is_record(record) for record in documents.values()),
        f"answer: the list must hold documents with their sums; got {path}. "
        f"Remove {index} and encode again with --context",
    )
    return documents


def _is_record(record: object) -> bool:
    return (
        isinstance(record, dict)
        and set(record) == {"top", "sha256"}
        and all(isinstance(value, str) for value in record.values())
    )
