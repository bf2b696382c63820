"""Losses, rates and dropout on Yeast, every setting fixed before the first run.

    python benchmarks/evidence_losses.py --out runs --json losses.json

Twenty paired seeds of 600 steps; every arm has the threshold that is best on the validation rows.

- focusing: gamma_pos 2, gamma_neg 1; asl: gamma_neg 4,
  margin .05, gamma_pos 0 and 1. All three against BCE, corrected for three.
- hill, against BCE, both with 60 % of the positives of the training rows removed.
- rates: of first, middle and last layer, against one rate; both tuned by eight random draws of
  their own rates on the validation rows, from the same range.
- half-half: dropout .1 in one half of the hidden features and .5 in the other, against .3 in all.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from askew.tasks import APPLICATIONS, LabelTask
from askew.tradeoffs import Arm, Budget, Range, Tuning, compare, tune

MULTILABEL = APPLICATIONS["multilabel"]
SEEDS, STEPS, DRAWS = 20, 600, 8
RATE = Range(low=1e-4, high=1e-2, log=True)


def task(**training: object) -> Any:
    settings = [f"training.{name}={value}" for name, value in training.items()]
    return MULTILABEL.make_task(MULTILABEL.options(set_=settings))


def pair_of(on: LabelTask, challenger: str, baseline: str) -> list[Arm]:
    return MULTILABEL.make_arms(on, MULTILABEL.options(challenger=challenger, baseline=baseline))[0]


def arms_of(on: LabelTask, *challengers: str, baseline: str) -> list[Arm]:
    pairs = [pair_of(on, name, baseline) for name in challengers]
    return [*(pair[0] for pair in pairs), pairs[0][1]]


def asl_with_positive_focus(on: LabelTask) -> Arm:
    loss = {"gamma_pos": 1.0, "gamma_neg": 4.0, "margin": 0.05}
    plain, _ = pair_of(on, "asl", "bce")
    return Arm(name="asl-positive", config=plain.config, training={"loss": loss})


def tuned(on: LabelTask, out: Path) -> list[Arm]:
    """Tune both arms, each by eight draws of its own rates."""
    rates, single = pair_of(on, "rates", "single-rate")
    rates = Arm(name=rates.name, config=rates.config)
    spaces = {
        "rates": {f"training.{name}": RATE for name in ("lr", "lr_first", "lr_head")},
        "single-rate": {"training.lr": RATE},
    }
    tuned_arms = []
    for arm in (rates, single):
        tuning = Tuning(draws=DRAWS, space=spaces[arm.name])
        steps = {arm.name: STEPS}
        tuned_arms += tune(on, [arm], tuning, steps=steps, out=out / f"tuning-{arm.name}")
    return [one.arm for one in tuned_arms]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    whole, missing = task(), task(remove_positives=0.6)
    losses = arms_of(whole, "focusing", "asl", baseline="bce")
    losses.insert(2, asl_with_positive_focus(whole))
    comparisons: dict[str, tuple[Any, list[Arm]]] = {
        "losses": (whole, losses),
        "missing": (missing, arms_of(missing, "hill", baseline="bce")),
        "dropout": (whole, arms_of(whole, "half-half", baseline="mean-dropout")),
        "rates": (whole, tuned(whole, options.out)),
    }
    result = {}
    for name, (on, arms) in comparisons.items():
        comparison = compare(
            on,
            arms,
            range(SEEDS),
            budget=Budget(steps=STEPS),
            out=options.out / name,
            jobs=options.jobs,
        )
        quality = [metric.name for metric in on.metrics]
        result[name] = {
            "arms": {arm.name: dict(arm.training) for arm in arms},
            "means": {
                arm.name: {
                    metric: sum(
                        trial["metrics"][metric]
                        for trial in comparison.results["trials"]
                        if trial["arm"] == arm.name
                    )
                    / SEEDS
                    for metric in (*quality, "generalisation_gap")
                }
                for arm in arms
            },
            "verdicts": [v._asdict() for v in comparison.verdicts if v.metric in quality],
        }
        print(name, result[name]["means"])
        for v in comparison.verdicts:
            if v.metric in quality:
                print(
                    f"  {v.challenger:14} {v.metric:15} {v.difference:+.2f} "
                    f"({v.low:+.2f} to {v.high:+.2f}) {v.verdict}, {v.wins} of {v.seeds} seeds, "
                    f"equivalent: {v.equivalent}, detects {v.minimum_detectable:.2f}",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
