"""A task that trains a straight line in milliseconds, for tests of what runs tasks."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from askew.tradeoffs import Evaluation, Metric, Task
from askew.transformer import EncoderDecoderConfig, StackConfig

LOCKS = []


@dataclass(frozen=True, kw_only=True)
class StubTask(Task[nn.Module]):
    """Fits y = 3x from noise; an arm's width is its number of useless extra inputs."""

    name: str = "line"
    metrics: Sequence[Metric] = (
        Metric(name="fit", label="fit", equivalence=0.1),
        Metric(name="sign", label="sign", equivalence=0.1),
    )
    crash_at: str = ""
    kill_at: str = ""
    mark: str = ""
    locks: bool = False

    @property
    def speeds(self):
        return {"latency_ms": "time per line"}

    def describe(self):
        return {"name": "line", "slope": 3}

    def build(self, config, seed):
        torch.manual_seed(seed)
        return nn.Linear(config.encoder.d_model, 1)

    def train(self, model, *, steps, seed, folder, progress, training=None, **_):
        generator = torch.Generator().manual_seed(seed)
        records = []
        if self.locks:  # as progress bars do
            LOCKS.append(multiprocessing.get_context("spawn").RLock())
        for step in range(1, steps + 1):
            if step == 2 and self.crash_at == folder.name:
                raise ValueError("crashed on purpose")
            killed = Path(self.mark) / "killed"
            if step == 2 and self.kill_at == folder.name and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            x = torch.randn(32, model.in_features, generator=generator)
            loss = (model(x)[:, 0] - 3 * x[:, 0]).square().mean()
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter -= 0.02 * gradient
            records.append({"step": step, "train_seconds": step / 8, "loss": loss.item()})
            progress(step, steps)
        return [*records, {"step": steps, "train_seconds": steps / 8, "eval_loss": 0.5}]

    def evaluate(self, model):
        x = torch.randn(20, model.in_features, generator=torch.Generator().manual_seed(9))
        error = -(model(x)[:, 0] - 3 * x[:, 0]).abs().detach()
        sign = (model(x)[:, 0].detach() * x[:, 0] > 0).float()
        return Evaluation(
            {"fit": error.mean().item(), "sign": sign.mean().item()},
            {"fit": error.tolist(), "sign": sign.tolist()},
        )

    def baselines(self):
        return {"zero": {"fit": -2.5, "sign": 0.0}}

    def predict(self, model, *, items, batch_size):
        for _ in range(items // batch_size):
            model(torch.zeros(batch_size, model.in_features))

    def parameters(self, config):
        return config.encoder.d_model + 1

    def flops_per_step(self, config):
        return 6.0 * 32 * config.encoder.d_model

    def save(self, model, folder: Path):
        folder.mkdir()
        torch.save(model.state_dict(), folder / "weights.pt")

    def load(self, folder: Path):
        state = torch.load(folder / "weights.pt", weights_only=True)
        model = nn.Linear(state["weight"].shape[1], 1)
        model.load_state_dict(state)
        return model


def line_config(width):
    side = StackConfig(d_model=width, num_layers=1, num_heads=1, d_ff=2)
    return EncoderDecoderConfig(source_vocab=4, target_vocab=4, encoder=side, decoder=side)
