"""Questions point into their contexts, splits keep articles apart, added ones have no answer."""

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from askew.text import (
    Context,
    Question,
    QuestionSet,
    SplitQuestions,
    split_by_article,
    with_unanswerable,
)


def numbered(titles: str, *, per_context: int = 1) -> QuestionSet:
    """A context per letter, the letter its title, whose answer stands nowhere else."""
    contexts = [Context(title, f"number {i}x of all") for i, title in enumerate(titles)]
    questions = [
        Question(f"{i}.{j}", f"which {i} {j}?", i, ((7, 8 + len(str(i))),))
        for i in range(len(titles))
        for j in range(per_context)
    ]
    return QuestionSet(contexts, questions, ["id x: refused"])


def content(questions: QuestionSet) -> list[tuple]:
    """Each question with its context in full, whatever its row."""
    return [
        (q.id, q.text, questions.contexts[q.context], q.answers, tuple(questions.answer_texts(q)))
        for q in questions.questions
    ]


def test_answers_are_the_parts_of_the_context_that_they_point_to():
    question = Question("1", "Which?", 1, ((0, 3), (4, 5), (5, 6)))
    none = Question("2", "Which?", 0, ())
    questions = QuestionSet([Context("a", "."), Context("b", "Ada 二😀")], [question, none], [])
    assert questions.answer_texts(none) == []
    assert questions.answer_texts(question) == ["Ada", "二", "😀"]


@given(
    st.text("abcdef", min_size=6, max_size=20),
    st.integers(1, 3),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
    st.integers(0, 9),
)
def test_a_split_holds_every_question_once_and_no_article_twice(titles, each, test, valid, seed):
    questions = numbered("abc" + titles, per_context=each)
    splits = split_by_article(questions, test_share=test, valid_share=valid, seed=seed)
    assert isinstance(splits, SplitQuestions)
    assert sorted(row for split in splits for row in content(split)) == sorted(content(questions))
    assert Counter(c for split in splits for c in split.contexts) == Counter(questions.contexts)
    sides = [{context.title for context in split.contexts} for split in splits]
    assert all(split.questions for split in splits)
    assert not (sides[0] & sides[1])
    assert not (sides[0] & sides[2])
    assert not (sides[1] & sides[2])
    for split in splits:
        assert split.refused == []
        assert [c for c in questions.contexts if c in split.contexts] == split.contexts


def test_shares_are_of_questions_and_kept_where_articles_fit():
    titles = "".join(chr(0x4E00 + i) for i in range(100))
    splits = split_by_article(numbered(titles, per_context=3), test_share=0.2, valid_share=0.1)
    assert [len(split.questions) for split in splits] == [210, 30, 60]


@pytest.mark.parametrize(
    ("titles", "test", "valid", "expected"),
    [("abcccccccccc", 0.5, 0.1, [1, 1, 10]), ("aaaaabbbbbccccc", 0.1, 0.85, [5, 5, 5])],
)
def test_every_split_has_an_article_also_where_two_would_fit_into_one(
    titles, test, valid, expected
):
    for seed in range(6):
        splits = split_by_article(numbered(titles), test_share=test, valid_share=valid, seed=seed)
        assert sorted(len(split.questions) for split in splits) == expected


def test_the_seed_alone_decides():
    questions = numbered("abcdefghijkl")
    splits = split_by_article(questions, seed=1)
    assert splits == split_by_article(numbered("abcdefghijkl"), seed=1)
    assert splits != split_by_article(questions, seed=2)
    for one, same in zip(splits, split_by_article(questions, seed=1), strict=True):
        assert one.fingerprint == same.fingerprint


def test_articles_that_share_a_text_stay_together_and_untitled_ones_stand_alone():
    texts = [("a", "1"), ("b", "2"), ("b", "1"), ("", "3"), ("", "4"), ("", "2"), ("c", "5")]
    contexts = [Context(*pair) for pair in texts]
    questions = [Question(str(i), "?", i, ()) for i in range(7)]
    assert QuestionSet(contexts, questions, []).articles == [0, 0, 0, 1, 2, 0, 3]
    for seed in range(20):
        splits = split_by_article(
            QuestionSet(contexts, questions, []), test_share=0.3, valid_share=0.3, seed=seed
        )
        sides = [{context.text for context in split.contexts} for split in splits]
        assert sorted(map(len, sides)) in ([1, 1, 3], [1, 2, 2])
        assert any({"1", "2"} <= side for side in sides)
        assert sum(map(len, sides)) == 5


def test_articles_without_questions_go_to_training():
    contexts = [Context(title, title) for title in "abcdef"]
    questions = QuestionSet(contexts, [Question(t, "?", i, ()) for i, t in enumerate("abc")], [])
    splits = split_by_article(questions)
    assert [len(split.contexts) for split in splits] == [4, 1, 1]


