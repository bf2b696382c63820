"""The command `askew search`: passages of the user's documents, without a trained model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._files import to_json
from askew.cli._encoded_search import EncodedSearch
from askew.cli._exits import exit_on_user_error, tell_read
from askew.cli._indexed_documents import Documents, files_by_title, read_with_records
from askew.cli._options import Dtype, Jobs, QuestionEncoder, Quiet, Threads
from askew.cli._questions import answer_each, check_question, check_questions, flat, line_or_page
from askew.cli._streams import emphasized, make_console, show

if TYPE_CHECKING:
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
    question_encoder: QuestionEncoder = None,
    top: Annotated[int, typer.Option(min=1, help="Number of passages.")] = 3,
    dtype: Dtype = None,
    jobs: Jobs = 1,
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per question.")] = False,
) -> None:
    """Find the passages of your documents that answer questions; needs no model.

    Passages and their sentences are ranked by the words that they share with the question (BM25).
    With --encoder, passages are also compared by the states of a pretrained encoder, token by
    token, and both ranks are fused; --index keeps the encoded documents, and follows them when
    --context is given too. --question-encoder static asks such an index without the encoder, at
    a thirtieth of its time, and --question-encoder 1 by one of its layers. Each passage is shown
    with its file, the line and the characters of its best sentence, and its score.
    """
    from askew.text import PassageSearch

    with exit_on_user_error():
        check_questions("search", questions)
        if not context and index is None:
            raise ValueError("search: documents are needed; got none. Give --context")
        encoded = EncodedSearch(
            caller="search",
            encoder=encoder,
            index=index,
            question_encoder=question_encoder,
            dtype=dtype,
            jobs=jobs,
            threads=threads,
            quiet=quiet,
        )
        encoded.check(has_documents=bool(context))
        given = read_with_records(context or ())
        if encoder is None and index is None:
            search, files = PassageSearch(given.contexts), given.files
        else:
            search = encoded.open(given)
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


def _files(contexts: "list[Context]", given: Documents, index: Path | None) -> list[Path]:
    """Name the file of each document, by the path that was given where there is one."""
    if index is None:
        titles = (context.title for context in given.contexts)
        known = dict(zip(titles, given.files, strict=True))
    else:
        shown = {file.resolve(): file for file in given.files}
        known = {title: shown.get(file, file) for title, file in files_by_title(index).items()}
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
