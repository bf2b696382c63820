"""How strongly every channel, head and unit of a model responds to given inputs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from askew._check import require
from askew.attention import AsymmetricAttention, LatentAttention
from askew.transformer import FeedForward

Batch = Mapping[str, Tensor]
"""Inputs of a model by name: input_ids, attention_mask, and labels or decoder_input_ids."""


class Activations(NamedTuple):
    """Means over all real tokens, by the name of the module.

    Attributes:
        norms: Absolute value of every channel after a norm, [d_model].
        squares: Square of every channel after a norm, before its gain and bias, [d_model].
        heads: Absolute value of the output of every head, [num_heads].
        units: Absolute value of every feed-forward unit, [d_ff].
        memory: Absolute value of every channel of a shared adapter, [d_memory]; else None.
    """

    norms: dict[str, Tensor]
    squares: dict[str, Tensor]
    heads: dict[str, Tensor]
    units: dict[str, Tensor]
    memory: Tensor | None


class _Mean:
    """A mean over tokens, batch by batch."""

    def __init__(self) -> None:
        self.total, self.count = torch.zeros(()), 0

    def add(self, values: Tensor) -> None:
        """Add values [tokens, features]."""
        self.total = self.total + values.double().sum(0).cpu()
        self.count += len(values)

    def value(self) -> Tensor:
        return self.total / self.count


class _Recorder:
    """Hooks on the layers of a model, which know the tokens of the batch that are real."""

    def __init__(self) -> None:
        self.real: dict[str, Tensor] = {}
        self.means: dict[tuple[str, str], _Mean] = {}

    def add(self, kind: str, name: str, side: str, values: Tensor) -> None:
        """Add values [batch, length, features] of a module."""
        self.means.setdefault((kind, name), _Mean()).add(values[self.real[side]])

    def of(self, kind: str) -> dict[str, Tensor]:
        return {name: mean.value() for (one, name), mean in self.means.items() if one == kind}


def measure_activations(model: PreTrainedModel, batches: Iterable[Batch]) -> Activations:
    """Run a model of ours over some batches, in evaluation mode, and measure its activations.

    Raises:
        ValueError: If there is no batch, or one lacks its inputs or targets.
    """
    recorder, trains = _Recorder(), model.training
    with _hooks(model, recorder), torch.no_grad():
        model.eval()
        try:
            for batch in batches:
                inputs = {name: value.to(model.device) for name, value in batch.items()}
                recorder.real = _real_tokens(inputs)
                model(**inputs, use_cache=False)
        finally:
            model.train(trains)
    require(bool(recorder.means), "shrink: batches must hold at least one; got none")
    memory = recorder.of("memory")
    return Activations(
        **{kind: recorder.of(kind) for kind in ("norms", "squares", "heads", "units")},
        memory=memory.get("adapter"),
    )


def _real_tokens(inputs: Batch) -> dict[str, Tensor]:
    """Return which tokens of the source and of the target are no padding, [batch, length]."""
    target = inputs.get("labels", inputs.get("decoder_input_ids"))
    if "input_ids" not in inputs or target is None:
        raise ValueError(
            "shrink: a batch must hold input_ids, and labels or decoder_input_ids; got "
            f"{', '.join(inputs) or 'nothing'}"
        )
    everything = torch.ones_like(inputs["input_ids"], dtype=torch.bool)
    source = inputs.get("attention_mask", everything).bool()
    real = target != -100 if "labels" in inputs else torch.ones_like(target, dtype=torch.bool)
    return {"source": source, "target": inputs.get("decoder_attention_mask", real).bool()}


@contextmanager
def _hooks(model: PreTrainedModel, recorder: _Recorder) -> Iterator[None]:
    handles = []
    for name, module in model.model.named_modules():
        side = "source" if name.startswith(("encoder", "source", "adapter")) else "target"
        if isinstance(module, FeedForward):
            hook = _units(recorder, name, side)
            handles.append(module.contract.register_forward_pre_hook(hook))
        elif isinstance(module, AsymmetricAttention | LatentAttention):
            hook = _heads(recorder, name, side, module.num_heads)
            handles.append(module.output.register_forward_pre_hook(hook))
        elif isinstance(module, nn.LayerNorm):
            handles.append(module.register_forward_hook(_norm(recorder, name, side)))
        elif name == "adapter":
            handles.append(module.register_forward_hook(_memory(recorder, side)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _units(recorder: _Recorder, name: str, side: str) -> Callable[..., None]:
    return lambda module, inputs: recorder.add("units", name, side, inputs[0].abs())


def _heads(recorder: _Recorder, name: str, side: str, count: int) -> Callable[..., None]:
    return lambda module, inputs: recorder.add(
        "heads", name, side, inputs[0].abs().unflatten(-1, (count, -1)).mean(-1)
    )


def _norm(recorder: _Recorder, name: str, side: str) -> Callable[..., None]:
    def hook(module: nn.LayerNorm, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        recorder.add("norms", name, side, output.abs())
        bare = F.layer_norm(inputs[0], module.normalized_shape, eps=module.eps)
        recorder.add("squares", name, side, bare.square())

    return hook


def _memory(recorder: _Recorder, side: str) -> Callable[..., None]:
    return lambda module, inputs, output: recorder.add("memory", "adapter", side, output.abs())
