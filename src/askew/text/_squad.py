"""Readers of questions in the format of SQuAD or as JSON lines."""

import gzip
import json
import zlib
from pathlib import Path
from typing import TypeVar, cast

from askew._check import require
from askew._encoding import decode_file
from askew._files import existing_file
from askew.text._questions import OTHERS_STAY, Context, Question, QuestionSet

_SHOWN = 60
_T = TypeVar("_T")


def read_squad(path: str | Path) -> QuestionSet:
    """Read questions in SQuAD's JSON, version 1 or 2, plain or packed as `.gz`.

    Contexts keep the order of the file; equal contexts of one title are merged. A question marked
    as impossible has no answers, even if the file lists some. A question without that mark and
    with an empty list has none either. Equal answers of several annotators are merged.

    An answer is used only if its text stands in the context at the character that the file
    names: no answer is searched for or moved. Answers that do not fit are left out and listed in
    `refused`; a question without a fitting answer is left out with them. A question is also
    refused if its id is a repetition, its text or context is blank, or it is marked as possible
    and has an empty list of answers.

    Args:
        path: The file.

    Returns:
        Contexts, questions, and what was refused.

    Raises:
        ValueError: If the file is missing, damaged, not UTF-8 or not in this format, or has no
            usable question. The message names the file and the place in it.

    Example:
        >>> import tempfile
        >>> item = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
        >>> article = {"title": "Ada", "paragraphs": [{"context": "Ada wrote.", "qas": [item]}]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "train.json"
        ...     _ = path.write_text(json.dumps({"data": [article]}))
        ...     read_squad(path).questions
        [Question(id='1', text='Who?', context=0, answers=((0, 3),))]

    References:
        SQuAD: 100,000+ Questions for Machine Comprehension of Text, 2016, arXiv:1606.05250.
        Know What You Don't Know: Unanswerable Questions for SQuAD, 2018, arXiv:1806.03822.
    """
    path, caller = Path(path), "read_squad"
    collected = _Collected(caller, path)
    text = decode_file(read_bytes(path, caller), caller, path)
    for article in _Record(_parsed(text, caller, f"{path}"), caller, path).records("data"):
        title = article.string("title") if "title" in article else ""
        for paragraph in article.records("paragraphs"):
            context = Context(title, paragraph.string("context"))
            if context.text.strip():
                collected.row(context)
            for record in paragraph.records("qas"):
                possible = record.possible()
                answers = [] if possible is False else record.answers("text", "answer_start")
                question = record.string("question")
                collected.add(record.name(), question, context, answers, possible=possible)
    return collected.questions()


def read_question_lines(path: str | Path) -> QuestionSet:
    """Read one question per line, each a JSON object; a `.gz` is unpacked.

    An object has the strings "question" and "context", and either "answers", a list of
    objects with "text" and "start" (or "answer_start"), or one "answer" and its "start". Rows of
    the datasets library have in "answers" an object with a list "text" and a list "answer_start".
    An empty list means that the context has no answer. "title" and "id" are optional; the default
    id is "line-" and the number of the line. Other keys are ignored. Equal contexts of one title
    are merged. Answers must fit as in `read_squad`, or are refused.

    Args:
        path: The file.

    Returns:
        Contexts, questions, and what was refused.

    Raises:
        ValueError: If the file is missing, damaged, not UTF-8 or not in this format, or has no
            usable question. The message names the file and the line, from 1 on.

    Example:
        >>> import tempfile
        >>> record = {"question": "Who?", "context": "Ada wrote.", "answer": "Ada", "start": 0}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "train.jsonl"
        ...     _ = path.write_text(json.dumps(record))
        ...     read_question_lines(path).questions
        [Question(id='line-1', text='Who?', context=0, answers=((0, 3),))]
    """
    path, caller = Path(path), "read_question_lines"
    collected = _Collected(caller, path)
    text = decode_file(read_bytes(path, caller), caller, path).removesuffix("\n")
    for number, line in enumerate(text.split("\n") if text else [], 1):
        place = f"line {number}"
        record = _Record(_parsed(line, caller, f"{path}, {place}"), caller, path, place)
        title = record.string("title") if "title" in record else ""
        context = Context(title, record.string("context"))
        several = "answers" in record
        answers = record.line_answers() if several else [record.span("answer", "start")]
        name = record.name() if "id" in record else f"line-{number}"
        collected.add(name, record.string("question"), context, answers)
    return collected.questions()


def read_questions(path: str | Path) -> QuestionSet:
    """Read questions in either format, with `read_squad` or `read_question_lines`.

    A `.jsonl` has one question per line. So has a `.json` whose first line is an object with
    "question"; any other `.json` is in SQuAD's format. Both may be packed as `.gz`.

    Args:
        path: The file.

    Returns:
        Contexts, questions, and what was refused.

    Raises:
        ValueError: If the name has another ending, or the file is not in its format.

    Example:
        >>> import tempfile
        >>> line = {"question": "Who?", "context": "Cats sleep.", "answer": "Cats", "start": 0}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "questions.jsonl"
        ...     _ = path.write_text(json.dumps(line))
        ...     read_questions(path).questions[0].answers
        ((0, 4),)
    """
    path = Path(path)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    require(
        suffix in (".json", ".jsonl"),
        f"read_questions: the name must end with .json, .jsonl, .json.gz or .jsonl.gz; got {path}"
        + ("" if path.exists() else ", which does not exist"),
    )
    by_line = suffix == ".jsonl" or _begins_with_question(path)
    return read_question_lines(path) if by_line else read_squad(path)


_LINE = (
    '. A line is an object with "question" and "context", and with "answer" and "start" '
    'or a list "answers"'
)


