"""The running average of weights, against its recurrence in double precision."""

import pytest
import torch
from torch import nn

from askew.training import WeightAverage


def walk(average, model, steps):
    """Random weights at each step, and the averages as the formula gives them."""
    expected = {n: p.detach().double() for n, p in model.named_parameters()}
    for step in range(1, steps + 1):
        decay = min(average.decay, (1 + step) / (10 + step))
        for name, parameter in model.named_parameters():
            parameter.data.normal_()
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach().double()
        average.update(step)
    return expected


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_is_the_recurrence(decay):
    model = nn.Linear(3, 2)
    average = WeightAverage(model, decay)
    for name, value in walk(average, model, 25).items():
        torch.testing.assert_close(average.averages[name].double(), value, rtol=1e-5, atol=1e-6)


def test_decay_zero_is_the_weights_themselves():
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.0)
    walk(average, model, 5)
    assert all(torch.equal(average.averages[n], p) for n, p in model.named_parameters())


def test_is_in_place_for_a_while_even_when_that_fails():
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.9)
    walk(average, model, 5)
    own = model.weight.detach().clone()

    def fail_in_place():
        with average.in_place():
            assert torch.equal(model.weight, average.averages["weight"])
            raise KeyError

    with pytest.raises(KeyError):
        fail_in_place()
    assert torch.equal(model.weight, own)
    assert not torch.equal(own, average.averages["weight"])
    average.put()
    assert torch.equal(model.weight, average.averages["weight"])


def test_comes_back_from_a_checkpoint_and_leaves_frozen_weights_alone(tmp_path):
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    average = WeightAverage(model, 0.9)
    walk(average, model, 5)
    average.save(tmp_path)
    again = WeightAverage(model, 0.9)
    again.load(tmp_path)
    assert list(again.averages) == ["weight"]
    assert torch.equal(again.averages["weight"], average.averages["weight"])


def test_tied_weights_are_averaged_once():
    model = nn.ModuleDict({"one": nn.Linear(2, 2), "two": nn.Linear(2, 2)})
    model["two"].weight = model["one"].weight
    average = WeightAverage(model, 0.5)
    expected = walk(average, model, 7)
    torch.testing.assert_close(
        average.averages["one.weight"].double(), expected["one.weight"], rtol=1e-5, atol=1e-6
    )
