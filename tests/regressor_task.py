"""A task of a user: a plain module with a config of its own, nothing of an encoder-decoder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from askew.tradeoffs import Cost, Evaluation, Metric, Task, count_parameters


@dataclass(frozen=True)
class BranchConfig:
    widths: tuple[int, ...]


@dataclass(frozen=True)
class RegressorConfig:
    left: BranchConfig
    right: BranchConfig
    bias: bool = True


class Regressor(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.left, self.right = (
            nn.Sequential(
                *(
                    layer
                    for d_in, d_out in zip((1, *side.widths), (*side.widths, 1), strict=True)
                    for layer in (nn.Linear(d_in, d_out, bias=config.bias), nn.Tanh())
                )
            )
            for side in (config.left, config.right)
        )

    def forward(self, x):
        return self.left(x[:, :1]) + self.right(x[:, 1:])


@dataclass(frozen=True, kw_only=True)
class RegressorTask(Task[nn.Module]):
    """Fits sin(a) + b in a few steps."""

    name: str = "regression"
    metrics: Sequence[Metric] = (
        Metric(name="error", label="error", better="lower", equivalence=0),
    )

    @property
    def speeds(self) -> Mapping[str, str]:
        return {"throughput": "points answered", "latency_ms": "time per point"}

    def describe(self):
        return {"name": "sine"}

    def build(self, config, seed):
        torch.manual_seed(seed)
        return Regressor(config)

    def train(self, model, *, training, steps, seed, folder, progress, **_):
        optimizer = torch.optim.SGD(model.parameters(), lr=training.get("lr", 0.05))
        generator, records = torch.Generator().manual_seed(seed), []
        for step in range(1, steps + 1):
            x = torch.rand(16, 2, generator=generator)
            loss = (model(x) - _truth(x)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            records.append({"step": step, "train_seconds": step / 4, "loss": loss.item()})
            progress(step, steps)
        return records

    @torch.no_grad()
    def evaluate(self, model):
        x = torch.rand(12, 2, generator=torch.Generator().manual_seed(9))
        error = (model(x) - _truth(x)).abs()[:, 0]
        return Evaluation({"error": error.mean().item()}, {"error": error.tolist()})

    @torch.no_grad()
    def predict(self, model, *, items, batch_size):
        for _ in range(items // batch_size):
            model(torch.zeros(batch_size, 2))

    def parameters(self, config):
        with torch.device("meta"):
            return count_parameters(Regressor(config))

    def flops_per_step(self, config):
        return 96.0 * self.parameters(config)

    def save(self, model, folder: Path):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(asdict(model.config)))
        torch.save(model.state_dict(), folder / "weights.pt")

    def load(self, folder: Path):
        values = json.loads((folder / "config.json").read_text())
        sides = {side: BranchConfig(tuple(values[side]["widths"])) for side in ("left", "right")}
        model = Regressor(RegressorConfig(**sides, bias=values["bias"]))
        model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        return model


@dataclass(frozen=True, kw_only=True)
class CostlyRegressorTask(RegressorTask):
    """Adds a figure that is counted and one that every trained model changes."""

    clash: str = ""
    quiet_at: int = 0

    def costs(self, model):
        count = count_parameters(model)
        costs = {"bytes": Cost(value=4 * count, label="stored size", unit="bytes")}
        if self.clash:
            costs[self.clash] = Cost(value=1.0, label="clash")
        if count != self.quiet_at:
            weight = model.left[0].weight.abs().sum().item()
            costs["spread"] = Cost(value=1 + weight, label="spread of weights", judged=True)
        return costs


def _truth(x):
    return x[:, :1].sin() + x[:, 1:]
