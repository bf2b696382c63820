"""The tokenizers of both sides: one vocabulary for both languages, or one each."""

from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from askew._check import require
from askew._files import write_json, write_text
from askew.text._pairs import ParallelText, refuse_strings
from askew.text._tokenizer import (
    AUTO_TOKENIZER,
    END,
    PADDING,
    SPECIAL,
    SPECIAL_TOKENS,
    START,
    ending,
    is_protecting,
    load_tokenizer,
    train_tokenizer,
)

_JOINT, _TARGET, _SETTINGS = "tokenizer.json", "target_tokenizer.json", "tokenizer_config.json"
_USUAL = {
    "pad_token": {"[PAD]", "<pad>"},
    "cls_token": {"[CLS]", "<s>"},
    "sep_token": {"[SEP]", "</s>"},
    "unk_token": {"[UNK]", "<unk>"},
    "mask_token": {"[MASK]", "<mask>"},
}


class Tokenizers(NamedTuple):
    """The tokenizers of both sides; the same object twice if the vocabulary is joint.

    Args:
        source: Of the texts that are read.
        target: Of the texts that are written.

    Example:
        >>> both = train_tokenizers(ParallelText(["one cat"] * 9, ["um gato"] * 9), vocab_size=280)
        >>> both.source is both.target
        True
    """

    source: Tokenizer
    target: Tokenizer


def train_tokenizers(
    pairs: ParallelText, *, vocab_size: int, separate: bool = False, protect: bool = False
) -> Tokenizers:
    """Train byte-level byte-pair encoding on parallel text.

    Args:
        pairs: The training pairs.
        vocab_size: Maximal number of tokens of the joint vocabulary, or of each of the two.
        separate: Whether each side has its own vocabulary.
        protect: Whether the marks of `askew.text.protect_pairs` are tokens.

    Returns:
        The tokenizers of both sides.

    Raises:
        ValueError: If `vocab_size` is too small.
        TypeError: If a side is a string and not a list of them.

    Example:
        >>> pairs = ParallelText(["one two"], ["um dois"])
        >>> joint = train_tokenizers(pairs, vocab_size=270)
        >>> joint.source is joint.target
        True
    """
    refuse_strings("train_tokenizers", pairs)
    if separate:
        sides = (train_tokenizer(side, vocab_size=vocab_size, protect=protect) for side in pairs)
        return Tokenizers(*sides)
    texts = [*pairs.sources, *pairs.targets]
    joint = train_tokenizer(texts, vocab_size=vocab_size, protect=protect)
    return Tokenizers(joint, joint)


def save_tokenizers(tokenizers: Tokenizers, folder: str | Path) -> None:
    """Write tokenizer.json, and target_tokenizer.json if the target has its own.

    In these files a text ends with its end token, as in training, and tokenizer_config.json names
    the special tokens, so that AutoTokenizer of transformers reads the folder. The tokenizers
    themselves, and what `load_tokenizers` returns, add no token.

    Each file is written as a whole or not at all. A target_tokenizer.json that is no longer needed
    is removed.

    Args:
        tokenizers: The tokenizers of both sides.
        folder: An existing folder.

    Raises:
        ValueError: If there is no such folder.

    Example:
        >>> import tempfile
        >>> written = train_tokenizers(ParallelText(["one"], ["um"]), vocab_size=262)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tokenizers(written, folder)
        ...     load_tokenizers(folder).source.get_vocab_size()
        262
    """
    folder = Path(folder)
    require(folder.is_dir(), f"save_tokenizers: the folder must exist; got folder {folder}")
    joint = tokenizers.target is tokenizers.source
    if joint:
        (folder / _TARGET).unlink(missing_ok=True)
    for tokenizer, name in zip(tokenizers[: 1 if joint else 2], (_JOINT, _TARGET), strict=False):
        write_text(folder / name, ending(tokenizer).to_str(pretty=True))
    save_tokenizer_settings(tokenizers.source, folder)


def save_tokenizer_settings(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write tokenizer_config.json, by which AutoTokenizer reads special tokens as text, too.

    Args:
        tokenizer: That of tokenizer.json. The file names the special tokens of one of this package,
            and those of another that have the usual spelling of BERT or RoBERTa.
        folder: An existing folder.

    Example:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tokenizer_settings(train_tokenizer(["one"], vocab_size=262), folder)
        ...     json.loads((Path(folder) / "tokenizer_config.json").read_text())["eos_token"]
        '</s>'
    """
    numbers = [tokenizer.token_to_id(token) for token in SPECIAL]
    if numbers == [PADDING, START, END]:
        named = SPECIAL_TOKENS
    else:
        added = {t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special}
        usual = {role: added & spellings for role, spellings in _USUAL.items()}
        named = {role: found.pop() for role, found in usual.items() if len(found) == 1}
    write_json(Path(folder) / _SETTINGS, {**AUTO_TOKENIZER, **named})


def load_tokenizers(folder: str | Path) -> Tokenizers:
    """Read the tokenizers that `save_tokenizers` wrote.

    Args:
        folder: A folder with tokenizer.json and, for separate vocabularies,
            target_tokenizer.json.

    Returns:
        The tokenizers of both sides.

    Raises:
        ValueError: If a file is missing or is not a tokenizer of this package, or if only one of
            two has the marks of `askew.text.protect`.

    Example:
        >>> import tempfile
        >>> both = train_tokenizers(ParallelText(["one cat"] * 9, ["um gato"] * 9), vocab_size=280)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tokenizers(both, Path(folder))
        ...     load_tokenizers(folder).source.get_vocab_size() == both.source.get_vocab_size()
        True
    """
    folder = Path(folder)
    source = load_tokenizer(folder / _JOINT)
    separate = (folder / _TARGET).is_file()
    target = load_tokenizer(folder / _TARGET) if separate else source
    protect, protect_target = is_protecting(source), is_protecting(target)
    require(
        protect == protect_target,
        "load_tokenizers: both sides must protect placeholders, or none; "
        f"got source {protect}, target {protect_target} in {folder}. "
        "Restore the files, or train again",
    )
    return Tokenizers(source, target)
