"""What the page answers from: documents, and the models at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from askew.models import ContextIndex, FusedSearch, QuestionAnswerer, Translator
    from askew.text import Context, PassageSearch

AROUND = 20_000
"""Characters of a document that are sent on either side of a place."""
Found = dict[str, object]


class Asked(NamedTuple):
    """A question, and how many answers are wanted."""

    question: str
    top: int


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Documents that are searched, and the models that answer and translate.

    Attributes:
        search: Finds passages; None without documents.
        answerer: Answers by spans.
        index: Of the answerer.
        translator: Translates.
        shortlist: How many windows the answerer reads; None for all.
    """

    search: "PassageSearch | FusedSearch | None" = None
    answerer: "QuestionAnswerer | None" = None
    index: "ContextIndex | None" = None
    translator: "Translator | None" = None
    shortlist: int | None = 100

    @property
    def works(self) -> dict[str, Callable[[Sequence], list[Found | ValueError]]]:
        """What can be asked for, by name, and what works it off."""
        all_works = {
            "search": (self.search, self.find),
            "answer": (self.answerer, self.answer),
            "translate": (self.translator, self.translate),
        }
        return {name: work for name, (needed, work) in all_works.items() if needed is not None}

    def document(self, row: int) -> "Context | None":
        """Return a document by its number; there is no other way to any file."""
        contexts = [] if self.search is None else self.search.contexts
        index = self.index or getattr(self.search, "index", None)
        is_dropped = index is not None and row in index.dropped
        return contexts[row] if 0 <= row < len(contexts) and not is_dropped else None

    def find(self, asked: Sequence[Asked]) -> list[Found | ValueError]:
        """Find passages for each question."""
        return [_tried(self._find, one) for one in asked]

    def answer(self, asked: Sequence[Asked]) -> list[Found | ValueError]:
        """Answer each question."""
        return [_tried(self._answer, one) for one in asked]

    def translate(self, asked: Sequence[tuple[str, ...]]) -> list[Found | ValueError]:
        """Translate the texts of all requests together."""
        if self.translator is None:
            raise RuntimeError("Desk: a translator is needed; got none")
        done = iter(self.translator.translate([text for texts in asked for text in texts]))
        return [{"translations": [next(done) for _ in texts]} for texts in asked]

    def _find(self, asked: Asked) -> Found:
        if self.search is None:
            raise RuntimeError("Desk: documents are needed; got none")
        passages = [
            {
                **self._place(one.context, one.sentence[0]),
                "start": one.start,
                "end": one.end,
                "text": one.text,
                "score": one.score,
                "sentence": list(one.sentence),
            }
            for one in self.search.search(asked.question, top=asked.top)
        ]
        return {"question": asked.question, "passages": passages}

    def _answer(self, asked: Asked) -> Found:
        if self.answerer is None or self.index is None:
            raise RuntimeError("Desk: a model is needed; got none")
        answers, spans = (
            [],
            self.answerer.answer(
                asked.question, self.index, top_k=asked.top, shortlist=self.shortlist
            ),
        )
        for one in spans:
            text = self.index.contexts[one.context].text
            start, end = max(0, one.start - 200), min(len(text), one.end + 200)
            answers.append(
                {
                    **self._place(one.context, one.start),
                    "start": start,
                    "end": end,
                    "text": text[start:end],
                    "score": one.score,
                    "sentence": [one.start, one.end],
                    "answer": one.text,
                }
            )
        nothing = not spans or spans[0].nothing
        return {"question": asked.question, "nothing": nothing, "answers": answers}

    def _place(self, row: int, position: int) -> Found:
        from askew.text import find_place

        context = self.document(row)
        if context is None:
            raise RuntimeError(f"Desk: a document that was found must be served; got {row}")
        place = find_place(context, position)._asdict()
        return {"document": row, "file": context.title, **place}


def _tried(work: Callable[[Asked], Found], asked: Asked) -> Found | ValueError:
    try:
        return work(asked)
    except ValueError as error:
        return error