class _Collected:
    """Collects contexts, questions and refusals while a file is read."""

    def __init__(self, caller: str, path: Path) -> None:
        self._caller, self._path = caller, path
        self._rows: dict[Context, int] = {}
        self._questions: list[Question] = []
        self._refused: list[str] = []
        self._names: set[str] = set()

    def row(self, context: Context) -> int:
        """Return the row of a context, adding it if it is new."""
        return self._rows.setdefault(context, len(self._rows))

    def add(
        self,
        name: str,
        text: str,
        context: Context,
        answers: list[tuple[str, int]],
        *,
        possible: bool | None = None,
    ) -> None:
        """Add a question with its fitting answers, or the reason why it is refused."""
        right = [one for one in answers if _stands_at(context.text, *one)]
        wrong = [
            f"answer {_short(text)} is not at {start}"
            for text, start in answers
            if (text, start) not in right
        ]
        faults = [
            (name in self._names, "another question before has this id"),
            (not text.strip(), "the question is blank"),
            (not context.text.strip(), "the context is blank"),
            (possible is True and not answers, "it is called possible and has no answers"),
            (bool(answers) and not right, ", ".join(wrong)),
        ]
        fault = next((reason for holds, reason in faults if holds), None)
        self._names.add(name)
        if fault is not None:
            self._refused.append(f"id {name}: {fault}")
            return
        self._refused += [f"id {name}: {reason}{OTHERS_STAY}" for reason in wrong]
        spans = dict.fromkeys((start, start + len(text)) for text, start in right)
        self._questions.append(Question(name, text, self.row(context), tuple(spans)))

    def questions(self) -> QuestionSet:
        """Return everything collected, at least one question."""
        require(
            bool(self._questions),
            f"{self._caller}: the file must hold a question that can be used; "
            f"got none in {self._path}, {len(self._refused)} refused"
            + "".join(f". The first, {reason}" for reason in self._refused[:1]),
        )
        return QuestionSet(list(self._rows), self._questions, self._refused)


class _Record:
    """A JSON object and its place in a file, which its errors name."""

    def __init__(self, value: object, caller: str, path: Path, trail: str = "") -> None:
        self._caller, self._path, self._trail = caller, path, trail
        self._place = f"{path}, {trail}" if trail else str(path)
        self._form = _LINE if trail.startswith("line ") and "." not in trail else ""
        if not isinstance(value, dict):
            raise ValueError(
                f"{caller}: an object is needed; got {type(value).__name__} at {self._place}"
            )
        self._fields: dict[str, object] = value

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def string(self, key: str) -> str:
        text = self._get(key, str, "a string")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f'{self._caller}: "{key}" must be whole Unicode; '
                f"got half a surrogate pair at {self._place}"
            ) from None
        return text

    def name(self) -> str:
        """Return the id, which may be a number in the file."""
        number = self._fields.get("id")
        return str(number) if type(number) is int else self.string("id")

    def possible(self) -> bool | None:
        """Whether the file says that it has an answer; None if it says nothing."""
        if "is_impossible" not in self:
            return None
        return not self._get("is_impossible", bool, "true or false")

    def records(self, key: str) -> list["_Record"]:
        trail = f"{self._trail}.{key}".removeprefix(".")
        return [
            _Record(item, self._caller, self._path, f"{trail}[{i}]")
            for i, item in enumerate(self._get(key, list, "a list"))
        ]

    def answers(self, text: str, start: str) -> list[tuple[str, int]]:
        return [answer.span(text, start) for answer in self.records("answers")]

    def line_answers(self) -> list[tuple[str, int]]:
        """Return the answers of a line: a list of objects, or an object of two lists."""
        if not isinstance(self._fields["answers"], dict):
            return [
                answer.span("text", "answer_start" if "answer_start" in answer else "start")
                for answer in self.records("answers")
            ]
        columns = _Record(self._fields["answers"], self._caller, self._path, self._trail)
        texts, starts = (columns._get(key, list, "a list") for key in ("text", "answer_start"))
        require(
            len(texts) == len(starts),
            f'{self._caller}: "text" and "answer_start" must have the same length; '
            f"got {len(texts)} and {len(starts)} at {self._place}",
        )
        pairs = zip(texts, starts, strict=True)
        rows = [{"text": text, "answer_start": start} for text, start in pairs]
        return [
            _Record(row, self._caller, self._path, self._trail).span("text", "answer_start")
            for row in rows
        ]

    def span(self, text: str, start: str) -> tuple[str, int]:
        return self.string(text), self._get(start, int, "a whole number")

    def _get(self, key: str, kind: type[_T], kind_in_words: str) -> _T:
        require(
            key in self,
            f'{self._caller}: "{key}" is needed; got {sorted(self._fields)} at {self._place}'
            + self._form,
        )
        value = self._fields[key]
        if type(value) is not kind:  # isinstance would take true for a number
            raise ValueError(
                f'{self._caller}: "{key}" must be {kind_in_words}; '
                f"got {type(value).__name__} at {self._place}"
            )
        return cast(_T, value)


def _stands_at(context: str, text: str, start: int) -> bool:
    return bool(text.strip()) and start >= 0 and context.startswith(text, start)


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def read_bytes(path: Path, caller: str) -> bytes:
    raw = existing_file(caller, path).read_bytes()
    if not path.name.lower().endswith(".gz"):
        return raw
    try:
        return gzip.decompress(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{caller}: a .gz file must be whole gzip; got {path} damaged: {error}"
        ) from None


def _parsed(text: str, caller: str, place: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{caller}: JSON is needed; got {error} at {place}") from None


def _begins_with_question(path: Path) -> bool:
    caller = "read_questions"
    first = decode_file(read_bytes(path, caller), caller, path).partition("\n")[0]
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and "question" in record
