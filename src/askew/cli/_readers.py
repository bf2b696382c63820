"""Who answers: a model, or the sentence that is most like the question."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from askew._files import read_json

if TYPE_CHECKING:
    from askew.models import Answer, ContextIndex
    from askew.text import PassageSearch


class Reader(StrEnum):
    """Who answers; AUTO is the one that was better on the test questions of the training."""

    AUTO = "auto"
    MODEL = "model"
    SENTENCE = "sentence"


def choose_reader(folder: Path, reader: Reader = Reader.AUTO) -> tuple[Reader, str | None]:
    """Choose between a model and the most similar sentence.

    Args:
        folder: The model. Its `scores.json` has the F1 of both; without it the model answers.
        reader: What the user asks for.

    Returns:
        The model or the sentence, and why where it is the sentence though nobody asked for it.

    Raises:
        ValueError: If `scores.json` is damaged.
    """
    path = folder / "scores.json"
    if reader is not Reader.AUTO or not path.is_file():
        return (Reader.MODEL if reader is Reader.AUTO else reader), None
    stored = read_json(path)
    model, sentence = _f1(path, stored, "scores"), _f1(path, stored, "baselines", "tf_idf")
    if model is None or sentence is None or model >= sentence:
        return Reader.MODEL, None
    return Reader.SENTENCE, (
        "on the test questions of its training the sentence most like the question answered "
        f"better than this model (f1 {sentence:.4g} against {model:.4g})"
    )


def search_words(index: "ContextIndex") -> "PassageSearch":
    """Search the documents of an index by their words."""
    from askew.text import PassageSearch, cut_passages

    passages = [
        (row, *span)
        for row, context in enumerate(index.contexts)
        if row not in index.dropped
        for span in cut_passages(context.text)
    ]
    return PassageSearch(index.contexts, passages=passages)


def sentence_answers(search: "PassageSearch", question: str, *, top: int) -> "list[Answer]":
    """Answer with the best sentences of the best passages."""
    from askew.models import Answer

    answers = []
    for one in search.search(question, top=top):
        context = search.contexts[one.context]
        start, end = one.sentence
        text = context.text[start:end]
        answers.append(Answer(text, start, end, one.score, one.context, context.title))
    return answers


def _f1(path: Path, stored: object, *names: str) -> float | None:
    """Find an F1 among stored scores; None where there is none."""
    for name in (*names, "f1"):
        stored = stored.get(name) if isinstance(stored, dict) else stored
        if stored is None:
            return None
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        raise ValueError(f"answer: f1 must be a number; got {stored!r:.60} in {path}")
    return float(stored)
