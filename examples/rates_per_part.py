"""A rate for every part of a transformers model, in transformers' own Trainer.

    python examples/rates_per_part.py

Embeddings learn slowly, lower layers more slowly than upper ones, the new head fast. Each parameter
is in exactly one part, and every record of the training has the rate of every part.
"""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from askew.optim import AsymmetricOptimizer, AsymmetricScheduler, cosine, describe, warmup
from askew.training import LogsPartRates

STEPS = 30


class PartTrainer(LogsPartRates, Trainer):
    """The Trainer, with lr/<part> in its records."""


def main() -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=100, num_hidden_layers=2, **small)
    model = BertForSequenceClassification(config)  # from_pretrained(...) in earnest
    tokens = torch.randint(5, 100, (256, 12))
    data = [{"input_ids": row, "labels": int(row.sum() > 630)} for row in tokens]

    bert = model.bert
    optimizer = AsymmetricOptimizer(
        model,
        {
            "embeddings": {"where": bert.embeddings, "lr": 1e-5},
            "lower": {"where": bert.encoder.layer[0], "lr": 1e-4},
            "upper": {"where": bert.encoder.layer[1], "lr": 3e-4},
            "head": {"where": [bert.pooler, model.classifier], "lr": 1e-3},
        },
    )
    print(describe(optimizer))
    rise_and_fall = warmup(5, cosine(STEPS - 5))
    parts = ("embeddings", "lower", "upper", "head")
    scheduler = AsymmetricScheduler(optimizer, dict.fromkeys(parts, rise_and_fall))

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(folder, max_steps=STEPS, logging_steps=10, report_to=[])
        both = (optimizer, scheduler)
        trainer = PartTrainer(model, settings, train_dataset=data, optimizers=both)
        trainer.train()
    for record in trainer.state.log_history[:-1]:
        print({name: value for name, value in record.items() if name.startswith(("step", "lr/"))})


if __name__ == "__main__":
    main()
