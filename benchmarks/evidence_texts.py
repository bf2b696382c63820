"""Losses, and rates for each part, on emotions in texts, with MiniLM as the encoder.

    python benchmarks/evidence_texts.py complete --data ../shared/data/goemotions --out complete
    python benchmarks/evidence_texts.py missing --data ../shared/data/goemotions --out missing
    python benchmarks/evidence_texts.py rates --data ../shared/data/goemotions --seeds 5 --out rates

Settings are fixed here, before the first run. The data are train.tsv, dev.tsv and test.tsv of
GoEmotions: 28 labels, 1.2 of them to a text. A run that was stopped goes on when typed again.

- complete: MiniLM is frozen; two layers learn from its mean states of all 43,410 training texts.
  ASL against plain cross-entropy; ten paired seeds, one threshold tuned on the development texts.
  Every arm tries the same six rates on these.
- missing: the same, 60 % of the positive training labels removed; Hill and two-way against plain.
- rates: MiniLM is trained on 500 texts for 60 steps, scored on 1,000 development and 1,000 test
  texts; every label has its threshold. A rate for the encoder and another for the head, and one
  rate that decays from layer to layer, against one rate; each tuned by four draws of its own.
  Five paired seeds.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from paired import judge, parser
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from askew.tasks import APPLICATIONS, LabelTask, SplitTable, TableRows, TextLabelTask
from askew.tradeoffs import Arm, Range, Tuning, tune

MAX_TOKENS, BATCH = 64, 64
TABLE_STEPS, TABLE_DRAWS, WIDTH = 2000, 6, 256
LOSSES = {"complete": ("asl", "bce"), "missing": ("hill", "two-way", "bce")}
REMOVED = {"complete": 0.0, "missing": 0.6}
SEEDS, STEPS, DRAWS = 10, 60, 4
SIZES = {"train": 500, "dev": 1000, "test": 1000}
RATE = Range(low=5e-5, high=2e-3, log=True)
SPACES = {
    "two-rates": {
        "training.encoder.lr": RATE,
        "training.head.lr": Range(low=2e-4, high=2e-2, log=True),
    },
    "layer-decay": {"training.lr": RATE, "training.encoder.layer_decay": Range(low=0.6, high=1.0)},
    "one-rate": {"training.lr": RATE},
}
SETTINGS = [f"max_tokens={MAX_TOKENS}", "encoder.dropout=0.1", "training.thresholds=label"]
SETTINGS += ["training.evaluations=2", "training.checkpoints=1", "training.batch_tokens=512"]


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.question == "rates":
        task = text_task(options)
        arms = [tuned(task, name, options.out) for name in SPACES]
        judge(task, arms, options, steps=STEPS, folder="comparison")
        return
    application = APPLICATIONS["multilabel"]
    shape = [f"width={WIDTH}", f"training.remove_positives={REMOVED[options.question]}"]
    usual = application.make_task(application.options(set_=shape))
    task = LabelTask(
        source_name="emotions",
        table=vectors(options),
        training=usual.training,
        name=application.name,
    )
    *names, plain = LOSSES[options.question]
    pairs = [
        application.make_arms(task, application.options(challenger=n, baseline=plain, set_=shape))
        for n in names
    ]
    arms = [*(pair[0][0] for pair in pairs), pairs[0][0][1]]
    tuning = Tuning(draws=TABLE_DRAWS, space={"training.lr": Range(low=1e-4, high=1e-2, log=True)})
    judge(task, arms, options, steps=TABLE_STEPS, tuning=tuning, folder="comparison")


def vectors(options: argparse.Namespace) -> SplitTable:
    """Return the mean states of all texts, scaled by the training texts, and their labels."""
    splits = []
    for part in SIZES:
        texts, labels = read(options.data / f"{part}.tsv")
        path = options.out / f"{part}.npy"
        if not path.is_file():
            np.save(path, mean_states(options.encoder, texts))
        splits.append((torch.from_numpy(np.load(path)), labels))
    first = splits[0][0]
    mean, deviation = first.mean(0), first.std(0)
    return SplitTable(*(TableRows((x - mean) / deviation, y) for x, y in splits))


def read(path: Path) -> tuple[list[str], Tensor]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    labels = torch.zeros(len(rows), 28)
    for row, (_, numbers, _) in enumerate(rows):
        labels[row, [int(number) for number in numbers.split(",")]] = 1
    return [row[0] for row in rows], labels


@torch.inference_mode()
def mean_states(encoder: Path, texts: list[str]) -> np.ndarray:
    """Encode texts, those of one length together."""
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(texts), BATCH):
        rows = order[start : start + BATCH]
        batch = tokenizer(
            [texts[row] for row in rows],
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
        found[rows] = ((states * mask).sum(1) / mask.sum(1)).numpy()
    return found


def text_task(options: argparse.Namespace) -> TextLabelTask:
    """Return the task with some texts of every part, the same ones each time."""
    for part, size in SIZES.items():
        lines = (options.data / f"{part}.tsv").read_text(encoding="utf-8").splitlines()
        drawn = random.Random(0).sample(lines, size)
        (options.out / f"{part}.tsv").write_text("\n".join(drawn) + "\n", encoding="utf-8")
    application = APPLICATIONS["labels"]
    return application.make_task(
        application.options(
            data=str(options.out / "train.tsv"),
            valid=str(options.out / "dev.tsv"),
            test=str(options.out / "test.tsv"),
            columns="1,2",
            encoder=options.encoder,
            set_=SETTINGS,
        )
    )


def tuned(task: TextLabelTask, name: str, out: Path) -> Arm:
    """Draw numbers of an arm's own, and keep the best on development texts."""
    application = APPLICATIONS["labels"]
    arms, _ = application.make_arms(task, application.options(challenger="plain", set_=SETTINGS))
    arm = Arm(name=name, config=arms[0].config)
    tuning = Tuning(draws=DRAWS, space=SPACES[name])
    (best,) = tune(task, [arm], tuning, steps={name: STEPS}, out=out / f"tuning-{name}")
    print(name, best.arm.training, best.arm.config.encoder, flush=True)
    return best.arm


def arguments() -> argparse.Namespace:
    made = parser(__doc__, seeds=SEEDS)
    made.add_argument("question", choices=[*LOSSES, "rates"])
    made.add_argument("--data", type=Path, required=True)
    made.add_argument("--encoder", type=Path, default=Path("minilm"))
    return made.parse_args()


if __name__ == "__main__":
    main()
