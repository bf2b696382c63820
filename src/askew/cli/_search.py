"""The command `askew search`: passages of the user's documents, without a trained model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._files import to_json
from askew._folders import check_writable, one_writer
from askew.cli._exits import exit_on_user_error, print_notes, set_up_torch, tell_read
from askew.cli._indexed_documents import (
    Documents,
    check_documents,
    files_by_title,
    follow_documents,
    read_with_records,
)
from askew.cli._options import Quiet, Threads
from askew.cli._questions import answer_each, check_question, check_questions, flat, line_or_page
from askew.cli._static_questions import open_static
from askew.cli._streams import emphasized, make_console, show

if TYPE_CHECKING:
    from askew.models import ContextIndex, FusedSearch, PassageEncoder
    from askew.text import Context, Passage

_AROUND = 160  # characters shown on either side of a sentence


def search_command(
    questions: Annotated[
        list[str] | None,
        typer.Argument(help="Questions, each in quotes; by default, lines of stdin."),
    ] = None,
    *,
    context: Annotated[
        list[Path] | None,
        typer.Option(help="Texts to search: files or folders of text, PDF, HTML, DOCX …"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Compare meanings too: the folder of an encoder of transformers, or minilm."
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="With --encoder: folder of the encoded documents, which it follows."),
    ] = None,
    question_encoder: Annotated[
        str | None,
        typer.Option(
            help="With --index: static encodes questions by a table of tokens, made once from "
            "sentences of the documents and kept there; or the folder of such a table."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of passages.")] = 3,
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per question.")] = False,
) -> None:
    """Find the passages of your documents that answer questions; needs no model.

    Passages and their sentences are ranked by the words that they share with the question (BM25).
    With --encoder, passages are also compared by the states of a pretrained encoder, token by
    token, and both ranks are fused; --index keeps the encoded documents, and follows them when
    --context is given too. --question-encoder static asks such an index without the encoder, at
    a thirtieth of its time. Each passage is shown with its file, the line and the characters of its
    best sentence, and its score.
    """
    from askew.text import PassageSearch

    with exit_on_user_error():
        check_questions("search", questions)
        if not context and index is None:
            raise ValueError("search: documents are needed; got none. Give --context")
        if index is not None and encoder is None and (question_encoder is None or context):
            raise ValueError("search: --index goes with --encoder; got none. Words need no index")
        if question_encoder is not None and index is None:
            raise ValueError("search: --question-encoder goes with --index; got none")
        given = read_with_records(context or ())
        if index is not None and question_encoder is not None:
            search = open_static_search(
                question_encoder, encoder, given, index, threads, quiet=quiet
            )
            files = _files(search.contexts, given, index)
        elif encoder is None:
            search, files = PassageSearch(given.contexts), given.files
        else:
            search = open_search(encoder, given, index, threads, quiet=quiet)
            files = _files(search.contexts, given, index)

    tell_read(given.read, quiet=quiet)

    def find(text: str) -> "list[Passage]":
        check_question("search", text)
        return search.search(text, top=top)

    def present(text: str, found: "list[Passage]") -> None:
        if as_json:
            show(_as_json(text, found, files, search.contexts))
            sys.stdout.flush()
        else:
            _show(found, files, search.contexts)

    answer_each("search", questions, find=find, present=present, quiet=quiet)


def open_search(
    encoder: str, given: Documents, index: Path | None, threads: int, *, quiet: bool
) -> "FusedSearch":
    """Encode documents, or bring their index into step, and search it."""
    from askew.models import FusedSearch

    return FusedSearch(*_open_index(encoder, given, index, threads, quiet=quiet))


def _open_index(
    encoder: str, given: Documents, index: Path | None, threads: int, *, quiet: bool
) -> "tuple[ContextIndex, PassageEncoder]":
    from askew.cli._progress import LineProgress
    from askew.models import ContextIndex, PassageEncoder

    if index is not None and not given.contexts:
        print_notes(check_documents(index))
    elif index is not None:
        check_writable(index, option="--index")
    set_up_torch(threads)
    model = PassageEncoder.from_pretrained(encoder)

    def encode(stored: "ContextIndex | None", documents: "list[Context]") -> "ContextIndex":
        with LineProgress("encoding characters", quiet=quiet) as progress:
            if stored is None:
                return model.encode(documents, folder=index, progress=progress.reach)
            model.append(stored, documents, progress=progress.reach)
            return stored

    if index is None:
        return encode(None, given.contexts), model
    if not given.contexts:
        return ContextIndex.load(index, fingerprint=model.fingerprint), model
    with one_writer(index, caller="search"):
        stored = None
        if (index / "index.json").is_file():
            stored = ContextIndex.load(index, fingerprint=model.fingerprint)
        followed, notes = follow_documents(index, given, stored, encode)
    print_notes(notes)
    return followed, model


def open_static_search(
    static: str, encoder: str | None, given: Documents, index: Path, threads: int, *, quiet: bool
) -> "FusedSearch":
    """Search an index by a table of tokens, which the encoder makes where there is none."""
    from askew.models import ContextIndex, FusedSearch

    teacher = None
    if encoder is None:
        print_notes(check_documents(index))
        set_up_torch(threads)
        stored = ContextIndex.load(index)
    else:
        stored, teacher = _open_index(encoder, given, index, threads, quiet=quiet)
    return FusedSearch(stored, open_static(static, teacher, index, stored, quiet=quiet))


def _files(contexts: "list[Context]", given: Documents, index: Path | None) -> list[Path]:
    """Name the file of each document, by the path that was given where there is one."""
    known = {} if index is None else files_by_title(index)
    titles = (context.title for context in given.contexts)
    known |= dict(zip(titles, given.files, strict=True))
    return [known.get(context.title, Path(context.title)) for context in contexts]


def _as_json(
    question: str, found: "list[Passage]", files: list[Path], contexts: "list[Context]"
) -> str:
    from askew.text import find_place

    rows = [
        {
            "file": files[one.context].as_posix(),
            "start": one.start,
            "end": one.end,
            "text": one.text,
            "score": one.score,
            "sentence": one.text[one.sentence[0] - one.start : one.sentence[1] - one.start],
            **find_place(contexts[one.context], one.sentence[0])._asdict(),
        }
        for one in found
    ]
    return to_json({"question": question, "passages": rows}, indent=None)


def _show(found: "list[Passage]", files: list[Path], contexts: "list[Context]") -> None:
    from rich.text import Text

    console = make_console()
    for one in found:
        text = contexts[one.context].text
        start, end = one.sentence
        first, last = max(one.start, start - _AROUND), min(one.end, end + _AROUND)
        name = flat(files[one.context].as_posix())
        place = f"{name}:{line_or_page(contexts[one.context], start)}:{start}-{end}"
        console.print(Text(f"{one.score:7.3g}  {place}", style="dim"), soft_wrap=True)
        line = Text("…" if first > one.start else "")
        line.append(flat(text[first:start]))
        line.append(*emphasized(flat(text[start:end]), is_terminal=console.is_terminal))
        line.append(flat(text[end:last]) + ("…" if last < one.end else ""))
        console.print(line, soft_wrap=True)
    if not found:
        console.print("nothing found")
