"""Two processes train a sharded model with a plain loop; started by torchrun.

    torchrun --nproc-per-node 2 sharded_run.py OUT

Writes the losses of every step, and a checkpoint that one process can read.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.tensor import DTensor
from training_run import PAIRS, tiny_model

from askew.text import TokenBatches, train_tokenizers
from askew.training import (
    TrainingConfig,
    TranslationExamples,
    collate_translation,
    save_sharded,
    shard_model,
    training_optimizer,
)

CONFIG = TrainingConfig(steps=12, lr=5e-3, warmup_steps=0)


def batches():
    tokenizers = train_tokenizers(PAIRS, vocab_size=280)
    data = TranslationExamples(PAIRS, tokenizers, max_tokens=96)
    rows = TokenBatches(data.lengths, max_tokens=96, num_batches=24, seed=1)
    made = [collate_translation([data[row] for row in batch]) for batch in rows]
    return tokenizers, list(zip(made[::2], made[1::2], strict=True))


def step(model, optimizer, own, count, world):
    """The loss over all tokens of the step; gradients of the processes are averaged, so x world."""
    optimizer.zero_grad()
    total = torch.zeros(())
    for batch in own:
        batch = dict(batch)
        labels = batch.pop("labels").flatten()
        logits = model(**batch).logits.flatten(0, 1)
        loss = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum") / count
        (loss * world).backward()
        total += loss.detach()
    optimizer.step()
    return total


def tokens(pair):
    return sum(int((batch["labels"] != -100).sum()) for batch in pair)


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    out, rank = Path(sys.argv[1]), dist.get_rank()
    tokenizers, pairs = batches()
    model = shard_model(tiny_model(tokenizers.source.get_vocab_size(), 0.0))
    assert all(isinstance(weight, DTensor) for weight in model.parameters())
    held = sum(weight.to_local().numel() for weight in model.parameters())
    whole = sum(weight.numel() for weight in model.parameters())
    assert held < 0.6 * whole, (held, whole)
    optimizer = training_optimizer(model, CONFIG)
    losses = []
    for pair in pairs:
        total = step(model, optimizer, [pair[rank]], tokens(pair), 2)
        dist.all_reduce(total)
        losses.append(total.item())
    save_sharded(model, out / "sharded")
    if rank == 0:
        (out / "losses.json").write_text(json.dumps(losses))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