@given(st.integers(0, 5), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_added_questions_are_known_ones_about_another_article(seed, share):
    questions = numbered("aabbbc", per_context=2)
    extended = with_unanswerable(questions, share, seed)
    assert extended.contexts == questions.contexts
    assert extended.refused == questions.refused
    assert extended.questions[:12] == questions.questions
    added = extended.questions[12:]
    assert len(added) == round(share * 12) == len({question.id for question in added})
    known = {question.id: question for question in questions.questions}
    for question in added:
        first = known[question.id.removesuffix("-unanswerable")]
        assert question.text == first.text
        assert question.answers == ()
        titles = [questions.contexts[one.context].title for one in (question, first)]
        assert titles[0] != titles[1]
    assert extended == with_unanswerable(questions, share, seed)
    assert added == [] or extended != with_unanswerable(questions, share, seed + 1)


def test_every_context_of_other_articles_is_drawn():
    questions = numbered("abacab", per_context=200)
    drawn: dict[str, Counter[int]] = {}
    for question in with_unanswerable(questions, 1.0).questions[1200:]:
        drawn.setdefault(question.text.split()[1], Counter())[question.context] += 1
    rows = [set(counts) for _, counts in sorted(drawn.items())]
    a, b, c = {0, 2, 4}, {1, 5}, {3}
    assert rows == [b | c, a | c, b | c, a | b, b | c, a | c]
    assert all(200 / len(n) / 2 < one for n in drawn.values() for one in n.values())


def test_a_context_that_holds_an_answer_is_passed_over():
    contexts = [Context("a", "Lima"), Context("b", "in LIMA"), Context("c", "none")]
    questions = [Question(str(i), "Where?", 0, ((0, 4),)) for i in range(30)]
    added = with_unanswerable(QuestionSet(contexts, questions, []), 1.0).questions[30:]
    assert len(added) == 30
    assert {question.context for question in added} == {2}
    assert not with_unanswerable(QuestionSet(contexts[:2], questions, []), 1.0).questions[30:]


def test_questions_without_an_answer_are_not_asked_again():
    contexts = [Context("a", "x"), Context("b", "y")]
    questions = [Question("1", "?", 0, ()), Question("2", "?", 0, ((0, 1),))]
    extended = with_unanswerable(QuestionSet(contexts, questions, []), 1.0)
    assert [question.id for question in extended.questions] == ["1", "2", "2-unanswerable"]
    with pytest.raises(ValueError, match=r"^QuestionSet: ids must differ; got id 2-una\S+ twice$"):
        with_unanswerable(extended, 1.0)


@pytest.mark.parametrize(
    ("contexts", "questions"),
    [
        ([("ta", "b")], [("1", "?", 0, ((0, 1),))]),
        ([("t", "ab"), ("", "")], [("1", "?", 0, ((0, 1),))]),
        ([("t", "ab"), ("t", "ab")], [("1", "?", 1, ((0, 1),))]),
        ([("t", "ab")], [("1", "?", 0, ((0, 2),))]),
        ([("t", "ab")], [("1", "?", 0, ())]),
        ([("t", "ab")], [("1", "?", 0, ((0, 1), (1, 2)))]),
        ([("t", "ab")], [("1?", "", 0, ((0, 1),))]),
        ([("t", "ab")], []),
    ],
)
def test_fingerprint_changes_with_any_content(contexts, questions):
    first = QuestionSet([Context("t", "ab")], [Question("1", "?", 0, ((0, 1),))], [])
    assert len(first.fingerprint) == 64
    rows = [Question(*question) for question in questions]
    other = QuestionSet([Context(*context) for context in contexts], rows, [])
    assert other.fingerprint != first.fingerprint
    assert QuestionSet(first.contexts, first.questions, ["x"]).fingerprint == first.fingerprint


def test_fingerprint_says_which_context_is_asked_about():
    contexts = [Context("t", "ab"), Context("u", "ab")]
    one, two = (QuestionSet(contexts, [Question("1", "?", row, ())], []) for row in (0, 1))
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("1", "?", 1, ()), r"point to a context; got context 1 of 1 in id 1$"),
        (Question("1", "?", -1, ()), r"got context -1 of 1 in id 1$"),
        (Question("1", "?", 0, ((1, 3),)), r"got answer \(1, 3\) of 2 characters in id 1$"),
        (Question("1", "?", 0, ((0, 1), (1, 1))), r"got answer \(1, 1\) of 2 characters in id 1$"),
        (Question("1", "?", 0, ((-1, 1),)), r"part of its context; got answer \(-1, 1\)"),
        (Question("0", "?", 0, ()), r"ids must differ; got id 0 twice$"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(question, message):
    with pytest.raises(ValueError, match=rf"^QuestionSet: .*{message}"):
        QuestionSet([Context("", "ab")], [Question("0", "?", 0, ()), question], [])


def test_errors_name_the_values():
    for test, valid in ((0, 0.1), (0.1, 0), (0.5, 0.5), (-1, 0.1)):
        with pytest.raises(
            ValueError,
            match=rf"^split_by_article: shares .*got test_share {test}, valid_share {valid}$",
        ):
            split_by_article(numbered("abcd"), test_share=test, valid_share=valid)
    with pytest.raises(ValueError, match=r"at least 3 articles; got 2 with 4 questions$"):
        split_by_article(numbered("abba"))
    with pytest.raises(ValueError, match=r"^with_unanswerable: .*0 to 1; got share 1\.5$"):
        with_unanswerable(numbered("ab"), 1.5)
    with pytest.raises(ValueError, match=r"another article; got 1 in 2 contexts$"):
        with_unanswerable(numbered("aa"), 0.5)
