"""Is a search honest? Simulated searches whose true effects are known.

    python benchmarks/evidence_find.py --searches 1000 --json find.json

Every candidate has a true quality. What the search sees of it on the first two rungs correlates
with it as --correlations say; on the last rung it sees the quality of one training, and on each
seed of the confirmation that of another. A difference of two models on one seed has a standard
deviation of .5, true qualities one of .8, as in trials on short phrases. Promotion, finalists and
the shared error are those of `askew find`.

Rows: "equal" (all candidates are equal: "pays" is false), "third" (a third of the asymmetric ones
beat the best symmetric one), "one" (one of them does). The naive rule, beside it, judges the best
of all candidates on the seeds that chose it.
"""

import argparse
import json
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from askew.tradeoffs import shared_confidence
from askew.tradeoffs._running.promotion import Standing, choose_finalists, promote
from askew.tradeoffs._running.search_plan import ETA

SHAPES, SEED = 0.8, 0.5 / sqrt(2)  # standard deviations: of true qualities, of one training
GAIN = 1.0  # of an asymmetric candidate that pays, over the best symmetric one
RUNGS = 3

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


class Outcome(NamedTuple):
    """What one search claimed."""

    pays: bool
    is_true: bool
    bias: float  # of the first finalist's difference, whatever its verdict
    naive_pays: bool
    naive_bias: float


def equal(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """All candidates are equal."""
    return np.zeros(count), np.zeros(count)


def third(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A third of the asymmetric candidates beat the best symmetric one."""
    symmetric = rng.normal(0, SHAPES, count)
    asymmetric = rng.normal(-1, SHAPES, count)
    asymmetric = np.minimum(asymmetric, symmetric.max())
    paying = rng.choice(count, max(1, count // 3), replace=False)
    asymmetric[paying] = symmetric.max() + GAIN * rng.uniform(0.5, 1.5, len(paying))
    return asymmetric, symmetric


def one(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """One asymmetric candidate beats the best symmetric one."""
    symmetric = rng.normal(0, SHAPES, count)
    asymmetric = np.minimum(rng.normal(-1, SHAPES, count), symmetric.max())
    asymmetric[rng.integers(count)] = symmetric.max() + GAIN
    return asymmetric, symmetric


SCENARIOS: dict[str, Draw] = {"equal": equal, "third": third, "one": one}


def rung(rng: np.random.Generator, truth: np.ndarray, correlation: float) -> np.ndarray:
    """Draw scores that correlate with the truth."""
    noise = rng.normal(size=len(truth))
    spread = truth.std()
    centred = (truth - truth.mean()) / spread if spread > 0 else np.zeros(len(truth))
    return correlation * centred + sqrt(1 - correlation**2) * noise


def climbed(
    rng: np.random.Generator, truth: np.ndarray, correlation: float, finalists: int
) -> list[Standing]:
    """Return the candidates of a family on the last rung."""
    costs = rng.uniform(1, 2, len(truth))
    left = list(range(len(truth)))
    for fidelity in (correlation, sqrt(correlation)):
        scores = rung(rng, truth[left], fidelity)
        standings = [
            Standing(str(k), s, costs[k]) for k, s in zip(left, scores.tolist(), strict=True)
        ]
        left = [int(name) for name in promote(standings, max(finalists, -(-len(left) // ETA)))]
    last = truth[left] + rng.normal(0, SEED, len(left))
    return [Standing(str(k), s, costs[k]) for k, s in zip(left, last.tolist(), strict=True)]


def pays(differences: np.ndarray, confidence: float) -> bool:
    """Whether the interval of the mean difference lies above zero."""
    n = len(differences)
    margin = student.ppf((1 + confidence) / 2, n - 1) * differences.std(ddof=1) / sqrt(n)
    return bool(differences.mean() > margin)


def search(
    rng: np.random.Generator,
    draw: Draw,
    candidates: int,
    correlation: float,
    finalists: int,
    seeds: int,
) -> Outcome:
    """Run one search and its confirmation; judge the naive rule on as many trainings of each."""
    asymmetric, symmetric = draw(rng, candidates // 2)
    last = climbed(rng, asymmetric, correlation, finalists)
    control = max(climbed(rng, symmetric, correlation, finalists), key=lambda s: s.score)
    chosen = [int(name) for name in choose_finalists(last, finalists, margin=1.0)]
    confidence = shared_confidence(0.95, len(chosen))
    base = symmetric[int(control.name)] + rng.normal(0, SEED, seeds)
    gains = {name: asymmetric[name] - symmetric[int(control.name)] for name in chosen}
    differences = {name: asymmetric[name] + rng.normal(0, SEED, seeds) - base for name in chosen}
    paying = [name for name in chosen if pays(differences[name], confidence)]
    best = max(paying, key=lambda name: differences[name].mean(), default=None)
    full = asymmetric[:, None] + rng.normal(0, SEED, (len(asymmetric), seeds))
    twin = symmetric[0] + rng.normal(0, SEED, seeds)  # any one: nobody searched for it
    winner = int(full.mean(1).argmax())
    naive = full[winner] - twin
    return Outcome(
        pays=best is not None,
        is_true=best is not None and gains[best] > 0,
        bias=float(differences[chosen[0]].mean() - gains[chosen[0]]),
        naive_pays=pays(naive, 0.95),
        naive_bias=float(naive.mean() - (asymmetric[winner] - symmetric[0])),
    )


def main() -> None:
    """Print a row for every scenario, number of candidates and correlation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--candidates", type=int, nargs="+", default=[16, 60, 200])
    parser.add_argument("--correlations", type=float, nargs="+", default=[0.4, 0.6, 0.8, 1.0])
    parser.add_argument("--designs", nargs="+", default=["1x5", "2x5", "3x8"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print("scenario candidates correlation finalists x seeds: pays, false, bias; naive: pays, bias")
    for scenario, draw in SCENARIOS.items():
        for candidates in arguments.candidates:
            for correlation in arguments.correlations:
                for design in arguments.designs:
                    finalists, seeds = map(int, design.split("x"))
                    rng = np.random.default_rng([candidates, int(100 * correlation), finalists])
                    outcomes = [
                        search(rng, draw, candidates, correlation, finalists, seeds)
                        for _ in range(arguments.searches)
                    ]
                    rows.append(row(scenario, candidates, correlation, design, outcomes))
                    print(" ".join(str(value) for value in rows[-1].values()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


def row(
    scenario: str, candidates: int, correlation: float, design: str, outcomes: list[Outcome]
) -> dict[str, object]:
    """Average the outcomes of many searches."""
    biases = [o.bias for o in outcomes]
    return {
        "scenario": scenario,
        "candidates": candidates,
        "correlation": correlation,
        "design": design,
        "pays": round(fmean(o.pays for o in outcomes), 4),
        "false": round(fmean(o.pays and not o.is_true for o in outcomes), 4),
        "bias": round(fmean(biases), 4),
        "bias_error": round(stdev(biases) / sqrt(len(biases)), 4),
        "naive_pays": round(fmean(o.naive_pays for o in outcomes), 4),
        "naive_bias": round(fmean(o.naive_bias for o in outcomes), 3),
    }


if __name__ == "__main__":
    main()
