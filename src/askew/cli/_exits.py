"""How commands end after bad input, a failure or an interruption: one line and an exit code."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn an error in the user's input into one line and exit code 2."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = str(error)
        repair = "" if "pip install" in message else "; run pip install 'askew[all]'"
        fail(message + repair, 2)
    except (ValueError, ImportError) as error:
        fail(" ".join(str(error).split()), 2)


@contextmanager
def exit_on_interrupt(folder: Path) -> Iterator[None]:
    """Print where finished work is kept when long work is interrupted or fails."""
    kept = f"finished work is kept in {folder}; type the same command again to resume"
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {kept}", 130)
    except FloatingPointError as error:
        fail(f"{error}; what was finished before is kept in {folder}", 1)
    except RuntimeError as error:
        fail(f"{error}; {kept}", 1)


@contextmanager
def exit_on_failure() -> Iterator[None]:
    """End silently if the reader of the output has closed it, and in one line on a failure."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        fail("interrupted; the finished lines are written", 130)
    except (OSError, RuntimeError) as error:
        fail(" ".join(str(error).split()), 1)


def fail(message: str, code: int) -> NoReturn:
    """Print one line on stderr and end with an exit code."""
    print(f"askew: {message}", file=sys.stderr)
    raise typer.Exit(code)


def print_notes(notes: Iterable[str]) -> None:
    """Print notes for the user on stderr, one per line."""
    for note in notes:
        print(f"askew: note: {note}", file=sys.stderr)


def set_up_torch(threads: int) -> None:
    """Set the number of threads, and silence the progress bars of transformers."""
    import torch
    from transformers.utils import logging

    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # also for processes that we start
    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
