"""How commands end after bad input, a failure or an interruption: one line and an exit code."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NoReturn

import typer
from safetensors import SafetensorError

from askew._check import require
from askew._files import visible
from askew._folders import FolderInUseError

FAILURES = (OSError, RuntimeError, ValueError, ArithmeticError, SafetensorError)
"""What goes wrong in the middle of the work, from a full disk to a loss that is not finite."""


typed: ContextVar[str] = ContextVar("typed", default="")
"""The command that runs and the groups around it, such as "train translation"."""
paths_to_read: ContextVar[Sequence[tuple[str, Path]]] = ContextVar("paths_to_read", default=())
"""The options of this command whose paths are read, and the paths."""
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*: ")
_SOURCE = Path(__file__).parents[1]


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn an error in the user's input into one line and exit code 2."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = in_one_line(error)
        repair = "" if "pip install" in message else "; run pip install 'askew[all]'"
        fail(message + repair, 2)
    except (ValueError, ImportError, FolderInUseError) as error:
        fail(in_one_line(error), 2)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        fail(in_one_line(error), 2)


@contextmanager
def exit_on_interrupt(folder: Path) -> Iterator[None]:
    """Print where finished work is kept when long work is interrupted or fails."""
    kept = f"finished work is kept in {folder}"
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {kept}; type the same command again to resume", 130)
    except typer.Exit:
        raise
    except FolderInUseError as error:
        fail(in_one_line(error), 2)
    except FAILURES as error:
        fail(f"{in_one_line(error)}; {kept}", 1)


@contextmanager
def exit_on_failure() -> Iterator[None]:
    """End silently if the reader of the output has closed it, and in one line on a failure."""
    try:
        yield
    except BrokenPipeError:
        _drop_output()
    except KeyboardInterrupt:
        fail("interrupted; the finished lines are written", 130)


@contextmanager
def every_failure_in_one_line() -> Iterator[None]:
    """End a whole command in one line and exit code 1 on a failure that nothing else caught."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # a full disk may show only here
    except typer.Exit:
        raise
    except BrokenPipeError:
        _drop_output()
    except FAILURES as error:
        _drop_output()
        tell(in_one_line(error), command=typed.get())
        raise SystemExit(1) from None


def _drop_output() -> None:
    """Let what is still to be printed vanish, also what Python flushes at its end."""
    with suppress(OSError):  # where stdout is no file, nothing is left to be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def in_one_line(error: Exception) -> str:
    """Write what an error says, without the callable that our own errors begin with."""
    text = " ".join(str(error).split())
    return (without_callable(text) if _is_ours(error) else text) or type(error).__name__


def without_callable(text: str) -> str:
    """Return a message of this library without the callable, which no user of a command typed."""
    return _CALLABLE.sub("", text, count=1) if _CALLABLE.match(text) else text


def _is_ours(error: Exception) -> bool:
    """Return whether this library raised an error, and not PyTorch or a model of the user."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and _SOURCE in Path(trace.tb_frame.f_code.co_filename).parents


def fail(message: str, code: int) -> NoReturn:
    """Print one line on stderr that begins with the command, and end with an exit code."""
    tell(message, command=typed.get())
    raise typer.Exit(code)


def print_notes(notes: Iterable[str]) -> None:
    """Print notes for the user on stderr, one per line."""
    for note in notes:
        tell(f"note: {note}")


def tell_read(line: str, *, quiet: bool) -> None:
    """Say on stderr what was read and left out; an empty line says nothing."""
    if line and not quiet:
        tell(line)


def tell(message: str, *, command: str = "") -> None:
    """Print one line for the user on stderr, with nothing in it that steers a terminal."""
    with suppress(OSError):  # without room for it, the exit code must do
        print(f"{f'askew {command}'.strip()}: {visible(message)}", file=sys.stderr)


def check_paths() -> None:
    """Refuse a path to read that is not there, before PyTorch is imported, which takes seconds."""
    for spelling, path in paths_to_read.get():
        require(path.exists(), f"askew: {spelling} must exist; got {path}")


def set_up_torch(threads: int) -> None:
    """Set the number of threads, and silence the progress bars of transformers."""
    check_paths()
    import torch
    from transformers.utils import logging

    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # also for processes that we start
    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
