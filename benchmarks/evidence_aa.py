"""How often is a model better than itself? Resampled comparisons of stored trainings.

    python benchmarks/evidence_aa.py --out runs --json aa.json

On Yeast (multilabel) and on the digits (eight against the rest) 40 models that differ only in their
seeds are trained, 600 steps of BCE each. Each of 1,000 resampled comparisons draws as many of
them as it needs, calls one half the challenger and the other the baseline, and is judged as usual.
The comparisons share their trainings, so they are not independent.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from askew.tasks import APPLICATIONS
from askew.tradeoffs import Budget, Row, analyze, compare, load_trial

SEEDS, STEPS, COMPARISONS = 20, 600, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    result = {}
    for name in ("multilabel", "imbalanced"):
        application = APPLICATIONS[name]
        task, arms, _, _ = application.setup(application.options(challenger="bce", baseline="bce"))
        folder = options.out / name
        compare(task, arms, range(SEEDS), budget=Budget(steps=STEPS), out=folder, jobs=options.jobs)
        trials = [load_trial(folder, arm.name, seed) for arm in arms for seed in range(SEEDS)]
        rng = np.random.default_rng(0)
        for seeds in (5, 8):
            decided = dict.fromkeys((metric.name for metric in task.metrics), 0)
            for _ in range(COMPARISONS):
                drawn = rng.permutation(len(trials))[: 2 * seeds]
                rows = [
                    Row("ab"[place % 2], place // 2, "", metric, trials[number].metrics[metric])
                    for place, number in enumerate(drawn)
                    for metric in decided
                ]
                for verdict in analyze(rows, baseline="b"):
                    decided[verdict.metric] += verdict.verdict != "cannot tell"
            rates = {metric: count / COMPARISONS for metric, count in decided.items()}
            result[f"{name}, {seeds} seeds"] = rates
            print(name, seeds, "seeds:", rates, flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
