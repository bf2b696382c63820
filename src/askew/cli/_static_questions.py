"""The table of tokens that encodes the questions of an index, made once and kept beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

from askew._check import require

if TYPE_CHECKING:
    from askew.models import ContextIndex, PassageEncoder, StaticEncoder

_STATIC = "static"
_SENTENCES = 10_000  # more take minutes to encode


def open_static(
    static: str,
    teacher: "PassageEncoder | None",
    folder: Path,
    index: "ContextIndex",
    *,
    quiet: bool,
) -> "StaticEncoder":
    """Load the table of an index, or make it of the index's sentences.

    Args:
        static: "static" for the one that is kept in the folder of the index, else its own folder.
        teacher: The encoder of the index, which makes it; needed where there is none yet.
        folder: Of the index.
        index: The encoded documents.
        quiet: Whether progress is hidden.

    Returns:
        The table.

    Raises:
        ValueError: If it is damaged or of another encoder, or there is none and no encoder.
    """
    from askew.cli._progress import LineProgress
    from askew.models import StaticEncoder

    kept = folder / _STATIC if static == _STATIC else Path(static)
    if static != _STATIC or (kept / "static.json").is_file():
        return StaticEncoder.load(kept, fingerprint=index.fingerprint)
    if teacher is None:
        raise ValueError(
            f"search: --question-encoder static is made by the encoder; got none, and {folder} "
            "holds no table yet. Give --encoder"
        )
    sentences = some_sentences(index, _SENTENCES)
    require(
        len(sentences) > 0,
        f"search: --question-encoder static learns from sentences; got none in {folder}",
    )
    with LineProgress("learning from texts", quiet=quiet) as progress:
        made = StaticEncoder.distil(teacher, sentences, progress=progress.reach)
    made.save(kept)
    return made


def some_sentences(index: "ContextIndex", most: int) -> list[str]:
    """Return sentences of the documents of an index, evenly spread where there are more."""
    from askew.text import sentence_spans

    sentences = [
        context.text[start:end]
        for row, context in enumerate(index.contexts)
        if row not in index.dropped
        for start, end in sentence_spans(context.text)
    ]
    step = max(1, -(-len(sentences) // most))
    return sentences[::step]
