"""Cut two of three decoder layers of a trained model, and teach the student with the model.

    python examples/shrink_a_model.py

Under a minute. On the command line, for any encoder-decoder of transformers as well:
askew shrink model --decoder-layers 1 --data pairs.tsv --out student.
"""

import tempfile
from pathlib import Path

import torch

from askew.tasks import (
    Shrinking,
    prepare_training,
    shrink_folder,
    train_into,
    translation_preset,
    translation_task,
)
from askew.text import localisation_phrases
from askew.tradeoffs import Budget
from askew.training import DistillationConfig


def main() -> None:
    torch.set_num_threads(1)
    text = localisation_phrases(num_train=2000, num_valid=100, num_test=100)
    task = translation_task("phrases", text, vocab_size=500)
    config = translation_preset("symmetric", "tiny", vocab_size=task.vocabularies())
    with tempfile.TemporaryDirectory() as folder:
        run = {"budget": Budget(steps=300), "seed": 0, "threads": 1, "out": Path(folder) / "model"}
        identity = prepare_training(task, config, **run)
        train_into(task, config, identity, progress=lambda *_: None, **run)
        shrunk = shrink_folder(
            Path(folder) / "model",
            Path(folder) / "student",
            Shrinking(decoder_layers=1, training=DistillationConfig(steps=150)),
            text,
        )
    before, after = shrunk.parameters
    print(f"decoder layers kept: {shrunk.kept['decoder']}; parameters {before:,} → {after:,}")
    for name, scores in shrunk.scores.items():
        print(f"{name:9} chrF {scores['chrf']:.1f}")
    print(f"an answer is {shrunk.latency_ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
