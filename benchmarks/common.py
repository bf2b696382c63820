"""Timing side by side in one process, peak memory, and a table with a JSON file."""

import argparse
import ctypes
import gc
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

Run = Callable[[], object]


def interleave(
    runs: dict[str, Run],
    *,
    rounds: int,
    warmup: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every run in every round; each round has its own order, so that none always
    finds the caches as another left them."""
    names, order = list(runs), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    for index in range(-warmup, rounds):
        for name in order.sample(names, len(names)):
            start = clock()
            runs[name]()
            if index >= 0:
                times[name].append(clock() - start)
    return times


def summary(times: dict[str, list[float]], to: str) -> dict[str, dict[str, float]]:
    """Median milliseconds, and median and quartiles of the ratio to `to` within a round."""
    table = {}
    for name, own in times.items():
        ratios = [a / b for a, b in zip(own, times[to], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        table[name] = {
            "ms": statistics.median(own) * 1e3,
            "ratio": middle,
            "ratio_low": low,
            "ratio_high": high,
        }
    return table


def peak_mib(run: Run) -> float:
    """Largest resident memory during `run` above that before it, in MiB (Linux)."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run()
    return max(_status("VmHWM") - before, 0) / 1024


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def print_table(head: list[str], rows: list[list[object]]) -> None:
    """A Markdown table."""
    cells = [head, *([f"{c:.3g}" if isinstance(c, float) else str(c) for c in r] for r in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for index, row in enumerate(cells):
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    print(flush=True)


def arguments(name: str, tables: Sequence[str] = ()) -> argparse.Namespace:
    """`--rounds`, `--out` and `--only` one of its tables, of a benchmark; one thread."""
    parser = argparse.ArgumentParser(description=name)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of the large sizes")
    parser.add_argument("--out", type=Path, default=Path(f"benchmarks/results/{name}.json"))
    if tables:
        parser.add_argument("--only", choices=tables, help="measure this table alone and add it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    return options


def write(path: Path, results: dict[str, object]) -> None:
    """The figures with what they were measured on."""
    _save(path, {"machine": _machine(), **results})


def add(path: Path, results: dict[str, object]) -> None:
    """The figures beside those that are there, with what these were measured on."""
    machines = {f"machine of {name}": _machine() for name in results}
    _save(path, {**json.loads(path.read_text()), **machines, **results})


def _save(path: Path, results: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {path}")


def _machine() -> dict[str, object]:
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
