"""Questions that are typed, and texts shown beside them in one line."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import typer

from askew._encoding import BOM, refuse_utf16
from askew.cli._exits import exit_on_user_error, tell

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
    question: str | None,
    *,
    find: Callable[[str], Found],
    present: Callable[[str, Found], None],
    quiet: bool,
) -> None:
    """Find and present what answers a question, or each line of stdin if none is given.

    A line that is refused is told, and the others are answered.

    Raises:
        typer.Exit: With code 2, if a question was refused.
    """
    refused = False
    for text in typed_questions(caller, quiet=quiet) if question is None else [question]:
        try:
            found = find(text)
        except ValueError as error:
            tell(str(error))
            refused = True
            continue
        present(text, found)
    if refused:
        raise typer.Exit(2)


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
