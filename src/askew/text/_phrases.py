"""Localisation phrases: the same date, amount or list as two locales write it."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, lru_cache, partial
from itertools import cycle, islice
from typing import Literal

from askew._check import require, requires_extra
from askew.text._labelled import LabelledTexts
from askew.text._pairs import ParallelText, SplitText

# A drawn value has several writers, `writer(locale="pt")`, one of which is drawn too. If two write
# the same in the source language, the first writes the target: equal sources have one target.
_Writer = Callable[..., str]
_Draw = Callable[[random.Random], list[_Writer]]
_DateStyle = Literal["full", "long", "medium", "short"]
_Unit = Literal["second", "minute", "hour", "day", "week", "month", "year"]

_MAX_REPEATS = 1000
_MAX_ITEMS = 4
_MAX_COUNT = 400
_NO_PLACES = ("QO", "XA", "XB", "ZZ")  # codes of CLDR that stand for no territory
_FIRST_DAY = date(1970, 1, 1)
_NUM_DAYS = 36_159  # until the end of 2068: no two years share their last two digits
_DATE_STYLES: tuple[_DateStyle, ...] = ("full", "long", "medium", "short")
_DATE_SKELETONS = ("yMMMEd", "yMEd", "yMMMM", "yQQQQ", "MMMMd", "MMMEd")
_CLOCKS = ("hm", "Hm", "hms", "Hms")
_SECONDS: dict[_Unit, int] = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "week": 604_800,
    "month": 2_592_000,
    "year": 31_536_000,
}
_UNITS = (
    *("length-kilometer", "length-meter", "length-centimeter", "length-millimeter"),
    *("length-mile", "length-yard", "length-foot", "length-inch", "length-light-year"),
    *("mass-tonne", "mass-kilogram", "mass-gram", "mass-milligram", "mass-pound", "mass-ounce"),
    *("volume-cubic-meter", "volume-hectoliter", "volume-liter", "volume-milliliter"),
    *("volume-tablespoon", "volume-teaspoon", "volume-gallon"),
    *("area-square-kilometer", "area-hectare", "area-square-meter", "area-acre"),
    *("speed-kilometer-per-hour", "speed-meter-per-second", "speed-mile-per-hour"),
    *("duration-year", "duration-month", "duration-week", "duration-day"),
    *("duration-hour", "duration-minute", "duration-second", "duration-millisecond"),
    *("temperature-celsius", "temperature-fahrenheit"),
    *("digital-terabyte", "digital-gigabyte", "digital-megabyte", "digital-kilobyte"),
    *("energy-kilocalorie", "energy-kilojoule", "energy-kilowatt-hour"),
    *("power-megawatt", "power-kilowatt", "power-watt", "power-horsepower"),
    *("pressure-hectopascal", "pressure-bar", "frequency-megahertz", "frequency-hertz"),
    *("electric-volt", "electric-ampere", "angle-degree"),
)
_CURRENCIES = (
    *("USD", "EUR", "GBP", "JPY", "CNY", "INR", "BRL", "CHF", "CAD", "AUD", "MXN", "KRW"),
    *("SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "TRY", "ILS", "THB", "ZAR", "ARS", "EGP"),
)


def localisation_phrases(
    pair: str = "en-pt",
    *,
    num_train: int = 20_000,
    num_valid: int = 1_000,
    num_test: int = 2_000,
    seed: int = 0,
) -> SplitText:
    """Write phrases in two locales, by the rules of Unicode's CLDR as Babel provides them.

    There are seven kinds in equal numbers: dates, dates with a time of day, relative times,
    quantities, amounts of money, lists of territories and lists of languages. No source occurs
    twice. Spaces and punctuation are those of CLDR, narrow and no-break spaces included. The
    test pairs depend on neither `num_train` nor `num_valid`.

    Args:
        pair: Source and target locale as Babel spells them, joined by "-": "en-pt",
            "en-pt_PT", "zh_Hant-ja".
        num_train: Training pairs, at least 1.
        num_valid: Validation pairs, at least 1.
        num_test: Test pairs, at least 1.
        seed: Seed of the draws. The same seed gives the same pairs.

    Returns:
        The three splits, shuffled.

    Raises:
        ValueError: If the pair is malformed, a locale is unknown, a number is below 1, or
            the locales do not have enough names for so many different phrases.
        ModuleNotFoundError: If Babel is not installed.

    Example:
        >>> split = localisation_phrases("en-de", num_train=70, num_valid=7, num_test=7)
        >>> len(split.train.sources), len(split.test.targets)
        (70, 7)
    """
    require(
        min(num_train, num_valid, num_test) >= 1,
        "localisation_phrases: every split must have at least 1 pair; "
        f"got num_train {num_train}, num_valid {num_valid}, num_test {num_test}",
    )
    phrases = phrase_kinds(*_parse_pair(pair), seed=seed)
    splits: list[ParallelText] = []
    for size in (num_test, num_valid, num_train):
        rows = [(source, target) for _, source, target in islice(phrases, size)]
        random.Random(seed).shuffle(rows)
        splits.append(ParallelText([row[0] for row in rows], [row[1] for row in rows]))
    test, valid, train = splits
    return SplitText(train, valid, test)


def phrase_kinds(
    source_locale: str, target_locale: str, *, seed: int = 0
) -> Iterator[tuple[str, str, str]]:
    """Yield kind, source and target of phrases without end, one of each of the seven kinds in turn.

    No source occurs twice.

    Raises:
        ValueError: If no new phrase of a kind can be found.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    for kind, draw in cycle(_kinds(source_locale, target_locale).items()):
        for _ in range(_MAX_REPEATS):
            source, target = _write(draw(rng), source_locale, target_locale, rng)
            if source not in seen:
                break
        else:
            raise ValueError(
                "localisation_phrases: a pair must have enough different phrases; "
                f"got {len(seen)} from {source_locale}-{target_locale}, "
                f"then no new one of kind {kind!r}. Ask for fewer"
            )
        seen.add(source)
        yield kind, source, target


