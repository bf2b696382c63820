"""Streams of lines of any bytes, read in bounded memory."""

import codecs
import gzip
import io
import os
import shlex
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from askew._encoding import BOM, refuse_utf16
from askew._files import existing_file, visible

if TYPE_CHECKING:
    from rich.console import Console

    from askew.models import Translator

_UNCUT = 10_000  # columns
_WINDOW_BYTES, _WINDOW_LINES = 1_000_000, 1024


class LineStats:
    """Counts lines, and prints the counts as progress and at the end.

    Args:
        size: Number of bytes to read, if it is known.
        shown: Whether progress is shown.
    """

    def __init__(self, size: int | None, *, shown: bool) -> None:
        self.size, self.shown = size, shown
        self.lines = self.empty = self.cut = self.invalid = self.tabs = self.bytes = 0
        self.started = time.monotonic()

    def progress(self) -> None:
        if not self.shown or not self.bytes:
            return
        seconds = max(time.monotonic() - self.started, 1e-9)
        text = f"{self.lines} lines, {self.lines / seconds:.3g} lines/s"
        if self.size:
            left = max(self.size / self.bytes - 1, 0) * seconds
            text += f", {left:.0f} s left"
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.shown and self.bytes:
            print(file=sys.stderr)
        notes = [
            (self.empty, "empty"),
            (self.invalid, "not UTF-8, bytes replaced"),
            (self.cut, "too long, translated in pieces"),
            (self.tabs, "with a tab, translated whole: of pairs, take the first column"),
        ]
        counts = ", ".join(f"{count} {what}" for count, what in notes if count)
        if counts:
            print(f"askew: note: of {self.lines} lines: {counts}", file=sys.stderr)


def encode_all_text() -> None:
    """Let the standard streams take all text, whatever the language of the surroundings.

    A file or a pipe gets UTF-8. A terminal of another encoding shows an escape for what it lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding="utf-8")


def show(text: str) -> None:
    """Print on stdout: exactly into a file or a pipe, and so that all can be seen on a terminal."""
    print(visible(text) if sys.stdout.isatty() else text)


def existing_lines(caller: str, path: Path) -> None:
    """Refuse a file of lines that is none, such as a sentence that was typed in its place.

    Raises:
        ValueError: If there is no such file, or it is no file to read.
    """
    if not path.exists() and " " in str(path):
        raise ValueError(
            f"{caller}: texts come from a file or from stdin; got {str(path)!r}, which is no file. "
            f"Write echo {shlex.quote(str(path))} | askew {caller} FOLDER"
        )
    existing_file(caller, path, pipe=True)


def make_console(*, stderr: bool = False) -> "Console":
    """Make a console on stdout or stderr; one that is no terminal has no width that cuts lines."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNCUT
    return console


def opened(path: Path | None, mode: str, standard: TextIO) -> AbstractContextManager[BinaryIO]:
    """Open a file for bytes, packed if its name ends with .gz, or a standard stream, left open."""
    if path is None:
        return nullcontext(standard.buffer)
    if path.suffix.lower() == ".gz":
        return _packed(path, mode)
    return cast(BinaryIO, path.open(mode))


@contextmanager
def _packed(path: Path, mode: str) -> Iterator[BinaryIO]:
    try:
        with cast(BinaryIO, gzip.open(path, mode)) as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise OSError(f"a .gz file must be whole gzip; got {path} damaged: {error}") from None


def windows(
    stream: BinaryIO, stats: LineStats, *, name: Path | str = "stdin", caller: str = "translate"
) -> Iterator[tuple[int, list[str]]]:
    """Read lines in windows, each with the number of its first line.

    Raises:
        ValueError: If the stream is in UTF-16.
    """
    lines: list[str] = []
    start = 0
    for raw in stream:
        if not stats.bytes:
            refuse_utf16(raw, caller, name)
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        text = line.decode("utf-8", "replace")
        stats.invalid += text.encode() != line
        lines.append(text if stats.bytes else text.removeprefix(BOM))
        stats.bytes += len(raw)
        if stats.bytes - start > _WINDOW_BYTES or len(lines) == _WINDOW_LINES:
            stats.lines += len(lines)
            yield stats.lines - len(lines) + 1, lines
            lines, start = [], stats.bytes
    if lines:
        stats.lines += len(lines)
        yield stats.lines - len(lines) + 1, lines


def count_special(translator: "Translator", lines: list[str], stats: LineStats) -> None:
    """Count empty lines, those with a tab, and those that are split since they are too long."""
    stats.empty += sum(not line.strip() for line in lines)
    stats.tabs += sum("\t" in line.strip() for line in lines)
    longest = translator.max_source_tokens
    long_ = (line for line in lines if len(line.encode()) > longest)  # a token is a byte or more
    stats.cut += sum(len(translator.split_text(line)) > 1 for line in long_)


def emphasized(text: str, *, is_terminal: bool) -> tuple[str, str]:
    """Return a text and its style, for which stars stand where no terminal shows it."""
    return (text, "bold reverse") if is_terminal else (f"**{text}**", "")
