"""Does a loss that charges misses more pay on rare positives, once the threshold is tuned?

    python examples/imbalanced_loss.py

Eights among the digits of scikit-learn, 1 in 40, ten paired seeds. At the threshold .5 the loss
gains a lot; the control is plain cross-entropy with the threshold that is best for validation.
"""

import tempfile
from pathlib import Path

import torch
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from torch import Tensor, nn

from askew.losses import AsymmetricBCELoss
from askew.tasks import best_threshold
from askew.tradeoffs import Metric, judge_results, print_results

LOSSES = {"misses x 8": AsymmetricBCELoss(weight_pos=8.0), "plain": AsymmetricBCELoss()}
LABELS = {"f1_tuned": "F1, tuned threshold", "f1_at_half": "F1 at .5"}


def rows() -> list[tuple[Tensor, Tensor]]:
    digits, chance = load_digits(), torch.Generator().manual_seed(0)
    x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target == 8).float()
    kept = ((y == 0) | (torch.rand(len(y), generator=chance) < 0.25)).nonzero().flatten()
    order = kept[torch.randperm(len(kept), generator=chance)]
    return [(x[split], y[split]) for split in order.tensor_split([700, 1100])]


def figures(loss: nn.Module, seed: int, splits: list[tuple[Tensor, Tensor]]) -> list[float]:
    (x, y), (x_valid, y_valid), (x_test, y_test) = splits
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(600):
        batch = torch.randint(len(x), (64,))
        loss(model(x[batch]), y[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        valid, test = model(x_valid).sigmoid(), model(x_test).sigmoid()
    tuned = best_threshold(valid[:, None].numpy(), y_valid[:, None].numpy())
    return [100 * f1_score(y_test, test > threshold) for threshold in (tuned, 0.5)]


if __name__ == "__main__":
    lines, splits = ["arm,seed,item,metric,value"], rows()
    for seed in range(10):
        for arm, loss in LOSSES.items():
            for metric, value in zip(LABELS, figures(loss, seed, splits), strict=True):
                lines.append(f"{arm},{seed},,{metric},{value}")
    metrics = [Metric(name=name, label=label, equivalence=1.0) for name, label in LABELS.items()]
    with tempfile.TemporaryDirectory() as folder:
        (table := Path(folder) / "results.csv").write_text("\n".join(lines))
        print_results(judge_results(table, baseline="plain", metrics=metrics).results, Console())
