"""Questions about contexts, their split by article, and unanswerable questions."""

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

from askew._check import require

_TRIES = 20


class Context(NamedTuple):
    """A text to find answers in, and the title of the article or file it comes from.

    Example:
        >>> Context(title="cats.md", text="Cats sleep.").title
        'cats.md'
    """

    title: str
    text: str


@dataclass(frozen=True)
class Question:
    """A question about one context, and the places of its answers.

    Attributes:
        id: Unique in a set of questions.
        text: The question.
        context: Row of its context in `QuestionSet.contexts`.
        answers: Start and end (exclusive) of each answer, in characters of the context; empty if
            the context has no answer.

    Example:
        >>> question = Question("q1", "Who sleeps?", 0, ((0, 4),))
        >>> start, end = question.answers[0]
        >>> "Cats sleep."[start:end]
        'Cats'
    """

    id: str
    text: str
    context: int
    answers: tuple[tuple[int, int], ...]


OTHERS_STAY = "; its other answers stay"
"""The end of a reason for which an answer is refused and its question is not."""


@dataclass(frozen=True)
class QuestionSet:
    """Contexts, the questions about them, and what a reader refused.

    Attributes:
        contexts: The texts; several may have one title.
        questions: Each points to its context by row.
        refused: A sentence for each question or answer left out, with its id and the reason.

    Raises:
        ValueError: If two questions share an id, a question points to no context, or an answer
            is empty or goes beyond its context.

    Example:
        >>> question = Question("q1", "Who sleeps?", 0, ((0, 4),))
        >>> QuestionSet([Context("", "Cats sleep.")], [question], []).questions[0].id
        'q1'
    """

    contexts: list[Context]
    questions: list[Question]
    refused: list[str]

    def __post_init__(self) -> None:
        known: set[str] = set()
        for question in self.questions:
            name, row = question.id, question.context
            require(name not in known, f"QuestionSet: ids must differ; got id {name} twice")
            known.add(name)
            require(
                0 <= row < len(self.contexts),
                "QuestionSet: a question must point to a context; "
                f"got context {row} of {len(self.contexts)} in id {name}",
            )
            length = len(self.contexts[row].text)
            for start, end in question.answers:
                require(
                    0 <= start < end <= length,
                    "QuestionSet: an answer must be a part of its context; "
                    f"got answer ({start}, {end}) of {length} characters in id {name}",
                )

    @property
    def num_refused(self) -> int:
        """How many questions are left out; one that lost some of its answers is not."""
        return sum(not reason.endswith(OTHERS_STAY) for reason in self.refused)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of contexts and questions, 64 hexadecimal digits.

        The count of every list and the length of every text in bytes are hashed too, so that
        different contents never become the same bytes. `refused` is not hashed.
        """
        digest = hashlib.sha256(f"{len(self.contexts)}\n".encode())
        for context in self.contexts:
            digest.update(_framed(*context))
        digest.update(f"{len(self.questions)}\n".encode())
        for question in self.questions:
            spans = " ".join(f"{start}-{end}" for start, end in question.answers)
            digest.update(_framed(question.id, question.text, f"{question.context} {spans}"))
        return digest.hexdigest()

    @property
    def articles(self) -> list[int]:
        """The number of the article of each context.

        Contexts of one title are of one article, and so are those of one text. One without title
        is an article by itself.
        """
        parent: dict[tuple[str, str], tuple[str, str]] = {}  # union-find

        def root(key: tuple[str, str]) -> tuple[str, str]:
            parent.setdefault(key, key)
            while parent[key] != key:
                parent[key] = parent[parent[key]]  # path halving: shorter for the next search
                key = parent[key]
            return key

        keys = [("text", context.text) for context in self.contexts]
        for key, context in zip(keys, self.contexts, strict=True):
            if context.title:
                parent[root(key)] = root(("title", context.title))
        numbers: dict[tuple[str, str], int] = {}
        return [numbers.setdefault(root(key), len(numbers)) for key in keys]

    def answer_texts(self, question: Question) -> list[str]:
        """Return the text of each answer of one of the questions."""
        text = self.contexts[question.context].text
        return [text[start:end] for start, end in question.answers]


class SplitQuestions(NamedTuple):
    """Questions for training, validation and testing.

    Args:
        train: Training questions.
        valid: Validation questions.
        test: Test questions.

    Example:
        >>> contexts = [Context(title, "Cats sleep.") for title in "abcdefghij"]
        >>> questions = [Question(str(i), "Who?", i, ((0, 4),)) for i in range(10)]
        >>> split = QuestionSet(contexts, questions, [])
        >>> [one.questions[0].text for one in SplitQuestions(split, split, split)]
        ['Who?', 'Who?', 'Who?']
    """

    train: QuestionSet
    valid: QuestionSet
    test: QuestionSet


def split_by_article(
    questions: QuestionSet,
    *,
    test_share: float = 0.1,
    valid_share: float = 0.1,
    seed: int = 0,
) -> SplitQuestions:
    """Shuffle the articles and split them so that none is in two splits.

    All contexts of one title are an article; a context without a title is an article by itself.
    Articles that share a text count as one. A split takes whole articles while they fit, so it
    may have a few questions fewer than its share. It has more only if even the article with the
    fewest questions has more. Articles without questions go to training. Contexts and questions
    keep their order; `refused` of the splits is empty.

    Args:
        questions: The set, with questions about at least 3 articles.
        test_share: Share of the questions for testing, > 0.
        valid_share: Share of the questions for validation, > 0; both shares together are < 1.
        seed: Seed of the shuffling. The same seed gives the same splits.

    Returns:
        The three sets, none of them without questions.

    Raises:
        ValueError: If the shares are out of range or there are fewer than 3 articles.

    Example:
        >>> contexts = [Context(title, f"It is {title}.") for title in "abcd"]
        >>> questions = [Question(f"q{i}", "Which?", i, ((6, 7),)) for i in range(4)]
        >>> splits = split_by_article(QuestionSet(contexts, questions, []), test_share=0.5)
        >>> [len(split.questions) for split in splits]
        [1, 1, 2]
    """
    require(
        test_share > 0 and valid_share > 0 and test_share + valid_share < 1,
        "split_by_article: shares must be > 0 and below 1 together; "
        f"got test_share {test_share}, valid_share {valid_share}",
    )
    article = questions.articles
    counts: dict[int, int] = {}
    for question in questions.questions:
        number = article[question.context]
        counts[number] = counts.get(number, 0) + 1
    require(
        len(counts) >= 3,
        "split_by_article: three splits need questions about at least 3 articles; "
        f"got {len(counts)} with {len(questions.questions)} questions",
    )
    order = list(counts)
    random.Random(seed).shuffle(order)
    total = len(questions.questions)
    test = _take(order, counts, test_share * total, leave=2)
    rest = [number for number in order if number not in test]
    valid = _take(rest, counts, valid_share * total, leave=1)
    splits = (set(article) - test - valid, valid, test)
    return SplitQuestions(*(_select(questions, article, numbers) for numbers in splits))


def with_unanswerable(questions: QuestionSet, share: float, seed: int = 0) -> QuestionSet:
    """Add unanswerable questions: some of the questions, about a context of another article.

    Contexts that contain one of the question's answers literally are not used. A question for
    which 20 draws give only such contexts is not added, so there may be fewer than requested.

    Args:
        questions: Questions about at least two articles.
        share: Share of the answered questions that are added again, 0 to 1.
        seed: Seed of the draws. The same seed gives the same set.

    Returns:
        The same contexts; the same questions, then the added ones, whose ids end with
        "-unanswerable" and whose answers are empty.

    Raises:
        ValueError: If the share is out of range, there is only one article, or the set
            already has such ids.

    Example:
        >>> contexts = [Context("Peru", "Lima is large."), Context("Chile", "It is long.")]
        >>> questions = QuestionSet(contexts, [Question("1", "What is large?", 0, ((0, 4),))], [])
        >>> with_unanswerable(questions, 1.0).questions[1:]
        [Question(id='1-unanswerable', text='What is large?', context=1, answers=())]

    References:
        Know What You Don't Know: Unanswerable Questions for SQuAD, 2018, arXiv:1806.03822,
        whose questions were written so that the context seems to have an answer; these are
        easier.
    """
    require(0 <= share <= 1, f"with_unanswerable: share must be 0 to 1; got share {share}")
    article = questions.articles
    require(
        len(set(article)) > 1,
        "with_unanswerable: there must be another article; "
        f"got {len(set(article))} in {len(article)} contexts",
    )
    answered = [question for question in questions.questions if question.answers]
    wanted = round(share * len(answered))
    draw = random.Random(seed)
    draw.shuffle(answered)
    others = _OtherArticles(article)
    added: list[Question] = []
    for question in answered:
        if len(added) == wanted:
            break
        known = [text.casefold() for text in questions.answer_texts(question)]
        for _ in range(_TRIES):
            row = others.draw(question.context, draw)
            text = questions.contexts[row].text.casefold()
            if not any(answer in text for answer in known):
                added.append(Question(f"{question.id}-unanswerable", question.text, row, ()))
                break
    return QuestionSet(questions.contexts, questions.questions + added, questions.refused)


class _OtherArticles:
    """Draws contexts of other articles, all equally likely, at constant cost.

    Rows are sorted by article, so that those of one article are a block that a draw can skip.
    """

    def __init__(self, article: list[int]) -> None:
        self._article = article
        self._rows = sorted(range(len(article)), key=article.__getitem__)
        self._count = Counter(article)
        self._first: dict[int, int] = {}
        for place, row in enumerate(self._rows):
            self._first.setdefault(article[row], place)

    def draw(self, row: int, random_: random.Random) -> int:
        excluded = self._article[row]
        size, start = self._count[excluded], self._first[excluded]
        place = random_.randrange(len(self._rows) - size)
        return self._rows[place if place < start else place + size]


def _take(order: list[int], counts: dict[int, int], size: float, *, leave: int) -> set[int]:
    """Select articles while their questions fit into `size` and `leave` articles remain."""
    smallest = min(order, key=counts.__getitem__)
    if counts[smallest] > size:
        return {smallest}
    taken: set[int] = set()
    held = 0
    for number in order:
        if len(order) - len(taken) > leave and held + counts[number] <= size:
            taken.add(number)
            held += counts[number]
    return taken


def _select(questions: QuestionSet, article: list[int], numbers: set[int]) -> QuestionSet:
    """Keep some articles, their contexts renumbered from 0 on."""
    rows = [row for row, number in enumerate(article) if number in numbers]
    renumbered = {row: new for new, row in enumerate(rows)}
    kept = [
        replace(question, context=renumbered[question.context])
        for question in questions.questions
        if question.context in renumbered
    ]
    return QuestionSet([questions.contexts[row] for row in rows], kept, [])


def _framed(*texts: str) -> bytes:
    """Write each text after its length in bytes."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(b"%d:%b" % (len(raw), raw) for raw in encoded)
