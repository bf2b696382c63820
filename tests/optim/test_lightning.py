"""One optimizer of several parts in Lightning's Trainer, stopped, resumed and clipped."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    cosine,
    hidden_matrices,
    part_rates,
    warmup,
)

lightning = pytest.importorskip("pytorch_lightning")
pytestmark = [
    pytest.mark.unhooked,
    pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning_fabric"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),  # its own
]

PARTS = {
    "two rates": {"encoder": 1e-2, "head": {"lr": 3e-2, "weight_decay": 0.0}},
    "Muon for matrices": {
        "matrices": {"where": hidden_matrices, "base": torch.optim.Muon, "lr": 2e-2},
        "rest": {"lr": 1e-2, "where": "**"},
    },
}
each_parts = pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)


class Classifier(lightning.LightningModule):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts
        self.encoder = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh())
        self.head = nn.Linear(6, 3)
        self.losses, self.rates, self.norms = [], [], []

    def training_step(self, batch, _):
        loss = nn.functional.cross_entropy(self.head(self.encoder(batch[0])), batch[1])
        self.losses.append(loss.item())
        return loss

    def on_before_zero_grad(self, optimizer):
        norms = [p.grad.norm() for p in self.parameters() if p.grad is not None]
        if norms:
            self.norms.append(torch.stack(norms).norm().item())
        self.rates.append(part_rates(optimizer))

    def configure_optimizers(self):
        optimizer = AsymmetricOptimizer(self, self.parts)
        first, last = part_rates(optimizer)
        schedules = {first: warmup(3), last: cosine(16)}
        scheduler = AsymmetricScheduler(optimizer, schedules)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def data():
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(32, 5, generator=generator)
    pairs = torch.utils.data.TensorDataset(rows, rows.abs().argmax(1) % 3)
    return torch.utils.data.DataLoader(pairs, batch_size=4)


def fit(folder, parts, *, epochs, resume=None, **settings):
    torch.manual_seed(0)
    model = Classifier(parts)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(model, data(), ckpt_path=resume, weights_only=False)
    return trainer, model


@each_parts
@pytest.mark.parametrize("clipped", [{}, {"gradient_clip_val": 0.05}], ids=["", "clipped"])
def test_a_run_that_is_resumed_equals_one_that_was_not_stopped(tmp_path, parts, clipped):
    _, whole = fit(tmp_path, parts, epochs=2, **clipped)
    trainer, begun = fit(tmp_path, parts, epochs=1, **clipped)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    _, resumed = fit(tmp_path, parts, epochs=2, resume=tmp_path / "half.ckpt", **clipped)
    assert len(whole.losses) == 16
    assert begun.losses + resumed.losses == whole.losses
    assert begun.rates + resumed.rates == whole.rates
    for name, weight in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight)
    assert (max(whole.norms) <= 0.0501) == bool(clipped)


@each_parts
def test_it_equals_a_loop_without_lightning(tmp_path, parts):
    """Lightning calls the step with a closure, which computes loss and gradients."""
    _, model = fit(tmp_path, parts, epochs=2)
    torch.manual_seed(0)
    plain = Classifier(parts)
    made = plain.configure_optimizers()
    for _ in range(2):
        for batch in data():
            loss = plain.training_step(batch, 0)
            made["optimizer"].zero_grad()
            loss.backward()
            made["optimizer"].step()
            made["lr_scheduler"]["scheduler"].step()
    assert plain.losses == model.losses
    for name, weight in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)


def test_each_part_has_its_own_rate_in_every_step(tmp_path):
    _, model = fit(tmp_path, PARTS["two rates"], epochs=2)
    first, second = model.rates[0], model.rates[4]
    assert first["encoder"] < second["encoder"] == pytest.approx(1e-2)
    assert second["head"] < first["head"] == pytest.approx(3e-2)


def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "optim.md"
    blocks = re.findall(r"^```py\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    (code,) = (block for block in blocks if "pytorch_lightning" in block)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "optim.md", "exec"), names)
    assert names["trainer"].global_step == 6
