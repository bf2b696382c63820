"""Long texts split at the end of a sentence, else at a space."""

import re

from tokenizers import Tokenizer

_ENDS = (re.compile(r"(?<=[.!?。！？…])\s+|\n+"), re.compile(r"\s+"))  # noqa: RUF001


def split_text(text: str, tokenizer: Tokenizer, longest: int) -> list[tuple[str, str]]:
    """Split a text that is not blank into pieces of at most `longest` tokens.

    Returns pieces and the white space after each; put together again they are the text. A single
    character may have more tokens. The tokenizer is byte-level.
    """
    pieces = []
    at = 0
    while at < len(text):
        # Only a window is tokenized, so that the time stays linear in the length of the text.
        window = text[at : at + 8 * longest]
        taken = _fitting(window, tokenizer, longest)
        if at + taken < len(text):
            taken = _cut(window, taken)
        piece = window[:taken]
        body = piece.rstrip() or piece
        pieces.append((body, piece[len(body) :]))
        at += taken
    return pieces


def _fitting(window: str, tokenizer: Tokenizer, longest: int) -> int:
    """Count the characters of a window's beginning that fit, at least one."""
    encoding = tokenizer.encode(window)
    if len(encoding.ids) <= longest:
        return len(window)
    fitting = encoding.offsets[longest][0]
    # A cut inside a word changes its tokens, so the beginning is encoded again.
    while fitting > 1 and len(tokenizer.encode(window[:fitting]).ids) > longest:
        fitting = max(1, fitting * 9 // 10)
    return max(1, fitting)


def _cut(window: str, taken: int) -> int:
    """Move a cut back to the end of a sentence, else to a space, but not before the middle."""
    for pattern in _ENDS:
        ends = [match.end() for match in pattern.finditer(window, 0, taken)]
        if ends and ends[-1] > taken // 2:
            return ends[-1]
    return taken
