"""Words are whole in every script, for both ways to compare them."""

import pytest

from askew.text import BM25, TfidfIndex
from askew.text._words import split_words, whole_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में किताब", ["हिन्दी", "में", "किताब"]),
        ("বাংলা ভাষা।", ["বাংলা", "ভাষা"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("كِتَابٌ جَدِيد", ["كِتَابٌ", "جَدِيد"]),
        ("q\u0303x, e\u0301 \u0301b", ["q\u0303x", "é", "b"]),
        ("क्\u200dष Donau\u00addampf 1\ufe0f", ["क्ष", "donaudampf", "1"]),
        ("İSTANBUL İzmir", ["istanbul", "izmir"]),
        ("Straße ﬁn ①", ["strasse", "fin", "1"]),
    ],
)
def test_words_keep_their_marks(text, words):
    assert split_words(text) == whole_words(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("日本語とLatin 々", ["日本", "本語", "語と", "latin", "々"]),
        ("กรุง 1", ["กร", "รุ", "ุง", "1"]),
        ("\uff71\uff72\uff73", ["アイ", "イウ"]),  # of half width
        ("語", ["語"]),
    ],
)
def test_scripts_without_spaces_count_in_pairs(text, words):
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("question", "right"),
    [("istanbul", "İstanbul büyük."), ("कताब", "कताब है।"), ("كِتَاب", "كِتَاب هنا")],
)
def test_a_word_is_found_by_itself_alone(question, right):
    texts = ["i stanbul", "किताब में", "ك ت ب", right]
    assert [row for row, _ in BM25(texts).search(question, 9)] == [3]
    assert [row for row, _ in TfidfIndex(texts).search(question, 9)] == [3]


def test_a_text_that_is_only_marks_has_no_word():
    with pytest.raises(ValueError, match="contexts must hold a word"):
        TfidfIndex(["\ufe70"])
