"""The same batches in the same order for every model."""

from itertools import islice

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from askew.tradeoffs._running.batches import training_batches

DATA = TensorDataset(torch.arange(12.0), torch.arange(12.0))
CPU = torch.device("cpu")


def own() -> torch.Generator:
    return torch.Generator().manual_seed(5)


LOADERS = {
    "loader": lambda: DataLoader(DATA, 4, shuffle=True, generator=own()),
    "sampler": lambda: DataLoader(DATA, 4, sampler=RandomSampler(DATA, generator=own())),
    "weights": lambda: DataLoader(
        DATA, 4, sampler=WeightedRandomSampler([1.0] * 12, 12, generator=own())
    ),
    "batches": lambda: DataLoader(
        DATA, batch_sampler=BatchSampler(SubsetRandomSampler(range(12), own()), 4, drop_last=False)
    ),
}


@pytest.mark.parametrize("name", LOADERS)
def test_the_order_depends_on_the_seed_alone(name):
    loader = LOADERS[name]()

    def order(seed: int) -> list[float]:
        batches = islice(training_batches(loader, 4, seed, CPU), 6)
        return torch.cat([target for _, target in batches]).tolist()

    first = order(0)
    assert order(1) != first
    assert order(0) == first
    assert first[:12] != first[12:]


@pytest.mark.parametrize(
    ("loader", "words"),
    [
        (DataLoader(DATA, 16, drop_last=True), "12 items .* batch_size 16, drop_last True"),
        (DataLoader(DATA, 4, sampler=SubsetRandomSampler([])), "sampler SubsetRandomSampler"),
    ],
)
def test_a_loader_without_a_batch_is_refused(loader, words):
    with pytest.raises(ValueError, match=f"train_data must give at least one batch; got.*{words}"):
        next(training_batches(loader, 4, 0, CPU))
