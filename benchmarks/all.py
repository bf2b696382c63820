"""All benchmarks of speed, one after another, and the page of their ratios.

    python benchmarks/all.py                   # an hour of one core; nothing else should run
    python benchmarks/all.py --only losses     # one of them
    python benchmarks/all.py --page            # write docs/speed.md from the stored results

Every benchmark runs in a process of its own and writes benchmarks/results/NAME.json.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "speed.md"
NAMES = ("attention", "losses", "optimizers", "regularizers", "start", "translation")
_EQUAL = 0.05  # ratios nearer to 1 count as equal
_HEAD = """# Speed

Time of this library as a multiple of another's, in one process, in turn, on one thread: medians of
the ratios within a round. Below 1 is faster. `python benchmarks/all.py` measures all of it and
writes this page, `python benchmarks/all.py --only losses` one part. Where this library takes
longer, the figure is bold, and the row stands once more [at the end](#where-we-lose).

All of it was measured on CPUs; nothing has been run on a GPU yet.
"""


class Row(NamedTuple):
    """One ratio.

    Attributes:
        what: What is timed.
        peer: Against what.
        ratio: Our time divided by that of the peer.
    """

    what: str
    peer: str
    ratio: float

    def line(self) -> str:
        """Write it as a row of a table."""
        figure = f"{self.ratio:.2f}" if self.ratio >= 0.095 else f"{self.ratio:.3f}"
        return f"| {self.what} | {self.peer} | {f'**{figure}**' if self.loses else figure} |"

    @property
    def loses(self) -> bool:
        """Whether the peer is faster by more than what counts as equal."""
        return self.ratio > 1 + _EQUAL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES)
    parser.add_argument("--page", action="store_true", help="measure nothing")
    options = parser.parse_args()
    for name in () if options.page else options.only:
        script = ROOT / "benchmarks" / f"bench_{name}.py"
        command = [sys.executable, script, "--out", RESULTS / f"{name}.json"]
        subprocess.run(command, check=True, cwd=ROOT)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written to {PAGE}")


def page() -> str:
    """Write the page of all stored results."""
    sections, lost = [_HEAD], []
    for name in NAMES:
        results = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        rows = list(_ROWS[name](results))
        lost += [row for row in rows if row.loses]
        sections.append(f"## {name.capitalize()}\n\n{_machine(results)}\n\n{_table(rows)}")
    sections.append(f"## Where we lose\n\n{_table(sorted(lost, key=lambda row: -row.ratio))}")
    return "\n".join(sections)


def _table(rows: list[Row]) -> str:
    return "\n".join(["| what | against | time |", "|---|---|---|", *(r.line() for r in rows), ""])


def _machine(results: Mapping[str, Any]) -> str:
    known = results["machine"] if isinstance(results.get("machine"), dict) else {}
    processor = known.get("processor") or known.get("cpu") or results.get("machine")
    version = known.get("torch") or results.get("torch") or results["versions"]["torch"]
    date = f", {known['date']}" if "date" in known else ""
    return f"{processor}, torch {version}{date}."


def _attention(results: Mapping[str, Any]) -> Iterator[Row]:
    for key, length in results["sizes"].items():
        for peer, times in results["speed"][key].items():
            if peer != "banded":
                for way, figures in times.items():
                    what = f"window of 128, {length} tokens, {way}"
                    yield Row(what, peer, 1 / figures["ratio"])


def _losses(results: Mapping[str, Any]) -> Iterator[Row]:
    names = {
        "binary": "two-sided loss",
        "multiclass": "focal loss over classes",
        "distillation": "divergence from a teacher",
        "ranking": "all pairs",
        "policies": "",
    }
    for table, name in names.items():
        peer = ""
        for row in results.get(table, ()):
            if row["ratio"] == 1.0:
                peer = row["loss"]
            if row["loss"].startswith("askew") and "composed" not in row["loss"]:
                own = row["loss"].removeprefix("askew").strip(", ")
                dtype = row.get("dtype", "")
                what = ", ".join(filter(None, (name, own, row["shape"], dtype)))
                yield Row(what, peer, row["ratio"])


def _optimizers(results: Mapping[str, Any]) -> Iterator[Row]:
    steps, two = results["steps"], results["two_algorithms"]
    for name in ("AsymmetricOptimizer", "AsymmetricOptimizer, no_decay and scheduler"):
        own = steps[name]
        yield Row(f"step, {name}", "three Adams", own["ratio_to_first"])
        fused = steps["three Adams, fused"]["ratio_to_first"]
        yield Row(f"step, {name}", "three Adams, fused", own["ratio_to_first"] / fused)
    both = two["AsymmetricOptimizer, both"]["ratio_to_first"]
    yield Row("step, Muon and AdamW in one", "two optimizers", both)


def _regularizers(results: Mapping[str, Any]) -> Iterator[Row]:
    for table in ("directional", "dropout", "ordered dropout", "total variation"):
        peer = next(iter(results[table]))
        for name, figures in results[table].items():
            if name != peer and "composed" not in name and not name.startswith("F."):
                yield Row(f"{table}: {name.removeprefix('… ')}", peer, figures["ratio"])


def _start(results: Mapping[str, Any]) -> Iterator[Row]:
    peer = next(iter(results["start"]))
    for name in ("askew translate", "askew search"):
        what = f"from start to end, CPU time: {name}, one line"
        yield Row(what, peer, results["start"][name]["ratio"])


def _translation(results: Mapping[str, Any]) -> Iterator[Row]:
    for table, rates in results.items():
        if table == "training" or table.startswith("decoding"):
            for name, rate in rates.items():
                if name.startswith("ours"):
                    peer = "Marian, bf16" if name.endswith("bf16") else "Marian"
                    ratio = rates[peer]["ratio"] / rate["ratio"]
                    yield Row(f"{table}: {name}", f"{peer} of transformers", ratio)


_ROWS = {
    "attention": _attention,
    "losses": _losses,
    "optimizers": _optimizers,
    "regularizers": _regularizers,
    "start": _start,
    "translation": _translation,
}

if __name__ == "__main__":
    main()
