"""Questions that are typed, and texts shown beside them in one line."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import typer

from askew._encoding import BOM, refuse_utf16
from askew.cli._exits import exit_on_user_error, in_one_line, print_notes, tell

if TYPE_CHECKING:
    from askew.text import Context

Found = TypeVar("Found")


def typed_questions(caller: str, *, quiet: bool) -> Iterator[str]:
    """Read lines of stdin, with a prompt if it is a terminal."""
    prompts = sys.stdin.isatty() and not quiet
    is_first = True
    while True:
        if prompts:
            print("? ", end="", file=sys.stderr, flush=True)
        raw = sys.stdin.buffer.readline()
        if not raw:
            return
        if is_first:
            with exit_on_user_error():
                refuse_utf16(raw, caller, "stdin")
        # Half a surrogate pair stands for a byte that is no UTF-8; such a question is refused.
        line = raw.decode("utf-8", "surrogateescape")
        line = line.removeprefix(BOM) if is_first else line
        is_first = False
        if line.strip():
            yield line.strip()


def answer_each(
    caller: str,
    questions: Sequence[str] | None,
    *,
    find: Callable[[str], Found],
    present: Callable[[str, Found], None],
    quiet: bool,
) -> None:
    """Find and present what answers each question, or each line of stdin if none is given.

    A question that is refused is told, and the others are answered.

    Raises:
        typer.Exit: With code 2, if a question was refused.
    """
    refused = False
    for text in questions or typed_questions(caller, quiet=quiet):
        try:
            found = find(text)
        except ValueError as error:
            tell(in_one_line(error), command=caller)
            refused = True
            continue
        present(text, found)
    if refused:
        raise typer.Exit(2)


def check_questions(caller: str, questions: Sequence[str] | None) -> None:
    """Refuse questions as `check_question` does; note what looks like one without its quotes.

    Raises:
        ValueError: If one is refused.
    """
    for question in questions or ():
        check_question(caller, question)
    if questions and len(questions) > 1 and not any(" " in question for question in questions):
        print_notes(
            [
                f"{len(questions)} words are {len(questions)} questions; put quotes around a "
                f'question of several words: "{" ".join(questions)}"'
            ]
        )


def check_question(caller: str, question: str) -> None:
    """Refuse a question that is blank or cannot be written.

    Raises:
        ValueError: If it is.
    """
    if not question.strip():
        raise ValueError(f"{caller}: a question is needed; got an empty one")
    try:
        question.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{caller}: the question must be UTF-8; got {question!a}") from None


def flat(text: str) -> str:
    """Write a text in one line, with a dot for what cannot be seen."""
    return "".join(" " if c.isspace() else c if c.isprintable() else "·" for c in text)


def line_or_page(context: "Context", position: int) -> str:
    """Write the page of a character in a PDF, as "page 3", and its line in other documents."""
    from askew.text import find_place

    page = find_place(context, position).page
    return str(context.text.count("\n", 0, position) + 1) if page is None else f"page {page}"
