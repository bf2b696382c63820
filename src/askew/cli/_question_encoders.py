"""Small encoders for the questions of an index, made once and kept beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

from askew._check import require

if TYPE_CHECKING:
    from askew.models import ContextIndex, PassageEncoder, StaticEncoder, StudentEncoder

    QuestionEncoder = StaticEncoder | StudentEncoder

_STATIC = "static"
_SENTENCES = 10_000  # more take minutes to encode


def check_question_encoder(
    caller: str, name: str, index: Path, teacher: "PassageEncoder | None"
) -> None:
    """Check before any work that a question encoder is there, or can be made.

    Args:
        caller: What messages name.
        name: "static", a number of layers, or a folder.
        index: The folder of the index.
        teacher: The encoder of the index, if it is at hand.

    Raises:
        ValueError: If it cannot be made.
    """
    kept = _folder(name, index)
    if not _is_made_here(name) or _is_made(kept):
        return
    require(
        teacher is not None,
        f"{caller}: --question-encoder {name} is made by the encoder; got none, and {index} holds "
        f"no {kept.name} yet. Give --encoder",
    )
    if teacher is not None and name != _STATIC:
        depth = teacher.encoder.encoder.config.num_hidden_layers
        require(
            1 <= int(name) <= depth,
            f"{caller}: --question-encoder must be static, or layers from 1 to {depth}, or a "
            f"folder; got {name}",
        )


def open_question_encoder(
    caller: str,
    name: str,
    teacher: "PassageEncoder | None",
    folder: Path,
    index: "ContextIndex",
    *,
    quiet: bool,
) -> "QuestionEncoder":
    """Load the question encoder of an index, or make it of the index's sentences.

    Args:
        caller: What messages name.
        name: "static" or a number of layers for what is kept in the folder of the index, else a
            folder.
        teacher: The encoder of the index, which makes it; needed where there is none yet.
        folder: Of the index.
        index: The encoded documents.
        quiet: Whether progress is hidden.

    Returns:
        The encoder.

    Raises:
        ValueError: If it is damaged or of another encoder, or there is none and no encoder.
    """
    from askew.models import StaticEncoder, StudentEncoder

    check_question_encoder(caller, name, folder, teacher)
    kept = _folder(name, folder)
    if not _is_made_here(name) or _is_made(kept):
        kind = StudentEncoder if (kept / "student.json").is_file() else StaticEncoder
        return kind.load(kept, fingerprint=index.fingerprint)
    if teacher is None:
        raise RuntimeError(f"{caller}: an encoder must be there to learn from; got none")
    made = _learned(caller, name, teacher, folder, index, quiet=quiet)
    made.save(kept)
    return made


def _learned(
    caller: str,
    name: str,
    teacher: "PassageEncoder",
    folder: Path,
    index: "ContextIndex",
    *,
    quiet: bool,
) -> "QuestionEncoder":
    from askew.cli._progress import LineProgress
    from askew.models import StaticEncoder
    from askew.training import distil_questions

    sentences = some_sentences(index, _SENTENCES)
    require(
        len(sentences) > 0,
        f"{caller}: --question-encoder {name} learns from sentences; got none in {folder}",
    )
    with LineProgress("learning from texts", quiet=quiet) as progress:
        if name == _STATIC:
            return StaticEncoder.distil(teacher, sentences, progress=progress.reach)
        return distil_questions(teacher, sentences, layers=int(name), progress=progress.reach)


def _is_made_here(name: str) -> bool:
    return name == _STATIC or (name.isascii() and name.isdigit())


def _folder(name: str, index: Path) -> Path:
    if not _is_made_here(name):
        return Path(name)
    return index / (name if name == _STATIC else f"layers-{int(name)}")


def _is_made(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("static.json", "student.json"))


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
