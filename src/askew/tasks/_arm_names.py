"""What names a model: a preset or a file. Names are checked before any data are read."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from askew._check import hint, require
from askew._config import errors_name_file, read_toml

SHAPES = ("deep-shallow", "narrow-decoder", "shared-bridge", "symmetric")
"""Names of the shapes of translation models, the symmetric one last."""
QA_SHAPES = ("asymmetric", "symmetric")
"""Names of the shapes of question-answering models."""
STUDENT = re.compile(r"(student|fresh)-(deep-shallow|symmetric|(\d+)-(\d+))")
"""Names of students that are cut from one model."""


def check_name(what: str, name: str, known: Collection[str]) -> None:
    """Refuse what is neither a known name nor a file of settings, without any data.

    Args:
        what: The beginning of a message, such as "compare: an arm".
        name: What was given.
        known: All names.

    Raises:
        ValueError: If there is no such name, or the file cannot be read.
    """
    if name not in known and Path(name).suffix == ".toml":
        read_arm(name)
        return
    require(
        name in known,
        f"{what} must be {', '.join(known)} or FILE.toml; got {name!r}{hint(name, known)}",
    )


def check_student(name: str, *, is_baseline: bool) -> None:
    """Refuse what names no student that is cut from one model."""
    if name.endswith(".toml"):
        read_arm(name)
        return
    found = STUDENT.fullmatch(full_name(name))
    require(
        found is not None and (is_baseline or found[2] != "symmetric"),
        "compare: with --from, an arm must be student-deep-shallow, student-ENCODER-DECODER as "
        "student-3-1, or the same with fresh; the baseline also student-symmetric; got "
        f"{name}",
    )


def full_name(name: str) -> str:
    """Return the name of a student for one of the usual shapes."""
    return {"deep-shallow": "student-deep-shallow", "twin": "student-symmetric"}.get(name, name)


def read_arm(path: Path | str) -> dict[str, Any]:
    """Read the settings of a model and, as the table "training", those of its training.

    Raises:
        ValueError: If the file cannot be read, or its training is no table or has a number of
            steps, which all models have in common.
    """
    values: dict[str, Any] = read_toml(path)
    training = values.get("training", {})
    with errors_name_file(path):
        require(
            isinstance(training, dict),
            f"read_arm: training must be a table; got training {training!r}. Write training.lr = "
            "0.001",
        )
        refuse_steps(training)
    return values


def refuse_steps(training: Mapping[str, object]) -> None:
    """Refuse a number of steps among the settings of a training, where it would have no effect."""
    require(
        "steps" not in training,
        "training: steps must be left out, since a budget decides; got training.steps "
        f"{training.get('steps')!r}. Give --steps",
    )
