"""Questions for question answering: the shipped ones, or the user's."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from askew._check import require
from askew.tasks._application import Split
from askew.tasks._sources import QuestionSources
from askew.text import QuestionSet, SplitQuestions, read_questions, read_squad, split_by_article

_SHIPPED = "documentation.json"


def shipped_questions() -> QuestionSet:
    """Read about 200 questions over this library's documentation, in English and Portuguese.

    They are enough to try every command, and too few to judge a model.

    Returns:
        The questions.

    Raises:
        ValueError: If the installed package lacks them.

    Example:
        >>> len(shipped_questions().questions) > 150
        True
    """
    path = Path(str(files("askew.tasks") / "questions" / _SHIPPED))
    require(
        path.is_file(),
        f"shipped_questions: the package must hold {_SHIPPED}; got none. Install it again",
    )
    return read_squad(path)


def load_test_questions(data: str | Path | None, *, part: Split = "all") -> QuestionSet:
    """Read the questions to score with.

    Args:
        data: SQuAD JSON or JSON lines; None means the shipped questions.
        part: "all" of them, or the "valid" or "test" questions that training splits off.

    Returns:
        The questions.

    Raises:
        ValueError: If the file cannot be read, or has too few articles to split.

    Example:
        >>> len(load_test_questions(None, part="test").contexts)
        4
    """
    data = None if data is None else Path(data)
    if part != "all":
        return getattr(load_questions(QuestionSources(data))[1], part)
    return shipped_questions() if data is None else read_questions(data)


def load_questions(sources: QuestionSources, *, seed: int = 0) -> tuple[str, SplitQuestions]:
    """Read training, validation and test questions; missing splits are split off by article.

    Args:
        sources: Where the questions are.
        seed: Seed of the split.

    Returns:
        A name for the data, and the questions.

    Raises:
        ValueError: If a file cannot be read, or has too few articles to split.

    Example:
        >>> name, split = load_questions(QuestionSources())
        >>> name, [len(questions.questions) for questions in split]
        ("this library's documentation", [172, 20, 20])
    """
    if sources.data is None:
        require(
            sources.valid is None and sources.test is None,
            "load_questions: validation and test questions need training questions; got none. "
            "Give --data",
        )
        return "this library's documentation", split_by_article(shipped_questions(), seed=seed)
    train = read_questions(sources.data)
    valid = None if sources.valid is None else read_questions(sources.valid)
    test = None if sources.test is None else read_questions(sources.test)
    if valid is None or test is None:
        split = split_by_article(train, seed=seed)
        # A split that the user's own file replaces goes back to the training questions.
        replaced = [] if valid is None else [split.valid]
        replaced += [] if test is None else [split.test]
        train = _joined([replace(split.train, refused=train.refused), *replaced])
        valid, test = valid or split.valid, test or split.test
    return str(sources.data), SplitQuestions(train, valid, test)


def _joined(sets: list[QuestionSet]) -> QuestionSet:
    """Join sets of questions; their ids must differ."""
    joined = QuestionSet([], [], [])
    for questions in sets:
        first = len(joined.contexts)
        joined.contexts.extend(questions.contexts)
        joined.questions.extend(
            type(q)(q.id, q.text, q.context + first, q.answers) for q in questions.questions
        )
        joined.refused.extend(questions.refused)
    return joined


def describe_refused(questions: QuestionSet, limit: int = 3) -> str:
    """Describe how many questions or answers could not be used, and name the first of them.

    Args:
        questions: The questions.
        limit: How many are named.

    Returns:
        A sentence, or "" if none was refused.

    Example:
        >>> describe_refused(QuestionSet([], [], ["id 7: answer 'x' is not at 3"]))
        "1 answer refused: id 7: answer 'x' is not at 3"
    """
    count = len(questions.refused)
    if count == 0:
        return ""
    more = "" if count <= limit else f"; and {count - limit} more"
    named = "; ".join(questions.refused[:limit])
    return f"{count} {'answer' if count == 1 else 'answers'} refused: {named}{more}"
