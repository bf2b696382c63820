"""Time per question over passages that are already encoded, next to a cross-encoder.

    python benchmarks/bench_qa.py --model FOLDER --cross FOLDER --data FILE

`--model` is a folder of `askew train qa`, `--cross` one of `cross_encoder.py`. Passages and
questions are those of the test split; passages are repeated with a number before them until there
are enough. The cross-encoder reads a sample of the passages for each question, and its time is
scaled up. Both run in turn in one process with one thread.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from cross_encoder import CrossEncoder

from askew.metrics import answer_f1
from askew.models import QuestionAnswerer
from askew.tasks import QuestionSources, load_questions
from askew.text import Context, QuestionSet

SAMPLE = 64


def passages(test: QuestionSet, number: int) -> list[Context]:
    """Return the contexts of a set, and copies of them that begin with a number."""
    contexts = test.contexts
    count = len(contexts)
    return [
        contexts[i] if i < count else Context(f"{i}", f"{i}. {contexts[i % count].text}")
        for i in range(number)
    ]


@torch.inference_mode()
def cross_rows(cross: CrossEncoder, question: str, texts: list[str]) -> None:
    """Read passages for one question, as the cross-encoder must."""
    question_ids = cross.spans.encode(question).ids.tolist()
    rows = [cross.pair(question_ids, t.ids[:250].tolist()) for t in cross.spans.encode_all(texts)]
    rows.sort(key=len)
    for start in range(0, len(rows), 16):
        batch = rows[start : start + 16]
        cross.scores(batch, [len(question_ids) + 2] * len(batch))


def seconds(run) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def quality(reader: QuestionAnswerer, index, test: QuestionSet, shortlist: int | None) -> float:
    """Compute F1 if every question is answered from all passages."""
    kept = test.questions[::5]
    ranked = [reader.answer(q.text, index, shortlist=shortlist) for q in kept]
    texts = [answers[0].text if answers else "" for answers in ranked]
    return answer_f1(texts, [test.answer_texts(q) for q in kept]).value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cross", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=1000)
    parser.add_argument("--shortlists", type=int, nargs="*", default=[10, 20, 50, 100])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    test = load_questions(QuestionSources(options.data))[1].test
    reader, cross = QuestionAnswerer.from_pretrained(options.model), CrossEncoder(options.cross)
    cross.model.eval()
    texts = passages(test, options.passages)
    started = time.process_time()
    index = reader.encode(texts)
    encoding = time.process_time() - started
    sample = [context.text for context in texts[:: max(1, len(texts) // SAMPLE)]][:SAMPLE]
    runs: dict[str, list[float]] = {}
    for turn in range(-1, options.rounds):
        question = test.questions[turn * 7 % len(test.questions)].text
        ways = {
            "cross-encoder": lambda q=question: cross_rows(cross, q, sample),
            "all": lambda q=question: reader.answer(q, index, shortlist=None),
            **{
                f"shortlist {n}": lambda q=question, n=n: reader.answer(q, index, shortlist=n)
                for n in options.shortlists
            },
        }
        for name, run in ways.items():
            took = seconds(run) * (len(texts) / len(sample) if name == "cross-encoder" else 1)
            if turn >= 0:
                runs.setdefault(name, []).append(took)
    slow = median(runs["cross-encoder"])
    result = {
        "passages": len(texts),
        "windows": index.num_windows,
        "tokens_per_window": float(index.window_lengths.float().mean()),
        "encoding_seconds_per_passage": encoding / len(texts),
        "bytes_per_passage": index.num_bytes / len(texts),
        "break_even_questions": encoding / (slow - median(runs["all"])),
        "ways": {
            name: {
                "seconds_per_question": median(times),
                "times_faster": median(
                    a / b for a, b in zip(runs["cross-encoder"], times, strict=True)
                ),
            }
            for name, times in runs.items()
        },
    }
    for name, shortlist in (("all", None), *((f"shortlist {n}", n) for n in options.shortlists)):
        result["ways"][name]["f1_among_all"] = quality(reader, index, test, shortlist)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
