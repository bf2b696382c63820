"""Two towers, one of them trained before, with a rate of its own for each.

    python examples/rates_per_tower.py

One tower sees upper halves of handwritten digits and has learned to read them. A new one sees lower
halves. SigLIP's loss teaches both which halves belong together. Wrong pairs have half the price,
as some are of the same digit.
"""

import copy

import torch
from sklearn.datasets import load_digits
from torch import nn

from askew.losses import SigLIPLoss
from askew.optim import AsymmetricOptimizer

IMAGES, DIGITS = (torch.tensor(a) for a in load_digits(return_X_y=True))
UPPER, LOWER = (IMAGES.float() / 16).split(32, dim=1)
TEST = slice(300, 700)  # after 300 pairs for the towers, before the digits of the reader


def tower() -> nn.Sequential:
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))


def found(model: nn.ModuleDict) -> float:
    """How often the nearest of all lower halves is of the same digit."""
    lower = nn.functional.normalize(model["new"](LOWER[TEST]))
    nearest = (model["known"](UPPER[TEST]) @ lower.T).argmax(1)
    return (DIGITS[TEST][nearest] == DIGITS[TEST]).double().mean().item()


def main() -> None:
    torch.manual_seed(0)
    known = tower()
    reader = nn.Sequential(known, nn.Linear(32, 10))  # learns to tell digits
    optimizer = torch.optim.Adam(reader.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        rows = torch.randint(700, 1797, (128,))
        nn.functional.cross_entropy(reader(UPPER[rows]), DIGITS[rows]).backward()
        optimizer.step()
    for rate in (0.0, 1e-3, 3e-3):
        torch.manual_seed(1)
        loss = SigLIPLoss(bias=nn.Parameter(torch.tensor(-10.0)), weight_neg=0.5)
        model = nn.ModuleDict({"known": copy.deepcopy(known), "new": tower(), "loss": loss})
        optimizer = AsymmetricOptimizer(model, {"known": rate, "new": 1e-3, "loss": 1e-3})
        for _ in range(300):
            optimizer.zero_grad()
            rows = torch.randint(300, (64,))
            loss(model["known"](UPPER[rows]), model["new"](LOWER[rows])).backward()
            optimizer.step()
        print(f"rates {rate:g} and 0.001: {found(model):.0%} of the halves find their digit")


if __name__ == "__main__":
    main()