def _parse_pair(pair: str) -> tuple[str, str]:
    with requires_extra("localisation_phrases", "apps"):
        import babel
    names = pair.split("-")
    require(
        len(names) == 2 and all(names),
        "localisation_phrases: pair must be two locales joined by one '-', "
        f"such as en-pt or en-pt_PT; got pair {pair!r}",
    )
    known = babel.localedata.locale_identifiers()
    parsed: list[str] = []
    for name in names:
        try:
            parsed.append(str(babel.Locale.parse(name)))
        except (babel.UnknownLocaleError, ValueError):
            near = get_close_matches(name, known) or ["en", "pt_PT", "zh_Hant"]
            raise ValueError(
                "localisation_phrases: both locales must be known to Babel; "
                f"got {name!r} in pair {pair!r}. Try one like {', '.join(near)}"
            ) from None
    require(
        parsed[0] != parsed[1],
        f"localisation_phrases: the two locales must differ; got pair {pair!r}",
    )
    return parsed[0], parsed[1]


def _write(
    writers: Sequence[_Writer], source_locale: str, target_locale: str, rng: random.Random
) -> tuple[str, str]:
    drawn = rng.choice(range(len(writers)))
    source = writers[drawn](locale=source_locale)
    earlier = (k for k in range(drawn) if writers[k](locale=source_locale) == source)
    return source, writers[next(earlier, drawn)](locale=target_locale)


def _kinds(source_locale: str, target_locale: str) -> dict[str, _Draw]:
    codes = _shared_codes(_names(source_locale), _names(target_locale))
    for kind, shared in codes.items():
        require(
            len(shared) >= _MAX_ITEMS,
            f"localisation_phrases: both locales must name at least {_MAX_ITEMS} {kind}; "
            f"got {len(shared)} for {source_locale}-{target_locale}",
        )
    return {
        "dates": _draw_date,
        "date-times": _draw_date_time,
        "relative times": _draw_relative_time,
        "quantities": partial(_draw_quantity, codes["units"]),
        "money": partial(_draw_money, codes["currencies"]),
        "territories": partial(_draw_list, "territories", codes["territories"]),
        "languages": partial(_draw_list, "languages", codes["languages"]),
    }


def _names(identifier: str) -> dict[str, dict[str, str]]:
    from babel import Locale
    from babel.units import get_unit_name

    locale = Locale.parse(identifier)
    return {
        "units": {code: name for code in _UNITS if (name := get_unit_name(code, locale=locale))},
        "currencies": {c: name for c, name in locale.currencies.items() if c in _CURRENCIES},
        "territories": {
            code: name
            for code, name in locale.territories.items()
            if len(code) == 2 and code not in _NO_PLACES
        },
        "languages": {code: name for code, name in locale.languages.items() if len(code) == 2},
    }


def _shared_codes(
    source: Mapping[str, Mapping[str, str]], target: Mapping[str, Mapping[str, str]]
) -> dict[str, list[str]]:
    """Sort the codes that both locales can name; of codes with equal source names keep the last."""
    return {
        kind: sorted({names[code]: code for code in sorted(names) if code in target[kind]}.values())
        for kind, names in source.items()
    }


def _draw_date(rng: random.Random) -> list[_Writer]:
    from babel.dates import format_date, format_skeleton

    day = _FIRST_DAY + timedelta(days=rng.randrange(_NUM_DAYS))
    styles = [partial(format_date, day, style) for style in _DATE_STYLES]
    return styles + [partial(format_skeleton, skeleton, day) for skeleton in _DATE_SKELETONS]


