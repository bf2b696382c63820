"""How a report speaks: its words, numbers and well-known names in a language."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from askew._check import require
from askew.tradeoffs._report.catalogue import ENGLISH, PORTUGUESE, PORTUGUESE_GAP, PORTUGUESE_NAMES

_REFUSAL = re.compile(
    r"(?P<needed>\d+) seeds are needed for a verdict(?P<interval>, 2 for an interval)?; "
    r"got (?P<seeds>\d+)"
)


@dataclass(frozen=True)
class Language:
    """A catalogue of words, and how numbers and well-known names are written.

    Attributes:
        code: As HTML has it.
        words: Sentences and words by key, with places in braces.
        names: Well-known labels and units; others stay as they are.
        separators: Of decimals and of thousands.
    """

    code: str
    words: Mapping[str, str]
    names: Mapping[str, str]
    separators: str

    def __getitem__(self, key: str) -> str:
        return self.words[key]

    def name(self, label: str) -> str:
        """Write a label or a unit, where it is a well-known one."""
        if self.names and label.startswith(PORTUGUESE_GAP[0]):
            return PORTUGUESE_GAP[1] + self.name(label.removeprefix(PORTUGUESE_GAP[0]))
        return self.names.get(label, label)

    def digits(self, number: str) -> str:
        """Write a number that has a point and commas."""
        return number.translate(str.maketrans(".,", self.separators))

    def reason(self, text: str) -> str:
        """Write why there is no verdict."""
        found = _REFUSAL.fullmatch(text)
        if not found:
            return text
        return self["refusal_interval" if found["interval"] else "refusal"].format(
            needed=found["needed"], seeds=found["seeds"]
        )


LANGUAGES = {
    "en": Language("en", ENGLISH, {}, ".,"),
    "pt": Language("pt", PORTUGUESE, PORTUGUESE_NAMES, ",\N{NARROW NO-BREAK SPACE}"),
}


def language_of(caller: str, code: str) -> Language:
    """Find a language.

    Raises:
        ValueError: If there is none of this code.
    """
    require(
        code in LANGUAGES,
        f"{caller}: the language must be {' or '.join(LANGUAGES)}; got language {code!r}",
    )
    return LANGUAGES[code]
