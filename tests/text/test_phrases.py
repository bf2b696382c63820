"""Localisation phrases are balanced, distinct, repeatable, and say the same on both sides."""

import os
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from askew.text import _phrases
from askew.text._pairs import fingerprint
from askew.text._phrases import localisation_phrases, phrase_kinds

SMALL = {"num_train": 140, "num_valid": 21, "num_test": 35}


@pytest.mark.parametrize("pair", ["en-pt", "de-en", "fr-ja", "en-ar", "zh_Hant-pt_PT", "he-hi"])
def test_splits_have_their_sizes_and_share_no_source(pair):
    split = localisation_phrases(pair, **SMALL)
    assert [len(part.sources) for part in split] == [140, 21, 35]
    assert [len(part.targets) for part in split] == [140, 21, 35]
    assert len({source for part in split for source in part.sources}) == 196
    assert all(text.strip() for part in split for side in part for text in side)


def test_every_kind_is_a_seventh_of_every_split():
    split = localisation_phrases("en-pt", **SMALL)
    kinds = {source: kind for kind, source, _ in islice(phrase_kinds("en", "pt"), 196)}
    for part, share in zip(split, (20, 3, 5), strict=True):
        counts = Counter(kinds[source] for source in part.sources)
        assert set(counts.values()) == {share}
        assert len(counts) == 7


def test_phrases_are_those_of_cldr():
    # Read off the locales' own rules; narrow no-break and no-break spaces are CLDR's.
    known = {
        "dates": {"Feb 2, 2024": "2 de fev. de 2024", "Fri, 2/2/2024": "sex., 02/02/2024"},
        "date-times": {"February 2, 2024, 9:05\u202fPM": "2 de fevereiro de 2024 9:05\u202fPM"},
        "relative times": {"in 1 week": "em 1 semana", "12 years ago": "há 12 anos"},
        "quantities": {"1 mile": "1 milha", "1,204.5 miles": "1.204,5 milhas"},
        "money": {"$4.00": "US$\xa04,00", "2 euros": "2 euros"},
        "territories": {"Brazil, Peru, or Cuba": "Brasil, Peru ou Cuba"},
        "languages": {"Greek and Thai": "grego e tailandês"},
    }
    for kind, pairs in known.items():
        for source, target in pairs.items():
            assert _translate(kind, source) == target, (kind, source)
