"""Long texts split at the end of a sentence, else at a space."""

import re

from tokenizers import Tokenizer

# Chinese and Japanese put no space after a sentence.
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|[。！？]+[」』”’）】》]*\s*|\n+")  # noqa: RUF001
_ENDS = (_SENTENCE, re.compile(r"\s+"))


def split_text(text: str, tokenizer: Tokenizer, longest: int) -> list[tuple[str, str]]:
    """Split a text that is not blank into pieces of at most `longest` tokens.

    Returns pieces and the white space after each; put together again they are the text. Only the
    first piece may be empty, before white space of more tokens. A single character may have more
    tokens. The tokenizer is byte-level.
    """
    pieces = []
    at = 0
    while at < len(text):
        # Only a window is tokenized, so that the time stays linear in the length of the text.
        window = text[at : at + 8 * longest]
        taken = _fitting(window, tokenizer, longest)
        if at + taken < len(text):
            taken = _cut(window, taken)
        body = window[:taken].rstrip()
        end = _end_of_space(text, at + len(body))
        pieces.append((body, text[at + len(body) : end]))
        at = end
    return pieces


def _end_of_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


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
