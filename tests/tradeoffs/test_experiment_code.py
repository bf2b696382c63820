"""The digest of functions: what they do counts, and not where they stand."""

import importlib.util
import subprocess
import sys
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from askew.tradeoffs._experiment_code import code_digest, tensor_bytes

MINE = """
import torch
from torch import nn

WIDTH = 3


WEIGHTS = torch.ones(3)
COUNT = 0


@torch.no_grad()
def double(x):
    '''Twice.'''
    global COUNT
    COUNT += 1
    return 2 * x * WEIGHTS.sum()


class Net(nn.Module):
    gain = 1

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(WIDTH, 1)

    def forward(self, x):
        return double(self.inner(x))


def build():
    return Net()


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n > 0 and even(n - 1)
"""


def digest_of(text, tmp_path, name="build"):
    path = tmp_path / "mine.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("mine", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mine"] = module
    exec(compile(text, path, "exec"), module.__dict__)
    return code_digest(getattr(module, name))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("WIDTH = 3", "WIDTH = 4"),
        ("2 * x", "3 * x"),
        ("double(self", "torch.tanh(self"),
        ("gain = 1", "gain = 2"),
        ("ones(3)", "zeros(3)"),
    ],
    ids=["constant", "helper", "method", "class attribute", "tensor"],
)
def test_an_edit_of_what_a_function_uses_is_seen(old, new, tmp_path):
    assert old in MINE
    assert digest_of(MINE, tmp_path) != digest_of(MINE.replace(old, new), tmp_path)


def test_comments_places_and_what_is_not_used_do_not_count(tmp_path):
    moved = "# a comment\n\nSEEDS = 5\n" + MINE + "\nUNUSED = sum = 1\nCOUNT = 9\n"
    moved = moved.replace("Twice.", "Two times.")
    assert digest_of(moved, tmp_path) == digest_of(MINE, tmp_path)


def test_functions_that_call_each_other_have_a_digest(tmp_path):
    digests = {digest_of(MINE, tmp_path, name) for name in ("even", "odd")}
    assert len(digests) == 2
    assert digest_of(MINE.replace("n == 0", "n == 1"), tmp_path, "odd") not in digests


def scaled(factor):
    return lambda output, target: F.mse_loss(output, target) * factor


class Loss:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, output, target):
        return F.mse_loss(output, target) * self.factor


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: scaled(1.0), lambda: scaled(2.0)),
        (lambda: scaled(torch.zeros(2)), lambda: scaled(torch.ones(2))),
        (lambda: scaled(np.zeros(2)), lambda: scaled(np.zeros(3))),
        (lambda: scaled([1, {"a": 2}]), lambda: scaled([1, {"a": 3}])),
        (lambda: partial(nn.Linear, 3), lambda: partial(nn.Linear, 4)),
        (lambda: partial(nn.Linear, bias=True), lambda: partial(nn.Linear, bias=False)),
        (lambda: F.mse_loss, lambda: F.l1_loss),
        (lambda: torch.relu, lambda: torch.tanh),
        (lambda: Loss(1.0), lambda: Loss(2.0)),
        (lambda: Loss(1.0).__call__, lambda: Loss(2.0).__call__),
        (
            lambda: nn.CrossEntropyLoss(torch.ones(2)),
            lambda: nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])),
        ),
        (lambda: lambda x, k=1: x * k, lambda: lambda x, k=2: x * k),
        (lambda: (1, 2), lambda: (12,)),
        (lambda: scaled(np.array(["no"])), lambda: scaled(np.array(["yes"]))),
        (lambda: scaled(np.array([None, 1])), lambda: scaled(np.array([None, 2]))),
        (lambda: scaled(np.arange(3)[::-1]), lambda: scaled(np.arange(3))),
        (lambda: scaled(np.float32(1)), lambda: scaled(np.float32(2))),
        (lambda: scaled(torch.eye(2).to_sparse()), lambda: scaled(torch.eye(3).to_sparse())),
        (lambda: torch.no_grad()(scaled(1.0)), lambda: torch.no_grad()(scaled(2.0))),
        (lambda: cache(scaled(1.0)), lambda: cache(scaled(2.0))),
        (lambda: "1", lambda: 1),
    ],
)
def test_what_differs_has_another_digest(one, other):
    assert code_digest(one()) == code_digest(one())
    assert code_digest(one()) != code_digest(other())


def test_it_is_the_same_in_another_process():
    code = (
        "from functools import partial; from torch import nn; from torch.nn import functional as F;"
        "from askew.tradeoffs._experiment_code import code_digest;"
        "is_one = lambda x: x in {'u', 'v', 'w'};"
        "found = code_digest(partial(nn.Linear, 3), F.mse_loss, {'b', 'a', 'c'}, is_one)"
    )
    here: dict = {"__name__": "__main__"}
    exec(code, here)
    call = [sys.executable, "-c", f"{code}; print(found)"]
    there = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert there.strip() == here["found"]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.bool, torch.complex64])
def test_bytes_of_tensors_are_those_of_memory(kind):
    tensor = torch.tensor([[0.0, 1.0], [0.0, 0.5]]).to(kind)
    assert tensor_bytes(tensor.T) == tensor_bytes(tensor.T.contiguous()) != tensor_bytes(tensor)
    assert len(tensor_bytes(tensor)) == 4 * kind.itemsize
    if kind == torch.float32:
        assert tensor_bytes(tensor.requires_grad_()) == tensor.detach().numpy().tobytes()
