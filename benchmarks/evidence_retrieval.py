"""How often the right context comes first and the right sentence is found, without training.

    python benchmarks/evidence_retrieval.py --encoder minilm --data new_wiki_v1.0.json.gz

For each of three splits by article the test contexts are searched: by BM25, by vectors, by MaxSim
over the states of all tokens, and by BM25 and MaxSim fused: by ranks, and by scores with the weight
that is best on the validation questions of the split. A context ranks by its best passage.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import print_table, write

from askew.metrics import answer_f1, recall_at
from askew.models import FusedSearch, PassageEncoder, max_sim
from askew.tasks import QuestionSources, load_questions
from askew.text import QuestionSet, TfidfIndex

SEEDS = (0, 1, 2)
RANKS = (1, 5, 20)


def search_over(part: QuestionSet, encoder: PassageEncoder) -> FusedSearch:
    return FusedSearch(encoder.encode(part.contexts), encoder)


def all_scores(search: FusedSearch, question: str) -> dict[str, np.ndarray]:
    """Scores of all passages by each side alone."""
    encoded = search.encoder.question(question)
    windows = search.index.gather(torch.arange(search.index.num_windows))
    sims = max_sim(encoded.states, windows.states, windows.places[..., 0] >= 0)
    vectors = search.index.vectors @ encoded.vector
    words = search.passages.bm25.scores(question)
    return {"BM25": words, "vectors": vectors.numpy(), "MaxSim": sims.numpy()}


def rank_of(search: FusedSearch, scores: np.ndarray, row: int) -> int:
    """1 + the number of contexts whose best passage has a higher score."""
    owners = np.array([context for context, _, _ in search.passages.passages])
    best = np.full(len(search.contexts), -np.inf)
    np.maximum.at(best, owners, scores)
    return 1 + int((best > best[row]).sum())


def place_of(ranked: list[int], row: int) -> int | None:
    return 1 + ranked.index(row) if row in ranked else None


def measure(data: Path, seed: int, encoder: PassageEncoder, language: str) -> dict:
    split = load_questions(QuestionSources(data=data), seed=seed)[1]
    valid, test = search_over(split.valid, encoder), search_over(split.test, encoder)
    # The index keeps a context that comes twice once.
    known = [valid.contexts.index(context) for context in split.valid.contexts]
    questions = split.valid.questions
    weight = valid.fit_weight([q.text for q in questions], [known[q.context] for q in questions])
    rows = [test.contexts.index(context) for context in split.test.contexts]
    tfidf = TfidfIndex([context.text for context in split.test.contexts])
    weighted = FusedSearch(test.index, encoder, weight=weight)
    ranks: dict[str, list] = {}
    times: dict[str, list[float]] = {"BM25": [], "fused": []}
    for question in split.test.questions:
        row = rows[question.context]
        for name, scores in all_scores(test, question.text).items():
            ranks.setdefault(name, []).append(rank_of(test, scores, row))
        start = time.perf_counter()
        test.passages.bm25.scores(question.text)
        times["BM25"].append(time.perf_counter() - start)
        start = time.perf_counter()
        ranked = test.rank(question.text)
        times["fused"].append(time.perf_counter() - start)
        ranks.setdefault("fused by ranks", []).append(place_of(ranked, row))
        ranks.setdefault("fused by scores", []).append(place_of(weighted.rank(question.text), row))
        by_tfidf = [context for context, _ in tfidf.search(question.text, len(rows))]
        ranks.setdefault("TF-IDF", []).append(place_of(by_tfidf, question.context))
    return {
        "seed": seed,
        "questions": len(split.test.questions),
        "contexts": len(test.contexts),
        "weight": weight,
        "recall": {n: [recall_at(r, k).value for k in RANKS] for n, r in ranks.items()},
        "sentence_f1": sentences(split.test, test, rows, tfidf, language),
        "ms": {name: 1e3 * float(np.median(values)) for name, values in times.items()},
    }


def sentences(
    part: QuestionSet, search: FusedSearch, rows: list[int], tfidf: TfidfIndex, language: str
) -> dict[str, float]:
    """F1 of the best sentence of each question's own context."""
    owners = np.array([context for context, _, _ in search.passages.passages])
    found: dict[str, list[str]] = {"TF-IDF": [], "BM25": [], "MaxSim": []}
    for question in part.questions:
        text = part.contexts[question.context].text
        start, end = tfidf.best_sentence(question.text, question.context)
        found["TF-IDF"].append(text[start:end])
        outside = np.where(owners == rows[question.context], 0.0, -np.inf)
        words = search.passages.bm25.scores(question.text) + outside
        passage = search.passages.search(question.text, top=1, scores=words)[0]
        found["BM25"].append(text[slice(*passage.sentence)])
        encoded = search.encoder.question(question.text)
        tokens = all_scores(search, question.text)["MaxSim"] + outside
        passage = search.passages.search(
            question.text,
            top=1,
            scores=tokens,
            sentence_scores=partial(search.score_sentences, encoded),
        )[0]
        found["MaxSim"].append(text[slice(*passage.sentence)])
    right = [part.answer_texts(question) for question in part.questions]
    return {name: answer_f1(own, right, language=language).value for name, own in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--language", default="en")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/retrieval.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = PassageEncoder.from_pretrained(options.encoder)
    splits = [measure(options.data, seed, encoder, options.language) for seed in SEEDS]
    for split in splits:
        head = [f"split {split['seed']}", *(f"recall@{k}" for k in RANKS)]
        print_table(head, [[name, *values] for name, values in split["recall"].items()])
        print({name: split[name] for name in ("weight", "contexts", "sentence_f1", "ms")})
    write(options.out, {"data": options.data.name, "encoder": options.encoder, "splits": splits})


if __name__ == "__main__":
    main()
