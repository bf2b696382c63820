"""Whether a model is scored on the very data that it was trained on."""

from collections.abc import Callable
from pathlib import Path

from askew._files import read_json
from askew.tasks._application import Split


def trained_on(
    folder: Path, unit: str, count: int, part: Split, fingerprint: Callable[[], object]
) -> list[str]:
    """Return a note if all of the data are those of the training.

    Args:
        folder: Of the model.
        unit: What the data are.
        count: How many there are.
        part: Which of them are scored.
        fingerprint: Splits them as training does and returns what the training stored of that.

    Returns:
        The note, or nothing. A folder that stores no training has none.
    """
    stored = folder / "training.json"
    if part != "all" or not stored.is_file():
        return []
    try:
        data = read_json(stored)["data"]
        sizes = [data[split] for split in ("train", "valid", "test")]
        is_same = sum(sizes) == count and data["fingerprint"] == fingerprint()
    except (ValueError, TypeError, LookupError):  # a damaged file, or too few to be split
        return []
    seen = f"the model was trained on {sizes[0]:,} of these {count:,} {unit}"
    return [f"{seen}; --part test scores those that it never saw"] if is_same else []
