"""The words of a text by which texts are compared."""

import re
import unicodedata
from itertools import pairwise

# Chinese and Japanese put no space between words, so their characters count in pairs.
_UNSPACED = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")


def split_words(text: str) -> list[str]:
    """Split a text into words to compare, without case, punctuation and forms of characters."""
    if text.isascii():
        return _WORD.findall(text.lower())
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if not _IS_UNSPACED.search(text):
        return found
    words = []
    for word in found:
        is_pairs = len(word) > 1 and _IS_UNSPACED.match(word)
        words += [a + b for a, b in pairwise(word)] if is_pairs else [word]
    return words
