"""The engine that translates: PyTorch, or CTranslate2, which needs no PyTorch."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew.cli._exits import set_up_torch, tell

if TYPE_CHECKING:
    from askew.models import Translator

Engine = Annotated[
    str,
    typer.Option(
        help="torch; ctranslate2 for a model that askew export wrote; or auto, the fastest that "
        "answers as the model does, which may write a sub-folder, engine."
    ),
]


def open_translator(
    folder: Path, engine: str, *, batch_size: int = 64, threads: int, quiet: bool
) -> "Translator":
    """Load a translator, and say on a terminal which engine `auto` has chosen."""
    if engine == "auto":
        from askew.export import prepare_engine

        engine, folder, reason = prepare_engine(folder)
        if not quiet and sys.stderr.isatty():
            tell(f"note: engine {engine}{f', since {reason}' if reason else ''}")
    if engine != "ctranslate2":
        set_up_torch(threads)
        import askew.models  # noqa: F401
    from askew._translator import Translator

    return Translator.from_pretrained(folder, batch_size=batch_size, engine=engine, threads=threads)
