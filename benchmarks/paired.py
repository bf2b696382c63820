"""A comparison of arms from a script: its options, and what it prints and writes."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from askew.tradeoffs import (
    Arm,
    Budget,
    Comparison,
    Task,
    Tuning,
    Watcher,
    compare,
    print_results,
    write_report,
)


class Lines(Watcher):
    """Prints each stage, and what is known so far."""

    def stage(self, name: str) -> None:
        print(name, flush=True)

    def so_far(self, text: str) -> None:
        print(text, flush=True)


def parser(description: str, *, seeds: int) -> argparse.ArgumentParser:
    """Make a parser with the options of every comparison."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--seeds", type=int, default=seeds)
    made.add_argument("--jobs", type=int, default=1, help="trials at the same time")
    return made


def judge(
    task: Task[Any],
    arms: list[Arm],
    options: argparse.Namespace,
    *,
    steps: int,
    tuning: Tuning | None = None,
    folder: str = ".",
) -> None:
    """Compare arms, the baseline last, and show the results."""
    comparison = compare(
        task,
        arms,
        list(range(options.seeds)),
        budget=Budget(steps=steps),
        tuning=tuning,
        out=options.out / folder,
        jobs=options.jobs,
        command=command(),
        watcher=Lines(),
    )
    show(comparison, options.out)


def command() -> str:
    """Return the command that was typed."""
    return shlex.join(["python", *sys.argv])


def show(comparison: Comparison, folder: Path) -> None:
    """Print the results and write the report."""
    write_report(comparison.results, folder / "report.html")
    print_results(comparison.results, Console())
    sys.stdout.flush()
