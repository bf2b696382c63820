"""What the commands share: their options, and how they end."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from askew.text import QuestionSet, SplitText

Pair = Annotated[str, typer.Option(help="Two locales of the phrases that are made without --data.")]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Your pairs: FILE.tsv (source TAB target) or FILE.jsonl, also .gz; a gettext .po "
        "file or a folder of such; or datasets:NAME#SPLIT?config=…&source=en&target=de."
    ),
]
Source = Annotated[Path | None, typer.Option(help="Your source lines; needs --target.")]
Target = Annotated[Path | None, typer.Option(help="Your target lines, one for each source line.")]
ValidSource = Annotated[Path | None, typer.Option(help="Validation sources; else split off.")]
ValidTarget = Annotated[Path | None, typer.Option(help="Validation targets.")]
TestSource = Annotated[Path | None, typer.Option(help="Test sources; else split off.")]
TestTarget = Annotated[Path | None, typer.Option(help="Test targets.")]
Preset = Annotated[str, typer.Option(help="Size of the models: tiny, small or base.")]
VocabSize = Annotated[
    int, typer.Option(help="Tokens of the joint vocabulary, or of each of two, at most.")
]
SeparateVocabularies = Annotated[
    bool, typer.Option("--separate-vocabularies", help="Source and target have each their own.")
]
Protect = Annotated[
    bool | None,
    typer.Option(
        "--protect/--no-protect",
        help="Keep placeholders, roles, literals, tags and addresses out of the model's way, so "
        "that they are copied word for word. On by default for .po files.",
        show_default=False,
    ),
]
Teacher = Annotated[
    Path | None,
    typer.Option(
        help="A trained model: what it makes of the training sources is learnt instead of the "
        "references (training.target=both: as well). Exported for CTranslate2, it is faster."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A number of the model or the training, e.g. encoder.num_layers=6 or "
        "training.lr=0.001. May be repeated.",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file of what --set takes.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps of one trial.")]
Minutes = Annotated[float | None, typer.Option(help="Or: CPU-minutes of training of one trial.")]
Language = Annotated[str, typer.Option(help="Whose articles do not count in answers.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]


@contextmanager
def refusing_bad_input() -> Iterator[None]:
    """Turn what is wrong with the user's input into one line and exit code 2."""
    try:
        yield
    except ModuleNotFoundError as error:
        told = str(error)
        fail(told if "pip install" in told else f"{told}; run pip install 'askew[all]'", 2)
    except (ValueError, ImportError) as error:
        fail(" ".join(str(error).split()), 2)


@contextmanager
def stopping_cleanly(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        fail(
            f"interrupted; what is finished is kept in {folder}, type the same again to go on", 130
        )
    except RuntimeError as error:
        fail(f"{error}; what is finished is kept in {folder}, type the same again to go on", 1)


def fail(message: str, code: int) -> NoReturn:
    print(f"askew: {message}", file=sys.stderr)
    raise typer.Exit(code)


def tell_overlap(text: "SplitText") -> None:
    from askew.text import count_overlap

    repeated = count_overlap(text.train, text.test)
    if repeated:
        print(
            f"askew: note: {repeated} of {len(text.test.sources)} test pairs also stand in the "
            "training data",
            file=sys.stderr,
        )


def tell_protected(protects: bool) -> None:
    if protects:
        print(
            "askew: note: placeholders and markup are protected; --no-protect leaves them to "
            "the model",
            file=sys.stderr,
        )


def tell_refused_answers(part: "QuestionSet") -> None:
    from askew.tasks import tell_refused

    told = tell_refused(part)
    if told:
        print(f"askew: note: {told}", file=sys.stderr)


def set_up_torch(threads: int) -> None:
    """Use so many threads, and let nothing but our own progress bars be seen."""
    import torch
    from transformers.utils import logging

    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # in processes of ours, too
    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