def _draw_date_time(rng: random.Random) -> list[_Writer]:
    day = _FIRST_DAY + timedelta(days=rng.randrange(_NUM_DAYS))
    moment = datetime(day.year, day.month, day.day) + timedelta(seconds=rng.randrange(86_400))
    return [
        partial(_write_date_time, moment, style, clock)
        for style in _DATE_STYLES
        for clock in _CLOCKS
    ]


def _write_date_time(moment: datetime, style: _DateStyle, clock: str, *, locale: str) -> str:
    frame, time = _frame(style, locale), _write_time(moment, clock, locale)
    return frame.replace("{0}", time).replace("{1}", _write_date(moment, style, locale))


@cache
def _frame(style: _DateStyle, locale: str) -> str:
    from babel.dates import get_datetime_format

    return str(get_datetime_format(style, locale=locale)).replace("'", "")


@lru_cache(maxsize=16)  # of one draw
def _write_time(moment: datetime, clock: str, locale: str) -> str:
    from babel.dates import format_skeleton

    return format_skeleton(clock, moment, locale=locale)


@lru_cache(maxsize=16)  # of one draw
def _write_date(moment: datetime, style: _DateStyle, locale: str) -> str:
    from babel.dates import format_date

    return format_date(moment, style, locale=locale)


def _draw_relative_time(rng: random.Random) -> list[_Writer]:
    unit = rng.choice(list(_SECONDS))
    seconds = rng.choice((-1, 1)) * rng.randint(1, _MAX_COUNT) * _SECONDS[unit]
    return [partial(_write_relative_time, seconds, unit, length) for length in ("long", "short")]


def _write_relative_time(
    seconds: int, unit: _Unit, length: Literal["long", "short"], *, locale: str
) -> str:
    from babel.dates import format_timedelta

    write = partial(
        format_timedelta,
        seconds,
        granularity=unit,
        threshold=math.inf,
        add_direction=True,
        locale=locale,
    )
    try:
        return write(format=length)
    except KeyError:  # CLDR: an absent short form is the long one; Babel doesn't follow that
        return write(format="long")


def _draw_quantity(units: Sequence[str], rng: random.Random) -> list[_Writer]:
    from babel.units import format_unit

    unit, number = rng.choice(units), _draw_number(rng, rng.choice((0, 0, 1, 2)))
    return [partial(format_unit, number, unit, length) for length in ("long", "short")]


def _draw_money(currencies: Sequence[str], rng: random.Random) -> list[_Writer]:
    from babel.numbers import format_currency

    currency, amount = rng.choice(currencies), _draw_number(rng, rng.choice((0, 2)))
    return [
        partial(format_currency, amount, currency, format_type=kind)
        for kind in ("standard", "name")
    ]


def _draw_number(rng: random.Random, num_decimals: int) -> Decimal:
    """Draw a number in which one to four digits before the point are equally likely."""
    size = 10 ** (rng.randint(1, 4) + num_decimals)
    return Decimal(rng.randrange(size // 10, size)) / 10**num_decimals


def _draw_list(field: str, codes: Sequence[str], rng: random.Random) -> list[_Writer]:
    items = rng.sample(codes, rng.randint(2, _MAX_ITEMS))
    return [partial(_write_list, field, items, style) for style in ("standard", "or")]


def _write_list(
    field: str, codes: Sequence[str], style: Literal["standard", "or"], *, locale: str
) -> str:
    from babel import Locale
    from babel.lists import format_list

    names = getattr(Locale.parse(locale), field)
    return format_list([names[code] for code in codes], style, locale)


def labelled_phrases(*, num_texts: int = 4_000, seed: int = 0) -> LabelledTexts:
    """Write phrases whose labels are their kind and every language in which they are written so.

    The languages are Portuguese, Spanish, Galician and Catalan; the kinds are those of
    `localisation_phrases`. A few phrases are the same in several languages, and have all of them.

    Args:
        num_texts: How many phrases are written, at least 1; equal ones are joined.
        seed: Seed of the draws. The same seed gives the same phrases.

    Returns:
        Different texts with at least two labels each.

    Raises:
        ValueError: If `num_texts` is below 1.
        ModuleNotFoundError: If Babel is not installed.

    Example:
        >>> labelled_phrases(num_texts=8).names[:4]
        ['Catalan', 'Galician', 'Portuguese', 'Spanish']
    """
    require(num_texts >= 1, f"labelled_phrases: num_texts must be >= 1; got num_texts {num_texts}")
    pairs = (("Portuguese", "Spanish"), ("Galician", "Catalan"))
    streams = [phrase_kinds(*_parse_pair(pair), seed=seed) for pair in ("pt-es", "gl-ca")]
    found: dict[str, set[str]] = {}
    for number in range((num_texts + 1) // 2):
        kind, *texts = next(streams[number % 2])
        for language, text in zip(pairs[number % 2], texts, strict=True):
            found.setdefault(text, set()).update((kind, language))
    return LabelledTexts(list(found), [tuple(sorted(names)) for names in found.values()])
