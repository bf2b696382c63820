"""What searching by words, and a product of vectors, cost at 1,000 to 100,000 passages.

    python benchmarks/bench_search_scale.py [--passages 1000 10000 100000]

Passages are 130 words each, drawn by Zipf's law from 50,000; a question has eight words of one.
Every size runs in a process of its own, so that its memory is its own. Both searches are exact.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from common import print_table, write

from askew.text import Context, PassageSearch

WORDS, VOCABULARY, WIDTH, QUESTIONS = 130, 50_000, 384, 40


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search_scale.json"))
    parser.add_argument("--one", action="store_true", help="this size alone, as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.passages[0])))
        return
    results = []
    for count in options.passages:
        command = [sys.executable, __file__, "--one", "--passages", str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout))
    print_table(list(results[0]), [list(one.values()) for one in results])
    write(options.out, {"sizes": results})


if __name__ == "__main__":
    main()
