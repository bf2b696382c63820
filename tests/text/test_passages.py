"""Passages and sentences: nothing is lost, and cuts are where a reader would cut."""

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from askew.text import (
    Context,
    Passage,
    PassageSearch,
    cut_passages,
    read_document_files,
    read_documents,
    sentence_spans,
)

PAGE = """# Lima

Lima is the capital of Peru. It lies on the coast, which is foggy in
winter and dry all year! It is old.

## Food
### Fish
- Ceviche is raw fish.
- Tiradito too

1. First. Then
2. second
short line
another"""
SENTENCES = [
    "# Lima",
    "Lima is the capital of Peru.",
    "It lies on the coast, which is foggy in\nwinter and dry all year!",
    "It is old.",
    "## Food",
    "### Fish",
    "- Ceviche is raw fish.",
    "- Tiradito too",
    "1.",
    "First.",
    "Then",
    "2.",
    "second",
    "short line",
    "another",
]
TEXT = st.text(st.sampled_from("ab .!?\n#-五。"), max_size=60)


def count_letters(text):
    return len("".join(text.split()))


def parts(text, spans):
    return [text[start:end] for start, end in spans]


def test_sentences_of_a_page():
    assert parts(PAGE, sentence_spans(PAGE)) == SENTENCES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('He said "Yes." Then left.', ['He said "Yes."', "Then left."]),
        ("3.5 m of it. More", ["3.5 m of it.", "More"]),
        ("五時間後。明日\uff01", ["五時間後。", "明日\uff01"]),
        ("  \n ", []),
    ],
)
def test_where_sentences_end(text, expected):
    assert parts(text, sentence_spans(text)) == expected


def test_paragraphs_are_put_together_and_headings_begin_anew():
    cut = parts(PAGE, cut_passages(PAGE, longest=28))
    assert cut == [PAGE.split("\n\n## Food")[0], "## Food" + PAGE.split("\n\n## Food")[1]]


def test_a_long_paragraph_is_cut_at_sentences_and_a_long_sentence_at_words():
    text = "One two three. Four five.\n\nSix seven eight nine ten."
    assert parts(text, cut_passages(text, longest=3)) == [
        "One two three.",
        "Four five.\n\nSix",
        "seven eight nine",
        "ten.",
    ]


def test_headings_alone_stay_with_what_follows():
    text = "# A\n\n## B\n\nOne two."
    assert parts(text, cut_passages(text, longest=9)) == [text]


def test_a_length_of_ones_own():
    text = "aaaa bb\n\ncc"
    cut = cut_passages(text, longest=4, length=count_letters)
    assert parts(text, cut) == ["aaaa", "bb\n\ncc"]


@given(TEXT, st.integers(1, 6))
def test_nothing_is_lost_and_nothing_is_too_long(text, longest):
    for spans in (sentence_spans(text), cut_passages(text, longest=longest, length=count_letters)):
        assert "".join("".join(parts(text, spans)).split()) == "".join(text.split())
        assert all(part == part.strip() and part for part in parts(text, spans))
        assert sorted(spans) == spans
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    long_ones = [part for part in parts(text, spans) if count_letters(part) > longest]
    assert all(len(part.split()) == 1 for part in long_ones)


def test_a_length_must_be_positive():
    with pytest.raises(ValueError, match=r"longest must be positive; got longest 0"):
        cut_passages("a", longest=0)


DOCUMENTS = [
    Context("peru.md", PAGE),
    Context("chile", "Santiago is the capital of Chile. It is inland."),
]


def test_the_best_passage_and_its_sentence_come_with_their_places():
    found = PassageSearch(DOCUMENTS).search("Where is the coast dry?")[0]
    text = DOCUMENTS[found.context].text
    assert isinstance(found, Passage)
    assert (found.context, text[found.start : found.end]) == (0, found.text)
    start, end = found.sentence
    assert text[start:end] == SENTENCES[2]
    assert found.start <= start < end <= found.end


def test_scores_of_ones_own_decide_and_minus_infinity_hides():
    search = PassageSearch(DOCUMENTS, passages=[(0, 0, 6), (1, 0, 33), (1, 34, 47)])
    scores = np.array([1.0, -np.inf, 2.0])
    found = search.search("capital", top=9, scores=scores)
    assert [(p.text, p.score) for p in found] == [("It is inland.", 2), ("# Lima", 1)]


def test_a_passage_that_shares_no_word_is_not_found():
    assert PassageSearch(DOCUMENTS).search("zebra") == []
    assert PassageSearch([]).search("zebra") == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: PassageSearch(DOCUMENTS[0]), TypeError, "a list of Context; got one"),
        (lambda: PassageSearch("text"), TypeError, "contexts must be a list"),
        (lambda: PassageSearch(DOCUMENTS, passages=[(0, 1, 999)]), ValueError, "1 to 999"),
        (lambda: PassageSearch(DOCUMENTS, passages=[(2, 0, 1)]), ValueError, "context 2 of 2"),
        (lambda: PassageSearch(DOCUMENTS).search("a", top=0), ValueError, "at least 1; got top 0"),
        (
            lambda: PassageSearch(DOCUMENTS).search("a", scores=np.zeros(1)),
            ValueError,
            r"a score for each passage; got \(1,\) for 3 passages",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_documents_come_with_their_files(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.md").write_text("Lima")
    (tmp_path / "blank.md").write_text(" ")
    assert read_document_files(tmp_path) == [
        (tmp_path / "inner" / "a.md", Context("inner/a.md", "Lima"))
    ]
    assert [text for _, text in read_document_files(tmp_path)] == read_documents(tmp_path)


def test_strings_in_place_of_contexts_are_refused():
    with pytest.raises(TypeError, match=r"must be a list of Context; got one of type str"):
        PassageSearch(["Lima is large."])
