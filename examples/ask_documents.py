"""Find passages without a model, and answer from documents that are encoded once.

    python examples/ask_documents.py                       # the pages of docs/
    python examples/ask_documents.py notes/ "Who came?"    # yours

The reader is trained here for seconds on 212 questions, which is too few to answer well: for that
train one by askew train qa --data squad.json --context-encoder DIR.
"""

import sys
import tempfile
from pathlib import Path

from askew.models import QuestionAnswerer
from askew.tasks import (
    QuestionSources,
    load_questions,
    prepare_training,
    qa_preset,
    qa_task,
    train_into,
)
from askew.text import PassageSearch, read_documents
from askew.tradeoffs import Budget

DOCS = Path(__file__).parents[1] / "docs"
QUESTIONS = ["What does a positive difference mean?", "Which files can be read as contexts?"]


def main(documents: Path, questions: list[str]) -> None:
    contexts = read_documents(documents)
    search = PassageSearch(contexts)
    for question in questions:
        for found in search.search(question, top=1):
            text = contexts[found.context].text[slice(*found.sentence)]
            print(f"{question}\n  search  {contexts[found.context].title}: {text!r}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "reader"
        task = qa_task(*load_questions(QuestionSources()), vocab_size=1000)
        model = qa_preset("asymmetric", "tiny", vocab_size=task.vocabularies())
        run = {"budget": Budget(steps=25), "seed": 0, "threads": 1, "out": out}
        identity = prepare_training(task, model, **run)
        scores = train_into(task, model, identity, progress=lambda *_: None, **run)
        print(f"\nF1 on questions of the test split: {scores['f1']:.1f}")
        answerer = QuestionAnswerer.from_pretrained(out)
        index = answerer.encode(contexts)
        print(f"encoded {len(contexts)} documents in {index.num_windows} windows")
        for question in questions:
            best = answerer.answer(question, index)[0]
            print(f"{question}\n  reader  {best.title}: {best.text!r} ({best.score:+.1f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS, sys.argv[2:] or QUESTIONS)
