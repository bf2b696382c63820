"""Weights, gradients and moments sharded over processes, with `fully_shard` of PyTorch."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed import DeviceMesh
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from askew._check import require


def shard_model(model: nn.Module, mesh: DeviceMesh | None = None) -> nn.Module:
    """Shard the parameters over all processes, layer by layer; tied weights stay tied.

    Every encoder and decoder layer is gathered only while it computes. Build the optimizer
    afterwards, from the returned model. Decoding needs whole weights, which `load_sharded` reads.
    Several GPUs are untested.

    Args:
        model: A translation model. It is changed in place.
        mesh: The processes; all of them by default.

    Returns:
        The model, each of whose parameters is now a DTensor.

    Raises:
        ValueError: If there is no process group, or a parameter was not sharded.

    Example:
        >>> from askew.transformer import AsymmetricEncoderDecoder as Model
        >>> from askew.transformer import EncoderDecoderConfig, StackConfig
        >>> side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        >>> vocab = {"source_vocab": 9, "target_vocab": 9}
        >>> model = Model(EncoderDecoderConfig(encoder=side, decoder=side, **vocab))
        >>> alone = {"store": torch.distributed.HashStore(), "rank": 0, "world_size": 1}
        >>> torch.distributed.init_process_group("gloo", **alone)
        >>> {type(weight).__name__ for weight in shard_model(model).parameters()}
        {'DTensor'}
        >>> torch.distributed.destroy_process_group()

    References:
        PyTorch FSDP, 2023, arXiv:2304.11277.
    """
    require(
        torch.distributed.is_initialized(),
        "shard_model: a process group must be initialised; got none. Start with torchrun and "
        "call torch.distributed.init_process_group",
    )
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    whole = [name for name, weight in model.named_parameters() if not isinstance(weight, DTensor)]
    require(not whole, f"shard_model: every parameter must be sharded; got {whole[:3]} whole")
    return model


def save_sharded(model: nn.Module, folder: str | Path) -> None:
    """Write a sharded model as safetensors, each process its shard.

    All processes must call it.

    Args:
        model: What `shard_model` returned.
        folder: Where to.

    Example:
        >>> import tempfile
        >>> alone = {"store": torch.distributed.HashStore(), "rank": 0, "world_size": 1}
        >>> torch.distributed.init_process_group("gloo", **alone)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_sharded(fully_shard(nn.Linear(2, 1)), folder)
        ...     any(path.suffix == ".safetensors" for path in Path(folder).rglob("*"))
        True
        >>> torch.distributed.destroy_process_group()
    """
    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    dcp.save(get_model_state_dict(model), storage_writer=writer)


def load_sharded(model: nn.Module, folder: str | Path) -> None:
    """Read what `save_sharded` wrote, into a whole model or into a sharded one.

    Args:
        model: The same model, on one process or sharded on any number of them.
        folder: What `save_sharded` wrote.

    Raises:
        ValueError: If the folder holds no such model.

    Example:
        >>> load_sharded(nn.Linear(2, 1), "/nowhere")
        Traceback (most recent call last):
        ValueError: load_sharded: the folder must be what save_sharded wrote; got /nowhere
    """
    require(
        any(Path(folder).glob("*.safetensors")),
        f"load_sharded: the folder must be what save_sharded wrote; got {folder}",
    )
    state = get_model_state_dict(model)
    alone = not torch.distributed.is_initialized()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # which is intended here
        reader = dcp.HuggingFaceStorageReader(str(folder))
        dcp.load(state, storage_reader=reader, no_dist=alone)
    set_model_state_dict(model, state, options=StateDictOptions(strict=True))


def check_sharding() -> None:
    """Refuse FSDP where accelerate would silently train without it.

    Raises:
        ValueError: If the environment asks for FSDP and there is no accelerator.
    """
    requested = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true", "yes")
    require(
        not requested or torch.accelerator.is_available(),
        "train_model: FSDP by accelerate needs GPUs; on CPUs it would train whole copies and "
        "say nothing; got ACCELERATE_USE_FSDP. Leave it out, or use askew.training.shard_model",
    )


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    core: Any = getattr(model, "model", model)
    yield from core.encoder.layers
    yield from core.decoder.layers
