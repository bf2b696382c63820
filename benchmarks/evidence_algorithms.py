"""Does Muon for the hidden matrices pay? Muon and AdamW against AdamW alone, both tuned.

    python benchmarks/evidence_algorithms.py --out algorithms

Settings are fixed here, before the first run: the tiny symmetric model of the default phrases,
300 steps, rates that stay and fall in the last two fifths. Both arms try the same four learning
rates on the validation phrases; the best of each is trained with six paired seeds. A run that was
stopped goes on when the same command is typed again.
"""

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console

from askew.tasks import APPLICATIONS, TranslationTask, translation_preset
from askew.tradeoffs import (
    Arm,
    Budget,
    Range,
    Tuning,
    Watcher,
    compare,
    print_results,
    write_report,
)

STEPS, SEEDS, DRAWS = 300, 6, 4
RATE = Range(low=1e-3, high=1.6e-2, log=True)
SETTINGS = ["training.schedule=wsd", "training.evaluations=3", "training.checkpoints=1"]


class Lines(Watcher):
    """Prints what is known so far."""

    def stage(self, name: str) -> None:
        print(name, flush=True)

    def so_far(self, text: str) -> None:
        print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=1, help="trials at the same time")
    options = parser.parse_args()
    application = APPLICATIONS["translation"]
    task: TranslationTask = application.make_task(application.options(set_=SETTINGS))
    config = translation_preset("symmetric", "tiny", vocab_size=task.vocabularies())
    comparison = compare(
        task,
        [
            Arm(name="muon", config=config, training={"base": "muon"}),
            Arm(name="adamw", config=config),
        ],
        list(range(options.seeds)),
        budget=Budget(steps=STEPS),
        tuning=Tuning(draws=DRAWS, space={"training.lr": RATE}),
        out=options.out,
        jobs=options.jobs,
        command=shlex.join(["python", *sys.argv]),
        watcher=Lines(),
    )
    write_report(comparison.results, options.out / "report.html")
    print_results(comparison.results, Console())


if __name__ == "__main__":
    main()
