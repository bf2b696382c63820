"""What a static question encoder costs and finds beside the encoder that taught it.

    python benchmarks/evidence_static.py --data new_wiki_v1.0.json.gz [--splits 3]

For each split by article the test contexts are searched, encoded by the large encoder, with
questions encoded by it and by a table that learned from it: of the training questions without
their answers, or of the sentences of the test contexts themselves. A context ranks by its best
passage; both rankings with BM25 fuse ranks.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from common import print_table, write
from evidence_retrieval import RANKS, place_of, rank_of

from askew.metrics import recall_at
from askew.models import FusedSearch, PassageEncoder, StaticEncoder
from askew.tasks import QuestionSources, load_questions
from askew.text import fuse_scores, sentence_spans

Encoder = PassageEncoder | StaticEncoder


def measure(data: Path, seed: int, teacher: PassageEncoder) -> dict:
    split = load_questions(QuestionSources(data=data), seed=seed)[1]
    contexts = split.test.contexts
    index = teacher.encode(contexts)
    texts = {
        "table, of questions": [question.text for question in split.train.questions],
        "table, of the documents' sentences": [
            c.text[start:end] for c in contexts for start, end in sentence_spans(c.text)
        ],
    }
    encoders: dict[str, Encoder] = {"the encoder itself": teacher}
    seconds = {}
    for name, learned in texts.items():
        start = time.process_time()
        encoders[name] = StaticEncoder.distil(teacher, learned)
        seconds[name] = time.process_time() - start
    rows = [index.contexts.index(context) for context in contexts]
    questions = [(question.text, rows[question.context]) for question in split.test.questions]
    found = {name: score(FusedSearch(index, one), questions) for name, one in encoders.items()}
    return {
        "seed": seed,
        "questions": len(questions),
        "contexts": len(contexts),
        "texts": {name: len(learned) for name, learned in texts.items()},
        "seconds": seconds,
        "encoders": found,
    }


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
    splits = []
    for seed in range(options.splits):
        splits.append(measure(options.data, seed, teacher))
        encoders = splits[-1]["encoders"]
        head = [
            f"split {seed}",
            "ms a question",
            *splits[-1]["encoders"]["the encoder itself"]["recall"],
        ]
        print_table(
            head,
            [
                [name, one["question_ms"], *(100 * recall[0] for recall in one["recall"].values())]
                for name, one in encoders.items()
            ],
        )
        write(
            options.out, {"data": options.data.name, "encoder": options.encoder, "splits": splits}
        )


if __name__ == "__main__":
    main()
