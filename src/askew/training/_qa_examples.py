"""Windows of contexts with all questions about them, and batches of windows."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from askew._check import require
from askew.text import QuestionSet, SpanTokenizer, cut_windows, pad_batch, tokens_of_span
from askew.training._taught_spans import SoftSpan, TaughtSpans, soft_span


class WindowQuestion(NamedTuple):
    """A question about a window.

    Args:
        number: Of the question in its set.
        tokens: Of the question.
        spans: First and last position of every answer in the window; none if it has none.
        elsewhere: Whether the question is also put to another article of the batch.
        soft: What a teacher says of the question and the window.

    Example:
        >>> WindowQuestion(number=0, tokens=[4, 5], spans=[(1, 2)], elsewhere=False).spans
        [(1, 2)]
    """

    number: int
    tokens: list[int]
    spans: list[tuple[int, int]]
    elsewhere: bool
    soft: SoftSpan | None = None


@dataclass(frozen=True)
class Window:
    """A window of a context with the questions about it.

    Attributes:
        tokens: Of the window, with the special tokens around them.
        inner: Positions that may be in an answer: the first, and the one after the last.
        context: Row of the context.
        article: Number of its article in the set, as `QuestionSet.articles` has it.
        questions: The questions about it.

    Example:
        >>> Window(tokens=[1, 7, 8, 2], inner=(1, 3), context=0, article=0, questions=[]).inner
        (1, 3)
    """

    tokens: list[int]
    inner: tuple[int, int]
    context: int
    article: int
    questions: list[WindowQuestion]


class QuestionExamples(Dataset):
    """Questions as token numbers, by the windows of their contexts.

    A question is put to every window of its context; where the window does not hold its
    answer, "nothing" is right. With n windows, window i of epoch e has the number e * n + i.

    Args:
        questions: The set.
        context_tokenizer: Cuts contexts.
        question_tokenizer: Cuts questions.
        max_context_tokens: Of a window, with the special tokens around it.
        overlap: Tokens that two windows share.
        max_question_tokens: Of a question, likewise.
        max_answer_tokens: Longer answers are not learnt.
        unanswerable: Share of questions that are also put to another article.
        seed: Of the choice of these.
        taught: What a teacher says of the questions of the set.

    Attributes:
        left_out: Questions that cannot be learnt, each with the reason.

    Raises:
        ValueError: If no question is left.

    Example:
        >>> from askew.text import Context, Question, train_tokenizer
        >>> spans = SpanTokenizer(train_tokenizer(["Cats sleep. Who sleeps?"], vocab_size=300))
        >>> questions = [Question("q1", "Who sleeps?", 0, ((0, 4),))]
        >>> examples = QuestionExamples(
        ...     QuestionSet([Context("", "Cats sleep.")], questions, []),
        ...     spans,
        ...     spans,
        ...     max_context_tokens=64,
        ...     overlap=8,
        ...     max_question_tokens=32,
        ...     max_answer_tokens=8,
        ... )
        >>> len(examples), len(examples[0].questions)
        (1, 1)
    """

    def __init__(
        self,
        questions: QuestionSet,
        context_tokenizer: SpanTokenizer,
        question_tokenizer: SpanTokenizer,
        *,
        max_context_tokens: int,
        overlap: int,
        max_question_tokens: int,
        max_answer_tokens: int,
        unanswerable: float = 0.0,
        seed: int = 0,
        taught: TaughtSpans | None = None,
    ) -> None:
        self.unanswerable, self.seed = unanswerable, seed
        self.left_out: list[str] = []
        by_context = defaultdict[int, list[tuple[int, list[int], list[tuple[int, int]]]]](list)
        encoded = question_tokenizer.encode_all([q.text for q in questions.questions])
        contexts = context_tokenizer.encode_all([context.text for context in questions.contexts])
        for number, (question, tokens) in enumerate(zip(questions.questions, encoded, strict=True)):
            ids = question_tokenizer.wrap(tokens.ids)
            places = (tokens_of_span(contexts[question.context], *a) for a in question.answers)
            spans = [s for s in places if s is not None and s[1] - s[0] < max_answer_tokens]
            if len(ids) > max_question_tokens or (question.answers and not spans):
                why = "it" if len(ids) > max_question_tokens else "its answer"
                self.left_out.append(f"{question.id}: {why} has too many tokens")
            else:
                by_context[question.context].append((number, ids, sorted(set(spans))))
        require(
            bool(by_context),
            "QuestionExamples: there must be questions to learn; "
            f"got {len(questions.questions)}, of which {len(self.left_out)} were too long",
        )
        size = max_context_tokens - context_tokenizer.num_special
        before = len(context_tokenizer.before)
        articles = questions.articles
        self.windows: list[Window] = []
        for row, about in sorted(by_context.items()):
            for start, end in cut_windows(len(contexts[row].ids), size=size, overlap=overlap):
                self.windows.append(
                    Window(
                        context_tokenizer.wrap(contexts[row].ids[start:end]),
                        (before, before + end - start),
                        row,
                        articles[row],
                        [
                            WindowQuestion(
                                number,
                                ids,
                                _shift(spans, start, end, before),
                                elsewhere=False,
                                soft=None
                                if taught is None
                                else soft_span(taught, number, contexts[row], (start, end), before),
                            )
                            for number, ids, spans in about
                        ],
                    )
                )

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Window:
        epoch, row = divmod(index, len(self))
        window = self.windows[row]
        if self.unanswerable == 0:
            return window
        draw = random.Random(f"{self.seed}/{epoch}/{row}")
        questions = [
            q._replace(elsewhere=draw.random() < self.unanswerable) for q in window.questions
        ]
        return replace(window, questions=questions)

    @property
    def lengths(self) -> list[tuple[int, int]]:
        """Tokens of every window; the second length is 1, so windows alone fill a batch."""
        return [(len(window.tokens), 1) for window in self.windows]

    def lengths_in(self, epoch: int) -> list[tuple[int, int]]:
        """Return the same in every epoch."""
        return self.lengths


def _shift(
    spans: Sequence[tuple[int, int]], start: int, end: int, before: int
) -> list[tuple[int, int]]:
    """Move spans to positions of the window; those not wholly in it are left out."""
    return [
        (first - start + before, last - start + before)
        for first, last in spans
        if start <= first and last < end
    ]


def collate_questions(rows: Sequence[Window]) -> dict[str, Tensor | dict[str, Tensor]]:
    """Make a batch: every window once, every question once, and pairs of both.

    Args:
        rows: Windows.

    Returns:
        The inputs of `AsymmetricQAModel`, and `labels`: `gold` [spans, 3] with pair, first and
        last position of every right answer; `nothing` [pairs], True where there is none; and for
        the contrastive loss `positives` and `exclude` [questions, windows]. Positives are the
        windows with an answer; the other windows of the same context are excluded. With a teacher,
        also `taught` [pairs], True for a question and a window of its own context, and for these
        the fields of `SoftSpan`.

    Example:
        >>> questions = [WindowQuestion(0, [5, 6], [(1, 2)], False)]
        >>> batch = collate_questions([Window([1, 7, 8, 2], (1, 3), 0, 0, questions)])
        >>> batch["labels"]["gold"].tolist()
        [[0, 1, 2]]
    """
    numbers: dict[int, int] = {}
    tokens: list[list[int]] = []
    pairs: list[tuple[int, int]] = []
    soft: list[SoftSpan | None] = []
    gold: list[tuple[int, int, int]] = []
    positives: list[tuple[int, int]] = []
    exclude: list[tuple[int, int]] = []
    for place, window in enumerate(rows):
        for item in window.questions:
            if item.number not in numbers:
                numbers[item.number] = len(tokens)
                tokens.append(item.tokens)
            question = numbers[item.number]
            (positives if item.spans else exclude).append((question, place))
            gold += [(len(pairs), first, last) for first, last in item.spans]
            pairs.append((question, place))
            soft.append(item.soft)
            other = _another_article(rows, place) if item.elsewhere else None
            if other is not None:
                pairs.append((question, other))
                soft.append(None)
    contexts, context_mask = pad_batch([window.tokens for window in rows])
    questions, question_mask = pad_batch(tokens)
    inner = torch.tensor([window.inner for window in rows])
    places = torch.arange(contexts.shape[1])
    spans = torch.tensor(gold, dtype=torch.long).reshape(-1, 3)
    nothing = torch.ones(len(pairs), dtype=torch.bool)
    nothing[spans[:, 0]] = False
    return {
        "question_ids": questions,
        "question_mask": question_mask.bool(),
        "context_ids": contexts,
        "context_mask": context_mask.bool(),
        "answer_mask": (places >= inner[:, :1]) & (places < inner[:, 1:]),
        "question_rows": torch.tensor([question for question, _ in pairs]),
        "context_rows": torch.tensor([place for _, place in pairs]),
        "labels": {
            "gold": spans,
            "nothing": nothing,
            "positives": _marked(positives, len(tokens), len(rows)),
            "exclude": _marked(exclude, len(tokens), len(rows)),
            **_taught(soft),
        },
    }


def _taught(soft: Sequence[SoftSpan | None]) -> dict[str, Tensor]:
    """Stack what a teacher says of pairs; of those it did not read, anything finite."""
    said = next((one for one in soft if one is not None), None)
    if said is None:
        return {}
    columns = zip(*(said if one is None else one for one in soft), strict=True)
    stacked = (torch.stack(column) for column in columns)
    return {
        "taught": torch.tensor([one is not None for one in soft]),
        **dict(zip(SoftSpan._fields, stacked, strict=True)),
    }


def _another_article(rows: Sequence[Window], place: int) -> int | None:
    """Find the next window of the batch that is of another article."""
    for step in range(1, len(rows)):
        other = (place + step) % len(rows)
        if rows[other].article != rows[place].article:
            return other
    return None


def _marked(pairs: Sequence[tuple[int, int]], *shape: int) -> Tensor:
    marks = torch.zeros(shape, dtype=torch.bool)
    if pairs:
        rows, columns = zip(*pairs, strict=True)
        marks[list(rows), list(columns)] = True
    return marks
