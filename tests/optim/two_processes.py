"""Script of each of several processes: train with the Trainer or accelerate, print the rates."""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from accelerate import Accelerator, DataLoaderConfiguration
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, TensorDataset

from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    cosine,
    describe,
    freeze_until,
    linear,
    part_rates,
    warmup,
)

RATES = {"encoder": 1e-3, "head": 1e-2}
ALGORITHMS = {
    "encoder": {"where": ["encoder.weight"], "base": torch.optim.Muon, "lr": 1e-3},
    "head": {"where": ["encoder.bias", "head.**"], "lr": 1e-2},
}
STEPS = 8


def schedules():
    return {"encoder": freeze_until(2, warmup(2, cosine(6))), "head": linear(STEPS)}


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x, labels):
        logits = self.head(self.encoder(x).tanh())
        return {"loss": F.mse_loss(logits, labels), "logits": logits}


class Rows(torch.utils.data.Dataset):
    """64 rows, the same in every process."""

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(64, 4, generator=generator)
        self.y = torch.randn(64, 2, generator=generator)

    def __len__(self):
        return 64

    def __getitem__(self, row):
        return {"x": self.x[row], "labels": self.y[row]}


def by_accelerate(out, accumulate=1, split_batches=False, stop=STEPS, resume=None, parts=RATES):
    accelerator = Accelerator(
        cpu=True,
        gradient_accumulation_steps=accumulate,
        dataloader_config=DataLoaderConfiguration(split_batches=split_batches),
    )
    model, rows, rates = Toy(), Rows(), []
    optimizer = AsymmetricOptimizer(model, parts)
    scheduler = AsymmetricScheduler(optimizer, schedules())
    loader = DataLoader(TensorDataset(rows.x, rows.y), batch_size=4)
    wrapped, prepared, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    step = 0
    if resume is not None:
        accelerator.load_state(str(resume))
        step = scheduler.scheduler.last_epoch
    for x, y in batches_without_end(accelerator, loader, step):
        with accelerator.accumulate(wrapped):
            if accelerator.sync_gradients:
                rates.append(part_rates(prepared))
            accelerator.backward(wrapped(x, y)["loss"])
            prepared.step()
            scheduler.step()
            prepared.zero_grad()
        step += accelerator.sync_gradients
        if step == stop:
            break
    if out is not None:
        accelerator.save_state(str(out))
    return model, rates


def batches_without_end(accelerator, loader, done):
    yield from accelerator.skip_first_batches(loader, done)
    while True:
        yield from loader


def by_shards():
    """Plain sharding of PyTorch: parameters are DTensors, the state goes out and in again."""
    dist.init_process_group("gloo")
    train_sharded(RATES, base=torch.optim.SGD)
    # Muon multiplies in bfloat16; shards that are made orthogonal alone would differ by more.
    check_state_goes_round(*train_sharded(ALGORITHMS, atol=2e-4))
    model, optimizer = train_sharded(RATES)
    check_state_goes_round(model, optimizer)
    state = get_optimizer_state_dict(model, optimizer)
    optimizer.param_groups[0]["lr"] = 9.0
    set_optimizer_state_dict(model, optimizer, state)
    fused = optimizer.param_groups[0]["fused"]
    return fused, part_rates(optimizer), [row.part for row in describe(optimizer).rows]


def check_state_goes_round(model, optimizer):
    """What a checkpoint of PyTorch reads of one optimizer, another one takes in."""
    state = get_optimizer_state_dict(model, optimizer)
    moments = {
        name: value.full_tensor().clone()
        for name, value in numbers_of(state["state"])
        if isinstance(value, DTensor)
    }
    assert moments
    for _, value in numbers_of(state["state"]):
        assert isinstance(value, torch.Tensor)
    set_optimizer_state_dict(model, optimizer, state)
    again = dict(numbers_of(get_optimizer_state_dict(model, optimizer)["state"]))
    assert all(torch.equal(again[name].full_tensor(), value) for name, value in moments.items())


def numbers_of(state):
    return [(f"{n}.{key}", value) for n, own in state.items() for key, value in own.items()]


def train_sharded(parts, atol=1e-6, **settings):
    model, plain, rows = Toy(), Toy(), Rows()
    fully_shard(model.encoder)
    fully_shard(model)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    optimizer, other = (AsymmetricOptimizer(m, parts, **settings) for m in (model, plain))
    for _ in range(3):
        for made, one in ((model, optimizer), (plain, other)):
            made(rows.x, rows.y)["loss"].backward()
            one.step()
            one.zero_grad()
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.full_tensor(), q, rtol=1e-5, atol=atol)
    return model, optimizer


def main():
    how, out = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    if how == "shards":
        result = by_shards()
    else:
        if how == "trainer":
            from optim.trainer_run import by_trainer  # transformers takes seconds to load

            model, rates, _ = by_trainer(out, world=2)
        else:
            accumulate = 2 if how == "accumulate" else 1
            model, rates = by_accelerate(None, accumulate=accumulate, split_batches=how == "split")
        weights = [p.detach().double().sum().item() for p in model.parameters()]
        result = {"rates": rates, "weights": weights, "processes": dist.get_world_size()}
    print(json.dumps(result), flush=True)
    dist.barrier()
    os._exit(0)  # taking a group apart while a wrapped model holds it can hang


if __name__ == "__main__":
    main()
