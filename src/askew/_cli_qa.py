"""The commands of question answering: evaluate, answer."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._cli import Quiet, Threads, refusing_bad_input, set_up_torch, tell_refused_answers
from askew._cli_lines import ending_clearly

if TYPE_CHECKING:
    from askew.models import Answer, ContextIndex, QuestionAnswerer
    from askew.tasks import Part
    from askew.text import Context


def evaluate_questions(
    folder: Path,
    data: Path | None,
    *,
    part: "Part",
    language: str,
    threads: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score a question-answering model; `askew evaluate` comes here by the kind of model."""
    with refusing_bad_input():
        from askew import tasks

        held = tasks.load_test_questions(data, part=part)
        answerer = _answerer(folder, threads)
    from askew._progress import LineProgress

    tell_refused_answers(held)
    with ending_clearly(), LineProgress(len(held.questions), "answering", quiet=quiet) as progress:
        found = tasks.evaluate_answerer(answerer, held, language=language, progress=progress.reach)
    if out is not None:
        lines = (" ".join(text.splitlines()) + "\n" for text in found.answers)
        out.write_text("".join(lines), encoding="utf-8")
    if as_json:
        print(json.dumps(found.results, indent=2, ensure_ascii=False))
        return
    for name, score in found.results["scores"].items():
        low_high = score["interval"]
        between = "" if low_high is None else f" ({low_high[0]:.4g} to {low_high[1]:.4g})"
        print(f"{name} {score['value']:.4g}{between}")
    for row in found.results["by_length"]:
        low, high = row["characters"]
        print(f"f1 of contexts of {low} to {high} characters: {row['f1']:.4g}")
    if "no_answer_accuracy" in found.results:
        print(f"no-answer accuracy {found.results['no_answer_accuracy']:.4g}")


def answer_command(
    folder: Annotated[Path, typer.Argument(help="A folder that askew train qa wrote.")],
    question: Annotated[
        str | None, typer.Argument(help="The question; without one, questions from stdin.")
    ] = None,
    *,
    context: Annotated[
        list[Path] | None,
        typer.Option(help="Texts to answer from: files or folders of .txt, .md, .rst."),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Folder of encoded contexts: made of --context, or read again."),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Answers shown.")] = 3,
    shortlist: Annotated[
        int, typer.Option(min=0, help="Windows read for a question; 0 reads all.")
    ] = 100,
    half: Annotated[
        bool, typer.Option("--half/--single", help="Store states in half or single precision.")
    ] = True,
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per question.")] = False,
) -> None:
    """Answer questions from your documents, which are encoded once.

    Every answer is a span of a document, with its characters' offsets and a score: how much
    more likely it is than that the passage has no answer. With --index the encoded documents
    are kept: give --context the first time, or to add more, and the index alone afterwards.
    """
    with refusing_bad_input():
        if question is not None and not question.strip():
            raise ValueError("answer: a question is needed; got an empty one")
        if not context and index is None:
            raise ValueError("answer: documents are needed; got none. Give --context or --index")
        from askew.text import read_documents

        documents = read_documents(context) if context else []
        answerer = _answerer(folder, threads)
        held = _held_index(folder, index)
    with refusing_bad_input():
        ready = _encoded(answerer, held, documents, index, half=half, quiet=quiet)
    asked = [question] if question is not None else _questions(quiet)
    bad = 0
    for text in asked:
        try:
            found = answerer.answer(text, ready, top_k=top_k, shortlist=shortlist or None)
        except ValueError as error:
            if question is not None:
                with refusing_bad_input():
                    raise
            print(f"askew: {error}", file=sys.stderr)
            bad += 1
            continue
        if as_json:
            print(_as_json(text, found), flush=True)
        else:
            _show(found, ready)
    if bad:
        raise typer.Exit(2)


def _questions(quiet: bool):
    """Lines of stdin, with a prompt where a person types them."""
    typed = sys.stdin.isatty() and not quiet
    while True:
        if typed:
            print("? ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _answerer(folder: Path, threads: int) -> "QuestionAnswerer":
    from askew.models import QuestionAnswerer

    set_up_torch(threads)
    return QuestionAnswerer.from_pretrained(folder)


def _held_index(folder: Path, index: Path | None) -> "ContextIndex | None":
    from askew.models import ContextIndex, model_fingerprint

    if index is None or not (index / "index.json").is_file():
        return None
    return ContextIndex.load(index, fingerprint=model_fingerprint(folder))


def _encoded(
    answerer: "QuestionAnswerer",
    held: "ContextIndex | None",
    documents: "list[Context]",
    index: Path | None,
    *,
    half: bool,
    quiet: bool,
) -> "ContextIndex":
    from askew._progress import LineProgress

    if held is not None and not documents:
        return held
    if held is None and not documents:
        raise ValueError(f"answer: the index must exist; got {index}. Give --context to make it")
    characters = sum(len(document.text) for document in documents)
    with LineProgress(characters, "encoding characters", quiet=quiet) as progress:
        if held is not None:
            answerer.append(held, documents, progress=progress.reach)
            return held
        dtype = "float16" if half else "float32"
        made = answerer.encode(documents, dtype=dtype, progress=progress.reach)
    if index is not None:
        made.save(index)
    return made


def _as_json(question: str, found: "list[Answer]") -> str:
    answers = [
        {
            "text": answer.text,
            "start": answer.start,
            "end": answer.end,
            "score": answer.score,
            "title": answer.title,
        }
        for answer in found
    ]
    return json.dumps({"question": question, "answers": answers}, ensure_ascii=False)


def _show(found: "list[Answer]", index: "ContextIndex") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for answer in found:
        text = index.contexts[answer.context].text
        first, last = max(0, answer.start - 80), min(len(text), answer.end + 80)
        line = Text(f"{answer.score:7.2f}  {answer.title}:{answer.start}-{answer.end}  ")
        line.append("…" if first else "")
        line.append(_flat(text[first : answer.start]))
        line.append(_flat(answer.text), style="bold reverse")
        line.append(_flat(text[answer.end : last]) + ("…" if last < len(text) else ""))
        console.print(line, soft_wrap=True)
    if not found:
        console.print("no answer")
    elif found[0].nothing:
        console.print("(the model finds it more likely that there is no answer)")


def _flat(text: str) -> str:
    return "".join(" " if c.isspace() else c if c.isprintable() else "·" for c in text)
