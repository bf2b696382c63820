"""Are the verdicts right? Simulated comparisons whose true difference is known.

    python benchmarks/evidence_verdicts.py --comparison FOLDER --json verdicts.json

Every simulated comparison is a table of paired differences, seeds by test items, drawn as
difference + seed + item + rest. With `--comparison`, the folder of a finished `askew compare`, the
three kinds of noise have the sizes that its trials show, for every metric with items, and items and
rests are drawn from its values, which may be skewed and discrete. Without it they are normal.

For each number of seeds, a true difference of zero yields the share of false verdicts and the
coverage of the interval; one as large as the median minimum detectable one yields the power.
The sequential mode looks at 5, 8, ... 20 seeds and stops at the first verdict.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from askew.tradeoffs import interim_schedule, load_trial, sequential_confidence
from askew.tradeoffs._statistics.intervals import estimate_spread, margin_of, minimum_detectable

SEEDS = (5, 8, 12, 20)
CONFIDENCE = 0.95


class Noise(NamedTuple):
    """How large each kind of noise is, and what items and rests look like (mean 0, variance 1)."""

    name: str
    seed: float
    item: float
    rest: float
    items: np.ndarray | None
    rests: np.ndarray | None

    def draw(self, rng: np.random.Generator, seeds: int, items: int) -> np.ndarray:
        """One table [seeds, items] of differences around zero."""
        by_seed = rng.normal(0, self.seed, (seeds, 1))
        if self.items is None or self.rests is None:
            by_item, rest = rng.normal(size=(1, items)), rng.normal(size=(seeds, items))
        else:
            by_item = rng.choice(self.items, (1, items)) * rng.choice((-1, 1), (1, items))
            rest = rng.choice(self.rests, (seeds, items)) * rng.choice((-1, 1), (seeds, items))
        return by_seed + self.item * by_item + self.rest * rest


def noises_of(folder: Path) -> Iterator[Noise]:
    """The noise of every challenger and metric with items of a finished comparison."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    arms, seeds = [arm["name"] for arm in results["arms"]], results["settings"]["seeds"]
    trials = {(a, s): load_trial(folder, a, s) for a in arms for s in seeds}
    for challenger in arms[:-1]:
        for metric in trials[arms[-1], seeds[0]].items:
            grid = np.stack(
                [
                    trials[challenger, s].items[metric] - trials[arms[-1], s].items[metric]
                    for s in seeds
                ]
            ).astype(float)
            by_seed = grid.mean(1, keepdims=True) - grid.mean()
            by_item = grid.mean(0, keepdims=True) - grid.mean()
            rests = grid - by_seed - by_item - grid.mean()
            n, m = grid.shape
            rest = float((rests**2).sum() / ((n - 1) * (m - 1)))
            item = max(0.0, float(by_item.var(ddof=1)) - rest / n)
            seed = max(0.0, float(by_seed.var(ddof=1)) - rest / m)
            if rest > 0:
                yield Noise(
                    f"{metric} of {results['task']}, {challenger}",
                    *(value**0.5 for value in (seed, item, rest)),
                    (by_item / by_item.std()).ravel(),
                    (rests / rests.std()).ravel(),
                )


def verdict(table: np.ndarray, confidence: float) -> tuple[int, float, float]:
    """1, -1 or 0 for pays, does not pay, cannot tell; and the interval."""
    margin = margin_of(estimate_spread(table.mean(1), table), confidence)
    mean = float(table.mean())
    return int(mean > margin) - int(mean < -margin), mean - margin, mean + margin


def simulate(noise: Noise, seeds: int, items: int, tables: int, rng: np.random.Generator) -> dict:
    """Rates over many comparisons of one size."""
    false = covered = 0
    detectable = []
    for number in range(tables):
        table = noise.draw(rng, seeds, items)
        sign, low, high = verdict(table, CONFIDENCE)
        false += sign != 0
        covered += low <= 0 <= high
        if number % 10 == 0:
            detectable.append(minimum_detectable(estimate_spread(table.mean(1), table), CONFIDENCE))
    effect = median(detectable)
    right = sum(
        verdict(noise.draw(rng, seeds, items) + effect, CONFIDENCE)[0] == 1 for _ in range(tables)
    )
    return {
        "noise": noise.name,
        "seeds": seeds,
        "false_verdicts": false / tables,
        "coverage": covered / tables,
        "minimum_detectable": effect,
        "power": right / tables,
    }


def simulate_sequential(
    noise: Noise, most: int, items: int, tables: int, rng: np.random.Generator
) -> dict:
    """Stop at the first look with a verdict, with no true difference and with a detectable one."""
    looks = interim_schedule(most)
    nominal = sequential_confidence(looks, confidence=CONFIDENCE)

    def run(effect: float) -> tuple[int, int]:
        table = noise.draw(rng, most, items) + effect
        for look in looks:
            sign = verdict(table[:look], nominal)[0]
            if sign:
                return sign, look
        return 0, most

    spreads = (
        estimate_spread(t.mean(1), t) for t in (noise.draw(rng, most, items) for _ in range(99))
    )
    effect = median(minimum_detectable(spread, CONFIDENCE) for spread in spreads)
    nothing, something = ([run(shift) for _ in range(tables)] for shift in (0.0, effect))
    return {
        "noise": noise.name,
        "looks": list(looks),
        "confidence_of_a_look": nominal,
        "false_verdicts": sum(sign != 0 for sign, _ in nothing) / tables,
        "power": sum(sign == 1 for sign, _ in something) / tables,
        "mean_seeds": sum(seeds for _, seeds in something) / tables,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--comparison", type=Path, nargs="*", default=[])
    parser.add_argument("--tables", type=int, default=4000)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    noises = [
        Noise("seeds only", 1.0, 0.0, 1e-9, None, None),
        Noise("seeds and items", 1.0, 10.0, 20.0, None, None),
        Noise("items only", 0.0, 10.0, 20.0, None, None),
        *(noise for folder in options.comparison for noise in noises_of(folder)),
    ]
    rng = np.random.default_rng(options.seed)
    size = {"items": options.items, "tables": options.tables, "rng": rng}
    result = {
        "tables": options.tables,
        "items": options.items,
        "noise": [noise._asdict() | {"items": None, "rests": None} for noise in noises],
        "fixed": [],
        "sequential": [],
    }
    for noise in noises:
        for seeds in SEEDS:
            row = simulate(noise, seeds, **size)
            result["fixed"].append(row)
            print(
                f"{noise.name:40} {seeds:3} seeds: false {row['false_verdicts']:.3f}, "
                f"coverage {row['coverage']:.3f}, power {row['power']:.3f}",
                flush=True,
            )
        row = simulate_sequential(noise, max(SEEDS), **size)
        result["sequential"].append(row)
        print(
            f"{noise.name:40} sequential: false {row['false_verdicts']:.3f}, "
            f"power {row['power']:.3f}, mean seeds {row['mean_seeds']:.1f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
