"""The command `askew answer`: answers from the user's documents."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askew._files import to_json
from askew._folders import check_writable, one_writer
from askew.cli._exits import check_paths, exit_on_user_error, print_notes, set_up_torch, tell_read
from askew.cli._indexed_documents import (
    Documents,
    check_documents,
    follow_documents,
    read_with_records,
)
from askew.cli._options import Jobs, Quiet, Threads
from askew.cli._questions import answer_each, check_question, check_questions, flat, line_or_page
from askew.cli._readers import Reader, choose_reader, search_words, sentence_answers
from askew.cli._streams import emphasized, make_console, show

if TYPE_CHECKING:
    from askew.models import Answer, ContextIndex, QuestionAnswerer
    from askew.text import Context

    Find = Callable[[str], list[Answer]]


def answer_command(
    folder: Annotated[Path, typer.Argument(help="A folder that askew train qa wrote.")],
    questions: Annotated[
        list[str] | None,
        typer.Argument(help="Questions, each in quotes; by default, lines of stdin."),
    ] = None,
    *,
    context: Annotated[
        list[Path] | None,
        typer.Option(
            help="Texts to answer from: files or folders of text, PDF, HTML, DOCX and others."
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Folder of the encoded documents: written the first time, then read."),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Number of answers.")] = 3,
    shortlist: Annotated[
        int, typer.Option(min=0, help="Windows that are read for a question; 0 means all.")
    ] = 100,
    reader: Annotated[
        Reader,
        typer.Option(help="Who answers: the model, the best sentence, or the better of both."),
    ] = Reader.AUTO,
    half: Annotated[
        bool, typer.Option("--half/--single", help="Store states in half or single precision.")
    ] = True,
    jobs: Jobs = 1,
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per question.")] = False,
) -> None:
    """Answer questions from your documents, which are encoded once.

    Every answer is a span of a document, with its character offsets and a score. Above 0 the
    model thinks this answer more likely than no answer. With --index the encoded documents are
    kept: give --context the first time, or to add more, and only the index afterwards. With both,
    the index follows its documents: changed ones are encoded again, deleted ones dropped. In
    training the most similar sentence is scored beside the model; the better of the two answers,
    unless --reader says otherwise.
    """
    with exit_on_user_error():
        check_questions("answer", questions)
        if not context and index is None:
            raise ValueError("answer: documents are needed; got none. Give --context or --index")
        check_paths()
        given = read_with_records(context or ())
        if not given.contexts:
            print_notes(check_documents(index))
        reader, why = choose_reader(folder, reader)
        if why is not None:
            print_notes([f"{why}, so sentences answer; --reader model asks the model"])
        settings = {"half": half, "jobs": jobs, "threads": threads, "quiet": quiet}
        find, contexts = (
            _by_sentences(folder, given, index, top_k, **settings)
            if reader is Reader.SENTENCE
            else _by_model(folder, given, index, top_k, shortlist or None, **settings)
        )

    tell_read(given.read, quiet=quiet)

    def present(text: str, answers: "list[Answer]") -> None:
        if as_json:
            show(_as_json(text, answers, contexts, reader))
            sys.stdout.flush()
        else:
            _show(answers, contexts)

    answer_each("answer", questions, find=find, present=present, quiet=quiet)


def _by_model(
    folder: Path,
    given: Documents,
    index: Path | None,
    top: int,
    shortlist: int | None,
    **settings: Any,
) -> "tuple[Find, list[Context]]":
    """Return what asks the model, and the documents."""
    answerer, encoded = open_answerer(folder, given, index, **settings)

    def find(text: str) -> "list[Answer]":
        return answerer.answer(text, encoded, top_k=top, shortlist=shortlist)

    return find, encoded.contexts


def _by_sentences(
    folder: Path, given: Documents, index: Path | None, top: int, **settings: Any
) -> "tuple[Find, list[Context]]":
    """Return what finds sentences, and the documents, which are encoded for an index alone."""
    from askew.text import PassageSearch

    if index is None:
        _load(folder, settings["threads"])  # a folder that holds no model is refused all the same
        search = PassageSearch(list(dict.fromkeys(given.contexts)))
    else:
        search = search_words(open_answerer(folder, given, index, **settings)[1])

    def find(text: str) -> "list[Answer]":
        check_question("answer", text)
        return sentence_answers(search, text, top=top)

    return find, search.contexts


def _load(folder: Path, threads: int) -> "QuestionAnswerer":
    set_up_torch(threads)
    from askew.models import QuestionAnswerer

    return QuestionAnswerer.from_pretrained(folder)


def open_answerer(
    folder: Path,
    given: Documents,
    index: Path | None,
    *,
    half: bool,
    jobs: int,
    threads: int,
    quiet: bool,
) -> "tuple[QuestionAnswerer, ContextIndex]":
    """Load a model, and encode documents or bring their index into step."""
    is_written = index is not None and bool(given.contexts)
    if is_written:
        check_writable(index, option="--index")
    answerer = _load(folder, threads)
    with one_writer(index, caller="answer") if is_written else nullcontext():
        stored = _stored_index(answerer, index)
        return answerer, _encoded(answerer, stored, given, index, half=half, jobs=jobs, quiet=quiet)


def _stored_index(answerer: "QuestionAnswerer", index: Path | None) -> "ContextIndex | None":
    from askew.models import ContextIndex

    if index is None or not (index / "index.json").is_file():
        return None
    return ContextIndex.load(index, fingerprint=answerer.fingerprints)


def _encoded(
    answerer: "QuestionAnswerer",
    stored: "ContextIndex | None",
    given: Documents,
    index: Path | None,
    *,
    half: bool,
    jobs: int,
    quiet: bool,
) -> "ContextIndex":
    from askew.cli._progress import LineProgress

    if stored is not None and stored.dtype != "float32" and not half:
        raise ValueError(
            f"answer: --single goes with a new index; got {index}, which is in {stored.dtype}"
        )
    if stored is not None and not given.contexts:
        return stored
    if stored is None and not given.contexts:
        raise ValueError(f"answer: the index must exist; got {index}. Give --context to make it")

    def encode(stored: "ContextIndex | None", documents: "list[Context]") -> "ContextIndex":
        with LineProgress("encoding characters", quiet=quiet) as progress:
            if stored is not None:
                answerer.append(stored, documents, progress=progress.reach, jobs=jobs)
                return stored
            dtype = "float16" if half else "float32"
            return answerer.encode(
                documents, dtype=dtype, folder=index, progress=progress.reach, jobs=jobs
            )

    if index is None:
        return encode(None, given.contexts)
    contexts, notes = follow_documents(index, given, stored, encode)
    print_notes(notes)
    return contexts


def _as_json(
    question: str, answers: "list[Answer]", contexts: "list[Context]", reader: Reader
) -> str:
    from askew.text import find_place

    keys = ("text", "start", "end", "score", "retrieval", "title")
    rows = [
        {key: getattr(answer, key) for key in keys}
        | find_place(contexts[answer.context], answer.start)._asdict()
        for answer in answers
    ]
    return to_json({"question": question, "reader": str(reader), "answers": rows}, indent=None)


def _show(answers: "list[Answer]", contexts: "list[Context]") -> None:
    from rich.text import Text

    console = make_console()
    for answer in answers:
        text = contexts[answer.context].text
        first, last = max(0, answer.start - 80), min(len(text), answer.end + 80)
        where = line_or_page(contexts[answer.context], answer.start)
        place = f"{flat(answer.title)}:{where}:{answer.start}-{answer.end}"
        line = Text(f"{answer.score:7.2f}  {place}  ")
        line.append("…" if first else "")
        line.append(flat(text[first : answer.start]))
        line.append(*emphasized(flat(answer.text), is_terminal=console.is_terminal))
        line.append(flat(text[answer.end : last]) + ("…" if last < len(text) else ""))
        console.print(line, soft_wrap=True)
    if not answers:
        console.print("no answer")
    elif answers[0].nothing:
        console.print("(the model finds it more likely that there is no answer)")
