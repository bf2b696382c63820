"""Which loss, rates and dropout pay on rare positives? A search answers, and confirms its answer.

    python examples/find_an_asymmetry.py

Eights among the digits of scikit-learn. Asymmetric and symmetric settings are tried with equal
effort on training and validation rows; the best of both then meet on fresh seeds and on test rows.
"""

import tempfile
from pathlib import Path

from askew.tasks import APPLICATIONS
from askew.tradeoffs import SearchBudget, find


def main() -> None:
    application = APPLICATIONS["imbalanced"]
    options = application.options(set_=["width=32"])
    task, arms, _, _ = application.setup(options)
    space = application.space(task, options).frozen({"dropout": 0.2, "dropout_second": 0.2})
    budget = SearchBudget(steps=150, candidates=16, finalists=1, seeds=5)
    with tempfile.TemporaryDirectory() as folder:
        found = find(task, space, arms, out=Path(folder), budget=budget, match="nothing")
    best = {
        symmetric: max(
            (one for one in found.candidates if one["symmetric"] == symmetric),
            key=lambda one: (len(one["scores"]), one["scores"][-1]),
        )
        for symmetric in (False, True)
    }
    for symmetric, candidate in best.items():
        print("best symmetric settings:" if symmetric else "best asymmetric settings:")
        for name, value in candidate["values"].items():
            print(f"  {name.removeprefix('training.'):20} {value:.3g}")
    print(found.sentence)


if __name__ == "__main__":
    main()
