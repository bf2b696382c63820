"""Stand-ins for what other libraries put around a layer, each with its effective weight."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """An adapter with the structure of peft's: `y = base(x) + s B A x`, not merged."""

    def __init__(self, base: nn.Module, rank: int = 2) -> None:
        super().__init__()
        self.base_layer = base
        rows, columns = base.weight.shape
        if isinstance(base, nn.Embedding):
            rows, columns = columns, rows
        self.lora_A = nn.ModuleDict({"default": nn.Linear(columns, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, rows, bias=False)})
        self.scaling = {"default": 2.0}
        self.active_adapters = ["default"]
        self.disable_adapters = self.merged = False

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor | None:
        return getattr(self.base_layer, "bias", None)

    def get_delta_weight(self, adapter: str) -> Tensor:
        delta = self.lora_B[adapter].weight @ self.lora_A[adapter].weight * self.scaling[adapter]
        return delta.T if isinstance(self.base_layer, nn.Embedding) else delta

    def forward(self, x: Tensor) -> Tensor:
        if self.disable_adapters:
            return self.base_layer(x)
        delta = self.get_delta_weight("default")
        if isinstance(self.base_layer, nn.Embedding):
            return self.base_layer(x) + F.embedding(x, delta)
        return self.base_layer(x) + F.linear(x, delta)


class Doubled(nn.Module):
    """A parametrization: the weight is twice what is stored."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def adapt(owner: nn.Module, name: str) -> Tensor:
    """Put an adapter around `owner.name` and return the effective weight."""
    adapter = LowRank(getattr(owner, name))
    setattr(owner, name, adapter)
    return adapter.weight + adapter.get_delta_weight("default")


def parametrize_weight(owner: nn.Module, name: str) -> Tensor:
    """Double the weight of `owner.name` by a parametrization and return the effective weight."""
    parametrize.register_parametrization(getattr(owner, name), "weight", Doubled())
    return getattr(owner, name).weight


def hook(owner: nn.Module, name: str) -> Tensor:
    """Double the output of `owner.name` (without a bias) and return the effective weight."""
    layer = getattr(owner, name)
    layer.register_forward_hook(lambda _, args, output: 2 * output)
    return 2 * layer.weight


def offload(owner: nn.Module, name: str) -> Tensor:
    """Keep the weight of `owner.name` outside its calls on meta, as accelerate does."""
    layer = getattr(owner, name)
    weight = layer.weight
    plain = layer.forward

    def forward(*args):
        layer.weight = weight
        try:
            return plain(*args)
        finally:
            layer.weight = nn.Parameter(weight.to("meta"))

    layer.forward = forward
    layer.weight = nn.Parameter(weight.to("meta"))
    return weight


def merge(owner: nn.Module, name: str, weight: Tensor) -> None:
    """Replace `owner.name` with an ordinary layer of the effective weight."""
    old = getattr(owner, name)
    old = getattr(old, "base_layer", old)
    kind = next(k for k in (nn.Embedding, nn.Linear, nn.Conv1d) if isinstance(old, k))
    bias = getattr(old, "bias", None)
    if kind is nn.Conv1d:
        new = nn.Conv1d(
            old.in_channels,
            old.out_channels,
            old.kernel_size,
            padding=old.padding,
            groups=old.groups,
        )
        new.bias = bias
    elif kind is nn.Linear:
        new = nn.Linear(*weight.shape[::-1], bias=bias is not None)
        new.bias = bias
    else:
        new = nn.Embedding(*weight.shape)
    new.weight = nn.Parameter(weight.detach().clone())
    setattr(owner, name, new)


WRAPPERS = {
    "adapter": adapt,
    "parametrization": parametrize_weight,
    "hook": hook,
    "offload": offload,
}
