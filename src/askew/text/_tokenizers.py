"""The tokenizers of both sides: one vocabulary for both languages, or one each."""

from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from askew.text._pairs import ParallelText
from askew.text._tokenizer import load_tokenizer, train_tokenizer

_JOINT, _TARGET = "tokenizer.json", "target_tokenizer.json"


class Tokenizers(NamedTuple):
    """The tokenizer of each side; the same object twice where the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer


def train_tokenizers(pairs: ParallelText, *, vocab_size: int, separate: bool = False) -> Tokenizers:
    """Train byte-level byte-pair encoding on parallel text.

    Args:
        pairs: The training pairs.
        vocab_size: Tokens of the joint vocabulary, or of each of the two, at most.
        separate: Whether each side has its own vocabulary.

    Returns:
        The tokenizers of both sides.

    Raises:
        ValueError: If `vocab_size` is too small.

    Example:
        >>> pairs = ParallelText(["one two"], ["um dois"])
        >>> joint = train_tokenizers(pairs, vocab_size=270)
        >>> joint.source is joint.target
        True
    """
    if separate:
        return Tokenizers(*(train_tokenizer(side, vocab_size=vocab_size) for side in pairs))
    joint = train_tokenizer([*pairs.sources, *pairs.targets], vocab_size=vocab_size)
    return Tokenizers(joint, joint)


def save_tokenizers(tokenizers: Tokenizers, folder: str | Path) -> None:
    """Write tokenizer.json, and target_tokenizer.json where the target has its own.

    Args:
        tokenizers: Of both sides.
        folder: An existing folder.
    """
    folder = Path(folder)
    tokenizers.source.save(str(folder / _JOINT))
    if tokenizers.target is tokenizers.source:
        (folder / _TARGET).unlink(missing_ok=True)
    else:
        tokenizers.target.save(str(folder / _TARGET))


def load_tokenizers(folder: str | Path) -> Tokenizers:
    """Read what `save_tokenizers` wrote.

    Args:
        folder: A folder with tokenizer.json and, for separate vocabularies,
            target_tokenizer.json.

    Returns:
        The tokenizers of both sides.

    Raises:
        ValueError: If a file is missing or is no tokenizer of this package.
    """
    folder = Path(folder)
    source = load_tokenizer(folder / _JOINT)
    separate = (folder / _TARGET).is_file()
    return Tokenizers(source, load_tokenizer(folder / _TARGET) if separate else source)
