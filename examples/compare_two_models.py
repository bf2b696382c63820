"""Does a bottleneck in the middle pay? Two models of your own on the digits of scikit-learn.

    python examples/compare_two_models.py

The same file serves the command line, which adds a report:

    askew compare examples/compare_two_models.py:experiment
"""

import tempfile

import torch
from rich.console import Console
from sklearn.datasets import load_digits
from torch import nn

from askew.tradeoffs import Experiment, print_results


def bottleneck() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8), nn.Linear(8, 10))


def even() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32), nn.Linear(32, 10))


def experiment() -> Experiment:
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(digits.data / 16, dtype=torch.float32)[order]
    y = torch.tensor(digits.target)[order]
    return Experiment(
        name="digits",
        models={"bottleneck": bottleneck, "even": even},  # the last one is the baseline
        train_data=(x[:1000], y[:1000]),
        valid_data=(x[1000:1200], y[1000:1200]),
        test_data=(x[1200:], y[1200:]),
        steps=300,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        comparison = experiment().compare(out=f"{folder}/digits", seeds=5)
    print_results(comparison.results, Console())
