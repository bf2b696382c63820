"""How good is a search? Searches replayed in a table of recorded trainings.

    python benchmarks/replay_searches.py --searches 1000 --json replays.json

The table (`record_shapes.py`) has 12 asymmetric and 12 symmetric shapes with 8 seeds each. Every
replay shuffles the seeds: the rungs read one each, the confirmation the other five. Strategies:

- "random": some shapes of each family are trained fully, as many as the steps of "halving" pay for;
- "halving": all shapes begin, and a third is promoted twice, as `askew find` does;
- "halving, some" and "proposed, some": the same with 8 shapes of each family, all drawn at random,
  or the last four proposed by what the first four reached.

Regret is the loss of the chosen shape against the best of its family, in mean test chrF over all
seeds. "Pays" compares the finalists with the best symmetric shape of the search. A "pays" is false
if the mean over all eight seeds, the best truth that there is, says that the finalist is no better.
Where all shapes are made equal, by subtracting from every number its mean over the seeds of a
shape, each "pays" is false.
"""

import argparse
import json
from math import sqrt
from pathlib import Path
from statistics import fmean

import numpy as np
from scipy.stats import spearmanr
from scipy.stats import t as student

from askew.tasks import APPLICATIONS
from askew.tradeoffs import Space, shared_confidence
from askew.tradeoffs._running.promotion import Standing, choose_finalists, promote
from askew.tradeoffs._running.proposals import Offer, propose
from askew.tradeoffs._running.search_plan import promoted_count, search_trainings

RUNGS = (2, 5, 11)  # places of the points 120, 240 and 480 steps
ETA, FINALISTS, SOME = 3, 2, 8
MARGIN = 1.0  # of equivalence, chrF
TABLE = Path(__file__).parent / "results" / "shapes.json"


class Table:
    """Recorded trainings as arrays: shapes of one family by seeds.

    Args:
        shapes: Entries of the table, of one family.
        equal: Whether to subtract the mean of each shape.
    """

    def __init__(self, shapes: list[dict], *, equal: bool) -> None:
        runs = [shape["trainings"] for shape in shapes]
        self.values = [shape["values"] for shape in shapes]
        self.costs = np.array([shape["latency_ms"] for shape in shapes])
        self.losses = np.array([[run["losses"] for run in each] for each in runs])
        self.valid = np.array([[run["valid_chrf"] for run in each] for each in runs])
        self.test = np.array([[run["test_chrf"] for run in each] for each in runs])
        if equal:
            for scores in (self.losses, self.valid, self.test):
                scores -= scores.mean(1, keepdims=True)
        self.quality = self.test.mean(1)

    def standings(self, places: list[int], scores: np.ndarray) -> list[Standing]:
        """Describe shapes by their scores; names are places."""
        return [Standing(str(k), float(scores[k]), float(self.costs[k])) for k in places]

    def climbed(self, places: list[int], seeds: np.ndarray) -> list[Standing]:
        """Promote shapes twice; return the last with chrF on validation phrases."""
        for rung, seed in zip(RUNGS[:2], seeds, strict=False):
            left = self.standings(places, -self.losses[:, seed, rung])
            places = [
                int(name) for name in promote(left, promoted_count(len(left), ETA, FINALISTS))
            ]
        return self.standings(places, self.valid[:, seeds[2]])

    def proposed(self, first: list[int], seed: int, space: Space, *, symmetric: bool) -> list[int]:
        """Propose further shapes of the table: each proposal stands for the nearest shape left."""
        left = [k for k in range(len(self.values)) if k not in first]
        drawn = space.drawn(symmetric=symmetric)

        def nearest(values: dict) -> Offer:
            distance = [
                sum(
                    abs(np.log2(values[n] / own)) for n, own in self.values[k].items() if n in drawn
                )
                for k in left
            ]
            return Offer(dict(self.values[left[int(np.argmin(distance))]]), 0)

        tried = [(self.values[k], float(-self.losses[k, seed, RUNGS[0]])) for k in first]
        wanted = SOME - len(first)
        got = propose(
            space, wanted, tried, [], nearest, symmetric=symmetric, seed=int(sum(first) + seed)
        )
        places = [self.values.index(values) for values in got]
        rest = [k for k in left if k not in places]
        return places + rest[: wanted - len(places)]


