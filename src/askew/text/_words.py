"""The words of a text by which texts are compared."""

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

# These scripts put no space between words, so their characters count in pairs: Thai and Lao,
# Burmese, Khmer, Japanese and Chinese.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_WORD = re.compile(r"\w+")
_PART = re.compile(rf"([{_UNSPACED}]{{2,}})|[{_UNSPACED}]|[^{_UNSPACED}]+")
# Soft hyphens, joiners and selectors of a variant: nobody sees them, and they end no word.
_UNSEEN = re.compile("[\u00ad\u200c\u200d\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]")


def split_words(text: str) -> list[str]:
    """Split a text into words to compare, without case, punctuation and forms of characters."""
    words = []
    for word in whole_words(text):
        if word.isascii():
            words.append(word)
            continue
        for part in _PART.finditer(word):
            words += [a + b for a, b in pairwise(part[1])] if part[1] else [part[0]]
    return words


def whole_words(text: str) -> list[str]:
    """Split in the same way, but leave what is written without spaces whole."""
    if text.isascii():
        return _WORD.findall(text.lower())
    text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text).casefold())
    text = text.replace("i\u0307", "i")  # of the Turkish capital
    marks = {sign for sign in set(text) if unicodedata.category(sign) in ("Mn", "Mc")}
    return _with_marks("".join(sorted(marks))).findall(text) if marks else _WORD.findall(text)


@lru_cache(maxsize=1024)
def _with_marks(marks: str) -> re.Pattern[str]:
    """Match words with their vowel signs and accents, which are no letters to `re`."""
    return re.compile(rf"\w[\w{marks}]*")
