"""What should a student learn, and which layers should it keep? Paired seeds, one teacher.

    askew train translation --shape symmetric --steps 1000 --out teacher
    python benchmarks/evidence_students.py divergences --teacher teacher --out divergences
    python benchmarks/evidence_students.py written --teacher teacher --out written
    python benchmarks/evidence_students.py two-layers --teacher teacher --out two-layers
    python benchmarks/evidence_students.py one-layer --teacher teacher --out one-layer

Settings are fixed here, before the first run. The teacher has 3 + 3 layers; students of the default
phrases keep all encoder layers. Where losses are compared, they keep the first decoder layer. In
"written" the targets are what the teacher writes, sooner after `askew export teacher`. Where layers
are compared, all choices of so many decoder layers are; the rule "spread" is the baseline, and what
"measured" would choose is printed. A run that was stopped goes on when the same command is typed
again.
"""

import argparse
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from paired import judge, parser

from askew.tasks import Sources, find_teacher, load_text, teach
from askew.tasks._student import StudentTask, cut_config, student_task
from askew.tasks._student_search import student_starts
from askew.text import ParallelText
from askew.tradeoffs import Arm

STEPS, SEEDS = 300, 5
ALONE = {"divergence_weight": 0.0, "cross_entropy_weight": 1.0}
LOSSES = {
    "divergences": {
        "reverse": {"divergence": "reverse"},
        "skewed": {"divergence": "skewed"},
        "jensen-shannon": {"divergence": "js"},
        "targets-alone": ALONE,
        "forward": {},
    },
    "written": {"targets-alone": ALONE, "forward": {}},
}
LAYERS = {"two-layers": 2, "one-layer": 1}


def main() -> None:
    options = arguments()
    name, text = load_text(Sources())
    task = student_task(name, text, options.teacher, {})
    options.out.mkdir(parents=True, exist_ok=True)
    if options.question == "written":
        task = replace(task, text=text._replace(train=written(task, options.out / "written.jsonl")))
    arms = arms_of(task, options.question)
    taught = task.with_outputs(options.out / "outputs", lambda *_: None)
    judge(taught, arms, options, steps=STEPS, folder="comparison")


def arms_of(task: StudentTask, question: str) -> list[Arm]:
    """Return the challengers, and the baseline last."""
    depth = task.whole.decoder.num_layers
    if question in LOSSES:
        config = kept(task, [0])
        return [Arm(name=n, config=config, training=t) for n, t in LOSSES[question].items()]
    count = LAYERS[question]
    spread = (0, depth - 1) if count == 2 else (0,)
    choices = sorted(combinations(range(depth), count), key=lambda layers: layers == spread)
    orders = student_starts(task, "deep-shallow", "twin", "nothing", {})[1][0].config
    print("measured, the last to go first:", orders.decoder.order, flush=True)
    return [
        Arm(name="layers-" + "-".join(map(str, layers)), config=kept(task, layers))
        for layers in choices
    ]


def kept(task: StudentTask, decoder: list[int] | tuple[int, ...]) -> object:
    encoder = range(task.whole.encoder.num_layers)
    return cut_config(task.whole, {"encoder": encoder, "decoder": decoder}, copied=True)


def written(task: StudentTask, store: Path) -> ParallelText:
    """Return the training sources with what the teacher writes, beam 5; once."""
    sources, teacher = task.text.train.sources, find_teacher(task.model)
    return teach(task.model, teacher, sources, store=store, progress=lambda *_: None)


def arguments() -> argparse.Namespace:
    made = parser(__doc__, seeds=SEEDS)
    made.add_argument("question", choices=[*LOSSES, *LAYERS])
    made.add_argument("--teacher", type=Path, required=True, help="folder of a trained model")
    return made.parse_args()


if __name__ == "__main__":
    main()
