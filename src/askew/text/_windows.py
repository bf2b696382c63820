"""Tokens with their places in a text, and overlapping windows of them."""

from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from askew._check import refuse_string, require
from askew.text._tokenizer import read_special_tokens_as_text


class TextTokens(NamedTuple):
    """The tokens of a text, and the characters each of them stands for.

    Args:
        ids: Token numbers.
        starts: First character of each token.
        ends: Character after the last one of each token; never decreasing.

    Example:
        >>> from askew.text import train_tokenizer
        >>> tokens = SpanTokenizer(train_tokenizer(["one cat"], vocab_size=300)).encode("one cat")
        >>> isinstance(tokens, TextTokens), int(tokens.ends[-1])
        (True, 7)
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class SpanTokenizer:
    """Cuts texts into tokens with their places, and adds the special tokens of an encoder.

    Args:
        tokenizer: Any tokenizer of the tokenizers library. Its truncation and padding are
            switched off, and its special tokens match nothing in a text. `before` and `after`
            are the special tokens that it adds to a text.

    Example:
        >>> from askew.text import train_tokenizer
        >>> spans = SpanTokenizer(train_tokenizer(["where is it"], vocab_size=300))
        >>> tokens = spans.encode("where is it")
        >>> "where is it"[tokens.starts[0] : tokens.ends[-1]]
        'where is it'
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        read_special_tokens_as_text(tokenizer)
        self.tokenizer = tokenizer
        inner = tokenizer.encode("a", add_special_tokens=False).ids
        outer = tokenizer.encode("a").ids
        first = next(i for i in range(len(outer)) if outer[i : i + len(inner)] == inner)
        self.before, self.after = outer[:first], outer[first + len(inner) :]

    @property
    def num_special(self) -> int:
        """Number of tokens that `wrap` adds."""
        return len(self.before) + len(self.after)

    def encode(self, text: str) -> TextTokens:
        """Cut one text.

        Args:
            text: Any text.

        Returns:
            Its tokens, none for an empty text.
        """
        return self.encode_all([text])[0]

    def encode_all(self, texts: list[str]) -> list[TextTokens]:
        """Cut many texts.

        Args:
            texts: Any texts.

        Returns:
            The tokens of each.

        Raises:
            TypeError: If `texts` is a string and not a list of them.
        """
        refuse_string("SpanTokenizer.encode_all", "texts", texts)
        encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return [_tokens(encoding.ids, encoding.offsets) for encoding in encodings]

    def wrap(self, ids: np.ndarray) -> list[int]:
        """Add the special tokens that begin and end a text.

        Args:
            ids: Token numbers.

        Returns:
            Token numbers; those of the text begin at `len(before)`.
        """
        return [*self.before, *ids.tolist(), *self.after]


def _tokens(ids: list[int], offsets: list[tuple[int, int]]) -> TextTokens:
    places = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    # Running maxima, so that places never decrease, even if a tokenizer's offsets do.
    starts = np.maximum.accumulate(places[:, 0]) if len(places) else places[:, 0]
    ends = np.maximum.accumulate(np.maximum(places[:, 1], starts))
    return TextTokens(np.array(ids, dtype=np.int64), starts, ends)


def cut_windows(num_tokens: int, *, size: int, overlap: int) -> list[tuple[int, int]]:
    """Cut a text into windows of one size that together show every span of `overlap` tokens.

    Each window begins `size - overlap` tokens after the previous one. The last window ends with
    the text and has the full size too, unless the text is shorter.

    Args:
        num_tokens: Length of the text, >= 0.
        size: Tokens of a window, > 0.
        overlap: Tokens that neighbouring windows share at least, in [0, size).

    Returns:
        Start and end (exclusive) of each window, in tokens; no window for a text without tokens.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> cut_windows(10, size=6, overlap=2)
        [(0, 6), (4, 10)]
        >>> cut_windows(11, size=6, overlap=2)
        [(0, 6), (4, 10), (5, 11)]
    """
    require(
        num_tokens >= 0 and 0 <= overlap < size,
        "cut_windows: num_tokens must be >= 0 and overlap in [0, size); "
        f"got num_tokens {num_tokens}, size {size}, overlap {overlap}",
    )
    if num_tokens == 0:
        return []
    last = max(0, num_tokens - size)
    starts = [*range(0, last, size - overlap), last]
    return [(start, min(start + size, num_tokens)) for start in starts]


def tokens_of_span(tokens: TextTokens, start: int, end: int) -> tuple[int, int] | None:
    """Find the tokens that contain the characters of a span.

    Args:
        tokens: Tokens of the text.
        start: First character of the span.
        end: Character after its last, > start.

    Returns:
        First and last token that contain any of its characters, or None if no token does.

    Example:
        >>> from askew.text import train_tokenizer
        >>> spans = SpanTokenizer(train_tokenizer(["one two"] * 3, vocab_size=300))
        >>> tokens_of_span(spans.encode("one two"), 4, 7)
        (1, 1)
    """
    inside = np.flatnonzero((tokens.ends > start) & (tokens.starts < end))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None
