"""How long does a person wait for the first line? Commands beside importing what they leave out.

    python benchmarks/bench_start.py [--rounds 5]

Every run is a process of its own, in turn: CPU seconds from its start to its end, medians of
ratios within a round. The model is a small one with random weights, exported beforehand.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench_translation import ours
from common import arguments, interleave, print_table, summary, write

from askew.export import export_ctranslate2
from askew.text import ParallelText, save_tokenizers, train_tokenizers

ROOT = Path(__file__).parents[1]
IMPORTS = "import torch, transformers.modeling_utils"
VOCABULARY = 300


def main() -> None:
    options = arguments("start")
    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name) / "model", Path(name) / "lines.txt"
        made(folder)
        lines.write_text("one line\n")
        runs = {
            "importing PyTorch and transformers": [sys.executable, "-c", IMPORTS],
            "askew translate": askew("translate", folder, lines, "--engine", "ctranslate2"),
            "askew translate, by PyTorch": askew("translate", folder, lines, "--engine", "torch"),
            "askew search": askew("search", "--context", ROOT / "docs" / "index.md", "twin"),
        }
        processes = {what: process(words) for what, words in runs.items()}
        times = interleave(processes, rounds=options.rounds, warmup=1, clock=seconds_of_processes)
    table = summary(times, next(iter(runs)))
    print_table(
        ["one line", "CPU seconds", "ratio"],
        [[what, row["ms"] / 1e3, row["ratio"]] for what, row in table.items()],
    )
    write(options.out, {"start": table})


def made(folder: Path) -> None:
    """Write a model and its export."""
    text = ParallelText(["one line"] * 4, ["uma linha"] * 4)
    tokenizers = train_tokenizers(text, vocab_size=VOCABULARY)
    ours(tokenizers.source.get_vocab_size(), (2, 64), (2, 64)).save_pretrained(folder)
    save_tokenizers(tokenizers, folder)
    export_ctranslate2(folder)


def askew(*words: object) -> list[str]:
    return [sys.executable, "-m", "askew", *map(str, words)]


def seconds_of_processes() -> float:
    """CPU seconds of all processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process(words: Sequence[str]) -> Callable[[], None]:
    """Run a command and wait for its end."""

    def run() -> None:
        subprocess.run(words, check=True, capture_output=True)

    return run


if __name__ == "__main__":
    main()
