"""Labels of GoEmotions by MiniLM, beside TF-IDF and logistic regression with tuned thresholds.

    python benchmarks/evidence_labels.py --data ../shared/data/goemotions --out runs

The data are train.tsv, dev.tsv and test.tsv of the 28 emotions: text, numbers of labels, name.
Both sides have a threshold for every label, tuned on the development texts; so is the strength of
the baseline. A run that was stopped resumes when it is typed again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from common import print_table, write
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from askew.tasks import APPLICATIONS, TextLabelTask, prepare_training, train_into
from askew.tasks._text_label_scores import label_scores, target_matrix, tune_thresholds
from askew.tradeoffs import Budget

APPLICATION = APPLICATIONS["labels"]
SETTINGS = [
    *("max_tokens=64", "encoder.dropout=0.1", "training.thresholds=label"),
    *("training.encoder.lr=3e-4", "training.head.lr=3e-3", "training.encoder.frozen_layers=2"),
    "training.evaluations=2",
]
STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)


def linear_scores(task: TextLabelTask) -> tuple[str, dict[str, float]]:
    """Name and test scores of the linear model with the best macro-F1 on the development texts."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    rows = [vectorizer.fit_transform(task.text.train.texts)]
    rows += [vectorizer.transform(part.texts) for part in (task.text.valid, task.text.test)]
    train, *others = (target_matrix(part, task.labels) for part in task.text)
    found = []
    for strength in STRENGTHS:
        linear = LogisticRegression(C=strength, solver="liblinear")
        model = OneVsRestClassifier(linear).fit(rows[0], train)
        logits = [model.decision_function(part) for part in rows[1:]]
        thresholds = np.array(tune_thresholds(logits[0], others[0], each=True))
        valid, test = (
            label_scores(own, own >= thresholds, truth, exclusive=False)
            for own, truth in zip(logits, others, strict=True)
        )
        found.append((valid["macro_f1"], f"TF-IDF, C = {strength:g}", test))
    _, name, scores = max(found, key=lambda one: one[0])
    return name, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, default=Path("minilm"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--loss", default="plain")
    parser.add_argument("--set", action="append", default=[], help="another setting, NAME=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    own = APPLICATION.train.options(
        data=str(options.data / "train.tsv"),
        valid=str(options.data / "dev.tsv"),
        test=str(options.data / "test.tsv"),
        columns="1,2",
        encoder=options.encoder,
        loss=options.loss,
        set_=[*SETTINGS, *options.set],
    )
    task = APPLICATION.make_task(own)
    config, training = APPLICATION.train.make_model(task, own)
    started = time.process_time()
    name, scores = linear_scores(task)
    rows = [[name, *scores.values(), (time.process_time() - started) / 60]]
    for seed in options.seeds:
        run = {"budget": Budget(steps=options.steps), "seed": seed, "threads": 1}
        run |= {"out": options.out / f"seed{seed}", "training": training}
        started = time.process_time()
        identity = prepare_training(task, config, **run)
        scores = train_into(task, config, identity, progress=lambda *_: None, **run)
        minutes = (time.process_time() - started) / 60
        rows.append([f"MiniLM, seed {seed}", *scores.values(), minutes])
        print(rows[-1], flush=True)
    print_table(["", *scores, "CPU-minutes"], rows)
    if options.json:
        write(options.json, {"settings": own.set_, "steps": options.steps, "rows": rows})


if __name__ == "__main__":
    main()
