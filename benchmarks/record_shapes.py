"""Record a table of encoder-decoder shapes, for searches that are replayed in seconds.

    python benchmarks/record_shapes.py --work FOLDER

24 shapes of equal parameters, 12 of them symmetric, are trained on the default phrases with 8 seeds
each. The table has the validation loss at 12 points of every training, chrF on validation and test
phrases at its end, CPU seconds, and the latency of each shape. It takes some two hours and a half
of one core. Trainings are stored in FOLDER as they finish; the same command goes on where it was
stopped, and with more --shapes or --seeds it adds the missing trainings.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from statistics import fmean

import torch

from askew.tasks import APPLICATIONS
from askew.tradeoffs import Arm, SearchBudget
from askew.tradeoffs._running.candidate_costs import CandidateCosts
from askew.tradeoffs._running.proposals import draw_random
from askew.tradeoffs._running.search_plan import SearchPlan

SHAPES, SEEDS, STEPS, POINTS = 12, 8, 480, 12  # shapes of each family
_DRAWN = 20  # of each family, so that a larger table has the same first shapes
RATE = 0.002  # of both sides: the table is of shapes alone
VALIDATION_ITEMS = 300
TABLE = Path(__file__).parent / "results" / "shapes.json"


def main() -> None:
    """Draw the shapes, train all of them, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--shapes", type=int, default=SHAPES, help=f"of each family, <= {_DRAWN}")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    application = APPLICATIONS["translation"]
    choices = application.options(preset="tiny")
    task, arms, _, _ = application.setup(choices)
    rates = {f"training.{side}.lr": RATE for side in ("encoder", "decoder")}
    plan = SearchPlan(
        task=task,
        space=application.space(task, choices).frozen(rates),
        start=arms[:1],
        budget=SearchBudget(steps=STEPS, candidates=2 * _DRAWN, seeds=options.seeds),
        match="parameters",
        at_most={},
        out=options.work,
        threads=1,
        steps=STEPS,
        candidates=2 * _DRAWN,
    )
    torch.set_num_threads(plan.threads)
    families = drawn(plan, options.work / "shapes.json")
    shapes = [
        shape
        for symmetric in (False, True)
        for shape in [each for each in families if each["symmetric"] == symmetric][: options.shapes]
    ]
    costs = CandidateCosts(plan)
    for seed in range(options.seeds):
        for shape in shapes:
            path = options.work / f"{shape['name']}-{seed}.json"
            if not path.is_file():
                path.write_text(json.dumps(trained(plan, costs.arm_of(shape["values"]), seed)))
                print(path.stem, path.read_text(), flush=True)
    costs.close()
    write_table(options.work, shapes, options.seeds)


def drawn(plan: SearchPlan, path: Path) -> list[dict]:
    """Draw the shapes and time each; what is stored is read."""
    if path.is_file():
        return json.loads(path.read_text())
    costs = CandidateCosts(plan)
    shapes = []
    for symmetric in (False, True):
        values = draw_random(
            plan.open_space,
            _DRAWN,
            [],
            lambda draw, symmetric=symmetric: costs.complete(draw, symmetric=symmetric),
            symmetric=symmetric,
            seed=0,
        ).values
        costs.time(values)
        for number, each in enumerate(values):
            config = costs.arm_of(each).config
            shapes.append(
                {
                    "name": f"{('asymmetric', 'symmetric')[symmetric]}-{number + 1}",
                    "symmetric": symmetric,
                    "values": {k: v for k, v in each.items() if not k.startswith("training")},
                    "parameters": plan.task.parameters(config),
                    "flops_per_step": plan.task.flops_per_step(config),
                    "latency_ms": round(costs.latency_ms(each), 3),
                }
            )
    costs.close()
    path.write_text(json.dumps(shapes))
    return shapes


def trained(plan: SearchPlan, arm: Arm, seed: int) -> dict:
    """Train one shape and score it."""
    task = plan.task
    model = task.build(arm.config, seed)
    folder = plan.out / "training"
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.process_time()
    records = task.train(
        model,
        training={**arm.training, "schedule": "wsd", "evaluations": POINTS},
        steps=STEPS,
        seed=seed,
        folder=folder,
        progress=lambda step, steps: None,
    )
    seconds = time.process_time() - begun
    losses = [record["eval_loss"] for record in records if "eval_loss" in record]
    return {
        "losses": [round(loss, 4) for loss in losses],
        "valid_chrf": round(task.validation_quality(model, items=VALIDATION_ITEMS), 2),
        "test_chrf": round(task.test_scores(model)["chrf"].value, 2),
        "train_seconds": round(seconds, 1),
    }


def write_table(work: Path, shapes: list[dict], seeds: int) -> None:
    """Write what was measured as one file."""
    for shape in shapes:
        runs = [json.loads((work / f"{shape['name']}-{s}.json").read_text()) for s in range(seeds)]
        shape["trainings"] = runs
        print(shape["name"], round(fmean(run["test_chrf"] for run in runs), 1))
    table = {"steps": [STEPS * n // POINTS for n in range(1, POINTS + 1)], "shapes": shapes}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
