"""The questions a question-answering task runs on: ours, or the user's own."""

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

    They are few: enough to see every command work, too few to say how good a model is.

    Returns:
        The questions.

    Raises:
        ValueError: If the installed package lacks them.

    Example:
        >>> len(shipped_questions().questions) > 150
        True
    """
    found = files("askew.tasks") / "questions" / _SHIPPED
    with_path = Path(str(found))
    require(
        with_path.is_file(),
        f"shipped_questions: the package must hold {_SHIPPED}; got none. Install it again",
    )
    return read_squad(with_path)


def load_test_questions(data: Path | None, *, part: Split = "all") -> QuestionSet:
    """Read the questions to score with.

    Args:
        data: SQuAD JSON or JSON lines; None takes the shipped questions.
        part: Which of them: all, or the "valid" or "test" questions that training splits off.

    Returns:
        The questions.

    Raises:
        ValueError: If the file cannot be read, or has too few articles to split.

    Example:
        >>> len(load_test_questions(None, part="test").contexts)
        4
    """
    if part != "all":
        return getattr(load_questions(QuestionSources(data))[1], part)
    return shipped_questions() if data is None else read_questions(data)


def load_questions(sources: QuestionSources, *, seed: int = 0) -> tuple[str, SplitQuestions]:
    """Read training, validation and test questions; what is missing is split off by article.

    Args:
        sources: Where they lie.
        seed: Of the split.

    Returns:
        A name for the data, and the questions.

    Raises:
        ValueError: If a file cannot be read, or has too few articles to split.

    Example:
        >>> name, split = load_questions(QuestionSources())
        >>> name, [len(part.questions) for part in split]
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
        kept = [replace(split.train, refused=train.refused)]
        if valid is not None:
            kept.append(split.valid)
        if test is not None:
            kept.append(split.test)
        train = _joined(kept)
        valid = split.valid if valid is None else valid
        test = split.test if test is None else test
    return str(sources.data), SplitQuestions(train, valid, test)


def _joined(parts: list[QuestionSet]) -> QuestionSet:
    """One set of several, whose questions have different ids."""
    joined = QuestionSet([], [], [])
    for part in parts:
        first = len(joined.contexts)
        joined.contexts.extend(part.contexts)
        joined.questions.extend(
            type(q)(q.id, q.text, q.context + first, q.answers) for q in part.questions
        )
        joined.refused.extend(part.refused)
    return joined


def tell_refused(questions: QuestionSet, limit: int = 3) -> str:
    """Say how many questions or answers could not be used, and name the first.

    Args:
        questions: A set.
        limit: How many are named.

    Returns:
        A sentence, or "" where none was refused.

    Example:
        >>> tell_refused(QuestionSet([], [], ["id 7: answer 'x' is not at 3"]))
        "1 answer refused: id 7: answer 'x' is not at 3"
    """
    count = len(questions.refused)
    if count == 0:
        return ""
    more = "" if count <= limit else f"; and {count - limit} more"
    named = "; ".join(questions.refused[:limit])
    return f"{count} {'answer' if count == 1 else 'answers'} refused: {named}{more}"
