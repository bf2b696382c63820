"""Lines in, lines out: whatever bytes come, one line for each, and a bounded memory."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from askew.models import Translator

_WINDOW_BYTES, _WINDOW_LINES = 1_000_000, 1024


class Told:
    """Counts what is said at the end."""

    def __init__(self) -> None:
        self.lines = self.empty = self.cut = self.invalid = 0

    def progress(self, quiet: bool, out: Path | None) -> None:
        if not quiet and sys.stderr.isatty() and (out is not None or not sys.stdout.isatty()):
            print(f"\r{self.lines} lines", end="", file=sys.stderr)

    def end(self) -> None:
        notes = [
            (self.empty, "empty"),
            (self.invalid, "not UTF-8, bytes replaced"),
            (self.cut, "too long, translated in pieces"),
        ]
        said = ", ".join(f"{count} {what}" for count, what in notes if count)
        if said:
            print(f"askew: note: of {self.lines} lines: {said}", file=sys.stderr)


def opened(path: Path | None, mode: str, standard: TextIO) -> AbstractContextManager[BinaryIO]:
    """Open a file for bytes; without one, take a standard stream and leave it open."""
    if path is None:
        return nullcontext(standard.buffer)
    return cast(BinaryIO, path.open(mode))


def windows(given: BinaryIO, told: Told) -> Iterator[tuple[int, list[str]]]:
    """Give the number of the first line of each window, and its lines."""
    lines: list[str] = []
    size = 0
    for raw in given:
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        text = line.decode("utf-8", "replace")
        told.invalid += text.encode() != line
        lines.append(text)
        size += len(line)
        if size > _WINDOW_BYTES or len(lines) == _WINDOW_LINES:
            yield told.lines + 1, lines
            told.lines += len(lines)
            lines, size = [], 0
    if lines:
        yield told.lines + 1, lines
        told.lines += len(lines)


def count_special(translator: "Translator", lines: list[str], told: Told) -> None:
    told.empty += sum(not line.strip() for line in lines)
    longest = translator.max_source_tokens
    long_ = (line for line in lines if len(line.encode()) > longest)  # a token is a byte or more
    told.cut += sum(len(translator.pieces(line)) > 1 for line in long_)
