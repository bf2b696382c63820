"""One byte-pair vocabulary for both languages, and token numbers in padded batches."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)

from askew._check import refuse_string, require
from askew.text._protect import MARK, MARKS

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

PADDING = 0
"""Number of the token that pads a row, in every tokenizer of this library."""
START = 1
"""Number of the token that begins a translation."""
END = 2
"""Number of the token that ends a text."""
SPECIAL = ("<pad>", "<s>", "</s>")
SPECIAL_TOKENS = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL, strict=True))
"""What transformers calls the special tokens."""
AUTO_TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "split_special_tokens": True,  # in a text they are text
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
}
"""What AutoTokenizer of transformers reads in tokenizer_config.json."""
_SMALLEST = 256 + len(SPECIAL)


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int = 4000, protect: bool = False
) -> Tokenizer:
    """Train byte-level byte-pair encoding; every digit is a token of its own.

    Any text can be encoded and decodes to itself, since bytes are the smallest pieces. A special
    token in a text is text too.

    Args:
        texts: Texts to learn from, usually both sides of the training pairs.
        vocab_size: Maximal number of tokens, at least 259 (all bytes and 3 special tokens), and
            16 more with `protect`.
        protect: Whether each mark of `askew.text.protect` is a token, never cut and never merged.

    Returns:
        The tokenizer. Token 0 is padding, 1 starts and 2 ends a sentence; marks come last.

    Raises:
        ValueError: If `vocab_size` is too small.
        TypeError: If `texts` is a string and not a list of them.

    Example:
        >>> tokenizer = train_tokenizer(["one 12", "two 12"], vocab_size=300)
        >>> tokenizer.decode(tokenizer.encode("two 21 ü").ids)
        'two 21 ü'
    """
    refuse_string("train_tokenizer", "texts", texts)
    marks = MARKS if protect else ()
    smallest = _SMALLEST + len(marks)
    require(
        vocab_size >= smallest,
        f"train_tokenizer: vocab_size must be at least {smallest}; got vocab_size {vocab_size}",
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(marks),
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    if protect:
        texts = (piece for text in texts for piece in MARK.split(text))
    tokenizer.train_from_iterator(texts, trainer)
    # Not "special" to the tokenizers library, which drops special tokens when it decodes.
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])
    read_special_tokens_as_text(tokenizer)
    return tokenizer


def ending(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy that ends every text with the end token, as training does."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    end = SPECIAL[END]
    copy.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, END)]
    )
    return copy


def read_special_tokens_as_text(tokenizer: Tokenizer) -> None:
    """Make a tokenizer cut "<s>" or "[CLS]" in a text as it cuts any other text.

    Otherwise a user's text could hold the end of a sentence. The setting is in no tokenizer.json
    and in no copy of a tokenizer, so all that encodes texts makes it anew.

    Args:
        tokenizer: Any tokenizer of the tokenizers library; it is changed.

    Example:
        >>> from tokenizers import models
        >>> tokenizer = Tokenizer(models.WordLevel({"?": 0, "</s>": 1}, unk_token="?"))
        >>> _ = tokenizer.add_special_tokens(["</s>"])
        >>> read_special_tokens_as_text(tokenizer)
        >>> tokenizer.encode("</s>").ids
        [0, 0]
    """
    tokenizer.encode_special_tokens = True
    added = tokenizer.get_added_tokens_decoder()
    contents = {number: token.content for number, token in added.items() if token.special}
    # Some models, as Unigram, have the whole special token as a piece.
    found = [
        content
        for number, content in contents.items()
        if len(content) > 1 and number in tokenizer.encode(content, add_special_tokens=False).ids
    ]
    if found:
        inside = "|".join(f"{re.escape(one[0])}(?={re.escape(one[1:])})" for one in found)
        cut = pre_tokenizers.Split(Regex(inside), "isolated")
        usual = tokenizer.pre_tokenizer
        tokenizer.pre_tokenizer = cut if usual is None else pre_tokenizers.Sequence([usual, cut])


def is_protecting(tokenizer: Tokenizer) -> bool:
    """Whether the marks of `askew.text.protect` are tokens.

    Args:
        tokenizer: A tokenizer of this package.

    Returns:
        True for a tokenizer that `train_tokenizer` made with `protect`.

    Example:
        >>> is_protecting(train_tokenizer(["one"], vocab_size=275, protect=True))
        True
    """
    return all(tokenizer.token_to_id(mark) is not None for mark in MARKS)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load a tokenizer.json that this package wrote.

    Args:
        path: The file.

    Returns:
        The tokenizer, which adds no token to a text.

    Raises:
        ValueError: If the file is missing, is not a tokenizer, or numbers its special tokens
            differently.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tokenizer.json"
        ...     train_tokenizer(["one cat"], vocab_size=280).save(str(path))
        ...     load_tokenizer(path).encode("cat").tokens
        ['cat']
    """
    tokenizer = _read(path, "load_tokenizer")
    numbers = tuple(tokenizer.token_to_id(token) for token in SPECIAL)
    require(
        numbers == (PADDING, START, END),
        f"load_tokenizer: {', '.join(SPECIAL)} must be tokens 0, 1, 2; got {numbers} in {path}",
    )
    tokenizer.post_processor = None  # which ends texts for transformers; here batches do
    return tokenizer


def load_any_tokenizer(path: str | Path) -> Tokenizer:
    """Load the tokenizer.json of any model, whose special tokens then match nothing in a text.

    Args:
        path: The file.

    Returns:
        The tokenizer, changed as `read_special_tokens_as_text` does.

    Raises:
        ValueError: If the file is missing or is not a tokenizer.

    Example:
        >>> load_any_tokenizer("/nowhere/tokenizer.json")
        Traceback (most recent call last):
        ValueError: load_any_tokenizer: the file must exist; got /nowhere/tokenizer.json
    """
    return _read(path, "load_any_tokenizer")


def pad_batch(
    rows: Sequence[Sequence[int]], *, value: int = PADDING
) -> "tuple[Int[Tensor, 'batch length'], Int[Tensor, 'batch length']]":
    """Put rows of different length into one tensor, padded at the end.

    Args:
        rows: Token numbers.
        value: The number to pad with.

    Returns:
        The tokens, and a mask with 1 for real tokens.

    Example:
        >>> pad_batch([[5, 6], [7]])[0].tolist()
        [[5, 6], [7, 0]]
    """
    import torch

    length = max((len(row) for row in rows), default=0)
    tokens = torch.full((len(rows), length), value)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = 1
    return tokens, mask


def _read(path: str | Path, caller: str) -> Tokenizer:
    require(Path(path).is_file(), f"{caller}: the file must exist; got {path}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
        read_special_tokens_as_text(tokenizer)
    except Exception as error:  # tokenizers raises bare Exception
        raise ValueError(f"{caller}: no tokenizer can be read; got {path}: {error}") from None
    return tokenizer
