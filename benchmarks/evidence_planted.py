"""Does a search find what is there? A task whose best asymmetry is known, ten times.

    python benchmarks/evidence_planted.py --out FOLDER --json planted.json

The target has nine numbers of the left half of the input and one of the right half. A model has a
bottleneck for each half; both together have ten units, so that 9 and 1 is best and 5 and 5 is the
symmetric one. Bottlenecks and the learning rates of both halves are searched. A search finds the
asymmetry if its finalist has 9 and 1 units and pays on fresh seeds. Every search has other data.
Beside it: the training steps of the search as a share of what all candidates take, trained fully.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from askew.tradeoffs import Experiment, Found, Metric, Range, Score, SearchBudget, Space, find

UNITS, STEPS, CANDIDATES, SEEDS = 10, 360, 24, 5
METRIC = Metric(name="error", label="error", better="lower", equivalence=0.005)


class Halves(nn.Module):
    """A bottleneck for each half of the input."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__()
        self.left, self.right = (
            nn.Sequential(nn.Linear(12, width, bias=False), nn.Linear(width, 12, bias=False))
            for width in (left, right)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, 24] to [batch, 12]."""
        return self.left(x[:, :12]) + self.right(x[:, 12:])


def parts(model: nn.Module, left: float, right: float) -> torch.optim.Optimizer:
    """AdamW with a rate for each half."""
    groups = [
        {"params": model.left.parameters(), "lr": left},
        {"params": model.right.parameters(), "lr": right},
    ]
    return torch.optim.AdamW(groups)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error of each row."""
    return (outputs - targets).square().mean(1)


def experiment(seed: int) -> Experiment:
    """Make the task with other data."""
    x = torch.randn(656, 24, generator=torch.Generator().manual_seed(seed))
    y = torch.cat([x[:, :9], x[:, 12:13], torch.zeros(656, 2)], 1)
    width = Range(low=1, high=UNITS - 1, step=1)
    rate = Range(low=1e-3, high=5e-2, log=True)
    space = Space(
        numbers={
            "model.left": width,
            "model.right": width,
            "training.left": rate,
            "training.right": rate,
        },
        ties={"model.right": "model.left", "training.right": "training.left"},
        solved=("model.right",),
    )
    return Experiment(
        name=f"halves-{seed}",
        models={
            "wide-left": partial(Halves, left=6, right=4),
            "even": partial(Halves, left=5, right=5),
        },
        train_data=(x[:256], y[:256]),
        valid_data=(x[256:456], y[256:456]),
        test_data=(x[456:], y[456:]),
        scores=(Score(metric=METRIC, function=squared_error),),
        loss=nn.functional.mse_loss,
        optimizer=partial(parts, left=0.02, right=0.02),
        space=space,
    )


def main() -> None:
    """Search ten times, and print what each search found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--searches", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for seed in range(options.searches):
        task = experiment(seed)
        budget = SearchBudget(steps=STEPS, candidates=CANDIDATES, finalists=1, seeds=SEEDS)
        found = find(
            task,
            task.space,
            task.arms,
            out=options.out / str(seed),
            budget=budget,
            jobs=options.jobs,
        )
        rows.append(row(seed, found))
        print(*rows[-1].values(), flush=True)
    print(sum(one["found"] for one in rows), "of", len(rows), "searches found it")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def row(seed: int, found: Found) -> dict[str, object]:
    """Describe a finished search."""
    values = {one["name"]: one["values"] for one in found.candidates}
    winner = values[found.finalists[0]]
    verdict = next(v for v in found.comparison.verdicts if v.metric == METRIC.name)
    rungs = found.comparison.results["search"]["rungs"]
    steps = sum(rungs[len(one["scores"]) - 1] for one in found.candidates)
    widths = winner["model.left"], winner["model.right"]
    return {
        "search": seed,
        "widths": widths,
        "verdict": verdict.verdict,
        "difference": verdict.difference,
        "found": widths == (UNITS - 1, 1) and verdict.verdict == "pays",
        "share_of_steps": round(steps / (len(found.candidates) * STEPS), 3),
    }


if __name__ == "__main__":
    main()
