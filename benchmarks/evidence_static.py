"""What small question encoders cost and find beside the encoder that taught them.

    python benchmarks/evidence_static.py --data new_wiki_v1.0.json.gz [--splits 3]

For each split by article the test contexts are searched, encoded by the large encoder, with
questions encoded by it, by a table and by one or three of its layers. These learned from it: of the
training questions without their answers, or of the sentences of the test contexts themselves. A
context ranks by its best passage; both rankings with BM25 fuse ranks. The encoder also asks an
index whose states are stored in other numbers. What --out holds of a split is not measured again,
and the encoders that are new are also timed in turn with the large one.
"""

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import print_table, write
from evidence_retrieval import RANKS, place_of, rank_of

from askew.metrics import recall_at
from askew.models import FusedSearch, PassageEncoder, StaticEncoder, StudentEncoder
from askew.tasks import QuestionSources, load_questions
from askew.text import fuse_scores, sentence_spans
from askew.training import distil_questions

Encoder = PassageEncoder | StaticEncoder | StudentEncoder
DTYPES = ("float32", "int8")
SENTENCES = "of the documents' sentences"
LEARNERS = {
    "table, of questions": StaticEncoder.distil,
    f"table, {SENTENCES}": StaticEncoder.distil,
    f"1 layer, {SENTENCES}": partial(distil_questions, layers=1),
    f"3 layers, {SENTENCES}": partial(distil_questions, layers=3),
}


def measure(data: Path, seed: int, teacher: PassageEncoder, known: dict) -> Iterator[dict]:
    """Yield what is known so far of a split, after each encoder."""
    split = load_questions(QuestionSources(data=data), seed=seed)[1]
    contexts = split.test.contexts
    index = teacher.encode(contexts)
    questions = [question.text for question in split.train.questions]
    sentences = [c.text[start:end] for c in contexts for start, end in sentence_spans(c.text)]
    texts = {name: sentences if SENTENCES in name else questions for name in LEARNERS}
    rows = [index.contexts.index(context) for context in contexts]
    asked = [(question.text, rows[question.context]) for question in split.test.questions]
    known |= {"seed": seed, "questions": len(asked), "contexts": len(contexts)}
    known["texts"] = {name: len(learned) for name, learned in texts.items()}
    sizes, seconds, found = (known.setdefault(n, {}) for n in ("bytes", "seconds", "encoders"))
    encoders: dict[str, Encoder] = {"the encoder itself": teacher}
    if "the encoder itself" not in found:
        found["the encoder itself"] = score(FusedSearch(index, teacher), asked)
    sizes["float16"] = index.num_bytes
    for dtype in DTYPES:
        name = f"states in {dtype}"
        if name not in found:
            stored = teacher.encode(contexts, dtype=dtype)
            sizes[dtype] = stored.num_bytes
            found[name] = score(FusedSearch(stored, teacher), asked)
            yield known
    for name, learn in LEARNERS.items():
        if name in found:
            continue
        start = time.process_time()
        encoders[name] = learn(teacher, texts[name])
        seconds[name] = time.process_time() - start
        found[name] = score(FusedSearch(index, encoders[name]), asked)
        yield known
    if len(encoders) > 1:
        known["question_ms"] = in_turn(encoders, [text for text, _ in asked])
    yield known


def in_turn(encoders: dict[str, Encoder], questions: list[str]) -> dict[str, float]:
    """Milliseconds of CPU time of a question by each encoder, median over questions."""
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for question in questions:
        for name, encoder in encoders.items():
            start = time.process_time()
            encoder.question(question)
            times[name].append(1e3 * (time.process_time() - start))
    return {name: float(np.median(one)) for name, one in times.items()}


def score(search: FusedSearch, questions: list[tuple[str, int]]) -> dict:
    """Recall in percent, and the median of milliseconds of CPU time."""
    ranks: dict[str, list] = {"vectors": [], "vectors and BM25": [], "MaxSim and BM25": []}
    encode, whole = [], []
    for text, row in questions:
        start = time.process_time()
        encoded = search.encoder.question(text)
        encode.append(time.process_time() - start)
        vectors = (search.index.vectors @ encoded.vector).double().numpy()
        words = search.passages.bm25.scores(text)
        both = fuse_scores([vectors, words], [0.5, 0.5])
        ranks["vectors"].append(rank_of(search, vectors, row))
        ranks["vectors and BM25"].append(rank_of(search, both, row))
        start = time.process_time()
        ranks["MaxSim and BM25"].append(place_of(search.rank(text), row))
        whole.append(time.process_time() - start)
    recall = {name: [recall_at(one, k).value for k in RANKS] for name, one in ranks.items()}
    times = {"question_ms": encode, "search_ms": whole}
    return {"recall": recall} | {n: 1e3 * float(np.median(one)) for n, one in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/static.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    teacher = PassageEncoder.from_pretrained(options.encoder)
    before = json.loads(options.out.read_text())["splits"] if options.out.exists() else []
    splits: list[dict] = []
    for seed in range(options.splits):
        for known in measure(
            options.data, seed, teacher, before[seed] if seed < len(before) else {}
        ):
            splits[seed:] = [known]
            result = {"data": options.data.name, "encoder": options.encoder, "splits": splits}
            write(options.out, result)
        encoders = splits[-1]["encoders"]
        head = [
            f"split {seed}",
            "ms a question",
            *encoders["the encoder itself"]["recall"],
        ]
        print_table(
            head,
            [
                [name, one["question_ms"], *(100 * recall[0] for recall in one["recall"].values())]
                for name, one in encoders.items()
            ],
        )


if __name__ == "__main__":
    main()
