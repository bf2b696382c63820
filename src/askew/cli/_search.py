"""The command `askew search`: passages of the user's documents, without a trained model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._files import to_json
from askew.cli._exits import exit_on_user_error, set_up_torch, tell
from askew.cli._options import Quiet, Threads
from askew.cli._questions import flat, typed_questions
from askew.cli._streams import show

if TYPE_CHECKING:
    from askew.models import FusedSearch
    from askew.text import Context, Passage, PassageSearch

_AROUND = 160  # characters shown on either side of a sentence


def search_command(
    question: Annotated[
        str | None, typer.Argument(help="The question; by default, questions are read from stdin.")
    ] = None,
    *,
    context: Annotated[
        list[Path], typer.Option(help="Texts to search: files or folders of .txt, .md, .rst.")
    ],
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Compare meanings too: the folder of an encoder of transformers, or minilm."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of passages.")] = 3,
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per question.")] = False,
) -> None:
    """Find the passages of your documents that answer a question; needs no model.

    Passages and their sentences are ranked by the words that they share with the question (BM25).
    With --encoder, passages are also compared by the states of a pretrained encoder, token by
    token, and both ranks are fused. Each passage is shown with its file, the line and the
    characters of its best sentence, and its score.
    """
    with exit_on_user_error():
        if question is not None:
            _check_question(question)
        files, search = _read(context, encoder, threads, quiet=quiet)
    questions = [question] if question is not None else typed_questions("search", quiet=quiet)
    refused = 0
    for text in questions:
        try:
            _check_question(text)
        except ValueError as error:
            tell(str(error))
            refused += 1
            continue
        found = search.search(text, top=top)
        if as_json:
            show(_as_json(text, found, files))
            sys.stdout.flush()
        else:
            _show(found, files, search.contexts)
    if refused:
        raise typer.Exit(2)


def _check_question(question: str) -> None:
    if not question.strip():
        raise ValueError("search: a question is needed; got an empty one")
    try:
        question.encode()
    except UnicodeEncodeError:
        raise ValueError(f"search: the question must be UTF-8; got {question!a}") from None


def _read(
    context: list[Path], encoder: str | None, threads: int, *, quiet: bool
) -> "tuple[list[Path], PassageSearch | FusedSearch]":
    from askew.text import PassageSearch, read_document_files

    pairs = read_document_files(context)
    files, documents = [file for file, _ in pairs], [text for _, text in pairs]
    if encoder is None:
        return files, PassageSearch(documents)
    from askew.cli._progress import LineProgress
    from askew.models import FusedSearch, PassageEncoder

    set_up_torch(threads)
    model = PassageEncoder.from_pretrained(encoder)
    with LineProgress("encoding characters", quiet=quiet) as progress:
        index = model.encode(documents, progress=progress.reach)
    return files, FusedSearch(index, model)


def _as_json(question: str, found: "list[Passage]", files: list[Path]) -> str:
    rows = [
        {
            "file": files[one.context].as_posix(),
            "start": one.start,
            "end": one.end,
            "text": one.text,
            "score": one.score,
            "sentence": one.text[one.sentence[0] - one.start : one.sentence[1] - one.start],
        }
        for one in found
    ]
    return to_json({"question": question, "passages": rows}, indent=None)


def _show(found: "list[Passage]", files: list[Path], contexts: "list[Context]") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for one in found:
        text = contexts[one.context].text
        start, end = one.sentence
        first, last = max(one.start, start - _AROUND), min(one.end, end + _AROUND)
        number = text.count("\n", 0, start) + 1
        place = f"{flat(files[one.context].as_posix())}:{number}:{start}-{end}"
        console.print(Text(f"{one.score:7.3g}  {place}", style="dim"), soft_wrap=True)
        line = Text("…" if first > one.start else "")
        line.append(flat(text[first:start]))
        line.append(flat(text[start:end]), style="bold reverse")
        line.append(flat(text[end:last]) + ("…" if last < one.end else ""))
        console.print(line, soft_wrap=True)
    if not found:
        console.print("nothing found")
