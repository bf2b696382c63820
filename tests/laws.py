"""Laws that every layer of a kind obeys."""

import copy
import pickle
from collections.abc import Callable

import torch
from torch import Tensor, nn


def check_layer_laws(layer: nn.Module, call: Callable[[nn.Module], Tensor]) -> None:
    """Round trips keep the output, every parameter learns, no global state is touched."""
    layer.eval()
    expected = call(layer)
    assert expected.isfinite().all()
    fresh = copy.deepcopy(layer)
    for parameter in fresh.parameters():
        nn.init.normal_(parameter)
    assert not torch.equal(call(fresh), expected)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(call(fresh), expected)
    assert torch.equal(call(pickle.loads(pickle.dumps(layer))), expected)
    _check_gradients(layer, call)


def _check_gradients(layer: nn.Module, call: Callable[[nn.Module], Tensor]) -> None:
    layer.zero_grad()
    output = call(layer)
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.isfinite().all(), f"{name} has a broken gradient"
        assert parameter.grad.any() or _is_shift_invariant(name), f"{name} has a dead gradient"


def _is_shift_invariant(name: str) -> bool:
    """A bias of the keys moves all scores of a row alike, so softmax gives it no gradient."""
    return name.endswith("key.bias")


def check_causal(call: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Changing position t of `x` [B, L, …] leaves every output before t bit-equal."""
    before = call(x)
    for t in range(1, x.shape[1]):
        changed = x.clone()
        changed[:, t:] = changed[:, t:].flip(0) + (1 if x.dtype == torch.long else 0.7)
        after = call(changed)
        assert torch.equal(before[:, :t], after[:, :t])
        assert not torch.equal(before[:, t:], after[:, t:])
