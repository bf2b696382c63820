"""The languages of a report: words, labels, and numbers as text."""

import math
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from askew._check import require

TIMES, MINUS, DASH = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}", "\N{EN DASH}"
LONG = 1e15  # from here on a number is written as a power of ten
_LARGEST_LOG = math.log(sys.float_info.max)

_REFUSAL = re.compile(
    r"(?P<needed>\d+) seeds are needed for a verdict(?P<interval>, 2 for an interval)?; "
    r"got (?P<seeds>\d+)"
)


_DIVERGED = re.compile(r"the training of (?P<arm>.+?) diverged with seeds? (?P<seeds>[\d, -]+)")


@dataclass(frozen=True)
class Language:
    """The words of a report in one language, as report.CODE.toml has them.

    Attributes:
        code: As HTML has it.
        words: Sentences and words by key, with places in braces.
        names: Labels and units that the applications use; others stay as they are.
        prefixes: Beginnings of labels that are made from other labels.
        separators: Of decimals and of thousands.
    """

    code: str
    words: Mapping[str, str]
    names: Mapping[str, str]
    prefixes: Mapping[str, str]
    separators: str

    def __getitem__(self, key: str) -> str:
        return self.words[key]

    def name(self, label: str) -> str:
        """Translate a label or a unit if the language has it."""
        for start, translated in self.prefixes.items():
            if label.startswith(start):
                return translated + self.name(label.removeprefix(start))
        return self.names.get(label, label)

    def digits(self, number: str) -> str:
        """Write a number, given with a point and commas, with the separators of the language."""
        return number.translate(str.maketrans(".,", self.separators))

    def reason(self, text: str) -> str:
        """Translate why there is no verdict; other texts stay as they are."""
        refusal = _REFUSAL.fullmatch(text)
        if not refusal:
            return _DIVERGED.sub(self._diverged, text)
        words = self["refusal_interval" if refusal["interval"] else "refusal"]
        return words.format(needed=refusal["needed"], seeds=refusal["seeds"])

    def _diverged(self, match: re.Match[str]) -> str:
        words = self["diverged_seeds" if "," in match["seeds"] else "diverged_seed"]
        return words.format(arm=match["arm"], seeds=match["seeds"])


def diverged_reason(arm: str, seeds: Sequence[int]) -> str:
    """Say in English which trainings of an arm diverged."""
    several = "s" if len(seeds) > 1 else ""
    return f"the training of {arm} diverged with seed{several} {', '.join(map(str, seeds))}"


def _read(code: str) -> Language:
    text = Path(__file__).with_name(f"report.{code}.toml").read_text(encoding="utf-8")
    return Language(code, **tomllib.loads(text))


LANGUAGES = {code: _read(code) for code in ("en", "pt")}


def language_of(caller: str, code: str) -> Language:
    """Look up a language.

    Raises:
        ValueError: If there is no language of this code.
    """
    require(
        code in LANGUAGES,
        f"{caller}: the language must be {' or '.join(LANGUAGES)}; got language {code!r}",
    )
    return LANGUAGES[code]


def ratio_of(log_ratio: float) -> float:
    """Return the ratio of a logarithm, infinity if it exceeds a float: a trial has diverged."""
    return math.exp(log_ratio) if log_ratio < _LARGEST_LOG else math.inf


def factor(say: Language, log_ratio: float, spread: float | None) -> str:
    """Write a ratio; `spread` is the width of its interval, which sets the decimals."""
    value = ratio_of(log_ratio)
    if spread and spread < 0.02:
        return say.digits(f"{value:.3f}")
    return unsigned(say, value, 2 if value < 10 else 1 if value < 100 else 0)


def signed(say: Language, value: float, decimals: int) -> str:
    """Write a difference with its sign, 0 without one."""
    text = f"{value:+.{decimals}f}" if abs(value) < LONG else f"{value:+.3g}"
    return say.digits(text.replace("-", MINUS) if float(text) else text[1:])


def unsigned(say: Language, value: float, decimals: int) -> str:
    """Write a number with a number of decimals."""
    text = f"{value:.{decimals}f}" if abs(value) < LONG else f"{value:.3g}"
    return say.digits(text).replace("-", MINUS)


def size(say: Language, value: float | None, metric: dict, spread: float | None) -> str:
    """Write a change without a sign, such as an equivalence."""
    if value is None:
        return DASH
    if metric["scale"] == "ratio":
        return f"{factor(say, value, spread)}{TIMES}"
    return f"{unsigned(say, value, decimals(value, spread))} {metric['unit']}".rstrip()


def decimals(value: float, spread: float | None) -> int:
    """Choose the decimals whose last place is at most a third of half the interval."""
    scale = spread / 2 if spread else abs(value)
    return min(4, max(1, -math.floor(math.log10(scale / 3)))) if scale else 2


def number(say: Language, value: float | None) -> str:
    """Write a measured number with four digits, large ones with the sign of their size."""
    if value is None:
        return DASH
    if value == 0 or isinstance(value, int):
        return say.digits(f"{int(value):,}")
    if abs(value) >= LONG:
        return unsigned(say, value, 0)
    for size_, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size_:
            return f"{say.digits(f'{value / size_:#.3g}')} {sign}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")
    return say.digits(MINUS + text[1:] if value < 0 else text)


def percent(say: Language, confidence: float) -> str:
    """Write a confidence in per cent."""
    return f"{say.digits(f'{100 * confidence:.4g}')}\N{NO-BREAK SPACE}%"
