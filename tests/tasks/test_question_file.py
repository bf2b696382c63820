"""The questions that ship with the package: spans that are right, and nothing twice."""

import json
from collections import Counter
from importlib.resources import files

import pytest

LANGUAGES = ("en", "pt")


@pytest.fixture(scope="module")
def articles():
    path = files("askew") / "tasks" / "questions" / "documentation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["version"] == "askew-documentation-1"
    return content["data"]


@pytest.fixture(scope="module")
def paragraphs(articles):
    return [paragraph for article in articles for paragraph in article["paragraphs"]]


@pytest.fixture(scope="module")
def questions(paragraphs):
    return [(paragraph["context"], one) for paragraph in paragraphs for one in paragraph["qas"]]


def test_every_answer_stands_where_it_is_said_to(questions):
    for context, one in questions:
        assert one["answers"], one["id"]
        for answer in one["answers"]:
            text, start = answer["text"], answer["answer_start"]
            assert start >= 0, one["id"]
            assert context[start : start + len(text)] == text, one["id"]


def test_answers_are_short_whole_words(questions):
    for context, one in questions:
        for answer in one["answers"]:
            text, start = answer["text"], answer["answer_start"]
            assert text == text.strip(), one["id"]
            assert 0 < len(text) <= 60, one["id"]
            before, after = context[:start][-1:], context[start + len(text) :][:1]
            assert not (before.isalnum() and text[0].isalnum()), one["id"]
            assert not (after.isalnum() and text[-1].isalnum()), one["id"]


def test_nothing_is_there_twice(articles, paragraphs, questions):
    for values in (
        [article["title"] for article in articles],
        [paragraph["context"] for paragraph in paragraphs],
        [one["id"] for _, one in questions],
        [one["question"].casefold() for _, one in questions],
    ):
        assert [value for value, times in Counter(values).items() if times > 1] == []


def test_passages_are_of_a_length_to_read(paragraphs):
    for paragraph in paragraphs:
        assert 60 <= len(paragraph["context"].split()) <= 200, paragraph["context"][:40]
        assert 4 <= len(paragraph["qas"]) <= 6, paragraph["context"][:40]


def test_ids_name_the_language_and_the_page(articles):
    for article in articles:
        page, language = article["title"].removesuffix(")").split(" (")
        assert language in LANGUAGES
        ids = [one["id"] for paragraph in article["paragraphs"] for one in paragraph["qas"]]
        assert ids == [f"{language}-{page}-{i:03}" for i in range(1, len(ids) + 1)]


def test_both_languages_have_enough(questions):
    counts = Counter(one["id"].partition("-")[0] for _, one in questions)
    assert set(counts) == set(LANGUAGES)
    assert min(counts.values()) >= 60
    assert counts.total() >= 190
    assert all(one["question"].strip().endswith("?") for _, one in questions)
