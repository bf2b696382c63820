"""Does Muon for the hidden matrices pay? Muon and AdamW against AdamW alone, both tuned.

    python benchmarks/evidence_algorithms.py --out algorithms

Settings are fixed here, before the first run: the tiny symmetric model of the default phrases,
300 steps, rates that stay and fall in the last two fifths. Both arms try the same four learning
rates on the validation phrases; the best of each is trained with six paired seeds. A run that was
stopped goes on when the same command is typed again.
"""

from paired import judge, parser

from askew.tasks import APPLICATIONS, TranslationTask, translation_preset
from askew.tradeoffs import Arm, Range, Tuning

STEPS, SEEDS, DRAWS = 300, 6, 4
RATE = Range(low=1e-3, high=1.6e-2, log=True)
SETTINGS = ["training.schedule=wsd", "training.evaluations=3", "training.checkpoints=1"]


def main() -> None:
    options = parser(__doc__, seeds=SEEDS).parse_args()
    application = APPLICATIONS["translation"]
    task: TranslationTask = application.make_task(application.options(set_=SETTINGS))
    config = translation_preset("symmetric", "tiny", vocab_size=task.vocabularies())
    arms = [
        Arm(name="muon", config=config, training={"base": "muon"}),
        Arm(name="adamw", config=config),
    ]
    tuning = Tuning(draws=DRAWS, space={"training.lr": RATE})
    judge(task, arms, options, steps=STEPS, tuning=tuning)


if __name__ == "__main__":
    main()