def search(
    strategy: str, tables: tuple[Table, Table], space: Space, rng: np.random.Generator
) -> dict[str, float]:
    """Replay one search and its confirmation."""
    seeds = rng.permutation(tables[0].test.shape[1])
    last = []
    for symmetric, table in enumerate(tables):
        count = len(table.values)
        order = [int(k) for k in rng.permutation(count)]
        if strategy == "random":
            fully = round(search_trainings(2 * count, FINALISTS, 480) / 2)
            last.append(table.standings(order[:fully], table.valid[:, seeds[2]]))
            continue
        if strategy == "halving, some":
            order = order[:SOME]
        elif strategy == "proposed, some":
            first = order[: SOME // 2]
            order = first + table.proposed(first, seeds[0], space, symmetric=bool(symmetric))
        last.append(table.climbed(order, seeds))
    one, two = tables
    finalists = [int(name) for name in choose_finalists(last[0], FINALISTS, margin=MARGIN)]
    control = int(max(last[1], key=lambda standing: standing.score).name)
    confidence = shared_confidence(0.95, len(finalists))
    paying = [
        k
        for k in finalists
        if pays(one.test[k, seeds[3:]] - two.test[control, seeds[3:]], confidence)
    ]
    first = finalists[0]
    gain = float((one.test[first, seeds[3:]] - two.test[control, seeds[3:]]).mean())
    return {
        "regret": float(one.quality.max() - one.quality[first]),
        "control_regret": float(two.quality.max() - two.quality[control]),
        "pays": float(bool(paying)),
        "false": float(any(one.quality[k] <= two.quality[control] for k in paying)),
        "gain": gain,
        "promised": last[0][[s.name for s in last[0]].index(str(first))].score
        - max(standing.score for standing in last[1]),
    }


def pays(differences: np.ndarray, confidence: float) -> bool:
    """Whether the interval of the mean difference lies above zero."""
    n = len(differences)
    margin = student.ppf((1 + confidence) / 2, n - 1) * differences.std(ddof=1) / sqrt(n)
    return bool(differences.mean() > margin)


def steps_of(strategy: str, count: int) -> float:
    """Return what a search costs in full trainings."""
    return search_trainings(2 * (SOME if "some" in strategy else count), FINALISTS, 480)


def main() -> None:
    """Print what the table says of shapes and rungs, then a row for every strategy."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shapes = json.loads(options.table.read_text(encoding="utf-8"))["shapes"]
    families = [[s for s in shapes if s["symmetric"] == symmetric] for symmetric in (False, True)]
    application = APPLICATIONS["translation"]
    choices = application.options(preset="tiny")
    space = application.space(application.make_task(choices), choices)
    space = space.frozen({f"training.{side}.lr": 0.002 for side in ("encoder", "decoder")})
    result: dict[str, object] = {"rungs": rungs(Table(shapes, equal=False)), "searches": []}
    print(result["rungs"])
    for equal in (False, True):
        tables = (Table(families[0], equal=equal), Table(families[1], equal=equal))
        if not equal:
            print([round(float(table.quality.max()), 2) for table in tables], "are the best")
        for strategy in ("random", "halving", "halving, some", "proposed, some"):
            rng = np.random.default_rng(0)
            searches = [search(strategy, tables, space, rng) for _ in range(options.searches)]
            row = {
                "strategy": strategy,
                "equal": equal,
                "trainings": round(steps_of(strategy, len(families[0])), 1),
                **{name: round(fmean(s[name] for s in searches), 3) for name in searches[0]},
            }
            result["searches"].append(row)
            print(*row.values(), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def rungs(table: Table) -> dict[str, float]:
    """Rank correlations, over all shapes, with the quality on the other seeds."""
    correlations = {}
    for place in range(table.losses.shape[2]):
        each = []
        for seed in range(table.test.shape[1]):
            others = np.delete(table.test, seed, 1).mean(1)
            each.append(spearmanr(-table.losses[:, seed, place], others).statistic)
        correlations[f"{40 * (place + 1)} steps"] = round(fmean(each), 3)
    return correlations


if __name__ == "__main__":
    main()
