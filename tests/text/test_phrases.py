"""Localisation phrases are balanced, distinct, repeatable, and say the same on both sides."""

import os
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from itertools import islice

import pytest
from babel import Locale

from askew.text import _phrases
from askew.text._pairs import fingerprint
from askew.text._phrases import localisation_phrases, phrase_kinds

SMALL = {"num_train": 140, "num_valid": 21, "num_test": 35}


@pytest.fixture(scope="module")
def portuguese() -> list[tuple[str, str, str]]:
    return list(islice(phrase_kinds("en", "pt"), 7000))


@pytest.mark.parametrize("pair", ["en-pt", "de-en", "fr-ja", "en-ar", "zh_TW-pt_PT", "he-hi"])
def test_splits_have_their_sizes_and_share_no_source(pair):
    splits = localisation_phrases(pair, **SMALL)
    assert [len(split.sources) for split in splits] == [140, 21, 35]
    assert [len(split.targets) for split in splits] == [140, 21, 35]
    assert len({source for split in splits for source in split.sources}) == 196
    assert all(text.strip() for split in splits for side in split for text in side)


def test_every_kind_is_a_seventh_of_every_split(portuguese):
    kinds = {source: kind for kind, source, _ in portuguese}
    for split, share in zip(localisation_phrases("en-pt", **SMALL), (20, 3, 5), strict=True):
        counts = Counter(kinds[source] for source in split.sources)
        assert len(counts) == 7
        assert set(counts.values()) == {share}


def test_splits_are_shuffled(portuguese):
    drawn = [source for _, source, _ in portuguese[:35]]
    test = localisation_phrases("en-pt", **SMALL).test.sources
    assert test != drawn
    assert sorted(test) == sorted(drawn)


def test_the_seed_alone_decides_in_any_process():
    expected = fingerprint(localisation_phrases("en-de", **SMALL, seed=5))
    assert expected != fingerprint(localisation_phrases("en-de", **SMALL, seed=6))
    program = (
        "from askew.text import fingerprint, localisation_phrases\n"
        f"print(fingerprint(localisation_phrases('en-de', **{SMALL}, seed=5)))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONHASHSEED": "7",
    }
    run = [sys.executable, "-c", program]
    assert subprocess.check_output(run, env=environment, text=True).strip() == expected


def test_test_pairs_depend_on_no_other_size():
    other = localisation_phrases("en-pt", num_train=7, num_valid=70, num_test=35)
    assert other.test == localisation_phrases("en-pt", **SMALL).test


def test_both_sides_carry_the_same_number(portuguese):
    checked = Counter()
    for kind, source, target in portuguese:
        if kind in ("relative times", "quantities", "money"):
            digits = [re.sub("[^0-9]", "", text) for text in (source, target)]
            assert digits[0] == digits[1], (source, target)
            checked[kind] += 1
    assert set(checked.values()) == {1000}


def test_both_sides_have_the_same_clock_and_day(portuguese):
    clocks = Counter()
    for kind, source, target in portuguese:
        if kind == "date-times":
            time = re.compile(r"(\d\d?:\d\d(?::\d\d)?)(?:\s([AP]M))?$")
            first, second = time.search(source), time.search(target)
            assert first.groups() == second.groups()
            clocks[first[2]] += 1
            if short := re.match(r"(\d+)/(\d+)/(\d\d),", source):
                month, day, year = map(int, short.groups())
                century = 1900 if year >= 70 else 2000
                assert target.startswith(f"{day:02}/{month:02}/{century + year} ")
                clocks["short"] += 1
    assert min(clocks[key] for key in ("AM", "PM", None, "short")) > 150


def test_lists_join_the_same_names_with_the_same_word(portuguese):
    words = {", and ": " e ", " and ": " e ", ", or ": " ou ", " or ": " ou "}
    english = Locale("en")
    names = sorted({*english.territories.values(), *english.languages.values()}, key=len)
    any_name = re.compile("|".join(map(re.escape, reversed(names))))  # some hold an "and"
    counts = Counter()
    for kind, source, target in portuguese:
        if kind in ("territories", "languages"):
            joint = next(word for word in words if word in any_name.sub("", source))
            assert words[joint] in target
            counts[kind, joint] += 1
    assert len(counts) == 8
    named = [
        _phrases._write_list("territories", ["BR", "PE"], "or", locale=x) for x in ("en", "pt")
    ]
    assert named == ["Brazil or Peru", "Brasil ou Peru"]


def test_sources_that_read_alike_have_the_first_style_as_target(portuguese):
    """In English "May" is both the long and the medium month; in Portuguese they differ."""
    fifth = [target for _, source, target in portuguese if re.match(r"May \d+, \d{4}$", source)]
    assert len(fifth) > 10
    assert all(" de maio de " in target for target in fifth)


def test_a_form_the_locale_lacks_is_the_long_one_as_in_cldr():
    """German has no short days of its own, English has short hours."""
    write = _phrases._write_relative_time
    assert write(-7200, "hour", "short", locale="en") == "2 hr. ago"
    assert write(-172_800, "day", "short", locale="de") == "vor 2 Tagen"


def test_date_and_time_follow_the_order_of_the_locale():
    moment = datetime(2024, 2, 3, 21, 5, 7)
    written = [
        _phrases._write_date_time(moment, "long", clock, locale=locale)
        for clock, locale in (("hms", "pt"), ("Hm", "fr"))
    ]
    assert written == ["3 de fevereiro de 2024 9:05:07\u202fPM", "3 février 2024, 21:05"]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("en", r"joined by one '-', .*; got pair 'en'$"),
        ("en-", r"got pair 'en-'$"),
        ("en-pt-BR", r"such as en-pt or en-pt_PT; got pair 'en-pt-BR'$"),
        ("en-pt_BRR", r"got 'pt_BRR' in pair 'en-pt_BRR'\. Try one like pt_BR\b"),
        ("klingon!-en", r"got 'klingon!' in pair 'klingon!-en'\. Try one like"),
        ("q1-en", r"got 'q1' in pair 'q1-en'\. Try one like en, pt_PT, zh_Hant$"),
        ("pt-pt", r"must differ; got pair 'pt-pt'$"),
        ("zh_TW-zh_Hant_TW", r"must differ; got pair 'zh_TW-zh_Hant_TW'$"),
    ],
)
def test_a_bad_pair_is_refused_by_name(pair, message):
    with pytest.raises(ValueError, match=rf"^localisation_phrases: .*{message}"):
        localisation_phrases(pair, **SMALL)


def test_too_few_names_are_refused_by_kind(monkeypatch):
    monkeypatch.setattr(_phrases, "_UNITS", ("mass-gram", "length-meter", "duration-day"))
    with pytest.raises(ValueError, match=r"name at least 4 units; got [0-3] for en-pt$"):
        localisation_phrases(**SMALL)


def test_other_errors_name_the_values(monkeypatch):
    with pytest.raises(ValueError, match=r"got num_train 5, num_valid 1, num_test 0$"):
        localisation_phrases(num_train=5, num_valid=1, num_test=0)
    monkeypatch.setattr(_phrases, "_MAX_COUNT", 1)
    with pytest.raises(ValueError, match=r"got \d+ from en-pt, .* kind 'relative times'\. Ask"):
        localisation_phrases(**SMALL)
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(ImportError, match=r"babel must be .*pip install 'askew\[apps\]'$"):
        localisation_phrases()
