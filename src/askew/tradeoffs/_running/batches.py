"""The user's data as batches: the same batches in the same order for every model."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from askew._check import require

Data: TypeAlias = Dataset | DataLoader | tuple[Tensor, ...]
Batch: TypeAlias = tuple[Any, Any]


def as_data(data: Data, where: str) -> Dataset | DataLoader:
    """Turn a tuple of tensors into a dataset, and check a dataset or loader.

    Its items are (input, target), or mappings with "labels".

    Raises:
        ValueError: If it is something else, or empty.
    """
    if isinstance(data, tuple | list):
        lengths = [len(tensor) for tensor in data]
        require(
            len(set(lengths)) == 1 and len(lengths) >= 2,
            f"Experiment: {where} must be tensors of equal length, the target last; "
            f"got lengths {lengths}",
        )
        kinds = [type(one).__name__ for one in data]
        if not all(isinstance(one, Tensor) for one in data):
            raise TypeError(
                f"Experiment: {where} must be tensors; got {where} of {', '.join(kinds)}. "
                "Write torch.as_tensor for each"
            )
        data = TensorDataset(*data)
    if isinstance(data, Tensor):
        raise TypeError(
            f"Experiment: {where} must be inputs and targets; got {where} of one tensor, "
            f"{tuple(data.shape)}. Write (inputs, targets)"
        )
    dataset = dataset_of(data)
    length = len(dataset) if hasattr(dataset, "__len__") else None
    require(
        length is not None and length > 0,
        f"Experiment: {where} must be a dataset with a length above 0, a DataLoader of one, or a "
        f"tuple of tensors; got {type(data).__name__} of length {length}",
    )
    return data


def dataset_of(data: Dataset | DataLoader) -> Any:
    """Return the dataset of a loader, or the dataset itself."""
    return data.dataset if isinstance(data, DataLoader) else data


def training_batches(
    data: Dataset | DataLoader, batch_size: int, seed: int, device: torch.device
) -> Iterator[Batch]:
    """Yield batches without end, in an order that depends on the seed alone.

    A loader and its samplers are seeded for each epoch, so that random numbers that a model draws
    do not change the order.
    """
    for epoch in count():
        if isinstance(data, DataLoader):
            loader = data
            torch.manual_seed(_epoch_seed(seed, epoch))
            for generator in _generators(loader):
                generator.manual_seed(_epoch_seed(seed, epoch))
        else:
            loader = DataLoader(
                data,
                batch_size,
                shuffle=True,
                drop_last=len(cast(Any, data)) >= batch_size,
                generator=torch.Generator().manual_seed(_epoch_seed(seed, epoch)),
            )
        is_empty = True
        for batch in loader:
            is_empty = False
            yield pair_of(batch, device)
        require(
            not is_empty,
            "Experiment: train_data must give at least one batch; got a DataLoader of "
            f"{len(cast(Any, dataset_of(data)))} items without a batch: batch_size "
            f"{loader.batch_size}, drop_last {loader.drop_last}, sampler "
            f"{type(loader.sampler).__name__}. Lower batch_size or change the sampler",
        )


def _generators(loader: DataLoader) -> Iterator[torch.Generator]:
    """Yield what a loader and its samplers draw the order from, if it is their own."""
    inner = getattr(loader.batch_sampler, "sampler", None)
    for one in (loader, loader.sampler, loader.batch_sampler, inner):
        generator = getattr(one, "generator", None)
        if isinstance(generator, torch.Generator):
            yield generator


def ordered_batches(
    data: Dataset | DataLoader, batch_size: int, device: torch.device, items: int | None = None
) -> Iterator[Batch]:
    """Yield the first items once, in their order; all of them if `items` is None.

    Of a loader, its dataset and the way it collates are used. If there are fewer items, they
    start again from the first.
    """
    dataset = dataset_of(data)
    collate = data.collate_fn if isinstance(data, DataLoader) else default_collate
    total = len(dataset) if items is None else items
    for start in range(0, total, batch_size):
        places = range(start, min(start + batch_size, total))
        yield pair_of(collate([dataset[i % len(dataset)] for i in places]), device)


def pair_of(batch: Any, device: torch.device) -> Batch:
    """Split a batch into input and target, on a device."""
    if isinstance(batch, Mapping) and "labels" in batch:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        batch = inputs, batch["labels"]
    require(
        isinstance(batch, tuple | list) and len(batch) >= 2,
        "Experiment: a batch must be (input, ..., target) or a mapping with 'labels'; "
        f"got {type(batch).__name__}",
    )
    *inputs, target = (_to(value, device) for value in batch)
    return inputs[0] if len(inputs) == 1 else tuple(inputs), target


def answer(model: nn.Module, inputs: Any) -> Any:
    """Call a model with one input, several, or named ones; return its output or its logits."""
    if isinstance(inputs, Mapping):
        output = model(**inputs)
    else:
        output = model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)
    return getattr(output, "logits", output)


def join(batches: Sequence[Tensor]) -> Tensor:
    """Concatenate the outputs or targets of all batches."""
    require(
        all(isinstance(batch, Tensor) for batch in batches),
        "Experiment: outputs and targets must be tensors, or outputs have logits; "
        f"got {type(batches[0]).__name__}",
    )
    return torch.cat(list(batches))


def _epoch_seed(seed: int, epoch: int) -> int:
    return seed * 1_000_003 + epoch


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor | nn.Module):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _to(inner, device) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_to(inner, device) for inner in value)
    return value
