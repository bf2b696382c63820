"""What searching by words, and a product of vectors, cost at 1,000 to 100,000 passages.

    python benchmarks/bench_search_scale.py [--passages 1000 10000 100000]

Passages are 130 words each, drawn by Zipf's law from 50,000; a question has eight words of one.
Every size runs in a process of its own, so that its memory is its own. Both searches are exact.

    pip install faiss-cpu
    python benchmarks/bench_search_scale.py --nearest TABLE [--passages 100000]

compares the exact product of vectors with approximate search by faiss: HNSW and IVF. The vectors
are what TABLE, a folder of `StaticEncoder.save`, makes of paragraphs of the docstrings of the
installed packages; 200 further ones are the questions.
"""

import argparse
import ast
import json
import resource
import statistics
import subprocess
import sys
import sysconfig
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from common import add, print_table, write

from askew.models import StaticEncoder
from askew.text import Context, PassageSearch

WORDS, VOCABULARY, WIDTH, QUESTIONS = 130, 50_000, 384, 40
ASKED = 200


def texts(count: int) -> list[str]:
    draw = np.random.default_rng(0)
    chances = 1 / np.arange(1, VOCABULARY + 1)
    words = np.array([f"w{number:x}" for number in range(VOCABULARY)])
    chosen = draw.choice(VOCABULARY, (count, WORDS), p=chances / chances.sum())
    return [" ".join(words[row]) + "." for row in chosen]


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def milliseconds(run, questions: list) -> float:
    times = []
    for question in questions:
        start = time.process_time()
        run(question)
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times)


def measure(count: int) -> dict[str, float]:
    torch.set_num_threads(1)
    documents = [Context(f"{number}", text) for number, text in enumerate(texts(count))]
    before, start = resident(), time.process_time()
    search = PassageSearch(documents)
    seconds, words = time.process_time() - start, resident() - before
    draw = np.random.default_rng(1)
    rows = draw.integers(0, count, QUESTIONS)
    questions = [" ".join(draw.choice(documents[row].text.split(), 8)) for row in rows]
    by_words = milliseconds(search.search, questions)
    vectors = torch.nn.functional.normalize(torch.randn(count, WIDTH), dim=1)
    asked = list(vectors[rows] + 0.05 * torch.randn(QUESTIONS, WIDTH))
    product = milliseconds(lambda one: (vectors @ one).topk(50), asked)
    return {
        "passages": len(search.passages),
        "index_seconds": seconds,
        "index_mb": words / 1e6,
        "ms": by_words,
        "vectors_mb": vectors.nbytes / 1e6,
        "vectors_ms": product,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def paragraphs(count: int) -> list[str]:
    """Different paragraphs of the docstrings of the installed packages, files in a drawn order."""
    found: dict[str, None] = {}
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    files = sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))
    for number in np.random.default_rng(0).permutation(len(files)):
        with suppress(SyntaxError, ValueError, RecursionError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = ast.walk(ast.parse(files[number].read_bytes()))
            texts = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)]
            pieces = [piece.strip() for text in texts for piece in text.split("\n\n")]
            found.update((piece, None) for piece in pieces if len(piece) > 40)
        if len(found) >= count:
            every = list(found)
            return [every[row] for row in np.random.default_rng(0).permutation(count)]
    raise SystemExit(f"the installed packages must hold {count} paragraphs; got {len(found)}")


def nearest(count: int, folder: Path) -> dict:
    import faiss

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    table = StaticEncoder.load(folder)
    made = torch.stack([table.question(t).vector for t in paragraphs(count + ASKED)])
    vectors, asked = made[:count].contiguous(), made[count:]
    right = [set((vectors @ one).topk(10).indices.tolist()) for one in asked]

    def ask(index) -> dict[str, float]:
        found = [set(index.search(one[None].numpy(), 10)[1][0].tolist()) for one in asked]
        recall = np.mean([len(a & b) / 10 for a, b in zip(found, right, strict=True)])
        ms = milliseconds(lambda one: index.search(one[None].numpy(), 10), list(asked))
        return {"recall_at_10": float(recall), "ms": ms}

    width, rows = vectors.shape[1], []
    exact = milliseconds(lambda one: (vectors @ one).topk(10), list(asked))
    rows.append({"search": "exact", "build_seconds": 0.0, "mb": vectors.nbytes / 1e6})
    rows[0] |= {"recall_at_10": 1.0, "ms": exact}
    inner = faiss.METRIC_INNER_PRODUCT
    graph = faiss.IndexHNSWFlat(width, 32, inner)
    graph.hnsw.efConstruction = 200
    lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, 1024, inner)
    for name, index in (("HNSW", graph), ("IVF", lists)):
        start = time.process_time()
        index.train(vectors.numpy())
        index.add(vectors.numpy())
        seconds, size = time.process_time() - start, len(faiss.serialize_index(index)) / 1e6
        for effort in (16, 32, 64, 128):
            if name == "HNSW":
                index.hnsw.efSearch = effort
            else:
                index.nprobe = effort // 4
            used = f"efSearch {effort}" if name == "HNSW" else f"nprobe {effort // 4}"
            row = {"search": f"{name}, {used}", "build_seconds": seconds, "mb": size}
            rows.append(row | ask(index))
    return {"passages": count, "questions": ASKED, "faiss": faiss.__version__, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search_scale.json"))
    parser.add_argument("--one", action="store_true", help="this size alone, as JSON")
    parser.add_argument("--nearest", type=Path, metavar="TABLE", help="compare approximate search")
    options = parser.parse_args()
    if options.nearest:
        found = nearest(options.passages[-1], options.nearest)
        print_table(list(found["rows"][0]), [list(one.values()) for one in found["rows"]])
        keep(options.out, {"nearest": found})
        return
    if options.one:
        print(json.dumps(measure(options.passages[0])))
        return
    results = []
    for count in options.passages:
        command = [sys.executable, __file__, "--one", "--passages", str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout))
    print_table(list(results[0]), [list(one.values()) for one in results])
    keep(options.out, {"sizes": results})


def keep(path: Path, results: dict[str, object]) -> None:
    (add if path.exists() else write)(path, results)


if __name__ == "__main__":
    main()
